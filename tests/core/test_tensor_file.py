# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import os

import pytest
import torch
from safetensors.torch import save_file

from depthclip_ros.core.errors import WeightsError
from depthclip_ros.core.tensor_file import has_our_metadata, hash_tensors, stored, write_whole


def test_vectors_and_counters_keep_their_precision():
    assert stored("kernel", torch.ones(2, 2), torch.float16).dtype == torch.float16
    assert stored("bias", torch.full((2,), 1e9), torch.float16).dtype == torch.float32
    assert stored("count", torch.tensor(3), torch.float16).dtype == torch.int64


def test_the_hash_sees_names_shapes_and_values_but_not_order():
    state = {"a": torch.ones(2, 3), "b": torch.zeros(4)}
    digest = hash_tensors(state, {"a", "b"})
    assert hash_tensors(dict(reversed(state.items())), {"b", "a"}) == digest
    assert hash_tensors(state, {"a"}) != digest
    assert hash_tensors({**state, "a": torch.ones(3, 2)}, {"a", "b"}) != digest
    assert hash_tensors({**state, "b": torch.tensor([0, 0, 0, 1e-7])}, {"a", "b"}) != digest


def test_the_hash_is_of_values_whatever_they_are_stored_in_and_of_counters_as_they_are():
    half = {"a": torch.tensor([0.5, 2.0], dtype=torch.float16)}
    assert hash_tensors(half, {"a"}) == hash_tensors({"a": half["a"].float()}, {"a"})
    counters = {"a": torch.tensor([1, 2**40])}
    assert hash_tensors(counters, {"a"}) != hash_tensors({"a": counters["a"].float()}, {"a"})


def test_a_file_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")
    assert path.stat().st_mode & 0o777 == 0o644

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WeightsError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_our_own_files_are_told_by_their_configuration(tmp_path):
    path = tmp_path / "file.safetensors"
    for metadata, ours in (({"config": "{}"}, True), ({"other": "{}"}, False), (None, False)):
        save_file({"a": torch.ones(2)}, path, metadata)
        assert has_our_metadata(path) is ours
    for data in (b"", b"PK\x03\x04 a pickle", path.read_bytes()[:12]):
        path.write_bytes(data)
        assert has_our_metadata(path) is False
    assert has_our_metadata(tmp_path / "none") is False
