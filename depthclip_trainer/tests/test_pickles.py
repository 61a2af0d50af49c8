# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Pickles are read in one place, as plain tensors, by a torch that is safe with them."""

import zipfile

import pytest
import torch
from depthclip_trainer.cli import train_main
from depthclip_trainer.pickles import state_dict_of
from safetensors.torch import load_file

from depthclip_ros.core.errors import ConfigError, InputError


@pytest.fixture
def checkpoint(tmp_path):
    def write(state):
        path = tmp_path / "given.pt"
        torch.save(state, path)
        return path

    return write


TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1, dtype=torch.float16)}


@pytest.mark.parametrize("form", ["plain", "nested", "model", "parallel"])
def test_a_checkpoint_becomes_safetensors_of_the_same_tensors(checkpoint, tmp_path, capsys, form):
    parallel = {f"module.{name}": tensor for name, tensor in TENSORS.items()}
    forms = {
        "plain": TENSORS,
        "nested": {"epoch": 3, "state_dict": TENSORS},
        "model": {"model": TENSORS},
        "parallel": parallel,
    }
    out = tmp_path / "new" / "out.safetensors"
    assert train_main(["convert-checkpoint", str(checkpoint(forms[form])), str(out)]) == 0
    found = load_file(out)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) and found[name].dtype == TENSORS[name].dtype for name in found)
    assert "2 tensors" in capsys.readouterr().out


def test_tensors_that_share_memory_are_written_each(checkpoint, tmp_path):
    whole = torch.arange(12.0)
    path = checkpoint({"all": whole, "part": whole[3:6], "turned": whole.reshape(3, 4).T})
    assert train_main(["convert-checkpoint", str(path), str(tmp_path / "out.safetensors")]) == 0
    assert load_file(tmp_path / "out.safetensors")["turned"].tolist() == whole.reshape(3, 4).T.tolist()


def test_code_is_refused_and_nothing_is_written(checkpoint, tmp_path, capsys):
    path = checkpoint({"model": torch.nn.Linear(2, 2)})
    assert train_main(["convert-checkpoint", str(path), str(tmp_path / "out.safetensors")]) == 1
    assert "no plain state dict" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("state", [{"a": torch.ones(1), "b": "text"}, [torch.ones(1)], {}, torch.ones(2)])
def test_what_is_no_state_dict_is_refused(checkpoint, state):
    with pytest.raises(InputError, match="holds no plain state dict"):
        state_dict_of(checkpoint(state))


def test_openais_archive_is_refused_with_the_remedy(tmp_path):
    with zipfile.ZipFile(tmp_path / "RN50.pt", "w") as archive:
        archive.writestr("RN50/constants.pkl", b"")
    with pytest.raises(InputError, match="base_weights: openai"):
        state_dict_of(tmp_path / "RN50.pt")


@pytest.mark.parametrize("version", ["2.9.1+cpu", "2.4.0", "1.13.1"])
def test_a_torch_that_is_not_safe_with_pickles_is_named(checkpoint, monkeypatch, version):
    path = checkpoint(TENSORS)
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(ConfigError, match=rf"torch {version.replace('+', '.')} .*CVE-2026-24747.*torch 2.10"):
        state_dict_of(path)


def test_a_file_that_is_missing_or_cannot_be_written_is_one_sentence(checkpoint, tmp_path, capsys):
    assert train_main(["convert-checkpoint", str(tmp_path / "none.pt"), str(tmp_path / "out.safetensors")]) == 1
    assert "there is no such file" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert train_main(["convert-checkpoint", str(checkpoint(TENSORS)), str(tmp_path / "file" / "out")]) == 1
    assert "could not write" in capsys.readouterr().err
