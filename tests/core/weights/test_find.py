# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import json

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.core.weights.find import faster_than, read_info, resolve
from depthclip_ros.core.weights.load import load_weights

TINY_RESNET = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def tiny_tower(tmp_path_factory) -> str:
    """Name of a small CLIP on a ResNet that open_clip knows."""
    path = tmp_path_factory.mktemp("open_clip") / "depthclip-find-weights.json"
    path.write_text(json.dumps(TINY_RESNET))
    open_clip.add_model_config(path)
    return path.stem


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for the user's files, with an empty cache beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "mine"
    path.mkdir()
    return path


@pytest.fixture
def prompts(folder, tiny_tower):
    """A YAML file with own prompts and bins, on a checkpoint beside it; `prompts(seed)` makes the base anew."""

    def write(seed=0, **changed):
        torch.manual_seed(seed)
        clip = open_clip.CLIP(**open_clip.get_model_config(tiny_tower))
        save_file(
            {name: tensor.contiguous() for name, tensor in clip.state_dict().items()}, folder / "clip.safetensors"
        )
        values = {
            "preset": "depthclip-rn50-projected",
            "tower": tiny_tower,
            "base_weights": "clip.safetensors",
            "template": "The wall is {}",
            "classes": ["near", "far"],
            "bins_m": [0.5, 6],
            "input_pixels": 4096,
            **changed,
        }
        path = folder / "prompts.yaml"
        path.write_text(json.dumps(values))  # which is YAML too
        return path

    return write


def test_a_yaml_file_with_own_prompts_is_weights(prompts):
    path = prompts()
    info = read_info(path)
    assert info.system == "depthclip"
    assert info.config["classes"] == ["near", "far"]
    assert info.training == {"preset": "depthclip-rn50-projected", "training": "none"}
    model = load_weights(str(path)).model
    assert model.bin_centres.tolist() == pytest.approx([0.5, 6.0])
    engine = DepthEngine.load(path, device="cpu", precision="fp32")
    depth = engine.infer(np.zeros((1, 48, 64, 3), np.uint8), [Intrinsics.from_hfov(60.0, 64, 48)])
    assert 0.5 < depth.depth_m.min() <= depth.depth_m.max() < 6.0
    assert engine.info.sha256 == info.sha256


def test_it_is_built_once_and_anew_when_it_or_its_base_changes(prompts):
    first = resolve(prompts())
    stamp = first.stat().st_mtime_ns
    assert resolve(prompts()) == first
    assert first.stat().st_mtime_ns == stamp
    other = resolve(prompts(bins_m=[0.5, 7]))
    another = resolve(prompts(seed=1))
    assert len({first, other, another}) == 3


def test_a_preset_that_needs_training_is_not_weights(folder):
    with pytest.raises(WeightsError, match=r"'nano' has to be trained first .*preset:depthclip-rn50"):
        resolve("preset:nano")
    with pytest.raises(WeightsError, match="nearest is 'depthclip-rn50'"):
        resolve("preset:depthclip_rn50")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [near, far]", "names no preset"),
        ("- a list", "names no preset"),
        ("preset: [", "does not read"),
        ("preset: depthclip-rn50\nclases: [near, far]", "nearest is 'classes'"),
        ("preset: depthclip-rn50\nbins_m: [2, 1, 3, 4, 5, 6, 7]", "ascending"),
    ],
)
def test_a_yaml_file_that_is_not_right_is_one_sentence(folder, text, message):
    path = folder / "prompts.yml"
    path.write_text(text)
    with pytest.raises(WeightsError, match=message):
        resolve(path)


def test_a_cache_that_cannot_be_written_says_what_to_set(prompts, tmp_path, monkeypatch):
    path = prompts()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="set XDG_CACHE_HOME"):
        resolve(path)


def test_of_the_shipped_weights_one_is_faster():
    assert faster_than(resolve("default")) == "fast"
    assert faster_than(resolve("fast")) == ""
    assert faster_than(resolve("default").with_name("other.safetensors")) == ""
