# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Every kind of bad input on the running node: dropped, counted, named in the log; the next good frame is served."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

Time = pytest.importorskip("builtin_interfaces.msg", reason="needs the ROS message packages").Time
SMALL = np.full((32, 48, 3), 120, np.uint8)


@pytest.fixture(scope="module")
def live(start_node, camera, room):
    """A running node that has served a frame, and the camera that feeds it."""
    node = start_node("/bad")
    eye = camera("/bad")
    eye.node = node
    eye.good = lambda: (eye.image_message(room), eye.info_message(160, 120))
    eye.send_until(eye.good, eye.stats)
    return eye


def _image(**changed):
    return lambda eye, room: (eye.image_message(room, **changed), eye.info_message(160, 120))


def _info(**changed):
    return lambda eye, room: (eye.image_message(room), eye.info_message(160, 120, **changed))


def _info_of_another_size(eye, room):
    return eye.image_message(room), eye.info_message(640, 480)


def _of_size(width, height):
    def make(eye, room):
        rgb = np.zeros((height, width), np.uint8)
        image = eye.image_message(rgb[..., None], encoding="mono8", step=width, data=rgb.tobytes())
        return image, eye.info_message(width, height)

    return make


def _back(eye, room):
    image, info = eye.good()
    image.header.stamp.sec -= 6  # less the moment since the image before
    return image, info


CASES = {
    "unknown encoding": (_image(encoding="rgb12"), ["encoding 'rgb12'", "bgr8"]),
    "step too short": (_image(step=100), ["step is 100"]),
    "data too short": (_image(data=b"\1" * 1000), ["data is 1000 bytes", "57600"]),
    "no data": (_image(data=b""), ["data is 0 bytes"]),
    "zero size": (_image(width=0, height=0), ["0x0"]),
    "zero focal length": (_info(focal_px=0.0), ["fx_px is 0.0"]),
    "NaN focal length": (_info(focal_px=math.nan), ["fx_px is nan"]),
    "negative focal length": (_info(focal_px=-200.0), ["fx_px is -200.0"]),
    "camera_info of another size": (_info_of_another_size, ["camera_info is 640x480", "160x120"]),
    "unknown distortion": (_info(distortion_model="thin_plate", d=[0.1]), ["'thin_plate'", "plumb_bob"]),
    "too few coefficients": (_info(d=[0.1, 0.1]), ["2 coefficients"]),
    "stamp goes back": (_back, ["goes back by 5."]),
    "1x1": (_of_size(1, 1), ["1x1"]),
    "8000x6000": (_of_size(8000, 6000), ["8000x6000", "megapixels"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_frame_is_dropped_and_the_next_good_one_is_served(live, room, case):
    make, said = CASES[case]
    before = live.answer(live.stats, live.send(*live.good()))
    bad = live.send(*make(live, room))
    live.node.wait_for_log(said[0])
    line = next(line for line in live.node.log().splitlines() if said[0] in line)
    assert "[ERROR]" in line
    assert "image dropped" in line
    for text in said:
        assert text in line
    after = live.answer(live.stats, live.send(*live.good()))
    assert live.depth.of_stamp(bad) is None
    assert after.frames_refused == before.frames_refused + 1
    assert after.frames_out == before.frames_out + 1
    assert after.frames_in == before.frames_in + 2


def test_errors_are_throttled_and_diagnostics_tell(live, room):
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

    diagnostics = live.client.subscribe(DiagnosticArray, "/diagnostics")
    fault = "encoding '64FC1'"

    def refused():
        return live.answer(live.stats, live.send(*live.good())).frames_refused

    def send_bad():
        live.send(live.image_message(room, encoding="64FC1"), live.info_message(160, 120))

    start = refused()
    send_bad()
    live.node.wait_for_log(fault)
    start_s = time.monotonic()
    while refused() < start + 10:
        send_bad()
    periods = (time.monotonic() - start_s) // 5 + 1
    assert live.node.log().count(fault) <= 1 + periods

    def told():
        send_bad()
        refused()
        statuses = (status for message in diagnostics.messages for status in message.status)
        return any(
            status.name == "bad/depth_node: depth"
            and status.level == DiagnosticStatus.WARN
            and "64FC1" in status.message
            for status in statuses
        )

    live.client.wait(told, what="a warning in /diagnostics")


def test_a_clock_that_was_set_back_is_followed_after_a_few_frames(live):
    live.answer(live.stats, live.send(*live.good()))
    numbers = itertools.count()

    def old():
        image, info = live.good()
        image.header.stamp = Time(sec=1000, nanosec=next(numbers))
        return image, info

    first = live.send_until(old, live.stats)
    assert math.isnan(first.latency_ms)
    assert first.header.stamp.nanosec >= 4  # the fifth in a row is the first that is believed
    assert "following the new timeline" in live.node.log()
    live.answer(live.stats, live.send(*live.good()))


@pytest.fixture(scope="module")
def modes(start_node, camera):
    """Configure a node anew with other input parameters: `modes({parameter: value})` gives the camera that feeds it."""
    node = start_node("/modes", {"autostart": False})
    eye = camera("/modes")
    eye.node, name = node, "/modes/depth_node"

    def configure(values):
        if eye.client.state(name) == "active":
            assert eye.client.transition(name, "deactivate")
            assert eye.client.transition(name, "cleanup")
        for parameter, value in values.items():
            assert eye.client.set_parameter(name, parameter, value).successful
        assert eye.client.transition(name, "configure")
        assert eye.client.transition(name, "activate")
        for inbox in (eye.depth, eye.info, eye.cloud, eye.stats):
            inbox.messages.clear()
        return eye

    return configure


def test_without_camera_info_depth_goes_out_with_a_warning_and_without_a_cloud(modes):
    eye = modes({"input.rectify": "auto"})
    answer = eye.send_until(lambda: (eye.image_message(SMALL), None), eye.stats)
    assert answer.focal_assumed
    stamp = eye.send(eye.image_message(SMALL), None)
    assert eye.answer(eye.depth, stamp).width == 48
    eye.answer(eye.stats, stamp)
    assert not eye.cloud.messages
    assert not eye.info.messages
    assert "assumed field of view of 60 degrees" in eye.node.log()
    assert "there are no clouds, no scan, no depth/camera_info and no anchors" in eye.node.log()
    # It comes late: from then on there is a cloud.
    stamp = eye.send_until(lambda: (eye.image_message(SMALL), eye.info_message(48, 32)), eye.cloud).header.stamp
    assert not eye.answer(eye.stats, stamp).focal_assumed


def test_an_uncalibrated_camera_has_depth_but_no_cloud_and_the_calibrator_is_named(modes):
    """K and P of zeros, as usb_cam sends them."""
    eye = modes({"input.rectify": "auto", "input.assumed_hfov": 0.0})
    zeros = {"k": [0.0] * 9, "p": [0.0] * 12, "r": [0.0] * 9, "d": [], "distortion_model": ""}

    def make():
        return eye.image_message(SMALL), eye.info_message(48, 32, **zeros)

    answer = eye.send_until(make, eye.stats)
    assert answer.focal_assumed
    assert eye.answer(eye.depth, answer.header.stamp).width == 48
    assert not eye.cloud.messages
    assert eye.node.log().count("cameracalibrator") == 1
    new = eye.node.log()[-2000:].split("the camera is not calibrated")[-1]
    assert "no camera_info on" not in new  # there is one


def test_a_field_of_view_that_is_given_counts_as_a_calibration(modes):
    eye = modes({"input.rectify": "auto", "input.assumed_hfov": 90.0})
    cloud = eye.send_until(lambda: (eye.image_message(SMALL), None), eye.cloud)
    assert eye.answer(eye.stats, cloud.header.stamp).focal_assumed
    info = eye.answer(eye.info, cloud.header.stamp)
    assert info.k[0] == pytest.approx(24.0)  # half of 48 columns at 45 degrees
    refused = eye.client.set_parameter("/modes/depth_node", "input.assumed_hfov", 3.0)
    assert not refused.successful
    assert "5 to 170" in refused.reason


def test_require_refuses_what_does_not_come_rectified(modes):
    eye = modes({"input.rectify": "require"})
    eye.send_until(lambda: (eye.image_message(SMALL), eye.info_message(48, 32)), eye.depth)
    bad = eye.send(eye.image_message(SMALL), eye.info_message(48, 32, d=[-0.2, 0.0, 0.0, 0.0, 0.0]))
    eye.node.wait_for_log("input.rectify is require")
    eye.answer(eye.depth, eye.send(eye.image_message(SMALL), eye.info_message(48, 32)))
    assert eye.depth.of_stamp(bad) is None


def test_never_takes_a_distorted_image_as_it_is(modes):
    eye = modes({"input.rectify": "never"})

    def make():
        p = [150.0, 0.0, 23.5, 0.0, 0.0, 150.0, 15.5, 0.0, 0.0, 0.0, 1.0, 0.0]
        return eye.image_message(SMALL), eye.info_message(48, 32, d=[-0.2, 0.0, 0.0, 0.0, 0.0], p=p)

    assert eye.send_until(make, eye.info).p[0] == 150.0
