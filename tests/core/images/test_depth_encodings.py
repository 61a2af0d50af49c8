# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.depth_encodings import decode_compressed_depth, decode_depth


@pytest.mark.parametrize("big", [False, True])
def test_millimetres_with_padded_rows(big):
    values = np.array([[1500, 0, 250], [65535, 1, 2]], ">u2" if big else "<u2")
    rows = np.zeros((2, 10), np.uint8)
    rows[:, :6] = values.view(np.uint8)
    depth_m = decode_depth(rows.tobytes(), "16UC1", 3, 2, 10, big)
    np.testing.assert_allclose(depth_m, [[1.5, np.nan, 0.25], [65.535, 0.001, 0.002]], rtol=1e-6)


def test_metres_without_infinities():
    values = np.array([[1.5, np.inf, -np.inf, np.nan]], "<f4")
    np.testing.assert_array_equal(decode_depth(values.tobytes(), "32FC1", 4, 1, 16), [[1.5, np.nan, np.nan, np.nan]])


@pytest.mark.parametrize(
    ("encoding", "step", "length", "named"),
    [("rgb8", 8, 8, "'rgb8'"), ("16UC1", 6, 12, "step 6"), ("32FC1", 16, 16, "too short")],
)
def test_what_cannot_be_read_is_named(encoding, step, length, named):
    with pytest.raises(InputError, match=named):
        decode_depth(bytes(length), encoding, 4, 2, step)


def png(values):
    return cv2.imencode(".png", values)[1].tobytes()


def test_compressed_millimetres():
    data = bytes(12) + png(np.array([[1500, 0]], np.uint16))
    np.testing.assert_array_equal(decode_compressed_depth(data, "16UC1; compressedDepth png"), [[1.5, np.nan]])


def test_compressed_metres_are_quantised_inverse_depth():
    # compressed_depth_image_transport: value = a / depth + b, a = quantisation * (quantisation + 1), b = 1 - a / max
    a, depth_m = 100.0 * 101.0, np.array([[0.8, 2.0, 7.0]])
    b = 1.0 - a / 10.0
    values = np.append(np.round(a / depth_m + b), [[0]], axis=1).astype(np.uint16)
    data = struct.pack("<iff", 0, a, b) + png(values)
    found = decode_compressed_depth(np.frombuffer(data, np.uint8), "32FC1; compressedDepth")
    np.testing.assert_allclose(found[:, :3], depth_m, rtol=1e-3)
    assert np.isnan(found[0, 3])


@pytest.mark.parametrize(
    "data", [b"", bytes(12), bytes(12) + b"RVL...", bytes(12) + png(np.zeros((2, 2), np.uint16))[:40]]
)
def test_a_depth_that_is_no_png_is_named(data):
    with pytest.raises(InputError, match="no 16-bit PNG"):
        decode_compressed_depth(data, "16UC1; compressedDepth rvl")
