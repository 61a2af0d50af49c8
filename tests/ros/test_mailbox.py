from __future__ import annotations

import threading

import pytest

from depthclip_ros.ros.mailbox import Mailbox, StampOrder

MS = 1_000_000


def test_the_newest_item_wins_and_the_overtaken_are_counted():
    mailbox: Mailbox[int] = Mailbox()
    for item in range(1, 6):
        mailbox.put(item)
    assert mailbox.take() == 5
    assert mailbox.overtaken == 4
    mailbox.put(6)
    assert mailbox.take() == 6
    assert mailbox.overtaken == 4


def test_take_waits_for_an_item():
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int | None] = []
    reader = threading.Thread(target=lambda: taken.append(mailbox.take()))
    reader.start()
    assert not taken
    mailbox.put(7)
    reader.join(10)
    assert taken == [7]


def test_close_frees_a_waiting_reader_and_drops_what_is_left():
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int | None] = []
    reader = threading.Thread(target=lambda: taken.append(mailbox.take()))
    reader.start()
    mailbox.close()
    reader.join(10)
    assert taken == [None]
    mailbox.put(8)
    assert mailbox.take() is None


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
