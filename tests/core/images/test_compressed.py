# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.images.compressed import check_png, decode_compressed, decode_depth_values, decode_picture
from depthclip_ros.core.images.encodings import decode


@pytest.fixture
def picture() -> np.ndarray:
    """Smooth shades with some texture, uint8 [32, 48, 3]."""
    v, u = np.mgrid[:32, :48]
    return np.stack([u * 5, v * 7, (u + v) * 3], -1).astype(np.uint8)


@pytest.mark.parametrize("behind", [b"", bytes(3), bytes(100_000), b"\xff\xd8\xff" + bytes(5000)])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_files_come_back_whatever_stands_behind_their_end(picture: np.ndarray, suffix: str, behind: bytes) -> None:
    coded = cv2.imencode(suffix, picture[..., ::-1])[1]
    image = decode_compressed(coded.tobytes() + behind, "rgb8; jpeg compressed bgr8")
    assert np.abs(image.astype(int) - picture).max() <= (0 if suffix == ".png" else 24)
    assert np.abs(image.astype(int) - picture).mean() < 4


def test_progressive_and_16_bit_and_grey_and_transparent_files(picture: np.ndarray) -> None:
    progressive = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1]
    assert decode_compressed(progressive).shape == picture.shape
    wide = cv2.imencode(".png", picture[..., 0].astype(np.uint16) * 257)[1]
    assert (decode_compressed(wide) == picture[..., :1]).all()
    grey = cv2.imencode(".jpg", picture[..., 0])[1]
    assert decode_compressed(grey).shape == picture.shape
    alpha = cv2.imencode(".png", np.concatenate([picture[..., ::-1], picture[..., :1]], -1))[1]
    assert (decode_compressed(alpha) == picture).all()


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("end", ["", "bayer_gbrg8"])
def test_a_bayer_mosaic_that_was_compressed_as_it_is_becomes_colour(picture: np.ndarray, suffix: str, end: str) -> None:
    mosaic = np.zeros(picture.shape[:2], np.uint8)
    for row, column, channel in ((0, 0, 1), (0, 1, 2), (1, 0, 0), (1, 1, 1)):  # gbrg
        mosaic[row::2, column::2] = picture[row::2, column::2, channel]
    coded = cv2.imencode(suffix, mosaic, [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
    image = decode_compressed(coded, f"bayer_gbrg8; {suffix[1:]} compressed {end}")
    wanted = decode(mosaic, "bayer_gbrg8", 48, 32, 48)
    assert np.abs(wanted[4:-4, 4:-4].astype(int) - picture[4:-4, 4:-4]).mean() < 6, "the picture again"
    assert np.abs(image.astype(int) - wanted).max() <= (0 if suffix == ".png" else 4)
    wide = cv2.imencode(".png", mosaic.astype(np.uint16) * 257)[1]
    np.testing.assert_array_equal(decode_compressed(wide, "bayer_gbrg16; png compressed "), wanted)


def test_grey_and_colour_that_were_made_of_a_mosaic_stay_what_they_are(picture: np.ndarray) -> None:
    grey, colour = (cv2.imencode(".png", one)[1] for one in (picture[..., 0], picture[..., ::-1]))
    assert (decode_compressed(grey, "bayer_rggb8; png compressed mono8") == picture[..., :1]).all()
    assert (decode_compressed(colour, "bayer_rggb8; png compressed ") == picture).all()
    with pytest.raises(InputError, match="'bayer_cmyk8' is not known"):
        decode_compressed(grey, "bayer_cmyk8; png compressed ")


def test_exif_orientation_does_not_turn_the_image(picture: np.ndarray) -> None:
    coded = cv2.imencode(".jpg", picture)[1].tobytes()
    # A little-endian TIFF with one entry: orientation (0x112), short, 1 value, 6 = turn by 90 degrees.
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    turned = coded[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + coded[2:]
    assert decode_compressed(turned).shape == picture.shape


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_that_says_it_is_turned_comes_back_as_it_is_stored(picture: np.ndarray, order: str) -> None:
    # One strip behind the header, then the entries: sides, 8 bits, RGB, orientation 6, place and length of the strip.
    height, width, _ = picture.shape
    entries = [(256, width), (257, height), (258, 8), (259, 1), (262, 2), (273, 8), (274, 6), (277, 3), (278, height)]
    entries.append((279, picture.nbytes))
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + picture.nbytes)
    listed = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    tiff = header + picture.tobytes() + struct.pack(f"{order}H", len(entries)) + listed + bytes(4)
    np.testing.assert_array_equal(decode_picture(tiff), picture)


def test_broken_files_are_refused(picture: np.ndarray) -> None:
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    png = cv2.imencode(".png", picture)[1].tobytes()
    for data, message in (
        (b"", "neither JPEG nor PNG"),
        (b"GIF89a" + bytes(100), "format 'gif' is neither"),
        (jpeg[:10], "JPEG of 10 bytes is broken"),
        (jpeg[: len(jpeg) // 2], "JPEG of .* is broken"),
        (jpeg[:-40], "cut short"),
        (jpeg[:-2], "cut short"),
        (png[:12], "PNG of 12 bytes is broken"),
        (png[: len(png) // 2], "cut short"),
        (jpeg[:4] + bytes(200), "is broken"),
        (b"BM" + bytes(100), "neither JPEG nor PNG"),
    ):
        with pytest.raises(InputError, match=message):
            decode_compressed(data, "gif")


def test_a_file_of_noise_between_sound_ends_is_refused(picture: np.ndarray) -> None:
    png = bytearray(cv2.imencode(".png", picture)[1].tobytes())
    at = png.index(b"IDAT") + 4
    png[at : at + 40] = b"\x55" * 40
    with pytest.raises(InputError, match="the checksum at byte 33 is wrong"):
        decode_compressed(bytes(png))


def test_a_huge_size_in_the_header_is_refused_before_decoding() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    with pytest.raises(InputError, match="60000x60000; at most 64 megapixels"):
        decode_compressed(bomb)
    jpeg = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    with pytest.raises(InputError, match="65000x65000; at most 64 megapixels"):
        decode_compressed(bytes(jpeg))


def test_a_jpeg_that_lost_bytes_on_its_way_is_refused() -> None:
    """One per cent of the middle is missing, as after a dropped packet: OpenCV shows garbage and calls it a success."""
    v, u = np.mgrid[:480, :640]
    data = cv2.imencode(".jpg", np.stack([u % 256, v % 256, (u * v) % 256], -1).astype(np.uint8))[1].tobytes()
    middle, lost = len(data) // 2, len(data) // 100
    for start in (middle, len(data) // 4, len(data) * 9 // 10):
        with pytest.raises(InputError, match="damaged or cut short"):
            decode_compressed(data[:start] + data[start + lost :])


def test_a_jpeg_whose_last_segment_is_padded_is_whole(picture: np.ndarray) -> None:
    """Cheap webcams fill up before the end mark; nothing is lost by it."""
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    padded = decode_compressed(data[:-2] + bytes(4) + data[-2:])
    np.testing.assert_array_equal(padded, decode_compressed(data))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm"])
def test_picture_files_of_every_format_are_read_and_their_halves_are_not(picture: np.ndarray, suffix: str) -> None:
    data = cv2.imencode(suffix, picture[..., ::-1])[1].tobytes()
    assert np.abs(decode_picture(data).astype(int) - picture).mean() < 12
    if suffix in (".jpg", ".png"):
        with pytest.raises(InputError, match="cut short"):
            decode_picture(data[:-20])
    for broken in (b"", data[:6], b"no picture at all"):
        with pytest.raises(InputError, match=r"broken|neither"):
            decode_picture(broken)


def test_depth_is_a_whole_png_of_one_channel_and_16_bits(picture: np.ndarray) -> None:
    depth = picture[..., 0].astype(np.uint16) * 40
    data = cv2.imencode(".png", depth)[1].tobytes()
    np.testing.assert_array_equal(decode_depth_values(data + bytes(9)), depth)
    for broken, message in (
        (cv2.imencode(".png", picture[..., 0])[1].tobytes(), "1 channels of 8 bits"),
        (cv2.imencode(".png", picture)[1].tobytes(), "3 channels of 8 bits"),
        (data[:-20], "cut short"),
        (b"", "no PNG"),
        (cv2.imencode(".jpg", picture)[1].tobytes(), "no PNG"),
    ):
        with pytest.raises(InputError, match=message):
            decode_depth_values(broken)


@pytest.mark.parametrize("name", ["16UC1; png compressed ", "16UC1; compressedDepth png", "32FC1; compressedDepth png"])
def test_depth_is_no_picture_whatever_it_is_compressed_by(picture: np.ndarray, name: str) -> None:
    data = cv2.imencode(".png", picture[..., 0].astype(np.uint16))[1].tobytes()
    with pytest.raises(InputError, match="is of depth, not of a picture; give the colour camera's topic"):
        decode_compressed(data, name)
    assert decode_compressed(data, "mono16; png compressed mono16").shape == picture.shape


@pytest.mark.parametrize("change", ["no IHDR", "twenty bytes", "a header alone"])
def test_a_png_without_its_header_names_no_size(change: str) -> None:
    whole = cv2.imencode(".png", np.zeros((4, 4), np.uint16))[1].tobytes()
    data = {"no IHDR": whole[:12] + b"IHDX" + whole[16:], "twenty bytes": whole[:20], "a header alone": whole[:32]}[
        change
    ]
    with pytest.raises(InputError, match=f"PNG of {len(data)} bytes is broken: its header names no size"):
        check_png(np.frombuffer(data, np.uint8))
