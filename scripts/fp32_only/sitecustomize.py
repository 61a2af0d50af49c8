# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Holds OpenVINO to float32, as on a CPU without 16-bit units, in every process that has this folder on PYTHONPATH.

For the tests: ONEDNN_MAX_CPU_ISA=AVX2 PYTHONPATH=$PWD/scripts/fp32_only .venv/bin/pytest (docs: CONTRIBUTING.md)
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import Any

RUNTIME = "depthclip_ros.core.runtimes.openvino.imported"


class _Hold(MetaPathFinder):
    """Changes what the library says of a device once it is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The module's own specification, whose loader does one thing more."""
        spec = PathFinder.find_spec(name, path, target) if name == RUNTIME else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            library = module.openvino

            def held() -> Any:
                core = library().Core
                if core.get_property is not only_fp32:
                    asked.setdefault("get_property", core.get_property)
                    core.get_property = only_fp32
                return library()

            held.cache_clear = library.cache_clear  # type: ignore[attr-defined]
            module.openvino = held

        asked: dict[str, Any] = {}

        def only_fp32(core: Any, device: str, name: str = "") -> Any:
            found = asked["get_property"](core, device, name) if name else asked["get_property"](core, device)
            return ["FP32"] if name == "OPTIMIZATION_CAPABILITIES" else found

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Hold())
