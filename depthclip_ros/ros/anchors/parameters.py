# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The parameters of the anchors, which tell depth_node its scale; rows of the table."""

from __future__ import annotations

from depthclip_ros.core.anchors.tag import DICTIONARIES
from depthclip_ros.ros.depth_node.parameters.parameter import NEXT_CONFIGURE, Parameter

ANCHORS = ("ground", "range", "scan", "points", "depth", "odometry", "tag")

ANCHOR_ROWS: tuple[Parameter, ...] = (
    Parameter(
        "anchors",
        [],
        "What the scale of depth is learnt from, any number at once: ground (the floor under a camera of known "
        "height), range, scan, points, depth (sensors on the topics anchors/range, anchors/scan, anchors/points, "
        "anchors/depth, through TF), odometry (wheels, by TF or on anchors/odometry), tag (markers of known side).",
        element=str,
        pattern=("|".join(ANCHORS), f"different names of {', '.join(ANCHORS)}"),
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "anchor.base_frame",
        "base_footprint",
        "TF frame on the floor with z up, by which the anchor ground knows the camera's attitude, and its height where "
        "anchor.ground.height_m is 0.",
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "anchor.odom_frame",
        "odom",
        "TF frame in which the wheels know the robot's pose, for the anchor odometry.",
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "anchor.ground.height_m",
        0.0,
        "Metres of the camera above the floor, for the anchor ground; 0: TF says it. Without that TF an IMU on "
        "anchors/imu says which way is down.",
        minimum=0.0,
        maximum=100.0,
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "anchor.tag.side_m",
        0.0,
        "Metres of a side of the markers' black square, for the anchor tag, which needs it.",
        minimum=0.0,
        maximum=10.0,
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "anchor.tag.dictionary",
        "DICT_APRILTAG_36h11",
        "OpenCV's name of the markers' dictionary, for the anchor tag.",
        choices=DICTIONARIES,
        effect=NEXT_CONFIGURE,
    ),
)
