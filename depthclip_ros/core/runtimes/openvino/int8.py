# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""From a float network of OpenVINO to one in int8, by NNCF and a set of pictures."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core import present
from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.runtimes.openvino.imported import INSTALL_INT8, without_telemetry

KEPT_IN_FLOAT = (".*heads?[./].*", ".*context.*", ".*stem.*", ".*detail.*", ".*classes.*")
"""Parts that stay as they are: the last layers, where depth is read, and the first, on pixels and coordinates. They are
few operations, and in int8 alone they move depth by more than all the rest: the shipped weights by 24 % with the stem
and by 0.8 % without it (median)."""


def quantise(model: Any, pixels: NDArray[np.uint8]) -> Any:
    """Quantise an OpenVINO model after training.

    Args:
        model: of any batch.
        pixels: uint8 [N, h, w, 3] that are like what the network will see.

    Raises:
        ConfigError: nncf is not installed.
    """
    nncf = _nncf()
    images = [picture[None] for picture in pixels]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nncf.quantize(
            model,
            nncf.Dataset(images),
            subset_size=len(images),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(patterns=list(KEPT_IN_FLOAT), validate=False),
        )


def nncf_version() -> str:
    """Version of the library.

    Raises:
        ConfigError: it is not installed.
    """
    if not is_installed():
        raise ConfigError(f"precision int8 needs nncf; {INSTALL_INT8}, or take precision auto")
    return importlib.metadata.version("nncf")


def is_installed() -> bool:
    """Whether nncf can be imported."""
    return present.is_installed("nncf")


@functools.lru_cache(maxsize=1)
def _nncf() -> Any:
    nncf_version()
    with without_telemetry(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf
