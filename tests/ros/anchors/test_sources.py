# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A reading's message and its transform become a measurement; messages are whatever has their fields."""

from __future__ import annotations

import math
from types import SimpleNamespace as Fields

import numpy as np
import pytest

from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.anchors.sources import (
    AnchorFrame,
    AnchorOptions,
    FrameAnchors,
    measure_reading,
)

CAMERA = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)
FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])


class Tree:
    """Sensors look ahead from `right_m` beside the camera; what was asked for is remembered."""

    def __init__(self, matrix=FORWARD, unknown=()):
        self.matrix, self.unknown, self.asked = matrix, unknown, []

    def between(self, source, source_ns, target, target_ns, *, patient=False):
        self.asked.append((source, source_ns, target, target_ns))
        if {source, target} & set(self.unknown):
            raise InputError("no chain of transforms")
        return self.matrix


def frame(depth_m=2.0, factor=1.25):
    depth = np.broadcast_to(np.asarray(depth_m, np.float32) / factor, (120, 160)).astype(np.float32)
    return AnchorFrame(2000, "camera", np.zeros((120, 160, 3), np.uint8), Prediction(depth, CAMERA), 1.0, None)


def header(frame_id="sensor"):
    return Fields(frame_id=frame_id, stamp=Fields(sec=0, nanosec=1000))


def cloud(points):
    data = np.asarray(points, "<f4")
    names = [Fields(name=name, offset=4 * index, datatype=7, count=1) for index, name in enumerate("xyz")]
    sizes = {"height": 1, "width": len(data), "point_step": 12, "row_step": 12 * len(data)}
    return Fields(header=header(), fields=names, is_bigendian=False, data=data.tobytes(), **sizes)


def test_a_range_goes_by_its_own_field_of_view_and_kind():
    message = Fields(
        header=header(), range=2.0, min_range=0.1, max_range=5.0, field_of_view=math.radians(8), radiation_type=1
    )
    tree = Tree()
    said, seen = measure_reading("range", message, 1000, frame(), tree)
    assert said.log_ratio == pytest.approx(math.log(1.25), abs=0.003)
    assert seen is None
    assert tree.asked == [("sensor", 1000, "camera", 2000)]
    for values in ({"range": 0.05}, {"range": 6.0}):
        with pytest.raises(InputError, match=r"a distance of 0\.1 to 5 m"):
            measure_reading("range", Fields(**{**vars(message), **values}), 1000, frame(), tree)


def test_a_scan_goes_by_its_angles():
    angles = np.arange(-0.6, 0.6, 0.01)
    message = Fields(
        header=header(), ranges=(2 / np.cos(angles)).tolist(), angle_min=-0.6, angle_increment=0.01, range_min=0.1,
        range_max=10.0,
    )  # fmt: skip
    said, seen = measure_reading("scan", message, 1000, frame(), Tree())
    assert said.log_ratio == pytest.approx(math.log(1.25), abs=1e-3)
    np.testing.assert_allclose(seen.true_m, 2.0, rtol=1e-4)
    assert np.ptp(seen.pixels[:, 0]) > 120


@pytest.mark.parametrize("count", [40, 250])
def test_a_cloud_is_thinned_evenly_and_says_the_same(count):
    y, z = (one.ravel() for one in np.meshgrid(np.linspace(-1, 1, count), np.linspace(-0.8, 0.8, count)))
    said, seen = measure_reading("points", cloud(np.stack([np.full(y.size, 2.0), y, z], -1)), 1000, frame(), Tree())
    assert said.log_ratio == pytest.approx(math.log(1.25), abs=1e-3)
    assert min(count**2, 15_000) <= len(seen.true_m) < 30_000
    assert np.ptp(seen.pixels[:, 0]) > 90
    assert np.ptp(seen.pixels[:, 1]) > 70


def test_a_depth_image_needs_the_cameras_frame_and_no_transform():
    pixels = np.full((120, 160), 2000, np.uint16)
    message = Fields(
        header=header("/camera"),
        encoding="16UC1",
        height=120,
        width=160,
        step=320,
        is_bigendian=0,
        data=pixels.tobytes(),
    )
    tree = Tree()
    said, seen = measure_reading("depth", message, 1000, frame(), tree)
    assert said.log_ratio == pytest.approx(math.log(1.25), abs=1e-3)
    assert len(seen.true_m) > 1000
    assert tree.asked == []
    message.header.frame_id = "other"
    with pytest.raises(InputError, match=r"its frame is 'other' and the camera's 'camera'; depth must be registered"):
        measure_reading("depth", message, 1000, frame(), tree)


def test_a_reading_without_a_frame_is_refused():
    with pytest.raises(InputError, match="it has no frame_id"):
        measure_reading("range", Fields(header=header("")), 1000, frame(), Tree())


def anchors(**options):
    values = {
        "base_frame": "base_footprint", "odom_frame": "odom", "ground_height_m": 0.0, "tag_side_m": 0.1,
        "tag_dictionary": "DICT_APRILTAG_36h11", **options,
    }  # fmt: skip
    return FrameAnchors(AnchorOptions(("ground",), **values))


def floor_frame(height_m=0.8, pitch_deg=25.0):
    """Depth of a floor that is predicted 1.3 times too near, and the camera's pose over it: optical frame to base."""
    pitch = math.radians(pitch_deg)
    down = np.array([0.0, math.cos(pitch), math.sin(pitch)])
    v, u = np.mgrid[:120, :160]
    rays = np.stack([(u - 79.5) / 100, (v - 59.5) / 100, np.ones((120, 160))], -1)
    with np.errstate(divide="ignore"):
        depth_m = np.where(rays @ down > 0.03, height_m / (rays @ down), np.nan)
    to_base = np.eye(4)
    to_base[2, :3], to_base[2, 3] = -down, height_m
    return frame(depth_m, 1.3), to_base


def test_the_ground_goes_by_tf_and_a_stated_height_comes_first():
    shown, to_base = floor_frame()
    tree = Tree(to_base)
    assert anchors().measure("ground", shown, tree).log_ratio == pytest.approx(math.log(1.3), abs=0.01)
    assert tree.asked == [("camera", 2000, "base_footprint", 2000)]
    higher = anchors(ground_height_m=1.6).measure("ground", shown, tree)
    assert higher.log_ratio == pytest.approx(math.log(2 * 1.3), abs=0.01)


def test_without_tf_the_ground_needs_a_height_and_takes_the_floors_own_attitude():
    shown, to_base = floor_frame()
    tree = Tree(to_base, unknown=("base_footprint",))
    with pytest.raises(InputError, match="no chain"):
        anchors().measure("ground", shown, tree)
    said = anchors(ground_height_m=0.8).measure("ground", shown, tree)
    assert said.log_ratio == pytest.approx(math.log(1.3), abs=0.02)
    known = anchors(ground_height_m=0.8).measure("ground", shown, Tree(to_base))
    assert known.place_variance < said.place_variance, "an attitude that is known makes it surer"


def test_a_tag_that_is_not_there_is_refused_and_odometry_waits_for_a_way():
    with pytest.raises(InputError, match="0 markers of DICT_APRILTAG_36h11"):
        anchors().measure("tag", frame(), Tree())
    tree, waiting = Tree(np.eye(4)), anchors()
    assert waiting.measure("odometry", frame(), tree) is None
    assert waiting._tracker._key.time_s == pytest.approx(2e-6), "seconds, by which it tells a view that is old"
    assert tree.asked == [("camera", 2000, "odom", 2000)]
