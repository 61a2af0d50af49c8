# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Metric depth from one camera, without ROS: numpy, torch, open_clip and safetensors only."""
