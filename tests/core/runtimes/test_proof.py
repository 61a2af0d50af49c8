# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A runtime that gives another depth than the network is refused, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from depthclip_ros.core.errors import DeviceError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.runtimes.network_output import NetworkOutput
from depthclip_ros.core.runtimes.pixel_network import PixelNetwork, call
from depthclip_ros.core.runtimes.proof import Reference, RefusedRuntimeError, prove
from depthclip_ros.core.runtimes.shipped_rooms import PROOF, shipped_rooms

Make = Callable[..., DepthModel]
SIZE = (64, 48)


@pytest.fixture
def network(small_model: Make) -> PixelNetwork:
    model = small_model().prepare_inference()
    with torch.no_grad():  # an untrained network gives the same depth everywhere
        for parameter in model.heads.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return PixelNetwork(model)


def _reference(network: PixelNetwork) -> Reference:
    return Reference.of(lambda pixels: call(network, pixels), SIZE)


def test_the_network_itself_passes(network: PixelNetwork) -> None:
    reference = _reference(network)
    assert np.ptp(reference.depth) > 0.5
    for batch in (1, 3, 4, 5):
        found = prove(lambda pixels: call(network, pixels), reference, "torch", "fp32", batch)
        assert max(found.median, found.p99, found.confidence) < 1e-4


def _scaled(prediction: NetworkOutput, _index: int) -> NetworkOutput:
    return NetworkOutput(prediction.depth * 1.02, prediction.confidence)


def _transposed(prediction: NetworkOutput, _index: int) -> NetworkOutput:
    depth = prediction.depth.transpose(0, 2, 1)
    return NetworkOutput(depth, prediction.confidence)


def _transposed_in_shape(prediction: NetworkOutput, _index: int) -> NetworkOutput:
    """The right shape, the axes exchanged below it: what a wrong layout gives."""
    depth = prediction.depth.transpose(0, 2, 1).reshape(prediction.depth.shape)
    return NetworkOutput(depth, prediction.confidence)


def _jumping(prediction: NetworkOutput, index: int) -> NetworkOutput:
    return NetworkOutput(prediction.depth * (1.05 if index == 6 else 1.0), prediction.confidence)


def _with_a_hole(prediction: NetworkOutput, _index: int) -> NetworkOutput:
    depth = prediction.depth.copy()
    depth[:, 0, 0] = np.nan
    return NetworkOutput(depth, prediction.confidence)


def _noisy(prediction: NetworkOutput, _index: int) -> NetworkOutput:
    depth = prediction.depth.copy()
    depth[:, :, :2] *= 1.5  # an edge of the picture: the median does not see it
    return NetworkOutput(depth, prediction.confidence)


def _doubtful(prediction: NetworkOutput, _index: int) -> NetworkOutput:
    return NetworkOutput(prediction.depth, 1 - prediction.confidence)


WRONG = [_scaled, _transposed, _transposed_in_shape, _jumping, _with_a_hole, _noisy, _doubtful]


@pytest.mark.parametrize("spoil", WRONG, ids=lambda function: function.__name__.strip("_"))
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_wrong_runtime_is_refused(
    network: PixelNetwork, spoil: Callable[[NetworkOutput, int], NetworkOutput], precision: str
) -> None:
    calls = iter(range(100))
    said = rf"wrong in {precision} (is not this network|gives depth of the shape)"
    with pytest.raises(RefusedRuntimeError, match=said):
        prove(lambda p: spoil(call(network, p), next(calls)), _reference(network), "wrong", precision)


def test_the_second_image_of_a_batch_counts_too(network: PixelNetwork) -> None:
    def second_wrong(pixels: np.ndarray) -> NetworkOutput:
        prediction = call(network, pixels)
        return NetworkOutput(
            prediction.depth * np.array([1.0, 1.1], np.float32).reshape(2, 1, 1), prediction.confidence
        )

    with pytest.raises(RefusedRuntimeError, match=r"off by 10\.0% \(median\) and 10\.0% \(99 of 100 pixels\)"):
        prove(second_wrong, _reference(network), "wrong", "fp32", batch=2)


def test_int8_has_wider_limits(network: PixelNetwork) -> None:
    reference = _reference(network)

    def attempt(factor: float, precision: str) -> None:
        def off(pixels: np.ndarray) -> NetworkOutput:
            prediction = call(network, pixels)
            return NetworkOutput(prediction.depth * factor, prediction.confidence)

        prove(off, reference, "x", precision)

    with pytest.raises(RefusedRuntimeError, match=r"allowed: 1%, 5% and 0\.1"):
        attempt(1.015, "bf16")
    attempt(1.015, "int8")
    with pytest.raises(RefusedRuntimeError, match=r"allowed: 2%, 8% and 0\.1"):
        attempt(1.025, "int8")


def test_the_fixed_pictures_are_four_different_rooms() -> None:
    pixels = torch.from_numpy(shipped_rooms(PROOF, 80, 64))
    assert pixels.shape == (4, 64, 80, 3)
    assert pixels.dtype == torch.uint8
    means = pixels.float().mean(dim=(1, 2))
    assert torch.cdist(means, means).add(torch.eye(4) * 100).min() > 5


def test_a_missing_picture_says_so(tmp_path) -> None:
    with pytest.raises(DeviceError, match=r"none.jpg is missing or damaged.*reinstall"):
        shipped_rooms(tmp_path / "none.jpg", *SIZE)
