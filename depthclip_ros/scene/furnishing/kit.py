# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""What every maker of things gets: the scene's random stream and its materials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from depthclip_ros.scene.furnishing.builder import MaterialTable
from depthclip_ros.scene.furnishing.materials import Material

T = TypeVar("T")


@dataclass
class Kit:
    """What every maker needs: the scene's random stream and its materials."""

    rng: np.random.Generator
    table: MaterialTable

    def use(self, material: Material, size_m: tuple[float, float] | None = None) -> int:
        """Add a material to the scene."""
        return self.table.add(material, size_m)

    def any(self, low: float, high: float) -> float:
        """A uniform number."""
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """True for a share of the calls."""
        return bool(self.rng.random() < share)


def pick(kit: Kit, choices: tuple[tuple[T, float], ...]) -> T:
    """One of the makers by weight."""
    weights = np.cumsum([w for _, w in choices])
    return choices[int(np.searchsorted(weights, kit.rng.random() * weights[-1]))][0]
