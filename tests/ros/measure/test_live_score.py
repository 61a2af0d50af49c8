# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from depthclip_ros.cli import main
from depthclip_ros.core.errors import InputError

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

from depthclip_ros.ros.conversions import read_depth
from depthclip_ros.ros.measure.live_score import (
    WAITING_FRAMES,
    LiveRecord,
    LiveScorer,
    resized_depth,
    score_pair,
)

# Another process: a camera whose measured depth is 2 m but for a strip without a reading, and a node that says 2.2 m.
PUBLISHER = """
import sys, time
import numpy as np, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
namespace, late_s, frame = sys.argv[1], float(sys.argv[2]), sys.argv[3]
rclpy.init()
node = rclpy.create_node("camera", namespace=namespace)
best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
reference = node.create_publisher(Image, "reference", best_effort)
depth = node.create_publisher(Image, "depth/image", 1)
mm = np.full((48, 64), 2000, "<u2"); mm[:, :8] = 0
metres = np.full((24, 32), 2.2, "<f4")
while True:
    now_ns = time.time_ns()
    for publisher, values, encoding, name, shift_s in (
        (reference, mm, "16UC1", frame, late_s), (depth, metres, "32FC1", "cam", 0.0)
    ):
        ns = now_ns + round(shift_s * 1e9)
        message = Image(height=values.shape[0], width=values.shape[1], encoding=encoding)
        message.step, message.data = values.strides[0], values.tobytes()
        message.header.frame_id = name
        message.header.stamp.sec, message.header.stamp.nanosec = ns // 10**9, ns % 10**9
        publisher.publish(message)
    time.sleep(0.05)
"""


@pytest.fixture
def publish(ros_environment) -> Iterator[Callable[..., None]]:
    """Starts the publishers in a namespace: `publish("/a", late_s=0.0, frame="cam")`."""
    started: list[subprocess.Popen] = []

    def start(namespace: str, late_s: float = 0.004, frame: str = "cam") -> None:
        arguments = [sys.executable, "-c", PUBLISHER, namespace, str(late_s), frame]
        started.append(subprocess.Popen(arguments, env=ros_environment))

    yield start
    for process in started:
        process.kill()
        process.wait(10)


@pytest.mark.timeout(120)
def test_a_running_node_is_scored_against_a_camera(publish, tmp_path, capsys):
    publish("/a", frame="other")
    out = tmp_path / "figures" / "live.json"
    topics = ["--depth", "/a/reference", "--prediction", "/a/depth/image"]
    assert main(["score", "--live", *topics, "--duration", "3", "--timeout", "90", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["pairs"] >= 5
    assert report["model"] == {"delta1": 1.0, "abs_rel": 0.1, "rmse_m": 0.2, "coverage": 1.0}
    assert report["model_median_scaled"]["abs_rel"] == 0.0
    assert report["median_ratio"] == pytest.approx(2 / 2.2, abs=1e-4)
    assert report["baselines"]["true_median_of_each_frame"]["abs_rel"] == pytest.approx(0, abs=0.005)
    assert report["baselines"]["best_constant"]["delta1"] == 1.0
    assert "'cam', the reference in 'other'" in report["warnings"][0]
    printed = capsys.readouterr().out
    assert "each frame's true median" in printed
    assert "0.100" in printed


@pytest.mark.timeout(120)
def test_stamps_that_do_not_meet_are_named(publish, capsys):
    publish("/b", late_s=100.0)  # farther than any other frame of the run
    topics = ["--depth", "/b/reference", "--prediction", "/b/depth/image"]
    assert main(["score", *topics, "--timeout", "12", "--tolerance", "0.002"]) == 2
    error = capsys.readouterr().err
    assert "apart; --tolerance is 0.002 s" in error


def test_a_silent_topic_is_named(ros_environment, capsys):
    assert main(["score", "--depth", "/nobody", "--timeout", "1"]) == 2
    assert "nothing arrived on /depth/image in 1 s: nobody publishes it" in capsys.readouterr().err
    assert main(["score", "--depth", "/depth/image"]) == 2
    assert "both /depth/image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--depth", "/camera/depth/"], "'/camera/depth/' is no name of a topic: "),
        (["--depth", "/depth-camera"], "'/depth-camera' is no name of a topic: "),
        (["--depth", "/camera//depth"], "'/camera//depth' is no name of a topic: "),
        (["--depth", "/d", "--domain-id", "-5"], "ROS domain -5 does not exist; allowed are 0 to 232"),
        (["--depth", "/d", "--domain-id", "300"], "ROS domain 300 does not exist; allowed are 0 to 232"),
    ],
)
def test_what_is_no_topic_or_no_domain_is_one_sentence(ros_environment, arguments, words):
    command = [sys.executable, "-m", "depthclip_ros.cli", "score", *arguments, "--timeout", "1"]
    done = subprocess.run(command, env=ros_environment, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_pixels_without_a_reading_do_not_count_and_unknown_depth_does():
    record = LiveRecord()
    truth_m = np.full((4, 6), 2.0, np.float32)
    truth_m[0] = np.nan
    depth_m = np.full((4, 6), 2.0, np.float32)
    depth_m[0] = 9.0
    depth_m[1] = np.nan
    score_pair(depth_m, truth_m, record)
    assert record.scores[0].delta1 == pytest.approx(2 / 3)
    assert record.scores[0].coverage == pytest.approx(2 / 3)
    assert record.ratios == [1.0]


def test_depth_takes_the_size_of_the_reference():
    depth_m = np.arange(12, dtype=np.float32).reshape(3, 4)
    large = resized_depth(depth_m, (6, 8))
    np.testing.assert_allclose(large[2, 1:-1], 3.25 + 0.5 * np.arange(6), atol=1e-5)
    with pytest.raises(InputError, match="4x3 and the reference 10x3"):
        resized_depth(depth_m, (3, 10))


def test_too_far_counts_as_ten_metres_at_another_size_too():
    depth_m = np.full((6, 8), np.inf, np.float32)
    depth_m[:, :4] = 2.0
    truth_m = np.full((12, 16), 8.0, np.float32)
    truth_m[:, :8] = 2.0
    record = LiveRecord()
    score_pair(depth_m, truth_m, record)
    assert record.scores[0].abs_rel == pytest.approx(
        (8 * 0.25 + (0.75 * 2 + 0.25 * 10 - 2) / 2) / 16
    )  # one column is between
    far = resized_depth(depth_m, (12, 16))
    assert np.isposinf(far[:, 8:]).all()
    np.testing.assert_allclose(far[:, :7], 2.0)
    assert record.scores[0].coverage == 0.5


def test_a_depth_image_keeps_what_is_too_near_and_too_far():
    metres = np.array([[1.0, np.inf, -np.inf, np.nan]], np.float32)
    fields = {"encoding": "32FC1", "width": 4, "height": 1, "step": 16, "is_bigendian": 0}
    found = read_depth(SimpleNamespace(data=metres.tobytes(), header=None, **fields), keep_limits=True)
    np.testing.assert_array_equal(found, metres)


class Topics:
    """As much of a node as the scorer needs, without one: what it subscribes to, messages are handed to."""

    def __init__(self):
        self.heard, self.asked = {}, {}

    def resolve_topic_name(self, topic):
        return f"/{topic}"

    def get_publishers_info_by_topic(self, topic):
        return []

    def create_subscription(self, kind, topic, receive, qos):
        self.heard[topic], self.asked[topic] = receive, qos

    def create_timer(self, period_s, callback):
        pass

    def send(self, topic, stamp_s, metres=2.0):
        stamp = SimpleNamespace(sec=int(stamp_s), nanosec=round(stamp_s % 1 * 1e9))
        fields = {"encoding": "32FC1", "width": 2, "height": 2, "step": 8, "is_bigendian": 0}
        data = np.full((2, 2), metres, "<f4").tobytes()
        self.heard[topic](SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id=topic), data=data, **fields))


def test_of_too_many_images_that_wait_for_their_pair_the_newest_are_kept():
    topics = Topics()
    record = LiveScorer(topics, "depth", "reference", 0.02).record
    for number in range(WAITING_FRAMES + 1):
        topics.send("/depth", 100 + number)
    topics.send("/reference", 100.0)
    assert (len(record.scores), record.nearest_s) == (0, 1.0), "its image has gone, the next is a second away"
    topics.send("/reference", 101.01)
    topics.send("/reference", 100.0 + WAITING_FRAMES)
    assert len(record.scores) == 2
    assert (record.depths, record.references, record.frames_of) == (WAITING_FRAMES + 1, 3, ("/depth", "/reference"))


@pytest.mark.parametrize(("apart_s", "pairs"), [(0.02, 1), (-0.02, 1), (0.021, 0), (-0.021, 0)])
def test_stamps_may_differ_by_the_tolerance(apart_s, pairs):
    topics = Topics()
    record = LiveScorer(topics, "depth", "reference", 0.02).record
    topics.send("/depth", 100.0, 2.0)
    topics.send("/reference", 100.0 + apart_s, 4.0)
    assert len(record.scores) == pairs
    assert record.ratios == [2.0] * pairs
    if not pairs:
        topics.send("/reference", 105.0)
        assert record.nearest_s == pytest.approx(0.021), "the nearest of all"


def test_a_message_that_is_no_depth_is_counted_with_the_reason():
    topics = Topics()
    record = LiveScorer(topics, "depth", "reference", 0.02).record
    stamp = SimpleNamespace(sec=1, nanosec=0)
    header = SimpleNamespace(stamp=stamp, frame_id="cam")
    for _ in range(2):
        topics.heard["/reference"](
            SimpleNamespace(header=header, data=b"", encoding="rgb8", width=2, height=2, step=6, is_bigendian=0)
        )
    reason, count = record.refused
    assert (count, "rgb8" in reason) == (2, True)


def test_a_few_images_of_each_topic_may_wait_for_the_scorer():
    topics = Topics()
    LiveScorer(topics, "depth", "reference", 0.02)
    assert {topic: qos.depth for topic, qos in topics.asked.items()} == {"/depth": 5, "/reference": 5}
