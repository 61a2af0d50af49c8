# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Readers of recorded frames, one format a file."""
