# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A folder of transformers, or a repository of one, as weights: everything else takes it like any other file."""

import json
import shutil

import huggingface_hub
import pytest
import torch

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.errors import ConfigError, WeightsError
from depthclip_ros.core.weights.converted import converted
from depthclip_ros.core.weights.find import read_info, resolve
from depthclip_ros.core.weights.load import load_weights

COMMIT = "0" * 40


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_folder_is_weights(make_transformers_folder):
    folder = make_transformers_folder(depth_estimation_type="metric", max_depth=20)
    info = read_info(folder)
    assert (info.system, info.base_name, info.max_depth_m) == ("depth_anything", str(folder), 20.0)
    assert info.parameters_total > 0
    loaded = load_weights(str(folder))
    assert loaded.model.config.base_weights == str(folder)
    assert loaded.model(torch.randn(1, 3, 42, 56)).depth.max() <= 20
    assert resolve(folder) == resolve(str(folder))


def test_a_folder_that_changed_is_converted_anew(make_transformers_folder):
    folder = make_transformers_folder()
    first = resolve(folder)
    before = first.stat().st_mtime_ns
    assert resolve(folder).stat().st_mtime_ns == before
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "depth_estimation_type": "metric", "max_depth": 5}))
    assert resolve(folder) != first
    assert read_info(folder).max_depth_m == 5.0


def test_a_pickle_in_a_folder_is_refused(make_transformers_folder):
    folder = make_transformers_folder()
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pytorch_model.bin, a PyTorch pickle.* never loaded"):
        load_weights(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config.json": '{"model_type": "vit"}'}, "'vit' is no network of depth"),
        ({"config.json": "{"}, "does not read"),
        ({"model.safetensors": "gone"}, "does not load as a network"),
        ({"model.safetensors": None}, "has no model.safetensors"),
        ({"preprocessor_config.json": "[]"}, "holds no mapping"),
    ],
)
def test_a_damaged_folder_is_one_sentence(make_transformers_folder, changes, words):
    folder = make_transformers_folder()
    for name, text in changes.items():
        (folder / name).unlink(missing_ok=True)
        if text is not None:
            (folder / name).write_text(text)
    with pytest.raises(WeightsError, match=words) as raised:
        load_weights(folder)
    assert "\n" not in str(raised.value)


def test_a_cache_that_cannot_be_written_says_so(make_transformers_folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="set XDG_CACHE_HOME"):
        converted(make_transformers_folder(), "here", tmp_path / "file" / "below")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub's client with one repository, and no way to the network."""
    repository = tmp_path / "hub" / "models--org--depth"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_a_hub_id_of_a_transformers_network_is_weights(make_transformers_folder, hub):
    folder = make_transformers_folder({"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    for file in folder.iterdir():
        shutil.copy(file, hub)
    loaded = load_weights("org/depth")
    assert loaded.info.base_name == "org/depth"
    assert loaded.model.image_mean == (0.5, 0.5, 0.5)
    images = torch.randn(1, 3, 42, 56)
    assert torch.equal(loaded.model(images).depth, load_weights(folder).model(images).depth)


def test_a_hub_id_without_safetensors_is_one_sentence(make_transformers_folder, hub):
    shutil.copy(make_transformers_folder() / "config.json", hub)
    with pytest.raises(WeightsError, match=r"could not fetch model.safetensors of 'org/depth'"):
        load_weights("org/depth")


def test_relative_depth_is_no_metres(make_transformers_folder):
    engine = DepthEngine.load(make_transformers_folder(), device="cpu", precision="fp32")
    with pytest.raises(ConfigError, match=r"relative depth.*fit-scale"):
        engine.require_metric()
    DepthEngine.load(
        make_transformers_folder(depth_estimation_type="metric", max_depth=20), device="cpu", precision="fp32"
    ).require_metric()
