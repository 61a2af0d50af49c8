# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""QoS of depth_node's topics: what to ask of a publisher so that it is heard, and what to offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

RELIABILITY = {"reliable": ReliabilityPolicy.RELIABLE, "best_effort": ReliabilityPolicy.BEST_EFFORT}


def input_qos(setting: str, offers: Sequence[QoSProfile], depth: int = 1) -> QoSProfile:
    """The strictest request that every offer satisfies.

    Args:
        setting: the parameter `input.reliability`: auto, reliable or best_effort.
        offers: QoS of the topic's present publishers.
        depth: keep the last so many messages.

    With auto and no publisher yet it asks for reliable: a best-effort publisher that comes then raises an
    incompatible-QoS event at once, while nothing would tell that a reliable one is only heard as best effort.
    Latched topics (transient local) are asked for as such if all publishers latch: else their one message is missed.
    """
    reliability = RELIABILITY.get(setting)
    if reliability is None:
        all_reliable = all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
        reliability = ReliabilityPolicy.RELIABLE if all_reliable else ReliabilityPolicy.BEST_EFFORT
    latched = bool(offers) and all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def same_request(a: QoSProfile, b: QoSProfile) -> bool:
    """Whether a subscription made with `a` need not be made again for `b`."""
    return a.reliability == b.reliability and a.durability == b.durability


def output_qos() -> QoSProfile:
    """Reliable, keep last 1: heard by every subscriber, and an old depth is never sent again."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE)


def output_overrides() -> QoSOverridingOptions:
    """Lets parameters `qos_overrides.<topic>.publisher.{history,depth,reliability}` change `output_qos`."""
    return QoSOverridingOptions.with_default_policies()


def name_of(profile: QoSProfile) -> str:
    """E.g. `reliable`, `best_effort`, `reliable, transient_local`."""
    name = next((name for name, policy in RELIABILITY.items() if policy == profile.reliability), "unknown")
    return f"{name}, transient_local" if profile.durability == DurabilityPolicy.TRANSIENT_LOCAL else name


def incompatible_qos_callbacks(callback: Any) -> Any:
    """Subscription event callbacks that call `callback` when a publisher with an incompatible QoS appears."""
    try:
        from rclpy.event_handler import SubscriptionEventCallbacks
    except ImportError:  # Humble
        from rclpy.qos_event import SubscriptionEventCallbacks
    return SubscriptionEventCallbacks(incompatible_qos=lambda _event: callback())
