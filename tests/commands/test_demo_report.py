# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What the demo's report says."""

from __future__ import annotations

from depthclip_ros.commands.demo_report import why_no_errors


def test_depth_that_no_image_has_is_told_from_none() -> None:
    assert why_no_errors("/bags/hall", "") == "the source /bags/hall has no exact depth to compare with"
    assert "no depth of /cam/depth has an image's stamp and size" in why_no_errors("/bags/hall", "/cam/depth")
