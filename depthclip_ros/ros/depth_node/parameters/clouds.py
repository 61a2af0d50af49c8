# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The parameters of depth_node's clouds and of its scan; rows of the table."""

from __future__ import annotations

from depthclip_ros.ros.depth_node.parameters.parameter import Parameter

CLOUD_ROWS: tuple[Parameter, ...] = (
    Parameter(
        "cloud.stride",
        1,
        "Every stride-th pixel of both axes becomes a point of depth/points.",
        minimum=1,
        maximum=64,
    ),
    Parameter(
        "cloud.max_range",
        0.0,
        "Metres along the optical axis; farther points of depth/points become NaN. 0 sets no limit of its own.",
        minimum=0.0,
        maximum=1000.0,
    ),
    Parameter(
        "cloud.color",
        True,
        "Points of depth/points carry the image's colour in a field `rgb`.",
    ),
    Parameter(
        "cloud.edge_threshold",
        0.15,
        "Share of the nearer depth; pixels on a larger step between neighbours of the network's own grid (flying "
        "pixels: the slope between near and far) become no point of depth/points. 0 keeps all.",
        minimum=0.0,
        maximum=10.0,
    ),
    Parameter(
        "cloud.fields",
        [],
        "Fields of depth/points beside the usual ones: `uncertainty`, float32, as depth/uncertainty.",
        element=str,
        pattern=("uncertainty", "uncertainty, at most once"),
    ),
    Parameter(
        "cloud.clear_stride",
        4,
        "Pixels from ray to ray of depth/points_clear along both axes, at most; the outermost pixels have rays.",
        minimum=1,
        maximum=64,
    ),
    Parameter(
        "cloud.clear_range",
        10.0,
        "Metres along the optical axis at which a ray of depth/points_clear ends where depth is +Inf; never beyond "
        "output.max_depth or the model's own range, which is all that +Inf tells. Must exceed the range in which the "
        "map marks.",
        minimum=0.01,
        maximum=1000.0,
    ),
    Parameter(
        "cloud.clear_level",
        0.5,
        "Rate of the intervals at whose near end a ray of depth/points_clear ends, as uncertainty.level is that of "
        "depth/uncertainty. Higher clears less far.",
        minimum=0.5,
        maximum=0.98,
    ),
)

SCAN_ROWS: tuple[Parameter, ...] = (
    Parameter(
        "scan.frame",
        "base_footprint",
        "TF frame of depth/scan, x forward and z up, never an optical one: bearings and ranges are from its origin, "
        "heights above its x-y plane.",
    ),
    Parameter(
        "scan.min_height",
        0.2,
        "Metres above scan.frame; what is lower is no obstacle of depth/scan. Must be below scan.max_height.",
        minimum=-100.0,
        maximum=100.0,
    ),
    Parameter(
        "scan.max_height",
        1.5,
        "Metres above scan.frame; what is higher is no obstacle of depth/scan.",
        minimum=-100.0,
        maximum=100.0,
    ),
    Parameter(
        "scan.max_range",
        8.0,
        "Metres; depth/scan is +Inf where the camera looks through to it between the two heights. At most "
        "output.max_depth and the model's own range count.",
        minimum=0.01,
        maximum=1000.0,
    ),
    Parameter(
        "scan.confidence_threshold",
        0.0,
        "0 to 1; pixels of lower confidence are unknown to depth/scan. 0 takes all but those on a depth step "
        "(cloud.edge_threshold).",
        minimum=0.0,
        maximum=1.0,
    ),
)
