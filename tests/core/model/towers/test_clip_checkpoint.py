# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Where a CLIP tower's weights come from: safetensors alone, of the right activation, pinned if need be."""

import json
import pickle
import re
import zipfile
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.model.towers import clip_checkpoint
from depthclip_ros.core.model.towers.clip_checkpoint import fetch_checkpoint
from depthclip_ros.core.model.towers.clip_tower import build_clip

SCENES = ("kitchen", "street")
COMMIT, OTHER = "a" * 40, "b" * 40
OPENAI = "models--timm--vit_base_patch32_clip_224.openai"
DOCS = Path(__file__).resolve().parents[4] / "docs"


@pytest.fixture
def source(tiny_clip):
    torch.manual_seed(7)
    return open_clip.create_model(tiny_clip)


@pytest.fixture
def tensors(source):
    return {name: tensor.contiguous() for name, tensor in source.state_dict().items()}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Puts a file into a cache of the hub's client that has no way to the network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def put(repository, file, content=b"", commit=COMMIT):
        path = tmp_path / "hub" / repository / "snapshots" / commit / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        reference = tmp_path / "hub" / repository / "refs" / "main"
        reference.parent.mkdir(exist_ok=True)
        reference.write_text(COMMIT)
        return path

    return put


@pytest.mark.parametrize("prefix", ["", "module."])
def test_loads_safetensors(tiny_clip, source, tensors, tmp_path, prefix):
    path = tmp_path / "clip.ckpt"
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, path)
    clip = build_clip(tiny_clip, str(path), SCENES)
    assert torch.equal(clip.tower.visual.proj, source.visual.proj)
    assert clip.base_name == f"{tiny_clip}:{path}"


@pytest.mark.parametrize("form", ["state dict", "code", "garbage", "empty"])
def test_a_pickle_is_never_read(tiny_clip, tensors, tmp_path, form):
    marker, path = tmp_path / "ran", tmp_path / "clip.pt"

    class Attack:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    if form == "state dict":
        torch.save(tensors, path)
    else:
        path.write_bytes({"code": pickle.dumps({"a": Attack()}), "garbage": b"x" * 40, "empty": b""}[form])
    with pytest.raises(WeightsError, match=r"could run code and is never loaded here: .*convert-checkpoint") as raised:
        build_clip(tiny_clip, str(path), SCENES)
    assert not marker.exists()
    assert "\n" not in str(raised.value)


def test_openais_torchscript_archive_is_refused_with_the_remedy(tiny_clip, tmp_path):
    path = tmp_path / "ViT-B-32.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "version", "code/__torch__/model.py"):
            archive.writestr(f"ViT-B-32/{name}", b"")
    with pytest.raises(WeightsError, match=r"TorchScript archive.*base_weights: openai, or .*open_clip_model.safeten"):
        build_clip(tiny_clip, str(path), SCENES)


def test_a_damaged_or_foreign_file_is_refused(tiny_clip, tensors, tmp_path):
    path = tmp_path / "clip.safetensors"
    save_file({"visual.proj": torch.zeros(2, 2)}, path)
    with pytest.raises(WeightsError, match="does not fit"):
        build_clip(tiny_clip, str(path), SCENES)
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="cannot be read"):
        build_clip(tiny_clip, str(path), SCENES)


def test_an_unknown_tag_lists_the_tags():
    with pytest.raises(ConfigError, match="'opnai': no such file, and not of ViT-B-32-quickgelu's tags: openai"):
        build_clip("ViT-B-32-quickgelu", "opnai", SCENES)


def test_a_tag_is_fetched_as_safetensors(hub):
    path = hub(OPENAI, "open_clip_model.safetensors")
    assert fetch_checkpoint("ViT-B-32-quickgelu", "openai") == path
    path.rename(path.with_name("open_clip_pytorch_model.safetensors"))
    assert fetch_checkpoint("ViT-B-32-quickgelu", "openai").name == "open_clip_pytorch_model.safetensors"


def test_a_tag_can_be_pinned(hub):
    hub(OPENAI, "open_clip_model.safetensors")
    pinned = hub(OPENAI, "open_clip_model.safetensors", commit=OTHER)
    assert fetch_checkpoint("ViT-B-32-quickgelu", f"openai@{OTHER}") == pinned
    with pytest.raises(WeightsError, match=rf"openai@{'c' * 40}' from Hugging Face"):
        fetch_checkpoint("ViT-B-32-quickgelu", f"openai@{'c' * 40}")


def test_a_pickle_in_the_cache_is_no_replacement(hub):
    hub(OPENAI, "open_clip_pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"could not fetch open_clip_model.safetensors.*give the path of that file"):
        fetch_checkpoint("ViT-B-32-quickgelu", "openai")


def test_weights_that_are_published_as_a_pickle_alone_name_the_converter(monkeypatch):
    def missing(*_, **__):
        raise huggingface_hub.errors.EntryNotFoundError("404")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", missing)
    for published in ({"hf_hub": "org/name/"}, {"url": "https://example.org/a.pt"}):
        monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_, found=published: found)
        with pytest.raises(WeightsError, match=r"as a pickle only.*convert-checkpoint"):
            fetch_checkpoint("ViT-B-32", "laion2b_s34b_b79k")


@pytest.mark.parametrize("tag", ["openai", "laion400m_e32", "metaclip_400m"])
def test_quickgelus_weights_on_another_tower_are_refused(tag, monkeypatch):
    monkeypatch.setattr(clip_checkpoint, "hub_file", lambda *_: pytest.fail("went to the hub"))
    with pytest.raises(ConfigError, match=rf"activation is GELU; the weights '{tag}' .*: take 'ViT-B-32-quickgelu'"):
        build_clip("ViT-B-32", tag, SCENES)


def test_openais_weights_are_quickgelus_whatever_open_clip_says_of_them(monkeypatch):
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: {"hf_hub": "timm/name/"})  # as before 2.28
    with pytest.raises(ConfigError, match="take 'RN50-quickgelu'"):
        fetch_checkpoint("RN50", "openai")


def test_a_file_beside_its_publishers_configuration_is_held_against_it(tiny_clip, tensors, tmp_path):
    path = tmp_path / "open_clip_model.safetensors"
    save_file(tensors, path)
    beside = tmp_path / "open_clip_config.json"
    beside.write_text(json.dumps({"model_cfg": {"quick_gelu": True}}))
    build_clip(tiny_clip, str(path), SCENES)
    beside.write_text(json.dumps({"model_cfg": {}}))
    with pytest.raises(ConfigError, match="activation is QuickGELU"):
        build_clip(tiny_clip, str(path), SCENES)
    beside.write_text("[")
    with pytest.raises(WeightsError, match=r"open_clip_config.json does not read"):
        build_clip(tiny_clip, str(path), SCENES)


def test_docs_name_tags_that_exist_for_their_towers():
    named = [pair for page in DOCS.glob("*.md") for pair in re.findall(r"`(\S+):(\w+)`, a tag", page.read_text())]
    assert len(named) >= 2
    for tower, tag in named:
        assert tag in open_clip.list_pretrained_tags_by_model(tower), (tower, tag)
        quick = open_clip.get_pretrained_cfg(tower, tag).get("quick_gelu", False)
        assert bool(quick) == tower.endswith("-quickgelu"), (tower, tag)
