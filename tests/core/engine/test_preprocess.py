# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The network's input: what is refused, and that resizing is what it says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from depthclip_ros.core.engine import preprocess
from depthclip_ros.core.engine.on_device import preprocess as device_preprocess
from depthclip_ros.core.engine.on_device.preprocess import on_device
from depthclip_ros.core.engine.preprocess import check_batch
from depthclip_ros.core.errors import InputError
from depthclip_ros.core.types import Intrinsics

CPU = torch.device("cpu")
CAMERA = Intrinsics(100.0, 100.0, 31.5, 23.5, 64, 48)


@pytest.mark.parametrize(
    ("images", "cameras", "message"),
    [
        (np.zeros((1, 48, 64, 3), np.float32), [CAMERA], "images are float32; they must be uint8"),
        (np.zeros((48, 64, 3), np.uint8), [CAMERA], r"shape \[48, 64, 3\]; it must be"),
        (np.zeros((1, 48, 64, 4), np.uint8), [CAMERA], r"shape \[1, 48, 64, 4\]"),
        (np.zeros((0, 48, 64, 3), np.uint8), [], r"shape \[0, 48, 64, 3\]"),
        (np.zeros((2, 48, 64, 3), np.uint8), [CAMERA], "2 images came with 1 intrinsics"),
        (np.zeros((1, 64, 48, 3), np.uint8), [CAMERA], "images are 48x64 but intrinsics are 64x48"),
        (np.zeros((1, 1, 1, 3), np.uint8), [Intrinsics(1, 1, 0, 0, 1, 1)], "1x1; both sides must be at least 16"),
        (np.zeros((1, 0, 64, 3), np.uint8), [CAMERA], "64x0"),
    ],
)
def test_what_is_refused(images: np.ndarray, cameras: list[Intrinsics], message: str):
    with pytest.raises(InputError, match=message):
        check_batch(images, cameras)


def test_more_than_64_megapixels_are_refused():
    huge = np.broadcast_to(np.zeros(1, np.uint8), (1, 9000, 9000, 3))  # takes no memory
    with pytest.raises(InputError, match="9000x9000; at most 64 megapixels"):
        check_batch(huge, [Intrinsics.from_hfov(60, 9000, 9000)])


def test_pixels_of_the_networks_size_stay_as_they_are(network_pixels):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    result = network_pixels(image, (64, 48))
    assert result.dtype == torch.uint8
    np.testing.assert_array_equal(result.numpy(), image)


def test_an_image_is_handed_over_without_a_copy():
    image = np.zeros((48, 64, 3), np.uint8)
    assert np.shares_memory(on_device(image, CPU).numpy(), image)


def test_shrinking_averages_instead_of_skipping(network_pixels):
    # White lines, one pixel of four: a resize that looks at the two pixels around each centre sees none of them.
    image = np.zeros((96, 128, 3), np.uint8)
    image[:, ::4] = 255
    result = network_pixels(image, (32, 24)).float() / 255
    assert result[:, 2:-2].min() > 0.05
    assert result[:, 2:-2].mean().item() == pytest.approx(0.25, abs=0.03)


def test_a_ramp_stays_where_it_is_whatever_the_size(network_pixels):
    ramp = np.tile(np.linspace(0, 255, 128).astype(np.uint8)[None, :, None], (96, 1, 3))
    for width, height in ((32, 24), (256, 192)):
        result = network_pixels(ramp, (width, height))[..., 0].float() / 255
        expected = cv2.resize(ramp[..., 0].astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(result[2:-2, 2:-2], expected[2:-2, 2:-2] / 255, atol=0.01)


def test_views_of_any_kind_are_taken(network_pixels):
    bgr = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    flipped = bgr[..., ::-1]
    read_only = np.frombuffer(np.ascontiguousarray(flipped).tobytes(), np.uint8).reshape(bgr.shape)
    cropped = np.zeros((60, 70, 3), np.uint8)
    cropped[:48, :64] = flipped
    wanted = network_pixels(flipped.copy(), (32, 24))
    for image in (flipped, read_only, cropped[:48, :64]):
        assert torch.equal(network_pixels(image, (32, 24)), wanted)


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (120, 90), (64, 300)])
def test_both_paths_give_the_network_the_same_pixels(size):
    """The networks were trained on torch's antialias; a resize that is nearly the same would move every depth."""
    width, height = size
    rough = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    image = cv2.resize(rough, size, interpolation=cv2.INTER_CUBIC)
    host = preprocess.network_pixels(image, (256, 192)).astype(int)
    device = device_preprocess.network_pixels(torch.from_numpy(image), (256, 192))[0].numpy().astype(int)
    assert np.abs(host - device).max() <= 2
    assert np.abs(host - device).mean() < 0.3
