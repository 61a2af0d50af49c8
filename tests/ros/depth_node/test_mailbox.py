# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from depthclip_ros.ros.depth_node.mailbox import Mailboxes, RateLimit, StampOrder

MS = 1_000_000


def test_the_newest_item_wins_and_the_overtaken_are_counted():
    mailboxes: Mailboxes[int] = Mailboxes()
    box = mailboxes.add()
    for item in range(1, 6):
        box.put(item)
    assert mailboxes.take() == [5]
    assert box.overtaken == 4
    box.put(6)
    assert mailboxes.take() == [6]
    assert box.overtaken == 4


def test_take_waits_for_an_item():
    mailboxes: Mailboxes[int] = Mailboxes()
    box = mailboxes.add()
    taken: list[int] = []
    reader = threading.Thread(target=lambda: taken.extend(mailboxes.take()))
    reader.start()
    assert not taken
    box.put(7)
    reader.join(10)
    assert taken == [7]


def test_close_frees_a_waiting_reader_and_drops_what_is_left():
    mailboxes: Mailboxes[int] = Mailboxes()
    box = mailboxes.add()
    taken: list[list[int]] = []
    reader = threading.Thread(target=lambda: taken.append(mailboxes.take()))
    reader.start()
    mailboxes.close()
    reader.join(10)
    assert taken == [[]]
    box.put(8)
    assert mailboxes.take() == []


def test_a_round_has_the_newest_of_every_box_that_has_one():
    mailboxes: Mailboxes[str] = Mailboxes()
    slow, fast, silent = (mailboxes.add() for _ in range(3))
    fast.put("fast 1")
    slow.put("slow 1")
    fast.put("fast 2")
    fast.put("fast 3")
    assert sorted(mailboxes.take()) == ["fast 3", "slow 1"]
    assert (slow.overtaken, fast.overtaken, silent.overtaken) == (0, 2, 0)
    fast.put("fast 4")
    assert mailboxes.take() == ["fast 4"]


def test_taking_waits_for_any_box_and_ends_when_closed():
    mailboxes: Mailboxes[int] = Mailboxes()
    boxes = [mailboxes.add(), mailboxes.add()]
    taken: list[list[int]] = []

    def read():
        while items := mailboxes.take():
            taken.append(items)

    reader = threading.Thread(target=read)
    reader.start()
    boxes[1].put(7)
    end_s = time.monotonic() + 10
    while not taken and time.monotonic() < end_s:
        time.sleep(0.001)
    mailboxes.close()
    reader.join(10)
    assert not reader.is_alive()
    assert taken == [[7]]
    boxes[0].put(8)
    mailboxes.add().put(9)
    assert mailboxes.take() == []


def test_an_item_that_must_wait_holds_up_no_other_box():
    mailboxes: Mailboxes[str] = Mailboxes()
    held, free = mailboxes.add(lambda _item: 3600.0), mailboxes.add()
    held.put("held")
    free.put("free")
    assert mailboxes.take() == ["free"]


def test_an_item_is_taken_when_what_it_waits_for_comes():
    come: set[str] = set()
    mailboxes: Mailboxes[str] = Mailboxes()
    box = mailboxes.add(lambda item: 0.0 if item in come else 3600.0)
    box.put("a")

    def bring():
        come.add("a")
        box.wake()

    later = threading.Timer(0.05, bring)
    later.start()
    assert mailboxes.take() == ["a"]
    later.join()


def test_an_item_is_taken_when_its_wait_is_over():
    due_s = time.monotonic() + 0.05
    mailboxes: Mailboxes[str] = Mailboxes()
    mailboxes.add(lambda _item: due_s - time.monotonic()).put("a")
    assert mailboxes.take() == ["a"]
    assert time.monotonic() >= due_s


def test_a_stream_whose_items_all_wait_is_not_starved_by_its_own_newer_items():
    ready: set[int] = set()
    mailboxes: Mailboxes[int] = Mailboxes()
    box = mailboxes.add(lambda item: 0.0 if item in ready else 3600.0)
    for item in (1, 2, 3):
        box.put(item)
    ready.add(1)  # what belongs to it comes when two newer ones are there
    assert mailboxes.take() == [1]
    assert box.overtaken == 1
    box.put(4)
    ready.update({3, 4})
    assert mailboxes.take() == [4]
    assert box.overtaken == 2


def test_an_item_that_is_put_back_is_decided_before_newer_ones():
    ready: set[str] = {"new", "newer", "newest"}
    mailboxes: Mailboxes[str] = Mailboxes()
    box = mailboxes.add(lambda item: 0.0 if item in ready else 3600.0)
    box.put("new")
    box.put_back("old")
    box.put("newer")
    free = mailboxes.add()
    free.put("free")
    assert mailboxes.take() == ["free"]
    ready.add("old")
    assert mailboxes.take() == ["old"]
    box.put("newest")
    assert mailboxes.take() == ["newest"]
    assert box.overtaken == 2


def test_an_item_that_is_put_back_to_wait_gives_way_to_newer_ones():
    ready: set[str] = set()
    mailboxes: Mailboxes[str] = Mailboxes()
    box = mailboxes.add(lambda item: 0.0 if item in ready else 3600.0)
    box.put_back("old", first=False)
    for item in ("new", "newer"):
        box.put(item)
    ready.update({"old", "new", "newer"})
    assert mailboxes.take() == ["newer"]
    assert box.overtaken == 2
    box.put_back("only", first=False)
    ready.add("only")
    assert mailboxes.take() == ["only"]


def test_one_old_stamp_is_refused_however_old_and_does_not_move_the_order():
    order = StampOrder(patience=5)
    assert order.check(1_000_000 * MS) == ("in order", 0.0)
    verdict, back_s = order.check(400_000 * MS)
    assert verdict == "back"
    assert back_s == pytest.approx(600)
    assert order.check(1_000_001 * MS)[0] == "in order"


def test_equal_stamps_are_in_order_since_some_drivers_send_only_zeros():
    order = StampOrder()
    assert [order.check(0)[0] for _ in range(3)] == ["in order"] * 3


def test_old_stamps_in_a_row_begin_a_new_timeline():
    order = StampOrder(patience=5)
    order.check(60_000 * MS)
    verdicts = [order.check((1000 + 33 * i) * MS)[0] for i in range(7)]
    assert verdicts == ["back"] * 4 + ["new timeline", "in order", "in order"]


def test_two_interleaved_cameras_never_begin_a_new_timeline():
    order = StampOrder(patience=3)
    verdicts = []
    for i in range(10):
        order.check((5000 + i) * MS)
        verdicts.append(order.check((100 + i) * MS)[0])
    assert set(verdicts) == {"back"}


def test_old_stamps_that_are_themselves_out_of_order_begin_none():
    order = StampOrder(patience=3)
    order.check(60_000 * MS)
    assert {order.check((5000 - i) * MS)[0] for i in range(10)} == {"back"}


def test_reset_takes_any_stamp():
    order = StampOrder()
    order.check(60_000 * MS)
    order.reset()
    assert order.check(1) == ("in order", 0.0)


@pytest.mark.parametrize(("camera_hz", "most_hz"), [(30, 5), (30, 20), (30, 29), (10, 10), (15, 30), (7, 5)])
def test_a_rate_is_never_exceeded_and_reached_where_the_camera_has_it(camera_hz, most_hz):
    limit = RateLimit()
    jitter_s = np.random.default_rng(0).uniform(-0.2, 0.2, 10 * camera_hz) / camera_hz
    times_s = 100 + np.arange(10 * camera_hz) / camera_hz + jitter_s
    passed = np.array([now_s for now_s in times_s if limit.passes(most_hz, now_s)])
    assert passed.size <= 10 * most_hz + 1
    assert passed.size >= 0.93 * 10 * min(camera_hz, most_hz)
    assert np.diff(passed).min(initial=1.0) > 0.4 / most_hz


def test_a_pause_is_not_made_up_for():
    limit = RateLimit()
    assert limit.passes(5, 0.0)
    burst = [limit.passes(5, 60 + k / 100) for k in range(20)]
    assert sum(burst) <= 2
    assert all(limit.passes(0, 60.2) for _ in range(5))


def test_what_comes_after_the_end_is_let_go_though_somebody_still_asks():
    mailboxes: Mailboxes[int] = Mailboxes()
    box = mailboxes.add()
    box.put(1)
    mailboxes.close()
    box.put(2)
    box.put_back(3)
    assert box.take() is None
    late = mailboxes.add()
    late.put(4)
    assert late.take() is None


def test_of_an_item_that_is_put_back_over_two_the_older_is_overtaken():
    mailboxes: Mailboxes[str] = Mailboxes()
    box = mailboxes.add(lambda _item: 0.0)
    held = mailboxes.add(lambda item: 3600.0)
    held.put("first")
    held.put("second")
    assert held.overtaken == 0
    held.put_back("old")
    assert held.overtaken == 1, "the second stays, the first is overtaken"
    box.put("free")
    box.put_back("back")
    assert mailboxes.take() == ["back"]
    assert mailboxes.take() == ["free"]
    assert box.overtaken == 0


def test_the_shortest_wait_of_all_boxes_is_waited_for():
    due_s = time.monotonic() + 0.05
    mailboxes: Mailboxes[str] = Mailboxes()
    mailboxes.add(lambda _item: 3600.0).put("late")
    mailboxes.add(lambda _item: due_s - time.monotonic()).put("soon")
    mailboxes.add(lambda _item: 1800.0).put("later")
    assert mailboxes.take() == ["soon"]
    assert time.monotonic() < due_s + 5


def test_after_a_new_timeline_begins_the_old_ones_are_counted_anew():
    order = StampOrder(patience=2)
    order.check(60_000 * MS)
    assert [order.check(stamp * MS)[0] for stamp in (1000, 1001, 900, 1002, 901, 902)] == [
        "back", "new timeline", "back", "in order", "back", "new timeline",
    ]  # fmt: skip
    order.reset()
    order.check(60_000 * MS)
    verdict, back_s = order.check(59_000 * MS)
    assert (verdict, back_s) == ("back", pytest.approx(1.0))
    order.reset()
    assert [order.check(stamp * MS)[0] for stamp in (10, 5)] == ["in order", "back"]


def test_old_stamps_that_repeat_are_a_row():
    order = StampOrder(patience=3)
    order.check(100 * MS)
    assert [order.check(7 * MS)[0] for _ in range(3)] == ["back", "back", "new timeline"]


def test_a_rate_counts_from_its_own_first_frame_and_each_is_due_a_period_later():
    limit = RateLimit()
    assert [limit.passes(4, now_s) for now_s in (10.0, 10.249, 10.25, 10.4, 10.5, 10.76)] == [
        True, False, True, False, True, True,
    ]  # fmt: skip
    assert not limit.passes(4, 10.99), "the next is due at 11.0, though the last came late"
    assert limit.passes(4, 11.0)
    assert limit.passes(-1, 11.0)
