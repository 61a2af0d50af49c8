# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""How openvino and nncf are imported: without telemetry."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from depthclip_ros.core import present
from depthclip_ros.core.errors import ConfigError

INSTALL = present.install("openvino")
INSTALL_INT8 = present.install("nncf")


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Import openvino and nncf as if their telemetry were not installed: it sends to the network unless told not to.

    Both take a stand-in that does nothing when the module is missing.
    """
    name = "openvino_telemetry"
    before: Mapping[str, Any] = {key: module for key, module in sys.modules.items() if key.partition(".")[0] == name}
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(before)


def is_installed() -> bool:
    """Whether openvino can be imported."""
    return present.is_installed("openvino")


@functools.lru_cache(maxsize=1)
def openvino() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed.
    """
    if not is_installed():
        raise ConfigError(f"runtime 'openvino' is not installed; {INSTALL}, or take runtime auto or torch")
    with without_telemetry():
        import openvino as library

        return library
