# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The training itself: start, loop, checkpoints, export."""
