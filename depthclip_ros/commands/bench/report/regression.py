# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Two runs of the bench against each other: ratios only, for milliseconds of another day or machine mean nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthclip_ros.commands.bench.settings import Row
from depthclip_ros.core.errors import ConfigError

SCHEMA = 1
WORSE, FINE, ONLY_OLD, ONLY_NEW, DOUBTED = "WORSE", "fine", "not in this run", "not in the older run", "doubted"


@dataclass(frozen=True)
class Compared:
    """A ratio that two runs may be compared by.

    Attributes:
        ratio: the rows' field.
        keys: fields that say which row is meant.
        higher_is_better: whether a smaller ratio is worse.
        margin: how many times worse it may be before it is doubted. Wide, for even ratios taken in turn move with what
            else the machine does: those of two nodes over DDS more than those of two calls in one process.
    """

    ratio: str
    keys: tuple[str, ...]
    higher_is_better: bool
    margin: float


ENGINE = ("system", "runtime", "precision", "image", "batch")
COMPARED: dict[str, tuple[Compared, ...]] = {
    "engine": (Compared("times_eager", ENGINE, True, 1.5), Compared("times_reference", ENGINE, True, 1.5)),
    "cloud": (Compared("times_per_field", ("image",), True, 1.6),),
    "node": (Compared("latency_over_engine", ("way", "image"), False, 2.0),),
    "overload": (
        Compared("times_quiet", ("image",), False, 2.5),
        Compared("late_over_early", ("image",), False, 2.0),
        Compared("out_over_sustained", ("image",), True, 2.0),
    ),
    "cameras": (
        Compared("times_rate", ("cameras", "way"), True, 1.6),
        Compared("of_memory", ("cameras", "way"), False, 1.5),
    ),
    "start": (
        Compared("of_torch", ("what", "asked", "cache"), False, 2.0),
        Compared("memory_of_torch", ("what", "asked", "cache"), False, 1.5),
    ),
}
Name = tuple[str, ...]


def read(path: Path) -> dict[str, Any]:
    """A file that `depthclip bench --json` wrote.

    Raises:
        ConfigError: it is not one, or of another schema.
    """
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as figures of the bench: {error}") from error
    if not isinstance(figures, dict) or figures.get("schema") != SCHEMA or not isinstance(figures.get("rows"), list):
        raise ConfigError(f"{path} holds no figures of the bench of schema {SCHEMA}; write them anew with --json")
    return figures


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Row]:
    """Every ratio of both runs: `what`, `ratio`, `old`, `new`, `worse` (how many times), `margin`, `verdict`, `unit`.

    A ratio that is worse by more than its margin is DOUBTED, not yet WORSE: it has to be measured again (`believed`).
    Of parts and units that the newer run did not measure at all nothing is said.
    """
    measured = {(row["part"], row["unit"]) for row in new["rows"]}
    before = _ratios(row for row in old["rows"] if (row["part"], row["unit"]) in measured)
    after = _ratios(new["rows"])
    return [_judge(name, before.get(name), after.get(name)) for name in dict.fromkeys((*before, *after))]


def believed(first: Sequence[Row], again: Sequence[Row]) -> list[Row]:
    """Verdicts after a second measurement: WORSE where both are beyond the margin, the better of both figures kept."""
    second = {(row["what"], row["ratio"]): row for row in again}
    settled = []
    for row in first:
        other = second.get((row["what"], row["ratio"]))
        if row["verdict"] != DOUBTED:
            settled.append(row)
        elif other is not None and other["verdict"] == FINE:
            settled.append(other)
        else:
            doubted_again = other is not None and other["verdict"] == DOUBTED
            better = other if doubted_again and other["worse"] < row["worse"] else row
            settled.append({**better, "verdict": WORSE})
    return settled


def doubted_units(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """(part, unit) to measure again."""
    return list(dict.fromkeys((row["part"], row["unit"]) for row in rows if row["verdict"] == DOUBTED))


def summary(rows: Sequence[Row]) -> str:
    """One line."""
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in (WORSE, FINE, ONLY_OLD, ONLY_NEW)}
    said = [f"{count} {verdict}" for verdict, count in counts.items() if count or verdict in (WORSE, FINE)]
    return "; ".join(said)


def _ratios(rows: Iterable[Row]) -> dict[Name, tuple[float | None, Compared, Row]]:
    found: dict[Name, tuple[float | None, Compared, Row]] = {}
    for row in rows:
        if row.get("failed") or (row.get("ran") and row["part"] == "engine"):  # another runtime's figures
            continue
        for one in COMPARED.get(row["part"], ()):
            value = row.get(one.ratio)
            if value is not None:
                name = (row["part"], one.ratio, *(str(row.get(key)) for key in one.keys))
                found[name] = (value, one, row)
    return found


def _judge(
    name: Name, old: tuple[float | None, Compared, Row] | None, new: tuple[float | None, Compared, Row] | None
) -> Row:
    present = new or old
    assert present is not None
    _, one, row = present
    old_value, new_value = old and old[0], new and new[0]
    worse = None
    if not old_value or not new_value:
        verdict = ONLY_NEW if old is None else ONLY_OLD
    else:
        worse = old_value / new_value if one.higher_is_better else new_value / old_value
        verdict = DOUBTED if worse > one.margin else FINE
    return {
        "part": name[0],
        "unit": row["unit"],
        "what": ": ".join((name[0], ", ".join(name[2:]))),
        "ratio": one.ratio,
        "old": old_value,
        "new": new_value,
        "worse": worse,
        "margin": one.margin,
        "verdict": verdict,
    }
