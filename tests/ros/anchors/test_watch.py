# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The thread that compares, without ROS: messages are whatever has their fields."""

from __future__ import annotations

import itertools
import math
import re
import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace as Fields

import numpy as np
import pytest

from depthclip_ros.core.anchors.estimator import PRIOR_SD
from depthclip_ros.core.anchors.measurement import Prediction
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.transforms import TransformNotYetError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros.anchors import watch as watch_module
from depthclip_ros.ros.anchors.imu import check_recent, down_of
from depthclip_ros.ros.anchors.report import as_stats
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
    motion_unknown = False  # of the highest common frame: the patient wait for it

    def between(self, source, source_ns, target, target_ns, *, patient=False):
        if patient and self.motion_unknown:
            raise TransformNotYetError("the transform of 'base' is known from 0 to 1 s")
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

    def two_ranges(self, count, metres, left_m):
        for _ in range(count):
            used = self.used()
            self.frame()
            self.range(metres)
            self.range(left_m, frame_id="left")
            self.wait(lambda used=used: self.used() > used)

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
    assert as_stats(rig.watch.reports)["anchors_accepted"] == ["range"]


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
        (
            lambda rig: rig.range(2.0, stamp_ns=rig.stamp_ns - SECOND // 2),
            "from that of the nearest image that has depth",
        ),
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
    assert as_stats(rig.watch.reports)["anchors_accepted"] == []
    assert len(as_stats(rig.watch.reports)["anchors_refused"]) == 1


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
    rig.two_ranges(8, 2.4, 6.0)
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
    assert len([line for line in rig.log.infos if "another camera or scale.factor" in line]) == 1, "once in 5 s"


def test_each_camera_is_told_of_after_a_while(bench, monkeypatch):
    monkeypatch.setattr(watch_module, "ANEW_S", 0.0)
    rig = bench("range")
    other = Intrinsics(200.0, 200.0, 79.5, 59.5, 160, 120)
    for camera in (CAMERA, other, CAMERA):
        rig.drive(2, 2.6, camera=camera)
    assert len([line for line in rig.log.infos if "another camera or scale.factor" in line]) == 2


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


def bent(depth_m, exponent=1.4, pivot_m=2.0, scale=1.2):
    return scale * pivot_m * (depth_m / pivot_m) ** exponent


class RigOfARoom:
    """A depth camera sees a room as it is; the network draws it flatter, and the node corrects what it publishes."""

    def __init__(self, rig):
        self.rig = rig
        self.network_m = (1.0 + 3.0 * np.mgrid[:120, :160][1] / 160).astype(np.float32)

    def read(self, count):
        rig = self.rig
        for _ in range(count):
            rig.stamp_ns += SECOND // 10
            now = rig.watch.estimate
            depth = now.shape.stretched(self.network_m) * np.float32(now.factor)
            wide = np.full_like(depth, 0.4 * now.shape.width)
            rgb = np.full((120, 160, 3), 90, np.uint8)
            rgb[:, :40] = 200
            out = Prediction(depth, CAMERA)
            rig.watch.offer(AnchorFrame(rig.stamp_ns, "camera", rgb, out, now.factor, wide, now.shape, 0.8), 1.0)
            truth = bent(self.network_m).astype("<f4")
            message = Fields(
                header=Fields(frame_id="camera"), encoding="32FC1", height=120, width=160, step=640, is_bigendian=0,
                data=truth.tobytes(),
            )  # fmt: skip
            used = rig.used("depth")
            rig.watch.on_reading("depth", message, rig.stamp_ns)
            rig.wait(lambda used=used: rig.used("depth") > used)

    @property
    def error(self):
        found = self.rig.watch.estimate
        depth = found.shape.stretched(self.network_m) * found.factor
        return np.mean(np.abs(depth / bent(self.network_m) - 1))


def test_many_points_bend_depth_and_narrow_its_intervals_and_a_stop_forgets_neither(bench):
    room = RigOfARoom(bench("depth"))
    room.read(16)
    watch = room.rig.watch
    assert watch.estimate.shape.exponent == pytest.approx(1.4, abs=0.08)
    assert watch.estimate.shape.width < 0.7
    assert room.error < 0.03
    learnt = watch.estimate
    room.read(5)  # of frames that are corrected already
    assert watch.estimate.shape.exponent == pytest.approx(learnt.shape.exponent, abs=0.05)
    assert watch.coverage > 0.8
    learnt = watch.estimate
    watch.end()
    assert watch.join(10)
    watch.start()
    room.read(1)
    assert watch.estimate.shape.exponent == pytest.approx(learnt.shape.exponent, abs=0.05)
    assert watch.estimate.shape.width == pytest.approx(learnt.shape.width, abs=0.1)


def test_readings_that_are_not_believed_bend_nothing(bench):
    room = RigOfARoom(bench("depth"))
    room.rig.watch._estimator.add = lambda *_: False
    room.read(8)
    assert room.rig.watch._estimator._shape.at(0.0).exponent == 1.0


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
        (-0.35, r"its stamp is -0\.35 s from that of the nearest image that has depth"),
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


def scan_of(metres, count=121, half_rad=0.6):
    """A LaserScan of a wall across the optical axis, with zero for "no largest range"."""
    angles = np.linspace(-half_rad, half_rad, count)
    return Fields(
        header=Fields(frame_id="laser"), ranges=(metres / np.cos(angles)).astype(np.float32), angle_min=-half_rad,
        angle_increment=2 * half_rad / (count - 1), range_min=0.1, range_max=0.0,
    )  # fmt: skip


def test_a_scan_is_compared_and_its_points_tell_whether_the_intervals_hold(bench):
    rig = bench("scan")
    for _ in range(4):
        used = rig.used("scan")
        rig.frame(half_width=0.3)
        rig.watch.on_reading("scan", scan_of(2.5), rig.stamp_ns)
        rig.wait(lambda used=used: rig.used("scan") > used)
    assert rig.watch.estimate.factor == pytest.approx(1.25, rel=0.03)
    assert rig.watch.coverage == pytest.approx(1.0), "ln 1.25 = 0.22 lies within 0.3"


def test_a_marker_is_measured_on_the_frame_and_no_more_than_ten_times_a_second(bench):
    rig = bench("tag", tag_side_m=0.2)
    camera = Intrinsics(400.0, 400.0, 319.5, 239.5, 640, 480)
    for _ in range(6):
        rig.stamp_ns -= SECOND // 20  # `frame` goes on by a tenth of a second: twenty images a second
        rig.frame(camera=camera, depth_m=1.0)
        rig.wait(lambda: rig.watch._newest is None)
    rig.wait(lambda: rig.refused("tag"))
    time.sleep(0.1)
    assert 2 <= rig.refused("tag") <= 4
    assert "0 markers of DICT_APRILTAG_36h11 are seen" in rig.log.warnings[0]


def test_a_reading_before_any_image_waits_for_one(bench):
    rig = bench("range")
    rig.range(2.6, stamp_ns=rig.stamp_ns + SECOND // 10)
    time.sleep(0.05)
    assert (rig.used(), rig.refused()) == (0, 0)
    rig.frame()
    rig.wait(lambda: rig.used() == 1)


def test_a_reading_that_no_image_comes_for_is_refused(bench, monkeypatch):
    monkeypatch.setattr(watch_module, "WAIT_S", 0.05)
    rig = bench("range")
    rig.range(2.6)
    rig.wait(lambda: rig.refused() == 1)
    assert (
        "no depth to compare it with yet: no image comes, the camera is not calibrated, or nobody subscribes"
        in rig.log.warnings[0]
    )


def test_a_reading_that_is_newer_than_all_images_waits_for_the_next(bench):
    """0.12 s after the last image is nearer to the next one, which comes 0.1 s after it."""
    rig = bench("range")
    rig.frame(depth_m=9.0)
    rig.range(2.6, stamp_ns=rig.stamp_ns + SECOND * 12 // 100)
    time.sleep(0.05)
    assert (rig.used(), rig.refused()) == (0, 0)
    rig.frame(depth_m=2.6)
    rig.wait(lambda: rig.used() == 1)
    rig.stamp_ns += SECOND
    rig.drive(3, 2.6, depth_m=2.6)
    assert rig.watch.estimate.factor == pytest.approx(1.0, rel=0.01)


def test_stamps_that_go_back_begin_anew_and_the_scale_stays(bench):
    rig = bench("range")
    rig.drive(6, 2.6)
    learnt = rig.watch.estimate.factor
    rig.stamp_ns -= 600 * SECOND
    rig.drive(1, 2.6)
    assert rig.refused() == 0
    assert rig.watch.estimate.factor == pytest.approx(learnt, rel=0.02)
    assert rig.log.infos == []


def test_anchors_that_disagree_are_said_once_and_listed_with_both_values(bench):
    rig = bench("range")
    rig.two_ranges(12, 2.0, 6.0)
    rig.wait(lambda: as_stats(rig.watch.reports)["anchors_disagreeing"])
    (said,) = as_stats(rig.watch.reports)["anchors_disagreeing"]
    assert said.partition(":")[0] in ("range", "range left")
    assert "it says depth times" in said
    rig.wait(lambda: any("disagrees" in line for line in rig.log.warnings))
    assert len([line for line in rig.log.warnings if "disagrees" in line]) == 1


def test_what_fails_in_the_thread_is_said_and_the_next_reading_is_measured(bench, monkeypatch):
    rig = bench("range")
    measure = watch_module.measure_reading

    def fail(*_, **__):
        raise ZeroDivisionError("what nobody expected")

    monkeypatch.setattr(watch_module, "measure_reading", fail)
    rig.frame()
    rig.range(2.0)
    rig.wait(lambda: rig.log.warnings)
    assert "anchors failed: Traceback" in rig.log.warnings[0]
    assert "what nobody expected" in rig.log.warnings[0]
    monkeypatch.setattr(watch_module, "measure_reading", measure)
    rig.drive(1, 2.0)
    assert rig.used() >= 1


def test_a_reading_that_fails_each_time_holds_up_no_other(bench, monkeypatch):
    rig = bench("range", "points")
    measure = watch_module.measure_reading

    def fail_for_points(kind, *args, **how):
        if kind == "points":
            raise ValueError("no such layout")
        return measure(kind, *args, **how)

    monkeypatch.setattr(watch_module, "measure_reading", fail_for_points)
    cloud = Fields(header=Fields(frame_id="lidar"))
    for _ in range(12):
        rig.frame()
        rig.watch.on_reading("points", cloud, rig.stamp_ns)
        used = rig.used()
        rig.range(2.0)
        rig.wait(lambda used=used: rig.used() > used)
    rig.wait(lambda: rig.refused("points") == 12)
    assert rig.watch._held == []
    assert rig.watch.reports["points"].refusal == "ValueError: no such layout"


def test_a_reading_waits_for_the_motion_since_the_image_and_then_does_without(bench, monkeypatch):
    monkeypatch.setattr(watch_module, "WAIT_S", 0.3)
    rig = bench("range")
    rig.tree.motion_unknown = True
    rig.frame()
    start_s = time.monotonic()
    rig.range(2.0)
    rig.wait(lambda: rig.used() == 1)
    assert time.monotonic() - start_s >= 0.3
    assert rig.refused() == 0


def test_readings_while_no_depth_is_made_blame_no_clock(bench, monkeypatch):
    monkeypatch.setattr(watch_module, "WAIT_S", 0.05)
    monkeypatch.setattr(watch_module, "SILENT_S", 0.1)
    rig = bench("range")
    rig.frame()
    time.sleep(0.15)
    rig.range(2.0, stamp_ns=rig.stamp_ns + 30 * SECOND)
    rig.wait(lambda: rig.refused() == 1)
    assert "no depth to compare it with for 0 s: no image comes, or nobody subscribes" in rig.log.warnings[0]


def test_a_measurement_that_hangs_is_told_from_one_that_ends(bench, monkeypatch):
    rig = bench("range")
    gate, begun = threading.Event(), threading.Event()

    def hang(*_, **__):
        begun.set()
        gate.wait(20)
        raise InputError("too late")

    monkeypatch.setattr(watch_module, "measure_reading", hang)
    rig.frame()
    rig.range(2.0)
    assert begun.wait(20)
    rig.watch.end()
    assert rig.watch.join(0.05) is False
    gate.set()
    assert rig.watch.join(10) is True
    assert rig.watch.join(10) is True, "there is nothing left to wait for"
    rig.range(2.0, stamp_ns=rig.stamp_ns + SECOND)
    assert list(rig.watch._readings) == [], "after the end nothing is taken"


def test_the_scale_to_begin_with_is_the_users_times_what_was_learnt(bench):
    rig = bench("range")
    rig.drive(6, 2.6, base_factor=2.0)
    factor = rig.watch.estimate.factor
    rig.watch.end()
    assert rig.watch.join(10)
    assert f"the anchors say depth times {factor:.3f} (" in rig.log.infos[-1]
    assert rig.log.infos[-1].endswith(f"of scale.factors, to {2 * factor:.3f}")


@pytest.mark.parametrize(("apart_s", "used"), [(0.499, True), (0.501, False), (-0.501, False)])
def test_an_attitude_is_of_half_a_second_about_the_image(apart_s, used):
    down = down_of(imu(acceleration=(0.0, 0.0, 9.81)), 100 * SECOND)
    with nullcontext() if used else pytest.raises(InputError, match=r"attitude is 0\.5 s from the image's; 0\.5 s"):
        check_recent(down, 100 * SECOND + round(apart_s * SECOND))


@pytest.mark.parametrize(
    ("size", "says"), [(9.81, True), (9.81 * 1.09, True), (9.81 * 0.91, True), (9.81 * 1.11, False), (8.7, False)]
)
def test_an_acceleration_is_gravity_where_it_is_as_large_within_a_tenth(size, says):
    found = down_of(imu(acceleration=(0.0, 0.0, size)), 7)
    assert (found is not None) is says
    if found is not None:
        np.testing.assert_allclose(found.vector, (0, 0, -1))
        assert (found.frame_id, found.stamp_ns) == ("imu", 7)


@pytest.mark.parametrize(("scale", "by_orientation"), [(1.0, True), (1.009, True), (0.991, True), (1.02, False)])
def test_an_orientation_is_a_quaternion_of_length_one(scale, by_orientation):
    """Upside down by the orientation, upright by gravity: a broken quaternion leaves the word to gravity."""
    message = imu((scale, 0.0, 0.0, 0.0))
    np.testing.assert_allclose(down_of(message, 0).vector, (0, 0, 1 if by_orientation else -1), atol=1e-9)
    message.linear_acceleration_covariance[0] = -1.0
    assert (down_of(message, 0) is None) is not by_orientation


@pytest.mark.parametrize(
    ("apart_s", "reason"), [(-9.9, "from that of the nearest image that has depth"), (-10.1, "another clock")]
)
def test_stamps_that_are_ten_seconds_apart_are_of_two_clocks(bench, apart_s, reason):
    rig = bench("range")
    rig.frame()
    rig.range(2.6, stamp_ns=rig.stamp_ns + round(apart_s * SECOND))
    rig.wait(rig.refused)
    assert reason in rig.watch.reports["range"].refusal


def test_the_time_that_readings_took_is_a_mean_in_which_the_newest_counts_a_tenth(bench, monkeypatch):
    clock = itertools.chain([10.0, 10.25, 20.0, 20.5], itertools.repeat(30.0))
    monkeypatch.setattr(watch_module, "time", Fields(monotonic=time.monotonic, perf_counter=lambda: next(clock)))
    rig = bench("range")
    rig.drive(1, 2.6)
    assert rig.watch.reports["range"].measure_ms == pytest.approx(250.0)
    rig.drive(1, 2.6)
    assert rig.watch.reports["range"].measure_ms == pytest.approx(0.9 * 250 + 0.1 * 500)


def test_after_a_new_start_what_is_wrong_is_said_again(bench):
    rig = bench("range")
    for count in (1, 2):
        rig.frame()
        rig.range(0.0)
        rig.wait(lambda count=count: len(rig.log.warnings) == count)
        rig.watch.end()
        assert rig.watch.join(10)
        rig.watch.start()
        rig.stamp_ns += SECOND
