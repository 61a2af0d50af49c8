# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math
import re
import time
from types import SimpleNamespace

import pytest

from depthclip_ros.core.anchors.estimator import ScaleEstimate
from depthclip_ros.ros.depth_node import diagnostics, health
from depthclip_ros.ros.depth_node.diagnostics import Counters, Throttle, latency_ms
from depthclip_ros.ros.depth_node.health import ERROR, OK, WARN, Health, judge

NOW_NS = 1_700_000_000_000_000_000


def _active(**fields) -> Health:
    return Health(state="active", image_topic="/cam/image_raw", camera_info_topic="/cam/camera_info", **fields)


def test_latency_is_the_time_since_the_stamp():
    assert latency_ms(NOW_NS - 25_000_000, NOW_NS) == pytest.approx(25.0)


@pytest.mark.parametrize("stamp_ns", [0, NOW_NS + 1_000_000, NOW_NS - 86_400_000_000_000])
def test_a_stamp_that_is_no_time_of_the_clock_has_no_latency(stamp_ns):
    assert math.isnan(latency_ms(stamp_ns, NOW_NS))


def test_throttle_lets_a_message_through_once_in_a_period():
    throttle = Throttle(period_s=5)
    assert throttle.passes("unknown encoding", 100)
    assert not throttle.passes("unknown encoding", 104)
    assert throttle.passes("no data", 104)
    assert throttle.passes("unknown encoding", 105.5)


def test_throttle_lets_few_messages_through_that_differ_only_in_numbers():
    throttle = Throttle(period_s=5, of_a_kind=3)
    assert sum(throttle.passes(f"stamp goes back by {number} s", 100) for number in range(50)) == 3
    assert sum(throttle.passes(f"stamp goes back by {number} s", 106) for number in range(50)) == 3


def test_throttle_keeps_a_bounded_memory():
    throttle = Throttle(size=10)
    for index in range(1000):
        throttle.passes("x" * index, 0)
    assert len(throttle._said) <= 10


def test_an_inactive_node_is_well_and_says_what_it_waits_for():
    assert judge(Health(state="unconfigured")) == (OK, "unconfigured: configure and activate the node for depth")


def test_a_failed_configure_is_an_error():
    assert judge(Health(state="unconfigured", configure_error="no such file")) == (ERROR, "no such file")
    again = Health(state="configuring", configure_error="no such file", preparing="loading fast")
    assert judge(again) == (OK, "preparing: loading fast"), "what failed before is being tried anew"


def test_a_camera_that_never_came_is_a_warning_with_advice(monkeypatch):
    monkeypatch.setattr(health, "SILENT_S", -1.0)
    level, message = judge(_active(image_publishers=0))
    assert level == WARN
    assert "no image on /cam/image_raw" in message
    assert "0 publishers" in message
    assert "remap" in message


def test_a_camera_that_comes_by_the_other_transport_is_told_of_instead_of_the_usual_advice(monkeypatch):
    monkeypatch.setattr(health, "SILENT_S", -1.0)
    _, message = judge(_active(image_publishers=0, other_transport="set input.transport to compressed"))
    assert message.endswith(": 0 publishers; set input.transport to compressed")


def test_a_node_that_is_not_active_is_not_silent(monkeypatch):
    monkeypatch.setattr(health, "SILENT_S", -1.0)
    assert health.silence(_active()) != ""
    assert health.silence(Health(state="inactive")) == ""


def test_each_silence_is_told_once(monkeypatch):
    monkeypatch.setattr(health, "SILENT_S", -1.0)
    said, silences = [], health.Silences()
    logger = SimpleNamespace(warning=said.append)
    silent, awake = _active(), Health(state="inactive")
    for cameras in ({"a": silent, "b": awake}, {"a": silent, "b": awake}, {"a": awake, "b": awake}, {"a": silent}):
        silences.log(cameras, logger)
    assert len(said) == 2
    assert all(one.startswith("no image on /cam/image_raw") for one in said)


def test_a_camera_that_stopped_is_an_error(monkeypatch):
    monkeypatch.setattr(health, "SILENT_S", -1.0)
    counters = Counters()
    counters.count_received()
    level, message = judge(_active(image_publishers=1, counters=counters))
    assert level == ERROR
    assert "no more images" in message
    assert "1 publishers" in message


def test_bad_images_among_good_are_a_warning_and_alone_an_error():
    counters = Counters()
    counters.count_received()
    counters.count_refused("image encoding 'x' is not known")
    level, message = judge(_active(counters=counters))
    assert level == ERROR
    assert "encoding 'x'" in message
    counters.count_published(20.0)
    assert judge(_active(counters=counters))[0] == WARN


def test_a_lost_device_is_an_error_until_a_frame_goes_out_again():
    counters = Counters()
    counters.count_received()
    counters.count_failed("CUDA device 0 is gone", device=True)
    level, message = judge(_active(counters=counters))
    assert level == ERROR
    assert "configure" in message
    counters.count_published(20.0)
    assert judge(_active(counters=counters))[0] == WARN


def test_an_assumed_focal_length_is_a_warning():
    counters = Counters()
    counters.count_received()
    counters.count_published(20.0)
    assert judge(_active(counters=counters))[0] == OK
    counters.focal_assumed = True  # by input.assumed_hfov, which counts as a calibration
    assert judge(_active(counters=counters))[0] == OK
    assert health.values(_active(counters=counters))["focal length assumed"] == "true"
    counters.has_camera = False
    level, message = judge(_active(counters=counters))
    assert level == WARN
    assert "no camera_info on /cam/camera_info" in message
    counters.uncalibrated = True
    level, message = judge(_active(counters=counters))
    assert level == WARN
    assert "cameracalibrator" in message
    assert "image:=/cam/image_raw" in message


def test_percentiles_and_counts_are_in_the_report():
    counters = Counters()
    for latency in range(1, 101):
        counters.count_received()
        counters.count_published(float(latency))
    counters.count_published(math.nan)
    one = {"": _active(counters=counters, overtaken=3, device="cpu")}
    (status,) = health.statuses(SimpleNamespace, SimpleNamespace, one, "depth_node")
    figures = {item.key: item.value for item in status.values}
    assert status.level == b"\0"
    assert status.name == "depth_node: depth"
    assert status.hardware_id == "cpu"
    assert figures["latency p50 (ms)"] == "50.5"
    assert figures["latency p95 (ms)"] == "95.0"
    assert (figures["frames in"], figures["frames out"], figures["frames dropped"]) == ("100", "101", "3")
    assert figures["camera_info age (s)"] == "never received"


def test_a_window_forgets_what_is_old(monkeypatch):
    now_s = 1000.0
    monkeypatch.setattr(diagnostics.time, "monotonic", lambda: now_s)
    window = diagnostics.Window(span_s=5)
    for _ in range(10):
        now_s += 0.5
        window.add()
    assert window.count == 10
    assert window.rate_hz == pytest.approx(2.0)
    now_s += 3
    assert window.count == 5
    assert window.age_s == pytest.approx(3)


@pytest.mark.parametrize(("doing_s", "level"), [(1.9, OK), (2.1, WARN), (9.9, WARN), (10.1, ERROR)])
def test_a_worker_that_stalls_says_at_what(doing_s, level):
    counters = Counters()
    counters.count_received()
    found, message = judge(_active(counters=counters, doing="running the network on cpu", doing_s=doing_s))
    assert found == level
    assert ("running the network on cpu" in message) == (level != OK)


def test_what_configure_is_at_is_said():
    assert judge(Health("configuring", preparing="loading the weights")) == (OK, "preparing: loading the weights")


def test_what_is_compiled_beside_the_frames_is_said_with_how_they_fare():
    counters = Counters()
    counters.count_received()
    counters.count_published(20.0)
    level, message = judge(_active(counters=counters, preparing="1280x720"))
    assert level == OK
    assert re.fullmatch(r"preparing: 1280x720; meanwhile .* depth images/s, latency p50 20 ms", message)
    level, message = judge(_active(counters=counters, preparing="1280x720", awaited="1280x720"))  # its own images
    assert (level, message.partition(",")[0]) == (WARN, "images of 1280x720 wait for their network")
    assert judge(Health("inactive", preparing="1280x720"))[1].startswith("inactive: configure and activate")
    assert health.values(_active(counters=counters, preparing="1280x720"))["preparing"] == "1280x720"


@pytest.mark.parametrize(
    ("in_hz", "out_hz", "max_rate_hz", "advised"),
    [(30, 10, 0.0, True), (30, 29, 0.0, False), (300, 50, 5.0, False), (300, 1, 1000.0, True)],
)
def test_faster_weights_are_advised_where_these_do_not_keep_up(in_hz, out_hz, max_rate_hz, advised):
    counters = Counters()
    counters.timings_ms = {"network": 95.0}
    for _ in range(in_hz):
        counters.count_received()
    for _ in range(out_hz):
        counters.count_published(5.0)
    time.sleep(0.05)  # rates are counted since the start
    level, message = judge(_active(counters=counters, faster_weights="fast", max_rate_hz=max_rate_hz))
    assert level == OK
    assert ("model.weights: fast" in message and "95 ms" in message) == advised
    assert "fast" not in judge(_active(counters=counters))[1]


def test_the_network_is_not_called_slow_where_nobody_subscribed_for_a_while():
    counters = Counters()
    counters.timings_ms = {"network": 95.0}
    for _ in range(30):
        counters.count_received()
    counters.count_published(5.0)
    counters.count_unwatched()
    level, message = judge(_active(counters=counters, faster_weights="fast"))
    assert level == OK
    assert message.endswith("for a part of the last 5 s nobody subscribed to depth")


@pytest.mark.parametrize(("age_s", "silent"), [(2.9, False), (3.1, True)])
def test_a_camera_is_silent_after_three_seconds(age_s, silent):
    counters = Counters()
    counters.count_received()
    counters.window_in = SimpleNamespace(age_s=age_s, count=1, rate_hz=30.0)
    level, message = judge(_active(image_publishers=1, counters=counters))
    assert ("no more images" in message) is silent
    assert (level == ERROR) is silent


def test_a_node_of_several_cameras_reports_the_worst_and_each_of_them():
    good, bad = Counters(), Counters()
    for counters, latency in ((good, 20.0), (bad, 30.0)):
        counters.count_received()
        counters.count_published(latency)
    bad.count_received()
    bad.count_refused("image encoding 'x' is not known")
    model = {"device": "cpu", "system": "moa_depthclip", "weights": "default", "runtime": "openvino"}
    cameras = {
        "front": _active(counters=good, overtaken=2, outputs_overtaken=4, **model),
        "left": _active(counters=bad, overtaken=1, outputs_overtaken=3, **model),
    }
    whole, front, left = health.statuses(SimpleNamespace, SimpleNamespace, cameras, "depth_node")
    assert [one.name for one in (whole, front, left)] == ["depth_node: depth", "depth_node: front", "depth_node: left"]
    assert [one.level for one in (whole, front, left)] == [b"\1", b"\0", b"\1"]
    assert whole.message == f"left: {left.message}"
    assert [one.hardware_id for one in (whole, front, left)] == ["cpu"] * 3
    figures = {item.key: item.value for item in whole.values}
    assert (figures["state"], figures["cameras"], figures["model"]) == ("active", "front, left", "moa_depthclip")
    for key, value in {"in": 3, "out": 2, "dropped": 3, "refused": 1, "failed": 0, "without subscriber": 0}.items():
        assert figures[f"frames {key}"] == str(value)
    assert figures["outputs dropped"] == "7"
    assert {item.key: item.value for item in left.values}["last error"] == "image encoding 'x' is not known"
    cameras["front"] = _active(counters=bad)
    both, *_ = health.statuses(SimpleNamespace, SimpleNamespace, cameras, "depth_node")
    assert both.message == f"front: {left.message}; left: {left.message}"
    assert health.statuses(SimpleNamespace, SimpleNamespace, {"": Health("inactive")}, "n")[0].hardware_id == "none"


def test_what_the_anchors_say_is_in_the_report():
    def report(state, reason=""):
        return SimpleNamespace(
            verdict=SimpleNamespace(state=state, reason=reason), sentence=f"{state} {reason}".strip()
        )

    counters = Counters()
    counters.count_received()
    anchors = {"range": report("accepted"), "scan": report("disagrees", "2 against 1"), "tag": report("silent")}
    scale = ScaleEstimate(math.log(1.25), 0.05)
    one = _active(counters=counters, anchors=anchors, scale=scale, coverage=0.875)
    assert judge(one) == (WARN, "anchor scan disagrees: 2 against 1")
    figures = health.values(one)
    assert (figures["anchors' scale"], figures["anchors' scale, standard deviation"]) == ("1.250", "5.0%")
    assert figures["intervals hold for"] == "88%"
    assert figures["anchor scan"] == "disagrees 2 against 1"
    blind = health.values(_active(counters=counters, anchors=anchors))
    assert blind["anchors' scale, standard deviation"] == "none accepted"
    assert blind["intervals hold for"] == "no points to tell"
    assert not [key for key in health.values(_active(counters=counters)) if key.startswith("anchor")]


def test_a_notice_of_the_engine_is_a_warning_and_nobody_who_listens_is_none():
    counters = Counters()
    counters.count_received()
    assert judge(_active(counters=counters, notices=("first", "newest"))) == (WARN, "newest")
    level, message = judge(_active(counters=counters))
    assert level == OK
    assert re.fullmatch(r"\d+\.\d images/s come in; nobody subscribes to depth", message)
    slow = _active(counters=counters, max_rate_hz=0.1)
    assert judge(slow)[1].endswith("input.max_rate takes one every 10 s where somebody subscribes to depth")


@pytest.mark.parametrize(
    ("publishers", "advice"),
    [(0, "start the camera, or remap `front/image` to its topic"), (1, "check that the camera sends images")],
)
def test_a_silent_camera_is_asked_for_what_is_missing(publishers, advice):
    counters = Counters()
    counters.window_in = SimpleNamespace(age_s=7.4, count=0, rate_hz=0.0)
    level, message = judge(_active(counters=counters, image_publishers=publishers, prefix="front/"))
    assert level == WARN
    assert message.startswith(f"no image on /cam/image_raw for 7 s: {publishers} publishers; {advice}")


@pytest.mark.parametrize(("age_s", "seconds"), [(0.0, 0.0), (3600.0, 3600.0), (3600.1, None), (-0.001, None)])
def test_a_stamp_of_an_hour_ago_is_the_oldest_that_is_of_this_clock(age_s, seconds):
    found = latency_ms(NOW_NS - round(age_s * 1e9), NOW_NS)
    assert math.isnan(found) if seconds is None else found == pytest.approx(seconds * 1e3)


def test_counts_of_a_camera_add_up_and_the_means_are_over_the_last_frames():
    counters = Counters()
    for _ in range(9):
        counters.count_received()
    counters.count_published(math.nan)
    counters.count_unwatched()
    counters.count_skipped()
    counters.count_refused("bad")
    counters.count_failed("broken", device=False)
    assert counters.account(2) == {
        "in": 9, "out": 1, "dropped": 2, "refused": 1, "failed": 1, "unwatched": 1, "skipped": 1, "waiting": 2,
    }  # fmt: skip
    assert (counters.last_error, counters.device_error) == ("broken", "")
    assert math.isnan(counters.latency_percentile_ms(50))
    assert counters.batch_size == 0.0
    counters.batch_sizes.extend([1] * 10 + [2] * 150 + [4] * 150)
    assert counters.batch_size == 3.0, "of the last 300"


def test_a_throttle_forgets_a_kind_after_its_period():
    throttle = Throttle(period_s=5.0, of_a_kind=2)
    assert [throttle.passes(f"error {n}", 100.0) for n in (1, 1, 2, 3)] == [True, False, True, False]
    assert [throttle.passes("error 1", at_s) for at_s in (104.9, 105.0, 105.0)] == [False, True, False]


def test_the_latency_that_is_said_is_that_of_the_middle_frame():
    counters = Counters()
    counters.count_received()
    for latency in range(1, 101):
        counters.count_published(float(latency))
    assert judge(_active(counters=counters))[1].endswith("depth images/s, latency p50 50 ms")


def test_three_messages_of_a_kind_pass_in_five_seconds_and_the_last_three_hundred_frames_count():
    throttle = Throttle()
    assert [throttle.passes(f"error {number}", 100.0) for number in range(5)] == [True] * 3 + [False] * 2
    assert [throttle.passes("error 0", at_s) for at_s in (104.9, 105.0)] == [False, True]
    counters = Counters()
    for latency in [1.0] * 50 + [9.0] * 150 + [11.0] * 150:
        counters.count_published(latency)
    assert counters.latency_percentile_ms(50) == 10.0
