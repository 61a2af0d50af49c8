# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Tables as all commands print them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table


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
        words: how many columns, the first ones, are words: these fold; the others are figures, to the right.
        header: whether the headings are shown; without, the first column is bold.
    """
    table = Table(title=escape(title), title_justify="left", show_header=header)
    for index, name in enumerate(columns):
        bold = "bold" if not header and not index else ""
        if index < words:
            table.add_column(name, overflow="fold", style=bold)
        else:
            table.add_column(name, justify="right", no_wrap=header)
    for row in rows:
        table.add_row(*map(escape, row))
    return table
