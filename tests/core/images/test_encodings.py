# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Every encoding against a picture that was put into it by hand."""

from __future__ import annotations

import array

import numpy as np
import pytest

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.encodings import ENCODINGS, check_size, decode

HEIGHT, WIDTH = 32, 48


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Smooth uint8 [H, W, 3] with unequal channels, so that shared colour and demosaicing cost little."""
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    red, green, blue = 40 + 4 * u, 220 - 3 * u - v, 60 + 5 * v
    return np.clip(np.stack([red, green, blue], -1), 0, 255).astype(np.uint8)


def _padded(rows: np.ndarray, padding: int) -> tuple[bytes, int]:
    """Rows of bytes with `padding` bytes of rubbish at their ends, and the step."""
    rubbish = np.full((rows.shape[0], padding), 0xA5, np.uint8)
    rows = np.concatenate([np.ascontiguousarray(rows).reshape(rows.shape[0], -1).view(np.uint8), rubbish], 1)
    return rows.tobytes(), rows.shape[1]


def _mosaic(picture: np.ndarray, pattern: str) -> np.ndarray:
    """One colour a pixel; `pattern` is the top left 2x2 block in reading order."""
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    for index, colour in enumerate(pattern):
        y, x = divmod(index, 2)
        mosaic[y::2, x::2] = picture[y::2, x::2, "rgb".index(colour)]
    return mosaic


def _yuv(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """BT.601 studio range Y [H, W] and U, V [H, W] (ITU-R BT.601)."""
    r, g, b = np.moveaxis(picture.astype(np.float64), -1, 0)
    y = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
    u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
    v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
    return tuple(np.round(plane).astype(np.uint8) for plane in (y, u, v))


def _encode(picture: np.ndarray, encoding: str) -> np.ndarray:
    opaque = np.full((HEIGHT, WIDTH, 1), 77, np.uint8)
    if encoding.endswith("16"):
        return (_encode(picture, f"{encoding[:-2]}8").astype(np.uint16) * 257).astype("<u2")
    if encoding.startswith("bayer_"):
        return _mosaic(picture, encoding[6:10])
    y, u, v = _yuv(picture)
    pairs = {"u": u[:, ::2], "v": v[:, ::2], "y0": y[:, ::2], "y1": y[:, 1::2]}
    packed = {"uyvy": "u y0 v y1", "yuv422": "u y0 v y1", "yuyv": "y0 u y1 v", "yuv422_yuy2": "y0 u y1 v"}
    if encoding in packed:
        return np.stack([pairs[name] for name in packed[encoding].split()], -1).reshape(HEIGHT, -1)
    if encoding in ("nv12", "nv21"):
        chroma = [u[::2, ::2], v[::2, ::2]] if encoding == "nv12" else [v[::2, ::2], u[::2, ::2]]
        return np.concatenate([y, np.stack(chroma, -1).reshape(HEIGHT // 2, WIDTH)])
    return {
        "rgb8": picture,
        "bgr8": picture[..., ::-1],
        "rgba8": np.concatenate([picture, opaque], -1),
        "bgra8": np.concatenate([picture[..., ::-1], opaque], -1),
        "8UC3": picture[..., ::-1],
        "8UC4": np.concatenate([picture[..., ::-1], opaque], -1),
    }[encoding]


COLOUR = [name for name in ENCODINGS if not name.startswith("mono") and name != "8UC1"]


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", COLOUR)
def test_colour_comes_back(picture: np.ndarray, encoding: str, padding: int) -> None:
    data, step = _padded(_encode(picture, encoding), padding)
    image = decode(array.array("B", data), encoding, WIDTH, HEIGHT, step)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    # Exact where every pixel has its own colour; else a few grey levels, borders of the mosaic left out.
    exact = encoding.startswith(("rgb", "bgr", "8UC"))
    difference = np.abs(image.astype(int) - picture)[2:-2, 2:-2]
    assert difference.max() <= (0 if exact else 8)


def test_every_promised_encoding_is_there() -> None:
    promised = "rgb8 bgr8 rgba8 bgra8 mono8 mono16 yuv422 yuv422_yuy2 nv12 nv21"
    bayer = {f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg", "grbg")}
    assert set(promised.split()) | bayer <= set(ENCODINGS)


@pytest.mark.parametrize("padding", [0, 3])
def test_grey_becomes_equal_channels(picture: np.ndarray, padding: int) -> None:
    data, step = _padded(picture[..., 1], padding)
    image = decode(data, "mono8", WIDTH, HEIGHT, step)
    assert (image == picture[..., 1:2]).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("padding", [0, 3])
def test_16_bit_grey_maps_its_whole_range_onto_8_bits(picture: np.ndarray, order: str, padding: int) -> None:
    wide = picture[..., 1].astype(np.uint16) * 257 + 3
    data, step = _padded(wide.astype(f"{order}u2"), padding)
    image = decode(data, "mono16", WIDTH, HEIGHT, step, is_bigendian=order == ">")
    assert (image == picture[..., 1:2]).all()


def test_big_endian_pixels_are_the_same_picture(picture: np.ndarray) -> None:
    data, step = _padded((picture.astype(np.uint16) * 257).astype(">u2"), 6)
    np.testing.assert_array_equal(decode(data, "rgb16", WIDTH, HEIGHT, step, is_bigendian=True), picture)


def test_8uc1_is_grey(picture: np.ndarray) -> None:
    data, step = _padded(picture[..., 1], 0)
    assert (decode(data, "8UC1", WIDTH, HEIGHT, step) == picture[..., 1:2]).all()


def test_byte_order_says_nothing_of_bytes(picture: np.ndarray) -> None:
    image = decode(picture.tobytes(), "rgb8", WIDTH, HEIGHT, 3 * WIDTH, is_bigendian=True)
    np.testing.assert_array_equal(image, picture)


def test_unpadded_rgb8_is_a_view() -> None:
    data = np.zeros(HEIGHT * WIDTH * 3, np.uint8)
    image = decode(data, "rgb8", WIDTH, HEIGHT, WIDTH * 3)
    assert np.shares_memory(image, data)


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "bayer_rggb8"])
def test_one_pixel_is_an_image(encoding: str) -> None:
    assert decode(bytes(3), encoding, 1, 1, 3).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": "32FC2"}, "'32FC2' is not known; allowed are rgb8, bgr8"),
        ({"encoding": "32FC1"}, "'32FC1' is of depth, not of a picture; give the colour camera's topic"),
        ({"encoding": ""}, "'' is not known"),
        ({"step_bytes": 143}, "step is 143 bytes; 48 pixels of rgb8 take at least 144"),
        ({"step_bytes": 0}, "step is 0 bytes"),
        ({"data": bytes(4607)}, "data is 4607 bytes; 48x32 rgb8 with a step of 144 takes 4608"),
        ({"data": b""}, "data is 0 bytes"),
        ({"width_px": 0}, "0x32; both sides must be at least 1 pixel"),
        ({"height_px": 0}, "48x0"),
        ({"width_px": 100_000, "height_px": 1000, "step_bytes": 300_000}, "at most 64 megapixels"),
        ({"encoding": "nv12", "height_px": 31}, "48x31; nv12 shares colour"),
        ({"encoding": "nv12"}, "takes 6912"),
        ({"encoding": "uyvy", "width_px": 47}, "47x32; uyvy shares colour"),
    ],
)
def test_bad_images_are_refused_with_the_value(change: dict[str, object], message: str) -> None:
    good = {"data": bytes(4608), "encoding": "rgb8", "width_px": WIDTH, "height_px": HEIGHT, "step_bytes": 144}
    with pytest.raises(InputError, match=message):
        decode(**(good | change))  # type: ignore[arg-type]


def test_without_a_word_of_it_bytes_are_little_endian_and_the_first_row_padding_is_left_out(
    picture: np.ndarray,
) -> None:
    data, step = _padded((picture.astype(np.uint16) * 257).astype("<u2"), 6)
    np.testing.assert_array_equal(decode(data, "rgb16", WIDTH, HEIGHT, step), picture)
    np.testing.assert_array_equal(decode(bytes(data) + b"\xff" * 99, "rgb16", WIDTH, HEIGHT, step), picture)


@pytest.mark.parametrize(
    ("size", "fits"), [((8000, 8000), True), ((8000, 8001), False), ((1, 1), True), ((0, 1), False)]
)
def test_images_of_up_to_64_megapixels_are_taken(size: tuple[int, int], fits: bool) -> None:
    if fits:
        check_size(*size)
    else:
        with pytest.raises(InputError, match="image size is"):
            check_size(*size)


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if ENCODINGS[name].even_width])
def test_rows_that_share_colour_have_even_sides_and_planes_behind_each_other(encoding: str) -> None:
    rows = 3 if ENCODINGS[encoding].half_height_chroma else 2
    size = 2 * rows * ENCODINGS[encoding].bytes_per_pixel
    assert decode(bytes(size), encoding, 2, 2, 2 * ENCODINGS[encoding].bytes_per_pixel).shape == (2, 2, 3)
    with pytest.raises(InputError, match="image data is"):
        decode(bytes(size - 1), encoding, 2, 2, 2 * ENCODINGS[encoding].bytes_per_pixel)
