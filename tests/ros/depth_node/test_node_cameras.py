# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""depth_node with several cameras as a client sees it: over DDS, between processes, with cameras that misbehave."""

from __future__ import annotations

import itertools
import os
import time

import numpy as np
import pytest

NAMES = ["front", "left", "right", "rear", "bare"]
NODE = "/rig/depth_node"
LATENCY_MS = 400.0  # far below the half second and the second that a wait for a CameraInfo takes


@pytest.fixture(scope="module")
def rig(start_node, camera, room):
    """A running node and its cameras by name. `good(name)` makes an image and its CameraInfo."""
    node = start_node("/rig", {"cameras": NAMES})
    cameras = {name: camera(f"/rig/{name}") for name in NAMES}
    for eye in cameras.values():
        eye.node = node
        eye.good = lambda eye=eye: (eye.image_message(room), eye.info_message(160, 120))
    cameras["front"].send_until(cameras["front"].good, cameras["front"].stats)
    return cameras


def _figures(statuses, name):
    """The newest status of this name: its level, its message and its values."""
    status = next(status for status in reversed(statuses) if status.name == name)
    return status.level, status.message, {item.key: item.value for item in status.values}


def _bad_images(eye, room):
    """One kind of rubbish after the other, without end."""
    random = np.random.default_rng(0)
    for kind in itertools.cycle(["encoding", "short", "back", "random", "focal"]):
        image, info = eye.good()
        if kind == "encoding":
            image.encoding = "rgb12"
        elif kind == "short":
            image.data = image.data[:1000]
        elif kind == "back":
            image.header.stamp.sec -= int(random.integers(100, 1000))
        elif kind == "random":
            image.width, image.height, image.step = (int(n) for n in random.integers(0, 2**31, 3))
        else:
            info = eye.info_message(160, 120, focal_px=float("nan"))
        yield image, info


def test_a_camera_whose_camera_info_does_not_come_holds_up_no_other(rig):
    """Its first image waits for a second. It comes first of all tests: only a first image waits so long."""
    bare, front = rig["bare"], rig["front"]
    bare.client.wait(bare._image.get_subscription_count, what="the node's subscription")
    stamp = bare.send(bare.good()[0], None)
    served = []
    while bare.depth.of_stamp(stamp) is None and len(served) < 3:
        served.append(front.answer(front.stats, front.send(*front.good())))
    assert served
    assert bare.answer(bare.stats, stamp).focal_assumed
    front.answer(front.cloud, served[-1].header.stamp)
    assert "bare: no camera_info on /rig/bare/camera_info" in front.node.log()


def test_each_camera_has_its_own_topics_and_one_batch_serves_them(rig):
    eyes = [rig[name] for name in ("front", "left", "rear")]
    for eye in eyes:
        eye.send_until(eye.good, eye.cloud)
    largest = 0
    end_s = time.monotonic() + 60
    while largest < len(eyes) and time.monotonic() < end_s:
        stamps = [eye.send(*eye.good()) for eye in eyes]
        for name, eye, stamp in zip(("front", "left", "rear"), eyes, stamps, strict=True):
            stats = eye.answer(eye.stats, stamp)
            assert stats.camera == name
            largest = max(largest, stats.batch_size)
            for inbox in (eye.depth, eye.info, eye.cloud, eye.confidence):
                assert eye.answer(inbox, stamp).header.stamp == stamp
    assert largest > 1


def test_a_stopped_a_fast_and_a_bad_camera_take_nothing_from_the_good_one(rig, room):
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

    good, fast, bad, stopped = rig["front"], rig["left"], rig["right"], rig["rear"]
    diagnostics = good.client.subscribe(DiagnosticArray, "/diagnostics")
    stopped.send_until(stopped.good, stopped.stats)
    fast.send_until(fast.good, fast.stats)
    bad.send_until(bad.good, bad.stats)
    before = {name: rig[name].stats.messages[-1] for name in ("front", "left", "right")}
    rubbish = _bad_images(bad, room)
    served, sent_fast, sent_bad = [], 0, 0
    start_s = time.monotonic()

    def statuses():
        # A message has the statuses of one moment, and another node may answer to the same topic.
        return [s for m in diagnostics.messages for s in m.status if s.name.startswith("rig/depth_node")]

    def silence_is_told():
        return any(s.name == "rig/depth_node: rear" and "no more images" in s.message for s in statuses())

    while len(served) < 40 or not silence_is_told():
        assert time.monotonic() < start_s + 120
        stamp = good.send(*good.good())
        bad.send(*next(rubbish))
        sent_bad += 1
        for _ in range(2):
            fast.send(*fast.good())
            sent_fast += 1
            time.sleep(0.005)
        served.append(good.answer(good.stats, stamp))
    after = {
        "front": served[-1],
        "left": fast.answer(fast.stats, fast.send(*fast.good())),
        "right": bad.answer(bad.stats, bad.send(*bad.good())),
    }

    # Every image of the good camera was answered, soon; the network saw it together with others' images.
    assert np.median([stats.latency_ms for stats in served]) < LATENCY_MS
    assert after["front"].frames_out - before["front"].frames_out == len(served)
    assert after["front"].frames_dropped == before["front"].frames_dropped
    assert max(stats.batch_size for stats in served) > 1

    # Each camera's own count of what became of its images: none is lost without being counted.
    def change(name, field):
        return getattr(after[name], field) - getattr(before[name], field)

    assert change("left", "frames_refused") == 0
    assert change("left", "frames_out") + change("left", "frames_dropped") == change("left", "frames_in")
    assert change("right", "frames_out") == 1
    assert change("right", "frames_refused") + change("right", "frames_dropped") + 1 == change("right", "frames_in")
    assert change("right", "frames_refused") > sent_bad / 3
    assert change("front", "frames_refused") == 0

    def levels():
        bad.send(*next(rubbish))
        good.answer(good.stats, good.send(*good.good()))
        return {s.name: s.level for m in diagnostics.messages[-1:] for s in m.status}

    assert "right: image dropped: image encoding 'rgb12' is not known" in good.node.log()
    good.client.wait(
        lambda: {"rig/depth_node: rear", "rig/depth_node: right"} <= set(levels()), what="a report of all cameras"
    )
    level, message, values = _figures(statuses(), "rig/depth_node: rear")
    assert level == DiagnosticStatus.ERROR
    assert "no more images on /rig/rear/image" in message
    level, message, values = _figures(statuses(), "rig/depth_node: right")
    assert level in (DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
    assert "could not be used" in message
    assert int(values["frames refused"]) > 0
    level, message, values = _figures(statuses(), "rig/depth_node: front")
    assert level == DiagnosticStatus.OK, message
    assert float(values["batch size"]) > 1
    level, message, values = _figures(statuses(), "rig/depth_node: depth")
    assert level == DiagnosticStatus.ERROR
    assert "rear: no more images" in message
    assert values["cameras"] == ", ".join(NAMES)
    assert values["device"] == "cpu"


def test_a_camera_that_floods_the_node_starves_no_other(rig):
    """Between an image and its depth, the flooding camera is served at most in the round at work and the next."""
    slow, fast = rig["front"], rig["left"]
    large = np.zeros((600, 800, 3), np.uint8)
    image, info = fast.image_message(large), fast.info_message(800, 600)
    fast.send_until(lambda: (image, info), fast.stats)
    dropped = fast.stats.messages[-1].frames_dropped
    between = []

    def flooded():
        image.header.stamp = fast.client.node.get_clock().now().to_msg()
        fast.send(image, info)

    for _ in range(20):
        done = len(fast.depth.messages)
        stamp = slow.send(*slow.good())

        def answered(stamp=stamp):
            flooded()
            return slow.depth.of_stamp(stamp)

        slow.client.wait(answered, what="depth of the slow camera", pause_s=0.005)
        between.append(len(fast.depth.messages) - done)
    flooded()
    fast.client.wait(lambda: fast.stats.messages[-1].frames_dropped > dropped, what="dropped frames")
    assert np.median(between) <= 3, between


def test_a_factor_scales_its_camera_alone(rig):
    eyes = [rig["front"], rig["left"]]

    def scales():
        for eye in eyes:
            eye.send_until(eye.good, eye.stats)
        return [eye.answer(eye.stats, eye.send(*eye.good())).scale for eye in eyes]

    before = scales()
    result = rig["front"].client.set_parameter(NODE, "scale.factors", [1.0, 2.0])
    assert not result.successful
    assert "one factor for each camera" in result.reason
    result = rig["front"].client.set_parameter(NODE, "scale.factors", [1.0, 2.0, 1.0, 1.0, 1.0])
    assert result.successful, result.reason
    np.testing.assert_allclose(scales(), [before[0], 2 * before[1]], rtol=1e-5)
    assert rig["front"].client.set_parameter(NODE, "scale.factors", []).successful
    np.testing.assert_allclose(scales(), before, rtol=1e-5)


@pytest.mark.parametrize(("cameras", "said"), [(["1st"], "begin with a letter"), (["a", "a"], "different names")])
def test_names_that_are_no_names_end_the_process_with_one_sentence(start_node, cameras, said):
    node = start_node(f"/names{os.getpid()}", {"cameras": cameras})
    assert node.process.wait(120) == 1
    assert "cameras is" in node.log()
    assert said in node.log()
    assert "Traceback" not in node.log()


def test_other_cameras_are_taken_up_at_the_next_configure(start_node, camera, room):
    node = start_node("/again", {"autostart": False, "cameras": []})
    one, name = camera("/again"), "/again/depth_node"
    for transition in ("configure", "activate"):
        assert one.client.transition(name, transition)
    one.send_until(lambda: (one.image_message(room), one.info_message(160, 120)), one.stats)
    result = one.client.set_parameter(name, "cameras", ["up", "down"])
    assert result.successful
    assert "takes effect at the next configure" in result.reason
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert one.client.transition(name, transition)
    for place in ("up", "down"):
        eye = camera(f"/again/{place}")
        answer = eye.send_until(lambda: (eye.image_message(room), eye.info_message(160, 120)), eye.stats)  # noqa: B023
        assert answer.camera == place
    node.kill()
