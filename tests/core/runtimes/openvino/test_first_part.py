# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The first part in float32: two models that make the whole, cut where the shipped weights need it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import depthclip_ros
from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.runtimes.openvino import imported
from depthclip_ros.core.runtimes.openvino.first_part import FIRST, split
from depthclip_ros.core.runtimes.openvino.from_torch import convert
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork
from depthclip_ros.core.weights.load import load_weights

pytestmark = pytest.mark.skipif(not imported.is_installed(), reason="needs the extra `openvino`")

Make = Callable[..., DepthModel]
DATA = Path(depthclip_ros.__file__).parent / "data"
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def _see(weights: str, height: int, width: int):
    model = imported.openvino().Core().read_model((DATA / f"{weights}.see.onnx").resolve())
    model.reshape({model.inputs[0]: [1, height, width, 3]})
    return model


@pytest.mark.parametrize("first", [FIRST, re.compile(r"stem\.[0-3]/")], ids=["down to 1/8", "down to 1/16"])
def test_two_models_make_the_whole(first) -> None:
    core = imported.openvino().Core()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 128, 160, 3), np.uint8)
    whole = core.compile_model(_see("fast", 128, 160), "CPU", EXACT)(pixels)
    parts = split(_see("fast", 128, 160), first)
    assert parts is not None
    between = core.compile_model(parts[0], "CPU", EXACT)(pixels)
    found = core.compile_model(parts[1], "CPU", EXACT)([between[index] for index in range(len(parts[0].outputs))])
    assert len(found) == len(whole)
    for index in range(len(whole)):
        np.testing.assert_allclose(found[index], whole[index], rtol=1e-3, atol=1e-3)


def _in_torch():
    see, _ = convert(PixelNetwork(load_weights("fast").model.eval()), 128, 160)
    see.reshape({see.inputs[0]: [1, 128, 160, 3]})
    return see


@pytest.mark.parametrize("see", [lambda: _see("fast", 128, 160), _in_torch], ids=["graph", "torch"])
def test_the_stem_of_fast_is_cut_behind_its_levels_down_to_an_eighth(see) -> None:
    parts = split(see())
    assert parts is not None
    assert [list(output.shape) for output in parts[0].outputs] == [[1, 16, 64, 80], [1, 24, 32, 40], [1, 40, 16, 20]]


def test_a_network_without_such_a_stem_stays_whole(small_model: Make) -> None:
    assert split(_see("default", 192, 256)) is None
    plain, _ = convert(PixelNetwork(small_model().eval()), 48, 64)
    assert any("stem.0" in operation.get_friendly_name() for operation in plain.get_ordered_ops())
    assert split(plain) is None


@pytest.mark.parametrize("weights", ["default", "fast"])
def test_the_shipped_weights_run_in_what_this_machine_does_fastest(weights: str, shared_cache: None) -> None:
    """On a CPU with bfloat16 it is that; a network that cannot take it would say so in every robot's status."""
    engine = DepthEngine.load(weights, device="cpu")
    present = imported.openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert (engine.runtime, engine.precision) == ("openvino", "bf16" if "BF16" in present else "fp32")
    assert engine.notices == []
