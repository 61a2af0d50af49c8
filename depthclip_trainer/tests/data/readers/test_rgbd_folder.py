# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
from depthclip_trainer.data.readers.rgbd_folder import open_folder
from PIL import Image

from depthclip_ros.core.errors import InputError


def turned_folder(root, image_suffix=".jpg", depth_suffix=".png"):
    """An RGB-D folder whose picture grows brighter as its depth grows; its EXIF says "turned by 180 degrees"."""
    (root / "rgb").mkdir()
    (root / "depth").mkdir()
    shade = np.tile(np.linspace(0, 255, 120)[:, None], (1, 160)).astype(np.uint8)
    picture = Image.fromarray(np.stack([shade] * 3, -1))
    exif = picture.getexif()
    exif[0x0112] = 3
    picture.save(root / "rgb" / f"0{image_suffix}", format="JPEG", exif=exif)
    (root / "depth" / f"0{depth_suffix}").write_bytes(
        cv2.imencode(".png", shade.astype(np.uint16) * 10 + 500)[1].tobytes()
    )
    camera = {"fx": 150, "fy": 150, "cx": 79.5, "cy": 59.5}
    (root / "meta.json").write_text(json.dumps({"depth_units_per_metre": 1000, "intrinsics": camera}))
    return root


@pytest.mark.parametrize(("image_suffix", "depth_suffix"), [(".JPG", ".png"), (".jpg", ".PNG"), (".Jpeg", ".Png")])
def test_suffixes_are_read_in_any_case(tmp_path, image_suffix, depth_suffix):
    frame = open_folder(turned_folder(tmp_path, image_suffix, depth_suffix)).read("0")
    assert frame.depth_m[0, 0] == pytest.approx(0.5)


def test_pixels_stay_where_they_are_stored_whatever_exif_says(tmp_path):
    """A phone's picture "turned by 180 degrees" whose depth map is not."""
    frame = open_folder(turned_folder(tmp_path)).read("0")
    together = np.corrcoef(frame.image[..., 0].ravel(), frame.depth_m.ravel())[0, 1]
    assert together > 0.99


def test_depth_of_8_bits_is_refused_with_its_unit_in_question(tmp_path):
    folder = turned_folder(tmp_path)
    cv2.imwrite(str(folder / "depth" / "0.png"), np.full((120, 160), 200, np.uint8))
    with pytest.raises(InputError, match=r"0\.png is no depth: it has 1 channels of 8 bits; .* whose unit is known"):
        open_folder(folder).read("0")


@pytest.mark.parametrize("units", [0, -1000, math.nan])
def test_depth_units_that_are_none_are_refused(tmp_path, units):
    meta = turned_folder(tmp_path) / "meta.json"
    meta.write_text(json.dumps({"depth_units_per_metre": units}))
    with pytest.raises(InputError, match=r"depth_units_per_metre .*; it must be above 0"):
        open_folder(tmp_path)


@pytest.mark.parametrize("lacks", ["fx", "cy"])
def test_a_camera_without_all_its_numbers_is_assumed_and_said_to_be(tmp_path, lacks):
    meta = turned_folder(tmp_path) / "meta.json"
    whole = open_folder(tmp_path).read("0")
    assert (whole.assumed_intrinsics, whole.intrinsics.fx_px) == (False, 150)
    published = json.loads(meta.read_text())
    del published["intrinsics"][lacks]
    meta.write_text(json.dumps(published))
    frame = open_folder(tmp_path).read("0")
    assert frame.assumed_intrinsics
    assert frame.intrinsics.fx_px == pytest.approx(80 / math.tan(math.radians(30)))
