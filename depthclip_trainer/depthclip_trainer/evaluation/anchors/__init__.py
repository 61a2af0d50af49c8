# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What each anchor is worth: sensors simulated from measured depth, read for 2 s in each place."""
