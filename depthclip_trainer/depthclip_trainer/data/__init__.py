# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Where training frames come from; one contract (`sample.py`) behind every source."""
