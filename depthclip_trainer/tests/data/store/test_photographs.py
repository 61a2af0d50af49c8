# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from depthclip_trainer.config import SourceConfig
from depthclip_trainer.data.sources import open_source
from depthclip_trainer.data.store import rooms
from depthclip_trainer.data.store.photographs import read_photographs

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.scene.tracing.textures import TEXELS, lookup

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two photographs of one colour each, one that is cut off, and what their publisher says of them."""
    below = tmp_path / "pictures" / "rgb"
    below.mkdir(parents=True)
    for name, colour in (("a", (10, 200, 30)), ("b", (220, 20, 120))):
        picture = np.full((60, 90, 3), colour, np.uint8)
        cv2.imwrite(str(below / f"{name}.png"), picture[:, :, ::-1])
    (below / "c.jpg").write_bytes(b"\xff\xd8 cut off")
    (tmp_path / "pictures" / "meta.json").write_text(json.dumps({"licence": "CC BY"}))
    return tmp_path / "pictures"


def test_photographs_keep_their_colours_and_a_broken_one_is_passed_over(folder):
    found = read_photographs(folder, 1)
    assert found.bank.shape == (2 * TEXELS,)
    place = torch.rand(40)
    colours = set()
    for which in (0, 1):
        rgb = lookup(found.bank, 3, torch.full((40,), which, dtype=torch.int32), place, place, torch.full((40,), 0.3))
        assert (torch.stack(rgb).std(1) < 1e-3).all()
        colours.add(tuple((torch.stack(rgb).mean(1) * 255).round().int().tolist()))
    assert colours == {(10, 200, 30), (220, 20, 120)}


def test_as_many_as_asked_for_drawn_by_the_seed(folder):
    banks = [read_photographs(folder, seed, 1).bank for seed in range(8)]
    assert {len(bank) for bank in banks} == {TEXELS}
    assert torch.equal(banks[3], read_photographs(folder, 3, 1).bank)
    assert len({int(bank[0]) for bank in banks}) == 2


def test_a_folder_without_a_readable_photograph_is_refused(folder):
    for path in (folder / "rgb").glob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match="no picture that can be read"):
        read_photographs(folder, 1)


def test_a_cache_says_whose_photographs_its_surfaces_show(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "SHARD", 2)
    out, plain = tmp_path / "papered", tmp_path / "plain"
    rooms.render_cache(plain, 2, 5, 32, 24, "rooms", CPU)
    rooms.render_cache(out, 2, 5, 32, 24, "rooms", CPU, photographs=read_photographs(folder, 5))
    source = open_source("rooms", SourceConfig(kind="rooms", path=str(out)), tmp_path, (32, 24), CPU)
    assert source.licence == "rendered by depthclip_ros, photographs of pictures on its surfaces: CC BY"
    with pytest.raises(ConfigError, match="another folder"):
        rooms.render_cache(out, 2, 5, 32, 24, "rooms", CPU)
    (folder / "rgb" / "d.png").write_bytes((folder / "rgb" / "a.png").read_bytes())
    with pytest.raises(ConfigError, match="another folder"):
        rooms.render_cache(out, 2, 5, 32, 24, "rooms", CPU, photographs=read_photographs(folder, 5))
    bare = open_source("rooms", SourceConfig(kind="rooms", path=str(plain)), tmp_path, (32, 24), CPU)
    assert bare.licence == "rendered by depthclip_ros"
    assert bare.sha256 != source.sha256
    one, other = (opened.pool.gather(torch.arange(2)) for opened in (bare, source))
    assert torch.equal(one.depth_m, other.depth_m)
    assert not torch.equal(one.images, other.images)
