# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Weights files: found by name or path, read, converted, written."""

from depthclip_ros.core.weights.load import LoadedWeights, load_weights, read_info
from depthclip_ros.core.weights.weights_file import FORMAT_VERSION, WeightsInfo, save_weights

__all__ = ["FORMAT_VERSION", "LoadedWeights", "WeightsInfo", "load_weights", "read_info", "save_weights"]
