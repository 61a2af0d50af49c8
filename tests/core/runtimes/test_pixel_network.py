# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import numpy as np
import pytest
import torch

from depthclip_ros.core.model.contract import Prediction
from depthclip_ros.core.runtimes.pixel_network import Part, PixelNetwork, call, plain_attention


class Reads(torch.nn.Module):
    """Says the red that it is given, normalised, as depth, and green as confidence."""

    image_mean, image_std, scene_labels = (0.5, 0.25, 0.1), (0.2, 0.4, 0.5), ("a", "b")

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def see(self, images):
        self.seen = images
        return (images,)

    def read(self, images):
        return Prediction(images[:, 0], images[:, 1], scene_weights=torch.full((len(images), 2), 0.5))


PIXELS = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), np.uint8)


def test_pixels_come_to_the_network_as_it_was_trained_on_them():
    found = call(PixelNetwork(Reads()), PIXELS)
    expected = (PIXELS / 255 - np.array(Reads.image_mean)) / np.array(Reads.image_std)
    np.testing.assert_allclose(found.depth, expected[..., 0], atol=1e-5)
    np.testing.assert_allclose(found.confidence, expected[..., 1], atol=1e-5)
    assert found.scene_weights.shape == (2, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_network_is_run_in_its_precision_and_what_comes_out_is_float32(dtype):
    network = PixelNetwork(Reads(), dtype)
    found = call(network, PIXELS)
    assert network.model.seen.dtype == dtype
    assert found.depth.dtype == found.confidence.dtype == np.float32
    assert network.output_names == ("depth", "confidence", "scene_weights")
    network.model.scene_labels = ()
    assert network.output_names == ("depth", "confidence")


def test_both_parts_in_a_row_are_the_whole():
    network = PixelNetwork(Reads())
    pixels = torch.from_numpy(PIXELS)
    seen = Part(network, "see")(pixels)
    for one, other in zip(Part(network, "read")(*seen), network(pixels), strict=True):
        torch.testing.assert_close(one, other)


def test_attention_is_as_it_was_after_it_had_to_be_plain():
    before = torch.backends.mha.get_fastpath_enabled()
    with plain_attention():
        assert not torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(KeyError), plain_attention():
        raise KeyError
    assert torch.backends.mha.get_fastpath_enabled() is before
