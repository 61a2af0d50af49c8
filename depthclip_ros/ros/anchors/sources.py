# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What a reading of each anchor says of a frame: messages and transforms to `core.anchors`. Messages are arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.anchors.depth_image import depth_pixels, measure_depth
from depthclip_ros.core.anchors.ground import measure_ground
from depthclip_ros.core.anchors.measurement import Measurement, Prediction
from depthclip_ros.core.anchors.odometry import BaselineTracker, measure_features
from depthclip_ros.core.anchors.points import SeenPoints, measure_points, scan_points, seen_points
from depthclip_ros.core.anchors.range_beam import measure_range
from depthclip_ros.core.anchors.shape import NO_SHAPE, Shape
from depthclip_ros.core.anchors.tag import measure_tags
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.lidar import cloud_points
from depthclip_ros.core.transforms import TransformNotYetError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.anchors.imu import Down, check_recent
from depthclip_ros.ros.conversions import read_depth

MOST_POINTS = 20_000  # of a cloud: a regular choice of more says the same


class Lookup(Protocol):
    """Of transforms, as `core.transforms.Transforms` has it."""

    def between(
        self, source: str, source_ns: int, target: str, target_ns: int, *, patient: bool = False
    ) -> NDArray[np.float64]:
        """4x4: takes a point of `source` at one time to `target` at another."""
        ...


@dataclass(frozen=True)
class AnchorFrame:
    """A frame whose depth is out.

    Attributes:
        stamp_ns, frame_id: of the image.
        rgb: uint8 [H, W, 3], rectified.
        published: its depth as it went out.
        factor, shape: of the anchors' correction in it.
        half_width: h of its intervals, float32 [H, W]; None where the weights have none.
        judged_share: half-width at the rate `shape.JUDGED_AT` as a share of that.
    """

    stamp_ns: int
    frame_id: str
    rgb: NDArray[np.uint8]
    published: Prediction
    factor: float = 1.0
    half_width: NDArray[np.float32] | None = None
    shape: Shape = NO_SHAPE
    judged_share: float = 1.0

    @property
    def camera(self) -> Intrinsics:
        """Of the image."""
        return self.published.intrinsics

    @cached_property
    def prediction(self) -> Prediction:
        """Its depth before the anchors' scale."""
        return Prediction(self.published.depth_m / np.float32(self.factor), self.camera)


@dataclass(frozen=True)
class AnchorOptions:
    """The anchors' own parameters; see `parameters.table`."""

    names: tuple[str, ...]
    base_frame: str
    odom_frame: str
    ground_height_m: float
    tag_side_m: float
    tag_dictionary: str


def _range(message: Any, to_camera: NDArray[np.float64], prediction: Prediction) -> Measurement:
    return measure_range(
        prediction,
        float(message.range),
        to_camera,
        field_of_view_rad=float(message.field_of_view),
        least_m=float(message.min_range),
        most_m=float(message.max_range) or np.inf,
        radiation=int(message.radiation_type),
        variance_m2=float(getattr(message, "variance", 0.0)),  # from Kilted on
    )


def _scan(message: Any, to_camera: NDArray[np.float64], prediction: Prediction) -> SeenPoints:
    points = scan_points(
        np.asarray(message.ranges, np.float64),
        float(message.angle_min),
        float(message.angle_increment),
        float(message.range_min),
        float(message.range_max) or np.inf,
    )
    return seen_points(points, to_camera, prediction)


def _points(message: Any, to_camera: NDArray[np.float64], prediction: Prediction) -> SeenPoints:
    points = cloud_points(message)
    points = points[:: max(1, len(points) // MOST_POINTS)]
    return seen_points(points, to_camera, prediction)


# What sees many points through its transform.
SEE_POINTS: Mapping[str, Callable[[Any, NDArray[np.float64], Prediction], SeenPoints]] = {
    "scan": _scan,
    "points": _points,
}
# What is read through /tf.
THROUGH_TF = ("range", *SEE_POINTS)
# What is measured on the frame itself.
ON_FRAMES = ("ground", "odometry", "tag")


def measure_reading(
    kind: str, message: Any, stamp_ns: int, frame: AnchorFrame, transforms: Lookup, *, patient: bool = False
) -> tuple[Measurement, SeenPoints | None]:
    """Compare a reading with the frame of about its time: what it says, and the points that it measured, if many.

    `patient`: see `core.transforms.Transforms.between`.

    Raises:
        InputError: why it says nothing.
        TransformNotYetError: its transform may still come.
    """
    sensor = message.header.frame_id
    if kind == "depth":
        if sensor.lstrip("/") != frame.frame_id.lstrip("/"):
            raise InputError(
                f"its frame is {sensor!r} and the camera's {frame.frame_id!r}; depth must be registered to the camera"
            )
        seen = depth_pixels(frame.prediction, read_depth(message))
        return measure_depth(frame.prediction, seen), seen
    if not sensor:
        raise InputError("it has no frame_id, so no transform leads to the camera")
    to_camera = transforms.between(sensor, stamp_ns, frame.frame_id, frame.stamp_ns, patient=patient)
    if kind == "range":
        return _range(message, to_camera, frame.prediction), None
    seen = SEE_POINTS[kind](message, to_camera, frame.prediction)
    return measure_points(frame.prediction, seen), seen


class FrameAnchors:
    """The anchors that need no reading of their own; `odometry` keeps what it tracks.

    Attributes:
        down: what an IMU said last.
    """

    def __init__(self, options: AnchorOptions) -> None:
        self._options = options
        self._tracker = BaselineTracker()
        self.down: Down | None = None  # replaced whole

    def forget(self) -> None:
        """Another camera."""
        self._tracker.forget()

    def measure(
        self, kind: str, frame: AnchorFrame, transforms: Lookup, *, patient: bool = False
    ) -> Measurement | None:
        """Of one of `ON_FRAMES`; None where there is nothing to say yet.

        `patient`: see `core.transforms.Transforms.between`.

        Raises:
            InputError: why it says nothing.
            TransformNotYetError: its transform may still come.
        """
        options = self._options
        if kind == "tag":
            return measure_tags(
                frame.prediction, frame.rgb, side_m=options.tag_side_m, dictionary=options.tag_dictionary
            )
        if kind == "odometry":
            to_world = transforms.between(frame.frame_id, frame.stamp_ns, options.odom_frame, frame.stamp_ns)
            found = self._tracker.follow(frame.rgb, frame.camera, to_world, frame.stamp_ns * 1e-9)
            return None if found is None else measure_features(frame.prediction, found)
        return self._ground(frame, transforms, patient)

    def _ground(self, frame: AnchorFrame, transforms: Lookup, patient: bool) -> Measurement:
        options = self._options
        try:
            to_base = transforms.between(frame.frame_id, frame.stamp_ns, options.base_frame, frame.stamp_ns)
        except InputError as error:
            if not options.ground_height_m or (patient and isinstance(error, TransformNotYetError)):
                raise
            down = self._measured_down(frame, transforms, patient)
            return measure_ground(frame.prediction, options.ground_height_m, down)
        return measure_ground(frame.prediction, options.ground_height_m or float(to_base[2, 3]), -to_base[2, :3])

    def _measured_down(self, frame: AnchorFrame, transforms: Lookup, patient: bool) -> NDArray[np.float64] | None:
        """Unit vector [3] in the optical frame; None where no IMU has said anything."""
        down = self.down
        if down is None:
            return None
        check_recent(down, frame.stamp_ns)
        ends = down.frame_id, down.stamp_ns, frame.frame_id, frame.stamp_ns
        return transforms.between(*ends, patient=patient)[:3, :3] @ down.vector
