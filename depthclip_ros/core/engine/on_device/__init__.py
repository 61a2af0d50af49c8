# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The data path on a device of torch: resizing, metres, intervals and clouds are made where the network ran."""
