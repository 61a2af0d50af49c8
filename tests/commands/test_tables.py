# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Tables in a log or a terminal of some width: headings of figures give way before words and figures do."""

from __future__ import annotations

import pytest
from rich.console import Console

from depthclip_ros.commands.tables import table_of


def printed(width: int) -> str:
    table = table_of(
        "Node",
        ["way", "image", "node's latency of all cameras ms", "receipt p50 / p95 / p99 ms"],
        [["compressed", "640x480", "30.2", "31.6 / 40.8 / 224.5"], ["raw", "1280x720"]],
        words=2,
    )
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize("width", [64, 120])
def test_long_headings_of_figures_fold_and_words_stay_whole(width: int) -> None:
    shown = printed(width)
    for whole in ("compressed", "640x480", "1280x720", "31.6 / 40.8 / 224.5", "latency", "cameras"):
        assert whole in shown
    assert max(map(len, shown.splitlines())) <= 64


def test_where_nothing_fits_words_fold_and_nothing_is_left_out() -> None:
    shown = printed(52)
    assert "31.6 / 40.8 / 224.5" in shown
    assert "…" not in shown
    assert "compressed" not in shown
