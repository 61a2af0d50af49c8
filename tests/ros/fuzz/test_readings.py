# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What anchors hear with any field wild: each reading says something finite of the scale, or is refused by name.

`make fuzz` reads as many as it is told (environment FUZZ_READINGS, from the seed FUZZ_SEED on).
"""

from __future__ import annotations

import array
import math
import os
import random
import struct

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import Image, Imu, LaserScan, PointCloud2, PointField, Range

from depthclip_ros.core.anchors.estimator import ScaleEstimator
from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.transforms import Transforms
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.anchors.imu import down_of
from depthclip_ros.ros.anchors.sources import AnchorFrame, AnchorOptions, FrameAnchors, measure_reading
from tf2_msgs.msg import TFMessage

READINGS = int(os.environ.get("FUZZ_READINGS") or 2_000)
SEED = int(os.environ.get("FUZZ_SEED") or 0)
CAMERA = Intrinsics(60.0, 60.0, 39.5, 29.5, 80, 60)
NOW_NS = 10**18
FLOATS = (0.0, -0.0, math.nan, math.inf, -math.inf, 1e38, -1e38, 1e-40, 1e-30, -1.0, 1e-3, 1e6)
KINDS = ("range", "scan", "points", "depth")


def _put_stamp(header, frame_id):
    header.frame_id = frame_id
    header.stamp.sec, header.stamp.nanosec = divmod(NOW_NS, 10**9)


def reading(kind, rng):
    """One with which nothing is wrong, of a room with walls 1 to 5 m away."""
    if kind == "range":
        message = Range(radiation_type=rng.choice((0, 1)), field_of_view=0.2, min_range=0.1, max_range=8.0)
        message.range = rng.uniform(0.5, 5)
    elif kind == "scan":
        message = LaserScan(angle_min=-0.6, angle_max=0.6, angle_increment=0.01, range_min=0.1, range_max=20.0)
        message.ranges = array.array("f", [rng.uniform(1, 5) for _ in range(120)])
    elif kind == "points":
        names = [PointField(name=name, offset=4 * at, datatype=7, count=1) for at, name in enumerate("xyz")]
        message = PointCloud2(height=1, width=200, fields=names, point_step=16, row_step=3200)
        rows = [(rng.uniform(1, 5), rng.uniform(-1, 1), rng.uniform(-1, 1), 0.0) for _ in range(200)]
        message.data = array.array("B", b"".join(struct.pack("<4f", *row) for row in rows))
    else:
        message = Image(height=60, width=80, encoding="32FC1", step=320)
        message.data = array.array("B", np.full((60, 80), rng.uniform(1, 5), "<f4").tobytes())
    _put_stamp(message.header, "camera" if kind == "depth" else "sensor")
    return message


def spoil(rng, message):
    """Put something else into one field, of a message or of one below it."""
    name, kind = rng.choice(list(message.get_fields_and_field_types().items()))
    value = getattr(message, name)
    if hasattr(value, "get_fields_and_field_types"):
        spoil(rng, value)
    elif isinstance(value, bool):
        setattr(message, name, not value)
    elif isinstance(value, str):
        setattr(message, name, rng.choice(("", "sensor", "camera", "/sensor", "32FC1", "16UC1", "y", "\0", "ü" * 99)))
    elif isinstance(value, float):
        setattr(message, name, rng.choice(FLOATS))
    elif isinstance(value, int):
        most = {"uint8": 2**8, "uint16": 2**16, "uint32": 2**32, "int32": 2**31}[kind] - 1
        setattr(
            message,
            name,
            rng.choice((0, 1, value + 1, max(0, value - 1), value // 2, 2 * value, most, 7, 8)) % (most + 1),
        )
    elif isinstance(value, list):
        if value and rng.random() < 0.8:
            spoil(rng, rng.choice(value))
        else:
            setattr(message, name, value[:-1])
    else:  # numbers in an array
        numbers = list(value)
        for _ in range(rng.choice((1, 3, 50))):
            if numbers:
                at = rng.randrange(len(numbers))
                numbers[at] = rng.randrange(256) if isinstance(numbers[at], int) else rng.choice(FLOATS)
        if not isinstance(value, np.ndarray):  # which is of a fixed size
            numbers = rng.choice((numbers, numbers, numbers, numbers[:-1], numbers[: len(numbers) // 2], []))
        setattr(message, name, numbers)


def transforms(rng):
    """The sensor before the camera, mostly; TF is as wild as the readings."""
    tree = Transforms(max_gap_s=1.0, history_s=10.0)
    for parent, child, is_static in (("base", "sensor", True), ("base", "camera", True), ("odom", "base", False)):
        one = TransformStamped(child_frame_id=child)
        _put_stamp(one.header, parent)
        if child == "camera":
            one.transform.rotation.x, one.transform.rotation.y = -0.5, 0.5
            one.transform.rotation.z, one.transform.rotation.w = -0.5, 0.5
        message = TFMessage(transforms=[one])
        if rng.random() < 0.1:
            spoil(rng, message)
        tree.add(message, is_static=is_static)
    return tree


def frame(rng):
    depth_m = np.full((60, 80), rng.uniform(1, 5), np.float32)
    depth_m[:, 40:] *= np.float32(rng.uniform(0.5, 2))
    depth_m[rng.randrange(60)] = rng.choice((np.nan, np.inf, -np.inf))
    rgb = np.random.default_rng(rng.randrange(9)).integers(0, 256, (60, 80, 3), np.uint8)
    return AnchorFrame(NOW_NS, "camera", rgb, Prediction(depth_m, CAMERA), 1.0, np.full_like(depth_m, 0.3))


@pytest.mark.timeout(300 + READINGS // 20)
def test_every_reading_says_something_finite_or_is_refused():
    used, faults = 0, []
    for seed in range(SEED, SEED + READINGS):
        rng = random.Random(seed)
        kind, shown = KINDS[seed % len(KINDS)], frame(rng)
        message, estimator = reading(kind, rng), ScaleEstimator()
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            spoil(rng, message)
        try:
            try:
                said, seen = measure_reading(kind, message, NOW_NS, shown, transforms(rng), patient=rng.random() < 0.5)
            except InputError:
                continue
            assert math.isfinite(said.log_ratio)
            assert 0 <= said.variance < math.inf
            for step in range(4):
                estimator.see(step / 10, shown.prediction.depth_m)
                if estimator.add(kind, step / 10, said) and seen is not None:
                    estimator.learn_shape(shown.prediction, shown.shape, seen, shown.half_width)
            assert all(map(math.isfinite, (estimator.estimate.factor, estimator.estimate.shape.exponent)))
            used += 1
        except Exception as error:
            faults.append(f"FUZZ_SEED={seed} FUZZ_READINGS=1: {type(error).__name__}: {error}; {message}"[:600])
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults[:10])
    assert READINGS < 100 or 0.1 < used / READINGS < 0.9  # wild, but not only nonsense


@pytest.mark.timeout(300 + READINGS // 20)
def test_every_attitude_is_down_or_nothing():
    options = AnchorOptions(("ground",), "base", "odom", 0.5, 0.1, "DICT_APRILTAG_36h11")
    faults = []
    for seed in range(SEED, SEED + READINGS // 4):
        rng = random.Random(seed)
        message = Imu()
        _put_stamp(message.header, "sensor")
        message.orientation.w, message.linear_acceleration.z = 1.0, 9.81
        for _ in range(rng.choice((0, 1, 2, 3))):
            spoil(rng, message)
        try:
            down = down_of(message, NOW_NS)
            assert down is None or np.linalg.norm(down.vector) == pytest.approx(1)
            anchors = FrameAnchors(options)
            anchors.down = down
            try:
                said = anchors.measure("ground", frame(rng), transforms(rng))
            except InputError:
                continue
            assert said is not None
            assert math.isfinite(said.log_ratio)
        except Exception as error:
            faults.append(f"FUZZ_SEED={seed} FUZZ_READINGS=4: {type(error).__name__}: {error}; {message}"[:600])
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults[:10])
