# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A teacher's labels for plain pictures."""
