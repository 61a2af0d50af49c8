# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import dataclasses
import json
import os
import pickle
import resource
import shutil
import subprocess
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.weights import find as find_weights
from depthclip_ros.core.weights import weights_file
from depthclip_ros.core.weights.find import read_info, resolve
from depthclip_ros.core.weights.load import load_weights
from depthclip_ros.core.weights.weights_file import save_weights

NANO = {
    "tower_width": 48,
    "tower_blocks": 2,
    "stem_channels": (8, 12, 16),
    "stem_blocks": (0, 1, 1),
    "position_grid": (3, 4),
    "adapter_layers": (1,),
    "tap_layers": (1,),
    "decoder_channels": (24, 16, 12, 8),
    "last_blocks": 1,
    "input_pixels": 64 * 48,
}
TINY_CLIP = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
TRAINING = {"data": ["rooms"], "steps": 3}
METRICS = {"nyu": {"delta1": 0.5}}


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads cost small models more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = build_model(preset("nano", **NANO))
    made.train()(torch.randn(2, 3, 48, 64))  # statistics that differ from the start
    return made.eval()


@pytest.fixture(scope="session")
def clip_base(tmp_path_factory) -> tuple[str, Path]:
    """A small CLIP that open_clip knows, and a checkpoint of it."""
    folder = tmp_path_factory.mktemp("open_clip")
    settings = folder / "depthclip-weights-test.json"
    settings.write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(settings)
    torch.manual_seed(1)
    checkpoint = folder / "clip.safetensors"
    clip = open_clip.CLIP(**open_clip.get_model_config(settings.stem))
    save_file({name: tensor.contiguous() for name, tensor in clip.state_dict().items()}, checkpoint)
    return settings.stem, checkpoint


@pytest.fixture
def clip_model(clip_base):
    tower, checkpoint = clip_base
    small = {"adapter_layers": (1,), "tap_layers": (1,), "decoder_channels": (24, 16, 12, 8), "last_blocks": 1}
    made = build_model(preset("dense-vitb16", tower=tower, base_weights=str(checkpoint), **small)).eval()
    with torch.no_grad():
        for group in made.parameter_groups().values():
            for parameter in group:
                parameter.add_(0.01 * torch.randn_like(parameter))
    return made


@pytest.fixture
def saved(model, tmp_path) -> Path:
    path = tmp_path / "nano.safetensors"
    save_weights(path, model, training=TRAINING, metrics=METRICS, dtype="float32")
    return path


def depth_of(model, size=(48, 64)):
    with torch.no_grad():
        return model(torch.linspace(-1, 1, 3 * size[0] * size[1]).reshape(1, 3, *size)).depth


def rewrite(path, change_tensors=lambda tensors: None, change_metadata=lambda metadata: None):
    """The same file with something changed."""
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata())
    tensors = load_file(path)
    change_tensors(tensors)
    change_metadata(metadata)
    save_file(tensors, path, metadata)


def edit_config(path, change):
    """The same file whose configuration says something else."""

    def edit(metadata):
        metadata["config"] = json.dumps(change(json.loads(metadata["config"])))

    rewrite(path, change_metadata=edit)


def test_a_file_rebuilds_its_model(model, saved):
    loaded = load_weights(saved)
    assert torch.equal(depth_of(loaded.model), depth_of(model))
    assert loaded.model.config == model.config
    assert not loaded.model.training
    assert loaded.model.trained_groups == model.trained_groups


def test_float16_is_half_the_size_and_nearly_the_same(model, saved, tmp_path):
    path = tmp_path / "half.safetensors"
    save_weights(path, model, training=TRAINING, metrics=METRICS)
    assert path.stat().st_size < 0.65 * saved.stat().st_size
    loaded = load_weights(path).model
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(depth_of(loaded), depth_of(model), rtol=0.01, atol=0)


def test_info_says_what_the_file_is(model, saved):
    info = read_info(saved)
    assert info.path == saved
    assert len(info.sha256) == 64
    assert (info.system, info.adapter_only, info.base_name) == ("moa_depthclip", False, None)
    assert (info.min_depth_m, info.max_depth_m, info.canonical_focal_px) == (0.1, 10.0, 300.0)
    assert (info.training, info.metrics) == (TRAINING, METRICS)
    assert info.config["tower_width"] == 48
    assert info.parameters_total == info.parameters_trained == sum(p.numel() for p in model.parameters())
    assert info.created.endswith("+00:00")
    git = ["git", "-C", str(Path(weights_file.__file__).parent), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=False)
    assert info.commit == (None if head.returncode else head.stdout.strip())
    assert load_weights(saved).info == info


def test_a_files_intervals_come_back(model, table, saved, tmp_path):
    assert read_info(saved).uncertainty is None
    path = tmp_path / "calibrated.safetensors"
    save_weights(path, model, training=TRAINING, metrics=METRICS, uncertainty=table)
    assert read_info(path).uncertainty == table


def test_the_hash_is_of_the_files_bytes(saved):
    before = read_info(saved).sha256
    rewrite(saved, change_metadata=lambda metadata: metadata.update(metrics="{}"))
    assert read_info(saved).sha256 != before


def test_missing_and_unknown_tensors_are_listed(saved):
    def change(tensors):
        del tensors["heads.bins.bias"]
        tensors["heads.surplus"] = torch.zeros(1)

    rewrite(saved, change)
    with pytest.raises(
        WeightsError, match=r"missing tensors: \['heads.bins.bias'\], unknown tensors: \['heads.surplus'\]"
    ):
        load_weights(saved)


def test_nan_tensors_are_named(saved):
    rewrite(saved, lambda tensors: tensors["heads.bins.bias"].fill_(float("nan")))
    with pytest.raises(WeightsError, match=r"'heads.bins.bias' holds values that are not finite"):
        load_weights(saved)


def test_wrong_shapes_are_named(saved):
    rewrite(saved, lambda tensors: tensors.update({"heads.bins.bias": torch.zeros(3)}))
    with pytest.raises(WeightsError, match=r"'heads.bins.bias' has shape \[3\], the model needs \[128\]"):
        load_weights(saved)


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999])
def test_truncated_files_are_refused(saved, kept):
    data = saved.read_bytes()
    saved.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(WeightsError, match=r"truncated"):
        load_weights(saved)


def test_other_format_versions_are_refused(saved):
    rewrite(saved, change_metadata=lambda metadata: metadata.update(format_version="99"))
    with pytest.raises(WeightsError, match="format version '99'"):
        load_weights(saved)


def test_damaged_metadata_is_refused(saved):
    rewrite(saved, change_metadata=lambda metadata: metadata.update(config="{"))
    with pytest.raises(WeightsError, match="damaged metadata"):
        load_weights(saved)


def test_a_configuration_that_is_not_known_is_refused(saved):
    def change(metadata):
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), "binz": 3})

    rewrite(saved, change_metadata=change)
    with pytest.raises(WeightsError, match="'binz' is not known; the nearest is 'bins'"):
        load_weights(saved)


def test_foreign_safetensors_are_refused(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="without depthclip_ros metadata"):
        load_weights(tmp_path / "other.safetensors")


@pytest.mark.parametrize("form", ["zip", "pickle"])
def test_a_pickle_is_never_run(tmp_path, form):
    marker, path = tmp_path / "ran", tmp_path / "model.safetensors"

    class Attack:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    if form == "zip":
        torch.save({"weight": Attack()}, path)
    else:
        path.write_bytes(pickle.dumps(Attack()))
    with pytest.raises(WeightsError, match="pickle"):
        load_weights(path)
    assert not marker.exists()


def test_a_header_that_looks_like_a_pickle_is_read(tmp_path):
    path = tmp_path / "odd.safetensors"
    for filler in range(2000):  # a header of 0x..80 0x02 bytes starts as pickle protocol 2 does
        save_file({"w": torch.zeros(1)}, path, {"filler": "x" * filler})
        if path.read_bytes()[:2] == b"\x80\x02":
            break
    assert path.read_bytes()[:2] == b"\x80\x02"
    with pytest.raises(WeightsError, match="without depthclip_ros metadata"):
        read_info(path)


def test_a_git_lfs_pointer_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(WeightsError, match="git lfs pull"):
        load_weights(path)


def test_nothing_that_is_not_finite_or_too_large_is_saved(model, saved):
    before = saved.read_bytes()
    with torch.no_grad():
        model.heads.bins.weight[0, 0] = 70000.0
    with pytest.raises(WeightsError, match=r"'heads.bins.weight' reaches 70000, beyond float16"):
        save_weights(saved, model, training={}, metrics={})
    with torch.no_grad():
        model.heads.bins.weight[0, 0] = float("inf")
    with pytest.raises(WeightsError, match=r"'heads.bins.weight' holds values that are not finite"):
        save_weights(saved, model, training={}, metrics={}, dtype="float32")
    assert saved.read_bytes() == before


def test_metadata_that_is_not_json_is_refused(model, tmp_path):
    with pytest.raises(WeightsError, match="training cannot be written as JSON"):
        save_weights(tmp_path / "a.safetensors", model, training={"path": Path("a")}, metrics={})


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_the_old_file_survives_a_full_disk(model, saved, monkeypatch, step):
    before = saved.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(WeightsError, match="No space left"):
        save_weights(saved, model, training={}, metrics={})
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_that_does_not_exist_is_named(model, tmp_path):
    with pytest.raises(WeightsError, match="nowhere"):
        save_weights(tmp_path / "nowhere" / "a.safetensors", model, training={}, metrics={})


def test_adapters_sit_on_their_clip_base(clip_model, clip_base, tmp_path):
    path = tmp_path / "adapters.safetensors"
    save_weights(path, clip_model, training={}, metrics={}, adapter_only=True, dtype="float32")
    info = read_info(path)
    assert info.adapter_only
    assert info.base_name == f"{clip_base[0]}:{clip_base[1]}"
    assert set(load_file(path)) == clip_model.trainable_names()
    assert "context.scenes" in load_file(path)  # so that the text tower is not needed
    for base in (None, clip_base[1]):
        loaded = load_weights(path, base=base).model
        assert torch.equal(depth_of(loaded, (64, 64)), depth_of(clip_model, (64, 64)))


def test_another_base_is_refused_by_hash(clip_model, clip_base, tmp_path):
    path, other = tmp_path / "adapters.safetensors", tmp_path / "other.safetensors"
    save_weights(path, clip_model, training={}, metrics={}, adapter_only=True)
    tensors = load_file(clip_base[1])
    tensors["visual.transformer.resblocks.0.ln_1.weight"] += 1e-3
    save_file(tensors, other)
    with pytest.raises(WeightsError, match="load it with its own base"):
        load_weights(path, base=other)


def test_a_full_clip_file_needs_no_base(clip_model, tmp_path):
    config = dataclasses.replace(clip_model.config, base_weights="a tag that nobody has")
    clip_model.config = config
    path = tmp_path / "full.safetensors"
    save_weights(path, clip_model, training={}, metrics={}, dtype="float32")
    loaded = load_weights(path).model
    assert torch.equal(depth_of(loaded, (64, 64)), depth_of(clip_model, (64, 64)))
    assert loaded.base_name == clip_model.base_name


def test_a_model_without_a_base_is_saved_in_full(model, tmp_path):
    path = tmp_path / "nano.safetensors"
    save_weights(path, model, training={}, metrics={}, adapter_only=True)
    assert not read_info(path).adapter_only


def test_adapters_sit_on_a_weights_file(saved, tmp_path):
    adapted = load_weights(saved).model
    adapted.select_trained(["adapters"])
    with torch.no_grad():
        adapted.heads.regression.bias.add_(0.5)
        adapted.heads.confidence_scale.fill_(0.5)
    path = tmp_path / "adapters.safetensors"
    save_weights(path, adapted, training={}, metrics={}, adapter_only=True, dtype="float32")
    info = read_info(path)
    assert (info.adapter_only, info.base_name) == (True, str(saved))
    assert path.stat().st_size < 0.6 * saved.stat().st_size
    loaded = load_weights(path).model
    assert torch.equal(depth_of(loaded), depth_of(adapted))
    assert loaded.heads.confidence_scale == 0.5
    assert not loaded.tower.positions.requires_grad


def test_a_base_beside_its_adapters_is_found_on_another_machine(saved, tmp_path):
    adapted = load_weights(saved).model
    adapted.select_trained(["adapters"])
    path = tmp_path / "adapters.safetensors"
    save_weights(path, adapted, training={}, metrics={}, adapter_only=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path.rename(elsewhere / path.name)
    saved.rename(elsewhere / saved.name)
    load_weights(elsewhere / path.name)
    (elsewhere / saved.name).rename(tmp_path / "renamed.safetensors")
    with pytest.raises(WeightsError, match=r"nano.safetensors"):
        load_weights(elsewhere / path.name)
    load_weights(elsewhere / path.name, base=tmp_path / "renamed.safetensors")


def test_adapters_that_are_adapted_again_sit_on_the_same_base(saved, tmp_path):
    first = load_weights(saved).model
    first.select_trained(["adapters"])
    save_weights(tmp_path / "a.safetensors", first, training={}, metrics={}, adapter_only=True)
    second = load_weights(tmp_path / "a.safetensors").model
    save_weights(tmp_path / "b.safetensors", second, training={}, metrics={}, adapter_only=True)
    assert read_info(tmp_path / "b.safetensors").base_name == str(saved)
    (tmp_path / "a.safetensors").unlink()
    assert torch.equal(depth_of(load_weights(tmp_path / "b.safetensors").model), depth_of(second))


def test_default_that_is_missing_says_how_to_make_it(monkeypatch, tmp_path):
    monkeypatch.setattr(find_weights, "SHIPPED_FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="depthclip-train"):
        resolve("default")


@pytest.mark.parametrize("name", find_weights.SHIPPED)
def test_shipped_weights_go_by_name_also_as_a_base(monkeypatch, saved, tmp_path, name):
    shutil.copy(saved, tmp_path / f"{name}.safetensors")
    monkeypatch.setattr(find_weights, "SHIPPED_FOLDER", tmp_path)
    assert resolve(name) == tmp_path / f"{name}.safetensors"
    adapted = load_weights(name).model
    adapted.select_trained(["adapters"])
    path = tmp_path / "adapters.safetensors"
    save_weights(path, adapted, training={}, metrics={}, adapter_only=True)
    assert read_info(path).base_name == name
    load_weights(path)


def test_adapters_find_their_base_where_its_name_has_gone_to_other_weights(monkeypatch, saved, tmp_path):
    monkeypatch.setattr(find_weights, "SHIPPED_FOLDER", tmp_path)
    shutil.copy(saved, tmp_path / "default.safetensors")
    adapted = load_weights("default").model
    adapted.select_trained(["adapters"])
    with torch.no_grad():
        adapted.heads.regression.bias.add_(0.5)
    path = tmp_path / "adapters.safetensors"
    save_weights(path, adapted, training={}, metrics={}, adapter_only=True, dtype="float32")
    larger = build_model(preset("nano", **{**NANO, "tower_width": 64}))
    save_weights(tmp_path / "default.safetensors", larger, training={}, metrics={})
    with pytest.raises(WeightsError, match="does not fit its base 'default'"):  # there is no other
        load_weights(path)
    (tmp_path / "fast.safetensors").write_bytes(b"torn")
    with pytest.raises(WeightsError, match="does not fit its base 'default'"):
        load_weights(path)
    shutil.copy(saved, tmp_path / "fast.safetensors")
    loaded = load_weights(path).model
    assert torch.equal(depth_of(loaded), depth_of(adapted))
    shutil.copy(tmp_path / "default.safetensors", tmp_path / "fast.safetensors")
    shutil.copy(saved, tmp_path / "default.safetensors")
    assert torch.equal(depth_of(load_weights(path).model), depth_of(adapted))


def test_adapters_of_shipped_weights_that_were_trained_on_are_refused_by_hash(monkeypatch, model, saved, tmp_path):
    monkeypatch.setattr(find_weights, "SHIPPED_FOLDER", tmp_path)
    shutil.copy(saved, tmp_path / "default.safetensors")
    adapted = load_weights("default").model
    adapted.select_trained(["adapters"])
    path = tmp_path / "adapters.safetensors"
    save_weights(path, adapted, training={}, metrics={}, adapter_only=True, dtype="float32")
    with torch.no_grad():
        model.tower.positions.add_(0.1)
    save_weights(tmp_path / "default.safetensors", model, training={}, metrics={}, dtype="float32")
    with pytest.raises(WeightsError, match=r"trained on the base 'default' .* load it with its own base"):
        load_weights(path)
    assert torch.equal(depth_of(load_weights(path, base=saved).model), depth_of(adapted))


@pytest.mark.parametrize("name", ["missing.safetensors", "./runs/best", "/nowhere/best", "some/folder/best", "best"])
def test_a_path_that_does_not_exist_is_not_looked_for_on_the_network(name, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: pytest.fail("went to the network"))
    with pytest.raises(WeightsError, match="does not exist"):
        resolve(name)


def test_a_folder_is_not_weights(tmp_path):
    with pytest.raises(WeightsError, match="is a folder"):
        resolve(tmp_path)


def test_a_hub_id_is_fetched(monkeypatch, saved):
    monkeypatch.setattr(
        huggingface_hub,
        "hf_hub_download",
        lambda repository, file, revision: f"{saved.parent}/{repository[:4]}.{file[6:]}",
    )
    assert resolve("nano/room") == saved


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(WeightsError, match=r"could not fetch model.safetensors of 'org/name'"):
        load_weights("org/name")


def test_a_configuration_larger_than_its_file_takes_no_memory(saved):
    """Before: the network was built first, of whatever size the configuration named."""
    edit_config(
        saved, lambda config: {**config, "tower_width": 4096, "tower_blocks": 64, "tower_heads": 1, "tap_layers": [63]}
    )
    with pytest.raises(WeightsError, match=r"has shape|does not fit its model"):
        load_weights(saved)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < 8 * 2**30  # 64 such blocks are 51 GB


@pytest.mark.parametrize("changed", [{"tower_blocks": 10**12}, {"bins": -(10**9)}, {"stem_channels": [8, 16, 10**9]}])
def test_counts_that_no_network_has_are_refused(saved, changed):
    edit_config(saved, lambda config: {**config, **changed})
    with pytest.raises(WeightsError, match="nothing in a network is counted beyond 4096"):
        load_weights(saved)


@pytest.mark.parametrize("config", [0, None, [], "nano", True])
def test_a_configuration_that_is_no_mapping_is_refused(saved, config):
    edit_config(saved, lambda _: config)
    with pytest.raises(WeightsError, match="names no system"):
        load_weights(saved)


def test_a_configuration_of_layers_without_channels_is_refused_without_a_warning(saved):
    edit_config(saved, lambda config: {**config, "adapter_width": 0})
    with pytest.raises(WeightsError, match=r"has shape|does not fit|adapter_width"):
        load_weights(saved)
