# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What is wrong with sensors and transforms, to a running depth_node over DDS: named once, counted, no effect."""

from __future__ import annotations

import math
import re
import time

import numpy as np
import pytest

SENSOR_Q = (0.5, -0.5, 0.5, 0.5)  # x forward, z up, seen from the optical frame
MOUNTED = {
    "sonar": SENSOR_Q,
    "inverted": (-0.5, 0.5, -0.5, 0.5),  # the same transform the other way round
    "beside": (0.5**0.5, 0.0, 0.0, 0.5**0.5),  # looks to the right of the camera, as far as it goes
}
WITH_A_GAP = "arm"


def no_echo(rig, nothing):
    """A scan on which every ray gives `nothing`."""
    from sensor_msgs.msg import LaserScan

    message = LaserScan(header=rig.header("sonar"), angle_min=-0.3, angle_max=0.3, angle_increment=0.01)
    message.range_min, message.range_max, message.ranges = 0.02, 30.0, [nothing] * 61
    rig.publish(f"{rig.namespace}/anchors/scan", message)


def over_a_gap(rig):
    """A beam whose frame /tf knows of a while before and a while after, and of nothing in between."""
    from geometry_msgs.msg import TransformStamped

    from tf2_msgs.msg import TFMessage

    if rig.around is None:
        rig.around = TFMessage()
        for shift_s in (-1.0, 8.0):
            one = TransformStamped(header=rig.header("camera_optical_frame", shift_s), child_frame_id=WITH_A_GAP)
            q = one.transform.rotation
            q.x, q.y, q.z, q.w = SENSOR_Q
            rig.around.transforms.append(one)
    rig.publish("/tf", rig.around)
    rig.beam(2.0, frame_id=WITH_A_GAP)


BAD = {
    "zero": (lambda rig: rig.beam(0.0), "anchor range: range is 0.0 m"),
    "infinite": (lambda rig: rig.beam(math.inf), "anchor range: range is inf m"),
    "another clock": (
        lambda rig: rig.beam(2.0, shift_s=-5000.0),
        r"anchor range: its stamp is -\d+ s from the image's: another clock",
    ),
    "unknown frame": (
        lambda rig: rig.beam(2.0, frame_id="nowhere"),
        "anchor range nowhere: no chain of transforms leads from 'nowhere'",
    ),
    "inverted": (lambda rig: rig.beam(2.0, frame_id="inverted"), "anchor range inverted: 0% of the beam lies"),
    "beside the image": (lambda rig: rig.beam(2.0, frame_id="beside"), "anchor range beside: 0% of the beam lies"),
    "a gap in TF": (over_a_gap, rf"anchor range {WITH_A_GAP}: the transform of '{WITH_A_GAP}' has a gap of 9\."),
    "no echo": (lambda rig: no_echo(rig, math.inf), "anchor scan: none of the 61 ranges lies within"),
    "zeros": (lambda rig: no_echo(rig, 0.0), "anchor scan: none of the 61 ranges lies within"),
    "never": (lambda rig: None, "anchor points: nothing has come on /[^ ]*/anchors/points"),
}


def test_bad_input_is_named_once_counted_and_does_nothing_to_depth(robot):
    from diagnostic_msgs.msg import DiagnosticArray

    rig = robot("range", "scan", "points")
    rig.around = None
    diagnostics = rig.client.subscribe(DiagnosticArray, "/diagnostics")
    for name, quaternion in MOUNTED.items():
        rig.transform("camera_optical_frame", name, (0.0, 0.0, 0.0), quaternion)
    for read, sentence in BAD.values():
        rig.drive(lambda read=read: read(rig), lambda _, sentence=sentence: re.search(sentence, rig.eye.node.log()))
    for read, _ in BAD.values():  # once more, of what was said already
        read(rig)
        rig.see()
        time.sleep(0.1)
    last = rig.drive(lambda: None, lambda one: one.frames_out > 20)
    for name, (_, sentence) in BAD.items():
        assert len(re.findall(sentence, rig.eye.node.log())) == 1, name
    assert last.anchor_scale == 1.0
    assert math.isnan(last.anchor_scale_sd)
    assert last.anchors_accepted == []
    assert last.frames_refused == 0
    np.testing.assert_array_equal(rig.depth_of(rig.eye.answer(rig.eye.depth, last.header.stamp)), rig.depth_m)

    def counted():
        said = rig.anchors(diagnostics)
        names = ("range", "range nowhere", "range inverted", "range beside", f"range {WITH_A_GAP}", "scan")
        return all(re.search(r" 0 used, [1-9]\d* refused", said.get(one, "")) for one in names)

    rig.drive(lambda: None, lambda _: counted())


def test_of_sensors_that_speak_at_once_the_good_one_is_believed(robot):
    rig = robot("range")
    for name, quaternion in MOUNTED.items():
        rig.transform("camera_optical_frame", name, (0.0, 0.0, 0.0), quaternion)
    middle_m = float(np.median(rig.depth_m[55:65, 75:85]))

    rig.drive(lambda: rig.beam(1.4 * middle_m), lambda one: one.anchors_accepted)

    def read():
        rig.beam(1.4 * middle_m)
        rig.beam(0.0, frame_id="beside")
        rig.beam(2.0, frame_id="nowhere")

    stats = rig.drive(read, lambda one: one.anchor_scale > 1.25 and len(one.anchors_refused) == 2)
    assert stats.anchors_accepted == ["range"]
    assert stats.anchor_scale == pytest.approx(1.37, abs=0.08)
    assert {text.partition(":")[0] for text in stats.anchors_refused} == {"range beside", "range nowhere"}


def test_two_beams_that_disagree_are_named_with_both_values(robot):
    rig = robot("range")
    rig.transform("camera_optical_frame", "sonar", (0.0, 0.0, 0.0), SENSOR_Q)
    rig.transform("camera_optical_frame", "left", (0.0, 0.0, 0.0), SENSOR_Q)
    middle_m = float(np.median(rig.depth_m[55:65, 75:85]))
    rig.drive(lambda: rig.beam(1.2 * middle_m), lambda one: one.anchor_scale > 1.1)
    settled_s = time.monotonic() + 1.5  # until then both would be weighed together, whoever came first
    rig.drive(lambda: rig.beam(1.2 * middle_m), lambda _: time.monotonic() > settled_s)

    def read():
        rig.beam(1.2 * middle_m)
        rig.beam(4.0 * middle_m, frame_id="left")

    stats = rig.drive(read, lambda one: one.anchors_disagreeing)
    (said,) = stats.anchors_disagreeing
    theirs, ours = map(float, re.search(r"range left: it says depth times ([\d.]+) .* says ([\d.]+)", said).groups())
    assert (theirs, ours) == (pytest.approx(4.0, abs=0.4), pytest.approx(1.19, abs=0.1))
    assert stats.anchor_scale == pytest.approx(1.19, abs=0.1)
