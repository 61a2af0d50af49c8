# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Scores through the engine that ships."""
