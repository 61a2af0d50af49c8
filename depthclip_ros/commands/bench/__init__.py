# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
