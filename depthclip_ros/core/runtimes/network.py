# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""A depth network as the engine and the runtimes take it: described at once, in torch when somebody asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from depthclip_ros.core.model.model_config import ModelConfig
from depthclip_ros.core.present import require_torch
from depthclip_ros.core.runtimes.artefact_cache import identity_of
from depthclip_ros.core.weights.graph import Graph, find_graph
from depthclip_ros.core.weights.info import WeightsInfo

if TYPE_CHECKING:
    from depthclip_ros.core.model.contract import DepthModel
    from depthclip_ros.core.runtimes.pixel_network import PixelNetwork


USUAL_IMAGE = (640, 480)  # whose network input precision is chosen and proved on


class Network:
    """Made by `of_weights` or `of_model`; belongs to one engine.

    Attributes:
        config: what every system's configuration has.
        scene_labels: names of the scene weights, empty where there are none.
        network_size: from the image's (width, height) to the input's.
        identity: when called, what tells this network's artefacts from another's.
        graph: what runs without torch; None where torch makes the network.
    """

    def __init__(
        self,
        config: ModelConfig,
        scene_labels: tuple[str, ...],
        network_size: Callable[[int, int], tuple[int, int]],
        identity: Callable[[], str],
        model: Callable[[], DepthModel],
        graph: Graph | None = None,
    ) -> None:
        self.config = config
        self.scene_labels = scene_labels
        self.network_size = network_size
        self.identity = identity
        self.graph = graph
        self._load = model
        self._in_torch: PixelNetwork | None = None

    @classmethod
    def of_weights(cls, info: WeightsInfo) -> Network:
        """The network of a weights file: by its graph where there is one, else in torch.

        Raises:
            WeightsError: see `find_graph` and `load_weights`.
            ConfigError: it needs torch, which is not installed.
        """
        graph = find_graph(info)
        if graph is None:
            require_torch(
                f"weights {info.path} have no graph of their own beside them (depthclip export graph makes one)"
            )
            from depthclip_ros.core.weights.load import load_weights

            return cls.of_model(load_weights(info.path).model, info.sha256)
        known = {one.name for one in dataclasses.fields(ModelConfig)}
        config = ModelConfig(**{name: value for name, value in info.config.items() if name in known})

        def load() -> DepthModel:
            require_torch("another runtime than openvino and onnxruntime was asked for, or has to stand in")
            from depthclip_ros.core.weights.load import load_weights

            return load_weights(info.path).model

        return cls(
            config,
            graph.scene_labels,
            lambda width_px, height_px: config.network_size(width_px, height_px, graph.stride),
            lambda: info.sha256,
            load,
            graph,
        )

    @classmethod
    def of_model(cls, model: DepthModel, sha256: str | None = None) -> Network:
        """The network of a model in evaluation mode, which belongs to it from here on."""
        return cls(
            model.config, tuple(model.scene_labels), model.network_size, identity_of(model, sha256), lambda: model
        )

    def in_torch(self) -> PixelNetwork:
        """The network in torch, ready for inference, in float32 on the CPU; loaded when first asked for.

        Raises:
            ConfigError: torch is not installed.
            WeightsError: see `load_weights`.
        """
        if self._in_torch is None:
            from depthclip_ros.core.runtimes.pixel_network import PixelNetwork

            self._in_torch = PixelNetwork(self._load().prepare_inference())
        return self._in_torch
