# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Scenes of known geometry: an empty room with the shapes that a test puts into it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from depthclip_ros.scene import Scene
from depthclip_ros.scene.furnishing.builder import Part, primitive_table
from depthclip_ros.scene.tracing.primitives import (
    COLOUR_0,
    COLOUR_1,
    COLOUR_2,
    LIGHT_AT,
    LIGHT_COLOUR,
    LIGHT_ROWS,
    MATERIAL_ROWS,
    PERIOD,
    ROOM,
    SHININESS,
)

SceneMaker = Callable[..., Scene]


@pytest.fixture
def make_scene() -> SceneMaker:
    """Room of the given half sizes (floor at z = 0) holding parts; one lamp of no size; everything mid-grey."""

    def make(
        *parts: Part,
        half: tuple[float, float, float] = (4.0, 5.0, 1.5),
        lamp: tuple[float, float, float] = (0.0, 0.0, 2.8),
    ) -> Scene:
        shell = Part((0, 0, half[2]), half, 0, ROOM, casts=False)
        materials = torch.zeros(MATERIAL_ROWS, 1)
        for row in (COLOUR_0, COLOUR_1, COLOUR_2):
            materials[row : row + 3] = 0.5
        materials[PERIOD : PERIOD + 2] = 1.0
        materials[SHININESS] = 10.0
        lights = torch.zeros(LIGHT_ROWS, 1)
        lights[LIGHT_AT : LIGHT_AT + 3, 0] = torch.tensor(lamp)
        lights[LIGHT_COLOUR : LIGHT_COLOUR + 3] = 5.0
        return Scene(primitive_table([shell, *parts]), materials, lights, torch.full((3, 2), 0.1), torch.zeros(0, 3))

    return make


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small tensors on a shared machine: a second thread costs more than it brings."""
    torch.set_num_threads(1)
