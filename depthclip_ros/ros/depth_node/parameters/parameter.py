# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""One parameter of depth_node: what is allowed, and when a change takes effect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from depthclip_ros.core.errors import ConfigError

Value = bool | int | float | str | list[str] | list[float]

NEXT_FRAME = "with the next frame"
NEXT_CONFIGURE = "at the next configure"
NEXT_START = "at the next start of the node"


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
        name: as ROS knows it, e.g. `output.max_depth`.
        default: its type is the parameter's type; a list's is `element`'s.
        description: one or two sentences with the unit.
        choices: the allowed texts; empty means any text (an empty one only where the default is), or a number within
            `minimum` and `maximum`.
        zero: what 0 means where it is allowed beside `minimum` to `maximum`.
        step: from one allowed whole number to the next.
        pattern: a regular expression that is allowed beside `choices`, and how to say it to a person.
        element: of a list: str or float. What is allowed holds for each element, and texts must differ.
        effect: when a change takes effect: NEXT_FRAME, NEXT_CONFIGURE; NEXT_START: it cannot be changed.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    zero: str = ""
    step: int = 1
    choices: tuple[str, ...] = ()
    pattern: tuple[str, str] | None = None
    element: type | None = None
    effect: str = NEXT_FRAME

    @property
    def live(self) -> bool:
        """Whether a running node takes a change up."""
        return self.effect == NEXT_FRAME

    @property
    def allowed(self) -> str:
        """The allowed values, for a person."""
        if self.element:
            return f"a list of {self.pattern[1] if self.pattern else f'{self.minimum:g} to {self.maximum:g}'}"
        if self.choices:
            return ", ".join([*self.choices, *([self.pattern[1]] if self.pattern else [])])
        if self.minimum is not None and self.maximum is not None:
            if self.step > 1:
                return ", ".join(map(str, range(int(self.minimum), int(self.maximum) + 1, self.step)))
            return f"{self.minimum:g} to {self.maximum:g}" + (f", 0: {self.zero}" if self.zero else "")
        text = "a text that is not empty" if self.default else "a text"
        return {bool: "true or false", str: text}[type(self.default)]

    def check(self, value: Any) -> Value:
        """The value, with its type made exact.

        Raises:
            ConfigError: a value of another type or outside what is allowed; it names both.
        """
        if self.element:
            return self._check_list(value)
        kind = type(self.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if good and self.choices:
            good = value in self.choices or bool(self.pattern and re.fullmatch(self.pattern[0], value))
        elif good and self.minimum is not None and self.maximum is not None:
            good = self.minimum <= value <= self.maximum  # false for NaN
            good = good and (kind is float or (value - self.minimum) % self.step == 0)
            good = good or (bool(self.zero) and value == 0)
        elif good and kind is str:
            good = bool(value) or not self.default
        if not good:
            raise ConfigError(f"{self.name} is {value!r}; allowed: {self.allowed}")
        return value  # type: ignore[no-any-return]

    def _check_list(self, value: Any) -> Value:
        # ROS has no empty list in YAML: there it is a parameter without a value.
        items = [] if value is None else value
        good = not isinstance(items, str) and hasattr(items, "__iter__")
        items = list(items) if good else []
        if self.element is str:
            pattern = self.pattern[0] if self.pattern else ".+"
            good = good and all(isinstance(item, str) and re.fullmatch(pattern, item) for item in items)
            good = good and len(set(items)) == len(items)
        else:
            low, high = self.minimum or 0.0, self.maximum or 0.0
            good = good and all(type(item) in (int, float) and low <= item <= high for item in items)
            items = [float(item) for item in items] if good else items
        if not good:
            raise ConfigError(f"{self.name} is {value!r}; allowed: {self.allowed}")
        return items
