# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import cv2
import numpy as np
import pytest
from depthclip_trainer.data.readers.unlabelled import ImageFolder, find_pictures

from depthclip_ros.core.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Six pictures, two of them in folders of their own, one depth image and a text."""
    for index, name in enumerate(("b.png", "a.jpg", "x/c.PNG", "x/y/d.png", "e.png", "f.png", "depth/a.png")):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            cv2.imencode(path.suffix.lower(), np.full((6, 8, 3), (0, 0, 20 * index), np.uint8))[1].tobytes()
        )
    (tmp_path / "pictures" / "notes.txt").write_text("none")
    return tmp_path / "pictures"


def test_pictures_are_found_in_order_however_deep_and_depth_is_passed_over(folder):
    found = find_pictures(folder, 4)
    names = [name for piece in found.pieces for name in piece.names]
    assert names == ["a.jpg", "b.png", "e.png", "f.png", "x/c.PNG", "x/y/d.png"]
    assert [len(piece.names) for piece in found.pieces] == [4, 2]
    assert not any(piece.is_shard for piece in found.pieces)
    assert [path.relative_to(folder).as_posix() for piece in found.pieces for path in piece.paths] == names


def test_a_folder_of_shards_is_its_shards(folder):
    for name in ("1.tar", "0.tar"):
        (folder / name).write_bytes(b"")
    found = find_pictures(folder, 4)
    assert [piece.paths[0].name for piece in found.pieces] == ["0.tar", "1.tar"]
    assert all(piece.is_shard for piece in found.pieces)


def test_the_set_is_another_when_a_picture_is(folder):
    before = find_pictures(folder, 4)
    assert find_pictures(folder, 2).sha256 == before.sha256
    (folder / "f.png").unlink()
    assert find_pictures(folder, 4).sha256 != before.sha256


def test_a_picture_has_no_depth_and_the_lens_that_is_assumed(folder):
    pictures = ImageFolder(folder, 90.0)
    sample = pictures.read("x/c.PNG")
    assert (sample.image == (40, 0, 0)).all()
    assert not sample.valid.any()
    assert sample.assumed_intrinsics
    assert (sample.intrinsics.fx_px, sample.intrinsics.width_px, sample.intrinsics.height_px) == (
        pytest.approx(4.0),
        8,
        6,
    )
    assert sample.path.endswith("/x/c.PNG")
    with pytest.raises(InputError, match="is no folder"):
        ImageFolder(folder / "a.jpg")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="holds no picture"):
        find_pictures(folder / "empty", 4)
