# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Tables as all commands print them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import fill

from rich.markup import escape
from rich.table import Table

HEADING_WIDTH = 9  # letters that a heading of figures may take in a line though its figures take less


def table_of(
    title: str,
    columns: Sequence[str] = ("", ""),
    rows: Iterable[Sequence[str]] = (),
    *,
    words: int = 1,
    header: bool = True,
) -> Table:
    """A table of plain texts.

    Args:
        title: above it.
        columns: headings.
        rows: a text for each column; fewer leave the rest empty.
        words: how many columns, the first ones, are words: these fold; the others are figures, to the right, of
            which the headings fold.
        header: whether the headings are shown; without, the first column is bold.
    """
    table = Table(title=escape(title), title_justify="left", show_header=header)
    rows = list(rows)
    for index, name in enumerate(columns):
        bold = "bold" if not header and not index else ""
        if index < words:
            table.add_column(name, overflow="fold", style=bold)
        else:
            longest = max((len(row[index]) for row in rows if index < len(row)), default=0)
            heading = fill(name, max(HEADING_WIDTH, longest), break_long_words=False, break_on_hyphens=False)
            table.add_column(heading, justify="right", no_wrap=header)
    for row in rows:
        table.add_row(*map(escape, row))
    return table
