# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from depthclip_trainer.data.readers.unlabelled import ImageFolder, Piece, find_pictures, is_image_folder, read_piece
from depthclip_trainer.data.store.tar import write_shard

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


def coded(suffix, value=0, size=(40, 48)):
    return cv2.imencode(suffix, np.full((*size, 3), value, np.uint8))[1].tobytes()


def test_pictures_of_a_piece_come_in_order_and_a_broken_one_leaves_word(tmp_path):
    for name, data in (("a.png", coded(".png", 10)), ("b.png", b"none"), ("c.png", coded(".png", 30, (40, 31)))):
        (tmp_path / name).write_bytes(data)
    (piece,) = find_pictures(tmp_path, 9).pieces
    (tmp_path / "d.png").write_bytes(coded(".png", 20, (32, 32)))
    piece = Piece((*piece.names, "d.png", "gone.png"), (*piece.paths, tmp_path / "d.png", tmp_path / "gone.png"))
    with ThreadPoolExecutor(2) as pool:
        found = dict(read_piece(piece, pool))
    assert list(found) == ["a.png", "b.png", "c.png", "d.png", "gone.png"]
    assert (found["a.png"] == 10).all()
    assert found["d.png"].shape == (32, 32, 3)
    assert "b.png" in str(found["b.png"])
    assert str(found["c.png"]) == "c.png is 31x40; both sides must be at least 32 pixels"
    assert "gone.png does not read: No such file" in str(found["gone.png"])


def test_pictures_of_a_shard_are_read_without_unpacking_it(tmp_path):
    write_shard(tmp_path / "0.tar", [
        {"__key__": "1", "jpg": coded(".jpg", 50), "json": b"{}"}, {"__key__": "2", "json": b"{}"},
        {"__key__": "3", "left.png": coded(".png", 70), "depth.bin": b"x"}, {"__key__": "4", "png": b"none"},
    ])  # fmt: skip
    (piece,) = find_pictures(tmp_path, 9).pieces
    with ThreadPoolExecutor(2) as pool:
        found = dict(read_piece(piece, pool))
    assert list(found) == ["0.tar/1", "0.tar/3", "0.tar/4"]
    assert abs(int(found["0.tar/1"].mean()) - 50) <= 2
    assert (found["0.tar/3"] == 70).all()
    assert isinstance(found["0.tar/4"], InputError)
    assert find_pictures(tmp_path, 9).pictures is None, "nobody has looked into the shard"


def test_licences_are_those_that_are_stated_each_once(folder):
    assert find_pictures(folder, 9).licence == "not stated"
    assert find_pictures(folder, 4).pictures == 6
    for name, text in (("meta.json", '{"licence": "CC0"}'), ("x/meta.json", '{"licence": "CC-BY"}'),
                       ("x/y/meta.json", '{"licence": "CC0"}'), ("depth/meta.json", "[1")):  # fmt: skip
        (folder / name).write_text(text)
    assert find_pictures(folder, 9).licence == "CC0; CC-BY"


@pytest.mark.parametrize("hfov_deg", [0.0, 180.0])
def test_a_lens_that_cannot_be_is_refused_once(folder, hfov_deg):
    with pytest.raises(InputError, match="field of view"):
        ImageFolder(folder, hfov_deg)


def test_a_folder_is_one_of_images_where_there_is_any(folder, tmp_path):
    assert is_image_folder(folder)
    assert not is_image_folder(folder / "a.jpg")
    (tmp_path / "empty").mkdir()
    assert not is_image_folder(tmp_path / "empty")
