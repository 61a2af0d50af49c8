# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Weights files: found by name or path, read, converted, written. `find` and `info` do without torch."""
