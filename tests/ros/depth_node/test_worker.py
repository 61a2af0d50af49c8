# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The worker with several cameras and an engine that does what it is told: no camera holds up or spoils another."""

from __future__ import annotations

import math
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

from depthclip_ros.core.anchors.estimator import ScaleEstimate
from depthclip_ros.core.anchors.track import Verdict
from depthclip_ros.core.errors import DeviceError, InputError, NotReadyError
from depthclip_ros.core.types import ViewDepth
from depthclip_ros.ros.anchors.report import AnchorReport
from depthclip_ros.ros.depth_node.camera import Camera
from depthclip_ros.ros.depth_node.outputs import FIRST, INFO, LATE
from depthclip_ros.ros.depth_node.parameters.values import settings_from
from depthclip_ros.ros.depth_node.pipeline import FramePipeline
from depthclip_ros.ros.depth_node.worker import DepthWorker

WAIT_S = 20.0
BAD = 13  # an image of this colour is what the engine refuses


class Engine:
    """Gives every pixel its image's red value as depth. `gate` holds it up, `gone` takes its device away."""

    def __init__(self):
        self.info = SimpleNamespace(system="fake", sha256="0" * 64)
        self.device, self.notices, self.uncertainty, self.max_depth_m = "cpu", [], None, 1000.0
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()
        self.gone = False

    def require_metric(self):
        pass

    def infer_views(self, views):
        self.batches.append([int(view.rgb[0, 0, 0]) for view in views])
        assert self.gate.wait(WAIT_S)
        if self.gone:
            raise DeviceError("the device is gone")
        if any(view.rgb[0, 0, 0] == BAD for view in views):
            raise InputError("an image of the colour 13")
        return [
            ViewDepth(view.rgb[..., 0].astype(np.float32), np.ones(view.rgb.shape[:2], np.float32), 1.0, (), None)
            for view in views
        ]


class Outputs:
    """Remembers what was published. `gate` holds up what comes late."""

    def __init__(self):
        self.topics = frozenset({**FIRST, **LATE})
        self.depths, self.infos, self.late = [], [], []
        self.gate = threading.Event()
        self.gate.set()

    def wanted(self):
        return self.topics

    def publish_depth(self, header, result):
        self.depths.append(int(result.depth_m[0, 0]))

    def publish_camera_info(self, header, intrinsics, offset_m):
        self.infos.append(header)
        self.intrinsics, self.offset_m = intrinsics, offset_m

    def has_scan_of(self, frame):
        return False

    def publish_late(self, frame):
        assert self.gate.wait(WAIT_S)
        self.late.append(frame)


class Log:
    """Remembers what was logged."""

    def __init__(self):
        self.lines = []
        self.error = self.warning = self.info = self.lines.append


@pytest.fixture
def rig():
    """A running worker with the cameras front and left; each has the attribute `outputs`."""
    engine, log = Engine(), Log()
    worker = DepthWorker(engine, log)
    settings = settings_from({"cameras": ["front", "left"]})
    for name in settings.cameras:
        outputs = Outputs()
        pipeline = FramePipeline(engine, settings, camera=name)
        camera = Camera(name, pipeline, outputs, worker.mailboxes, log, time.time_ns)
        camera.outputs = outputs
        camera.numbers = iter(range(1, 1000))
        worker.cameras.append(camera)
    worker.start()
    front, left = worker.cameras
    yield SimpleNamespace(engine=engine, log=log, worker=worker, front=front, left=left)
    engine.gate.set()
    for camera in worker.cameras:
        camera.outputs.gate.set()
    assert worker.stop()


def _header(stamp_ns):
    return SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id="eye")


def _send(camera, colour, stamp_ns=None, side=32):
    stamp_ns = next(camera.numbers) if stamp_ns is None else stamp_ns
    data = np.full((side, side, 3), colour, np.uint8).tobytes()
    fields = {"encoding": "rgb8", "width": side, "height": side, "step": 3 * side, "is_bigendian": 0}
    camera.on_image(SimpleNamespace(header=_header(stamp_ns), data=data, **fields))
    return stamp_ns


def _info(stamp_ns, side=32):
    k = [20.0, 0, side / 2, 0, 20.0, side / 2, 0, 0, 1]
    p = [20.0, 0, side / 2, 0, 0, 20.0, side / 2, 0, 0, 0, 1, 0]
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    r = [1.0, 0, 0, 0, 1, 0, 0, 0, 1]
    fields = {"width": side, "height": side, "binning_x": 0, "binning_y": 0, "distortion_model": "", "d": []}
    return SimpleNamespace(header=_header(stamp_ns), k=k, r=r, p=p, roi=roi, **fields)


def _until(condition):
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.001)


def _busy(rig):
    """Hold the engine up at an image of `front`; the next round then has what came meanwhile."""
    rig.engine.gate.clear()
    _send(rig.front, 200)
    _until(lambda: rig.engine.batches and rig.engine.batches[-1] == [200])


def test_one_batch_has_the_newest_image_of_each_camera(rig):
    _busy(rig)
    for colour in (1, 2, 3):
        _send(rig.front, colour)
    _send(rig.left, 50)
    rig.engine.gate.set()
    _until(lambda: rig.left.outputs.depths)
    assert rig.engine.batches == [[200], [3, 50]]
    assert rig.front.outputs.depths == [200, 3]
    assert (rig.front.box.overtaken, rig.left.box.overtaken) == (2, 0)
    counters = rig.front.counters
    assert counters.received == counters.published + rig.front.box.overtaken


def test_an_image_that_the_engine_refuses_costs_the_others_of_its_batch_nothing(rig):
    _busy(rig)
    _send(rig.front, BAD)
    _send(rig.left, 50)
    rig.engine.gate.set()
    _until(lambda: rig.left.outputs.depths and rig.front.counters.refused)
    assert rig.left.outputs.depths == [50]
    assert rig.front.outputs.depths == [200]
    assert (rig.front.counters.refused, rig.left.counters.refused) == (1, 0)
    assert any("front: image dropped: an image of the colour 13" in line for line in rig.log.lines)


def test_a_device_that_is_gone_is_an_error_of_every_camera_and_no_image_is_tried_twice(rig):
    _busy(rig)
    _send(rig.front, 1)
    _send(rig.left, 50)
    rig.engine.gone = True
    rig.engine.gate.set()
    _until(lambda: rig.left.counters.failed)
    assert rig.engine.batches == [[200], [1, 50]]
    assert rig.front.counters.device_error == rig.left.counters.device_error == "the device is gone"
    rig.engine.gone = False
    _send(rig.left, 51)
    _until(lambda: rig.left.outputs.depths)
    assert rig.left.counters.device_error == ""


def test_an_image_that_waits_for_its_first_camera_info_holds_up_no_other_camera(rig):
    rig.front.count_camera_infos = lambda: 1
    rig.front.infos._first_wait_s = 3600
    stamp_ns = _send(rig.front, 1)
    for colour in (50, 51, 52):
        _send(rig.left, colour)
        _until(lambda colour=colour: colour in rig.left.outputs.depths)
    assert not rig.front.outputs.depths
    rig.front.on_camera_info(_info(stamp_ns))
    _until(lambda: rig.front.outputs.depths == [1])
    assert not rig.front.counters.focal_assumed
    assert rig.front.outputs.infos


def test_an_image_of_a_new_size_waits_for_its_own_camera_info_and_holds_up_no_other_camera(rig, monkeypatch):
    monkeypatch.setattr("depthclip_ros.ros.depth_node.camera.CHANGED_S", 3600.0)
    rig.front.on_camera_info(_info(0, side=16))
    stamp_ns = _send(rig.front, 1)
    _send(rig.left, 50)
    _until(lambda: rig.left.outputs.depths)
    assert not rig.front.outputs.depths
    assert not rig.front.counters.refused
    rig.front.on_camera_info(_info(stamp_ns))
    _until(lambda: rig.front.outputs.depths == [1])


def test_an_image_whose_own_camera_info_never_comes_is_refused_with_what_is_wrong(rig, monkeypatch):
    monkeypatch.setattr("depthclip_ros.ros.depth_node.camera.CHANGED_S", 0.01)
    rig.front.on_camera_info(_info(0, side=16))
    _send(rig.front, 1)
    _until(lambda: rig.front.counters.refused)
    said = "front: image dropped: camera_info is 16x16 but the image is 32x32"
    _until(lambda: any(said in line for line in rig.log.lines))  # which follows the count


def test_slow_late_outputs_delay_neither_depth_nor_another_camera_and_are_counted(rig):
    rig.front.outputs.gate.clear()
    for colour in (1, 2, 3, 4):
        _send(rig.front, colour)
        _until(lambda colour=colour: rig.front.outputs.depths[-1:] == [colour])
        _send(rig.left, 50 + colour)
        _until(lambda colour=colour: rig.left.outputs.late and rig.left.outputs.depths[-1] == 50 + colour)
    assert not rig.front.outputs.late
    _until(lambda: rig.front.late.overtaken >= 2)  # one is in work, one waits, the others gave way
    rig.front.outputs.gate.set()
    _until(lambda: rig.front.outputs.late and rig.front.outputs.late[-1].stats["frames_out"] == 4)
    assert len(rig.front.outputs.late) + rig.front.late.overtaken == 4
    _send(rig.front, 5)
    _until(lambda: rig.front.outputs.late[-1].stats["frames_out"] == 5)
    assert rig.front.outputs.late[-1].stats["outputs_dropped"] == rig.front.late.overtaken


def test_late_outputs_that_fail_are_said_and_the_next_frame_is_published(rig, monkeypatch):
    def fail(frame):
        raise RuntimeError("no room for a cloud")

    with monkeypatch.context() as patch:
        patch.setattr(rig.front.outputs, "publish_late", fail)
        _send(rig.front, 1)
        _until(lambda: any("no room for a cloud" in line for line in rig.log.lines))
    _send(rig.front, 2)
    _until(lambda: rig.front.outputs.late)
    assert rig.front.outputs.depths == [1, 2]


def test_stats_say_which_camera_and_how_it_was_served(rig):
    _busy(rig)
    _send(rig.front, 1)
    _send(rig.left, 50, stamp_ns=time.time_ns())
    rig.engine.gate.set()
    _until(lambda: rig.left.outputs.late)
    stats = rig.left.outputs.late[-1].stats
    assert (stats["camera"], stats["frames_in"], stats["frames_out"]) == ("left", 1, 1)
    assert 0 <= stats["receive_ms"] <= stats["latency_ms"]
    assert stats["wait_ms"] >= 0


def test_camera_info_alone_is_published_of_compressed_images_too(rig):
    rig.front.outputs.topics = frozenset({INFO})
    rig.front.on_camera_info(_info(1))
    data = cv2.imencode(".jpg", np.zeros((32, 32, 3), np.uint8))[1].tobytes()
    rig.front.on_image(SimpleNamespace(header=_header(1), data=data, format="jpeg"))
    _until(lambda: rig.front.counters.unwatched)
    assert len(rig.front.outputs.infos) == 1
    assert not rig.engine.batches


@pytest.mark.parametrize("hfov", [0.0, 70.0])
@pytest.mark.parametrize("info", ["none", "zeros"])
def test_camera_info_alone_is_that_of_an_assumed_field_of_view_or_does_not_come(rig, hfov, info):
    rig.front.outputs.topics = frozenset({INFO})
    rig.front.pipeline.settings = settings_from({"cameras": ["front", "left"], "input.assumed_hfov": hfov})
    if info == "zeros":
        zeros = _info(1)
        zeros.k, zeros.p = [0.0] * 9, [0.0] * 12
        rig.front.on_camera_info(zeros)
    _send(rig.front, 1, stamp_ns=1)
    _until(lambda: rig.front.counters.unwatched)
    assert rig.front.counters.refused == 0
    assert len(rig.front.outputs.infos) == (hfov > 0)
    if hfov:
        assert rig.front.outputs.intrinsics.hfov_deg == pytest.approx(hfov)


@pytest.mark.parametrize("alone", [False, True])
def test_the_second_camera_of_a_stereo_pair_keeps_its_offset(rig, alone):
    if alone:
        rig.front.outputs.topics = frozenset({INFO})
    info = _info(1)
    info.p[3] = -info.p[0] * 0.12
    rig.front.on_camera_info(info)
    _send(rig.front, 1, stamp_ns=1)
    _until(lambda: rig.front.outputs.infos)
    assert rig.front.outputs.offset_m == pytest.approx((-0.12, 0.0))


def test_every_image_is_in_one_count_at_any_time(rig):
    camera = rig.front
    account = lambda: camera.counters.account(camera.box.overtaken)  # noqa: E731

    def closes(**counts):
        names = ("out", "dropped", "refused", "failed", "unwatched", "skipped", "waiting")
        expected = dict.fromkeys(names, 0) | counts
        _until(lambda: account() == {"in": sum(expected.values()), **expected})

    _busy(rig)
    closes(waiting=1)
    _send(camera, 1)
    _send(camera, 2)
    closes(waiting=3)  # one in work; which of the other two is taken is not yet decided
    rig.engine.gate.set()
    closes(out=2, dropped=1)
    _send(camera, BAD)
    _send(camera, 3, stamp_ns=0)
    closes(out=2, dropped=1, refused=2)
    rig.engine.gone = True
    _send(camera, 4)
    closes(out=2, dropped=1, refused=2, failed=1)
    camera.outputs.topics = frozenset()
    _send(camera, 5)
    camera.outputs.topics = frozenset({INFO})
    camera.on_camera_info(_info(1000, side=16))
    stamp_ns = _send(camera, 6, stamp_ns=1000)  # with a camera_info of another size
    closes(out=2, dropped=1, refused=3, failed=1, unwatched=1)
    camera.on_camera_info(_info(stamp_ns))
    _send(camera, 7, stamp_ns=1001)
    closes(out=2, dropped=1, refused=3, failed=1, unwatched=2)


def test_a_doubtful_frame_id_is_said_once_and_its_images_are_served(rig):
    for colour in (1, 2):
        stamp_ns = next(rig.front.numbers)
        data = np.full((32, 32, 3), colour, np.uint8).tobytes()
        header = SimpleNamespace(stamp=_header(stamp_ns).stamp, frame_id="")
        fields = {"encoding": "rgb8", "width": 32, "height": 32, "step": 96, "is_bigendian": 0}
        rig.front.on_image(SimpleNamespace(header=header, data=data, **fields))
        _until(lambda colour=colour: rig.front.outputs.depths[-1:] == [colour])
    (said,) = [line for line in rig.log.lines if "frame_id" in line]
    assert said.startswith("front: the images on image have no frame_id")


def test_a_highest_rate_leaves_images_out_and_takes_the_newest_that_comes(rig, monkeypatch):
    camera = rig.front
    camera.pipeline.settings = settings_from({"cameras": ["front", "left"], "input.max_rate": 4.0})
    now_s = 1000.0
    monkeypatch.setattr("depthclip_ros.ros.depth_node.camera.time", SimpleNamespace(
        monotonic=lambda: now_s, perf_counter=time.perf_counter
    ))  # fmt: skip
    for image in range(1, 33):  # a second at 32 Hz
        _send(camera, image)
        _until(lambda: camera.counters.account(camera.box.overtaken)["waiting"] == 0)
        now_s += 1 / 32
    assert camera.outputs.depths == [1, 9, 17, 25]
    account = camera.counters.account(camera.box.overtaken)
    assert (account["in"], account["out"], account["skipped"]) == (32, 4, 28)
    assert (account["refused"], account["failed"], account["dropped"]) == (0, 0, 0)


def test_what_goes_wrong_is_said_with_its_trace_once_and_counted_each_time(rig, monkeypatch):
    def break_down(views):
        raise ZeroDivisionError("what nobody expected")

    monkeypatch.setattr(rig.engine, "infer_views", break_down)
    for count in (1, 2, 3):
        _send(rig.front, 50)
        _until(lambda count=count: rig.front.counters.failed == count)
    said = [line for line in rig.log.lines if "what nobody expected" in line]
    assert len(said) == 1
    assert said[0].startswith("front: no depth for an image: Traceback")
    assert "break_down" in said[0]


def test_images_of_a_size_that_is_being_compiled_wait_and_hold_up_no_other_camera(rig, monkeypatch):
    """Of 32 pixels, which the engine has no network for yet; those of 16 it serves. The newest is taken in the end."""
    compiled, asked, serve = threading.Event(), [], rig.engine.infer_views

    def infer_views(views):
        if not compiled.is_set() and any(view.rgb.shape[0] == 32 for view in views):
            raise NotReadyError("the network is being compiled")
        return serve(views)

    def is_preparing(width_px, height_px):
        asked.append((width_px, height_px))
        return not compiled.is_set()

    monkeypatch.setattr(rig.engine, "infer_views", infer_views)
    monkeypatch.setattr(rig.engine, "is_preparing", is_preparing, raising=False)
    _send(rig.front, 1)
    _until(lambda: rig.front.awaited)
    assert (rig.front.awaited, rig.left.awaited) == ("32x32", "")
    for colour in (2, 3):
        _send(rig.front, colour)
    _send(rig.left, 50, side=16)
    _until(lambda: rig.left.outputs.depths == [50])
    assert not rig.front.outputs.depths
    assert (rig.front.counters.refused, rig.front.counters.failed) == (0, 0)
    compiled.set()
    _until(lambda: rig.front.outputs.depths == [3])
    assert rig.front.awaited == ""
    assert set(asked) == {(32, 32)}
    assert rig.front.box.overtaken == 2


def test_what_the_worker_is_at_is_known_while_it_lasts(rig):
    _busy(rig)
    assert rig.worker.doing == "running the network on cpu for an image of front (32x32)"
    assert 0 < rig.worker.doing_s < WAIT_S
    rig.engine.gate.set()
    _until(lambda: rig.worker.doing == "")
    assert rig.worker.doing_s == 0.0


def test_what_the_engine_does_otherwise_than_asked_is_logged_once(rig, monkeypatch):
    serve = rig.engine.infer_views

    def infer_views(views):
        if not rig.engine.notices:
            rig.engine.notices.append("cpu is out of memory")
        return serve(views)

    monkeypatch.setattr(rig.engine, "infer_views", infer_views)
    for colour in (1, 2):
        _send(rig.front, colour)
        _until(lambda colour=colour: rig.front.outputs.depths[-1:] == [colour])
    _until(lambda: rig.worker.doing == "")
    assert rig.log.lines.count("cpu is out of memory") == 1


def test_a_worker_that_hangs_is_told_from_one_that_ends_and_publishes_nothing_more(rig):
    _busy(rig)
    start_s = time.monotonic()
    assert rig.worker.stop(0.2) is False
    assert 0.2 <= time.monotonic() - start_s < 5
    rig.engine.gate.set()
    _until(lambda: rig.worker.stop(1.0))
    assert rig.front.outputs.depths == []


def test_depth_that_is_out_is_offered_to_the_anchors_with_the_scale_that_is_in_it(rig):
    class Anchors:
        coverage = 0.75
        reports = {"range": AnchorReport(Verdict("range", "accepted", "", 1.25))}  # noqa: RUF012

        def __init__(self):
            self.offered = []

        def offer(self, frame, user_factor):
            self.offered.append((frame, user_factor))

    values = {"cameras": ["front", "left"], "scale.factor": 2.0, "scale.factors": [1.5, 1.0]}
    camera = rig.front
    camera.pipeline.settings = settings_from(values)
    camera.pipeline.scale = lambda: ScaleEstimate(math.log(1.25), 0.1)
    camera.anchors = Anchors()
    _send(camera, 3)  # without a camera_info the rays are not known, and nothing can be compared
    _until(lambda: camera.outputs.late)
    assert camera.anchors.offered == []
    assert camera.outputs.late[-1].stats["interval_coverage"] == 0.75
    camera.on_camera_info(_info(5))
    _send(camera, 4, stamp_ns=7_000_000_000)
    _until(lambda: camera.anchors.offered)
    ((frame, user_factor),) = camera.anchors.offered
    assert (frame.stamp_ns, frame.frame_id, user_factor) == (7_000_000_000, "eye", 3.0)
    np.testing.assert_array_equal(frame.published.depth_m, np.full((32, 32), 4.0))
    np.testing.assert_allclose(frame.prediction.depth_m, 4.0 / 1.25, rtol=1e-6)
    assert frame.camera.fx_px == 20.0
    _until(lambda: len(camera.outputs.late) == 2)
    assert camera.outputs.late[-1].stats["anchors_accepted"] == ["range"]
    assert math.isnan(_stats_of(rig.left)["interval_coverage"])


def _stats_of(camera):
    _send(camera, 50)
    _until(lambda: camera.outputs.late)
    return camera.outputs.late[-1].stats


def test_a_camera_without_camera_info_is_said_once_and_has_no_cloud(rig):
    for colour in (1, 2):
        _send(rig.front, colour)
        _until(lambda colour=colour: rig.front.outputs.depths[-1:] == [colour])
    _until(lambda: rig.front.outputs.late)
    (said,) = [line for line in rig.log.lines if "no camera_info" in line]
    assert said.startswith("front: no camera_info on camera_info: the scale of depth rests on an assumed field of view")
    assert "of 60 degrees" in said
    assert rig.front.counters.focal_assumed
    assert rig.front.outputs.infos == []
    rig.front.on_camera_info(_info(0))
    _send(rig.front, 3)
    _until(lambda: rig.front.outputs.depths[-1:] == [3])
    assert not rig.front.counters.focal_assumed


@pytest.mark.parametrize(
    ("wanted", "late"),
    [({"depth/image"}, set()), ({"depth/image", "depth/points"}, {"depth/points"}), ({"depth/stats"}, {"depth/stats"})],
)
def test_only_what_somebody_hears_is_made(rig, wanted, late):
    rig.front.outputs.topics = frozenset(wanted)
    rig.front.on_camera_info(_info(0))
    _send(rig.front, 1)
    _until(lambda: rig.front.counters.published)
    _until(lambda: rig.worker.doing == "")
    assert rig.front.outputs.depths == ([1] if "depth/image" in wanted else [])
    if late:
        _until(lambda: rig.front.outputs.late)
        assert rig.front.outputs.late[0].wanted == late
    else:
        assert rig.front.outputs.late == []


def test_stamps_that_go_back_are_refused_until_they_stay_there(rig):
    for stamp_ns in (10**10, 5 * 10**9, 12 * 10**9):
        _send(rig.front, 1, stamp_ns=stamp_ns)
    assert rig.front.counters.refused == 1
    _until(lambda: any("front: image dropped: stamp goes back by 5.000 s" in line for line in rig.log.lines))
    for number in range(5):
        _send(rig.front, 2, stamp_ns=10**9 + number)
    assert any("front: stamps went back by 11.0 s and stay there" in line for line in rig.log.lines)
    assert rig.front.counters.refused == 5
    _until(lambda: rig.front.outputs.depths[-1:] == [2])


def test_an_image_waits_half_a_second_for_the_camera_info_of_its_new_size(rig):
    rig.front.on_camera_info(_info(0, side=16))
    start_s = time.monotonic()
    _send(rig.front, 1)
    _until(lambda: rig.front.counters.refused)
    assert 0.5 <= time.monotonic() - start_s < 1.4
