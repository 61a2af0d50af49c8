# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A system that needs no training, named by a YAML file of prompts, in the commands as any weights file."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("open_clip", reason="needs open-clip-torch")

import open_clip
import torch
from safetensors.torch import save_file

from depthclip_ros.cli import main

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture
def prompts(tmp_path, monkeypatch):
    """prompts.yaml beside a checkpoint of open_clip's format; the cache is the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "depthclip-commands.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "depthclip-commands.json")
    torch.manual_seed(0)
    clip = open_clip.CLIP(**open_clip.get_model_config("depthclip-commands"))
    save_file({name: tensor.contiguous() for name, tensor in clip.state_dict().items()}, tmp_path / "clip.safetensors")
    path = tmp_path / "prompts.yaml"
    path.write_text(
        "preset: depthclip-rn50\n"
        "tower: depthclip-commands\n"
        "base_weights: clip.safetensors\n"
        "template: This wall is {}\n"
        "classes: [at hand, near, far away]\n"
        "bins_m: [0.4, 1.5, 6]\n"
        "input_pixels: 12288\n"
    )
    return path


def test_predict_and_inspect_take_a_yaml_of_prompts(prompts, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "wall.png"), image)
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "wall.png"), "--weights", str(prompts), "--out", str(out)]) == 0
    depth_m = np.load(out / "wall.npy")
    assert depth_m.shape == (96, 128)
    assert ((depth_m > 0.4) & (depth_m < 6)).all()
    capsys.readouterr()
    assert main(["inspect", str(prompts), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["system"] == "depthclip"
    assert said["config"]["classes"] == ["at hand", "near", "far away"]
    assert said["parameters_trained"] == 3
    assert said["path"].startswith(str(tmp_path / "cache"))
