# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The thread of late outputs: a scan waits for the transforms of its image, and nothing else waits for it."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

from depthclip_ros.ros.depth_node import late_outputs
from depthclip_ros.ros.depth_node.late_outputs import LateOutputs


class Outputs:
    """Frames are the times at which they came; the transforms of each are there `late_s` later."""

    def __init__(self, late_s):
        self.late_s = late_s
        self.late, self.scans = [], []

    def has_scan_of(self, came_s):
        return True

    def may_scan(self, came_s):
        return time.monotonic() - came_s >= self.late_s

    def publish_late(self, came_s):
        self.late.append((came_s, time.monotonic() - came_s))

    def publish_scan(self, came_s):
        self.scans.append((came_s, time.monotonic() - came_s))


@pytest.fixture
def make():
    """Running late outputs: `make(late_s)`."""
    made = []

    def start(late_s):
        log = SimpleNamespace(error=pytest.fail)
        outputs = Outputs(late_s)
        made.append(LateOutputs(outputs, log))
        made[-1].start()
        return made[-1], outputs

    yield start
    for one in made:
        one.close()
        assert one.join(5)


def _until(condition):
    end_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def test_a_scan_whose_transforms_are_there_comes_behind_the_other_outputs(make):
    late, outputs = make(0.0)
    late.put(time.monotonic())
    _until(lambda: outputs.scans)
    assert outputs.late[0][1] <= outputs.scans[0][1]


def test_a_scan_waits_for_its_transforms_and_the_cloud_does_not(make):
    late, outputs = make(0.08)
    late.put(time.monotonic())
    _until(lambda: outputs.scans)
    assert outputs.scans[0][1] >= 0.08
    assert outputs.late[0][1] < 0.08


def test_a_scan_whose_transforms_never_come_is_given_up(make):
    late, outputs = make(1e9)
    late.put(time.monotonic())
    _until(lambda: outputs.scans)  # where it is said that none leads there
    assert outputs.scans[0][1] >= late_outputs.SCAN_WAIT_S


def test_frames_that_all_wait_do_not_starve_the_scans(make):
    late, outputs = make(0.05)
    for _ in range(30):  # faster than the transforms
        late.put(time.monotonic())
        time.sleep(0.015)
    _until(lambda: len(outputs.scans) >= 5)
    assert all(waited_s >= 0.05 for _, waited_s in outputs.scans)
    assert [came_s for came_s, _ in outputs.scans] == sorted(came_s for came_s, _ in outputs.scans)
    assert len(outputs.late) > 20
