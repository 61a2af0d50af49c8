# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import sys
from types import ModuleType

import pytest

from depthclip_ros.core import present
from depthclip_ros.core.errors import ConfigError


@pytest.fixture(autouse=True)
def asked_anew():
    present.has_cuda.cache_clear()
    yield
    present.has_cuda.cache_clear()


def test_what_is_not_installed_is_found_out_without_importing(monkeypatch):
    assert present.is_installed("numpy")
    assert not present.is_installed("a_package_that_nobody_has")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not present.is_installed("torch")
    assert not present.has_cuda()
    with pytest.raises(
        ConfigError,
        match=r"weights x: this needs torch, which .* pip install torch torchvision open-clip-torch \(in a",
    ):
        present.require_torch("weights x")


def test_torch_is_asked_for_a_gpu_only_where_there_is_a_driver(monkeypatch):
    torch = pytest.importorskip("torch", reason="needs the extra `torch`")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(present, "GPU_DEVICES", ("/dev/there_is_none",))
    assert not present.has_cuda()
    present.has_cuda.cache_clear()
    monkeypatch.setattr(present, "GPU_DEVICES", ("/dev/null",))
    assert present.has_cuda()


def test_a_stand_in_for_a_package_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))  # as tests and stubs make them: without a spec
    assert not present.is_installed("torch")
