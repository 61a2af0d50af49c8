# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The thread that compares, without ROS: messages are whatever has their fields."""

from __future__ import annotations

import math
import re
import time
from types import SimpleNamespace as Fields

import numpy as np
import pytest

from depthclip_ros.core.anchors.estimator import PRIOR_SD
from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.transforms import TransformNotYetError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.anchors.imu import down_of
from depthclip_ros.ros.anchors.sources import AnchorFrame, AnchorOptions
from depthclip_ros.ros.anchors.watch import AnchorWatch

CAMERA = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)
FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
SECOND = 10**9
OPTIONS = {
    "base_frame": "base_footprint", "odom_frame": "odom", "ground_height_m": 0.0, "tag_side_m": 0.1,
    "tag_dictionary": "DICT_APRILTAG_36h11",
}  # fmt: skip


class Log:
    def __init__(self):
        self.warnings, self.infos = [], []

    def warning(self, text):
        self.warnings.append(text)

    def info(self, text):
        self.infos.append(text)


class Tree:
    """Every sensor looks ahead from where the camera is; one frame is unknown, one comes late."""

    late_until_s = 0.0
    unknown: frozenset[str] = frozenset()

    def between(self, source, source_ns, target, target_ns):
        if {source, target} & self.unknown:
            raise InputError("no chain of transforms leads there")
        if source == "nowhere":
            raise InputError("no chain of transforms leads from 'nowhere' to 'camera'")
        if time.monotonic() < self.late_until_s:
            raise TransformNotYetError("the transform of 'sonar' is known from 0 to 1 s")
        return FORWARD


class Bench:
    def __init__(self, *names, prior_sd=PRIOR_SD, **options):
        self.log, self.tree = Log(), Tree()
        options = AnchorOptions(names, **{**OPTIONS, **options})
        self.watch = AnchorWatch(options, self.tree, self.log, prior_sd=prior_sd)
        self.watch.start()
        self.stamp_ns = 1000 * SECOND

    def frame(self, factor=1.0, camera=CAMERA, depth_m=2.0, base_factor=1.0, half_width=0.3, depth_image=None):
        """The next image: a wall of which the network says 2 m."""
        self.stamp_ns += SECOND // 10
        depth = np.full((camera.height_px, camera.width_px), depth_m * factor, np.float32)
        depth = depth if depth_image is None else depth_image
        rgb = np.full((camera.height_px, camera.width_px, 3), 90, np.uint8)
        rgb[:, :40] = 200
        wide = np.full_like(depth, half_width)
        seen = AnchorFrame(self.stamp_ns, "camera", rgb, Prediction(depth, camera), factor, wide)
        self.watch.offer(seen, base_factor)

    def range(self, metres, *, frame_id="sonar", stamp_ns=None):
        message = Fields(
            header=Fields(frame_id=frame_id),
            range=metres, min_range=0.1, max_range=8.0, field_of_view=0.1, radiation_type=1,
        )  # fmt: skip
        self.watch.on_reading("range", message, self.stamp_ns if stamp_ns is None else stamp_ns)

    def wait(self, condition):
        end_s = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end_s, (self.watch.reports, self.log.warnings)
            time.sleep(0.005)

    def used(self, name="range"):
        report = self.watch.reports.get(name)
        return report.used if report else 0

    def refused(self, name="range"):
        report = self.watch.reports.get(name)
        return report.refused if report else 0

    def drive(self, count, metres, **how):
        for _ in range(count):
            before = self.used() + self.refused()
            self.frame(**how)
            self.range(metres)
            self.wait(lambda before=before: self.used() + self.refused() > before)


@pytest.fixture
def bench():
    made = []

    def make(*names, **options):
        made.append(Bench(*names, **options))
        return made[-1]

    yield make
    for one in made:
        one.watch.end()
        assert one.watch.join(10)


def test_a_beam_sets_the_scale_of_what_follows_and_does_not_follow_itself(bench):
    rig = bench("range")
    rig.drive(6, 2.6)
    found = rig.watch.estimate
    assert found.factor == pytest.approx(1.3, rel=0.04)
    assert found.log_scale_sd == pytest.approx(0.144, abs=0.02)
    # frames that carry the factor already say the same of the network
    rig.drive(6, 2.6, factor=found.factor)
    assert rig.watch.estimate.factor == pytest.approx(found.factor, rel=0.01)
    assert rig.watch.lists()["anchors_accepted"] == ["range"]


def test_offering_and_reading_never_wait(bench):
    rig = bench("range")
    start_s = time.perf_counter()
    for _ in range(50):
        rig.frame()
        rig.range(2.0)
    assert (time.perf_counter() - start_s) / 50 < 0.02


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda rig: rig.range(0.0), r"range is 0\.0 m"),
        (lambda rig: rig.range(math.inf), "range is inf m"),
        (lambda rig: rig.range(2.0, frame_id="nowhere"), "no chain of transforms leads from 'nowhere'"),
        (lambda rig: rig.range(2.0, frame_id=""), "no frame_id"),
        (lambda rig: rig.range(2.0, stamp_ns=5 * SECOND), "another clock; synchronise the two"),
        (lambda rig: rig.range(2.0, stamp_ns=rig.stamp_ns - SECOND // 2), "from the nearest image's"),
    ],
)
def test_bad_readings_are_counted_and_named_once(bench, make, reason):
    rig = bench("range")
    for number in range(3):
        rig.frame()
        make(rig)
        rig.wait(lambda number=number: rig.refused() >= min(number + 1, 1))
        time.sleep(0.02)
    (said,) = rig.log.warnings
    assert said.startswith("anchor range: ")
    assert re.search(reason, said)
    assert "depth goes on without it" in said
    assert rig.watch.estimate.log_scale_sd is None
    assert rig.watch.lists()["anchors_accepted"] == []
    assert len(rig.watch.lists()["anchors_refused"]) == 1


def test_a_transform_that_is_late_is_waited_for(bench):
    rig = bench("range")
    rig.tree.late_until_s = time.monotonic() + 0.25
    rig.frame()
    rig.range(2.0)
    rig.wait(lambda: rig.used() == 1)
    assert rig.refused() == 0
    rig.tree.late_until_s = math.inf
    rig.frame()
    rig.range(2.0)
    rig.wait(lambda: rig.refused() == 1)


def test_each_sensor_of_a_topic_is_an_anchor_of_its_own(bench):
    rig = bench("range")
    for _ in range(8):
        used = rig.used()
        rig.frame()
        rig.range(2.4)
        rig.range(6.0, frame_id="left")
        rig.wait(lambda used=used: rig.used() > used)
    rig.wait(lambda: rig.used("range left") >= 4)
    assert set(rig.watch.reports) == {"range", "range left"}


def test_another_camera_begins_anew_and_a_stop_does_not(bench):
    rig = bench("range")
    rig.drive(6, 2.6)
    learnt = rig.watch.estimate
    rig.watch.end()
    assert rig.watch.join(10)
    assert "set scale.factor" in rig.log.infos[-1]
    rig.watch.start()
    assert rig.watch.estimate == learnt
    rig.frame()
    time.sleep(0.1)
    assert rig.watch.estimate.log_scale == learnt.log_scale
    rig.frame(camera=Intrinsics(200.0, 200.0, 79.5, 59.5, 160, 120))
    rig.wait(lambda: rig.watch.estimate.log_scale_sd is None)
    rig.drive(6, 2.6, camera=Intrinsics(200.0, 200.0, 79.5, 59.5, 160, 120))
    rig.frame(camera=Intrinsics(200.0, 200.0, 79.5, 59.5, 160, 120), base_factor=1.3)
    rig.wait(lambda: rig.watch.estimate.log_scale_sd is None)


def test_a_floor_that_is_not_seen_is_refused_with_its_reason(bench):
    rig = bench("ground", ground_height_m=0.5)
    for _ in range(3):
        rig.frame()
        time.sleep(0.05)
    rig.wait(lambda: rig.refused("ground") >= 1)
    assert "the floor is not seen" in rig.log.warnings[0]


def test_a_depth_image_of_another_camera_is_refused(bench):
    rig = bench("depth")
    rig.frame()
    depth = np.full((120, 160), 2.6, "<f4")
    message = Fields(
        header=Fields(frame_id="depth_frame"), height=120, width=160, encoding="32FC1", is_bigendian=0, step=640,
        data=depth.tobytes(),
    )  # fmt: skip
    rig.watch.on_reading("depth", message, rig.stamp_ns)
    rig.wait(lambda: rig.refused("depth") == 1)
    assert "depth must be registered to the camera" in rig.log.warnings[0]
    message.header.frame_id = "camera"
    for _ in range(4):
        rig.frame()
        used = rig.used("depth")
        rig.watch.on_reading("depth", message, rig.stamp_ns)
        rig.wait(lambda used=used: rig.used("depth") > used)
    assert rig.watch.estimate.factor == pytest.approx(1.3, rel=0.02)


def level_floor(tilt_rad):
    """Depth of a floor 1 m below a camera that looks down by an angle; +Inf above the horizon."""
    v = (np.mgrid[:120, :160][0] - 59.5) / 100
    down = np.cos(tilt_rad) * v + np.sin(tilt_rad)  # of a ray of depth 1 m
    with np.errstate(divide="ignore"):
        return np.where(down > 0.15, 1 / down, np.inf).astype(np.float32)


def imu(q=None, acceleration=(0.0, 0.0, 9.81)):
    """The IMU lies level in the robot; x, y, z, w, or none."""
    x, y, z, w = q or (0.0, 0.0, 0.0, 0.0)
    return Fields(
        header=Fields(frame_id="imu"),
        orientation=Fields(x=x, y=y, z=z, w=w), orientation_covariance=[-1.0 if q is None else 0.0] * 9,
        linear_acceleration=Fields(**dict(zip("xyz", acceleration, strict=True))),
        linear_acceleration_covariance=[0.0] * 9,
    )  # fmt: skip


@pytest.mark.parametrize("by", ["orientation", "gravity"])
def test_an_imu_says_which_way_is_down(bench, by):
    tilt = math.radians(75)  # more than a plane alone is taken for a floor at
    rig = bench("ground", ground_height_m=1.5)
    rig.tree.unknown = {"base_footprint"}
    forward = (math.sin(tilt), 0.0, math.cos(tilt))  # of gravity's reaction, in x forward, z up of a frame that nods
    nods = (
        imu((0.0, math.sin(tilt / 2), 0.0, math.cos(tilt / 2)))
        if by == "orientation"
        else imu(acceleration=tuple(-9.81 * one if i == 0 else 9.81 * one for i, one in enumerate(forward)))
    )
    for _ in range(8):
        used = rig.used("ground")
        rig.watch.on_imu(nods, rig.stamp_ns)
        rig.frame(depth_image=level_floor(tilt))
        rig.wait(lambda used=used: rig.used("ground") > used)
    assert rig.watch.estimate.factor == pytest.approx(1.5, rel=0.05)
    # a stale attitude is none
    rig.stamp_ns += 5 * SECOND
    rig.frame(depth_image=level_floor(tilt))
    rig.wait(lambda: rig.refused("ground") > 0)
    assert "the IMU's attitude is" in rig.log.warnings[-1]


def test_a_shaken_imu_without_orientation_says_nothing(bench):
    assert down_of(imu(acceleration=(3.0, 0.0, 12.0)), 0) is None
    np.testing.assert_allclose(down_of(imu(acceleration=(0.0, 0.3, 9.7)), 0).vector, (0, -0.031, -1), atol=1e-3)


def test_how_often_the_intervals_hold_is_counted_where_points_are_measured(bench):
    rig = bench("depth")

    def read(metres):
        image = np.full((120, 160), metres, "<f4")
        image[:, 80:] = 2.0
        message = Fields(
            header=Fields(frame_id="camera"), encoding="32FC1", height=120, width=160, step=640, is_bigendian=0,
            data=image.tobytes(),
        )  # fmt: skip
        used = rig.used("depth")
        rig.frame()
        rig.watch.on_reading("depth", message, rig.stamp_ns)
        rig.wait(lambda: rig.used("depth") > used)

    assert math.isnan(rig.watch.coverage)
    read(2.5)  # ln(2.5 / 2) = 0.22 is within 0.3
    assert rig.watch.coverage == pytest.approx(1.0)
    for _ in range(3):
        read(3.0)  # 0.41 is not, and is half of the image
    assert 0.9 < rig.watch.coverage < 1.0
    rig.stamp_ns += 60 * SECOND
    read(3.0)
    assert rig.watch.coverage == pytest.approx(0.5, abs=0.01)


def test_the_weights_say_how_far_off_the_scale_may_be_at_first(bench):
    narrow, wide = bench("range", prior_sd=0.05), bench("range", prior_sd=0.8)
    for rig in (narrow, wide):
        rig.drive(6, 2.6)
    assert wide.watch.estimate.factor == pytest.approx(1.3, rel=0.04)
    assert narrow.watch.estimate.log_scale_sd is None or narrow.watch.estimate.factor < 1.1


@pytest.mark.parametrize(
    ("apart_s", "reason"),
    [
        (-0.05, None),
        (-0.35, r"its stamp is -0\.35 s from the nearest image's"),
        (-90.0, "-90 s from the image's: another clock"),
    ],
)
def test_a_reading_goes_with_the_image_of_about_its_time(bench, apart_s, reason):
    rig = bench("range")
    rig.frame()
    rig.range(2.6, stamp_ns=rig.stamp_ns + round(apart_s * SECOND))
    rig.wait(lambda: rig.used() + rig.refused())
    assert (rig.used(), rig.refused()) == ((1, 0) if reason is None else (0, 1))
    if reason is not None:
        assert re.search(reason, rig.watch.reports["range"].refusal)


def test_a_report_has_how_long_a_reading_took(bench):
    rig = bench("range")
    rig.drive(3, 2.6)
    assert 0 < rig.watch.reports["range"].measure_ms < 5000
