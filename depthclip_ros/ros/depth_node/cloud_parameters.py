"""The parameters of depth_node's clouds; rows of the table."""

from __future__ import annotations

from depthclip_ros.ros.depth_node.parameter import Parameter

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
        0.05,
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
        "output.max_depth, which is all that +Inf tells. Must exceed the range in which the map marks.",
        minimum=0.01,
        maximum=1000.0,
    ),
)
