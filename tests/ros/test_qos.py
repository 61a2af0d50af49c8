# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from depthclip_ros.ros import qos

RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.mark.parametrize(
    ("setting", "offers", "wanted"),
    [
        ("auto", [], "reliable"),
        ("auto", [RELIABLE], "reliable"),
        ("auto", [BEST_EFFORT], "best_effort"),
        ("auto", [RELIABLE, BEST_EFFORT], "best_effort"),
        ("auto", [LATCHED], "reliable, transient_local"),
        ("auto", [LATCHED, RELIABLE], "reliable"),
        ("reliable", [BEST_EFFORT], "reliable"),
        ("best_effort", [RELIABLE], "best_effort"),
    ],
)
def test_every_publisher_is_heard_as_well_as_it_offers(setting, offers, wanted):
    profile = qos.input_qos(setting, offers)
    assert qos.name_of(profile) == wanted
    assert (profile.history, profile.depth) == (HistoryPolicy.KEEP_LAST, 1)


def test_a_subscription_is_made_again_only_for_another_request():
    assert qos.same_request(qos.input_qos("auto", []), qos.input_qos("auto", [RELIABLE]))
    assert not qos.same_request(qos.input_qos("auto", []), qos.input_qos("auto", [BEST_EFFORT]))
    assert not qos.same_request(qos.input_qos("auto", [RELIABLE]), qos.input_qos("auto", [LATCHED]))


def test_output_is_reliable_and_keeps_one():
    profile = qos.output_qos()
    assert (profile.history, profile.depth) == (HistoryPolicy.KEEP_LAST, 1)
    assert profile.reliability == ReliabilityPolicy.RELIABLE


def test_a_user_may_change_how_output_is_kept_and_sent():
    kinds = {kind.name for kind in qos.output_overrides().policy_kinds}
    assert kinds == {"HISTORY", "DEPTH", "RELIABILITY"}
