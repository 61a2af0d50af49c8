# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""All cameras of the node around one engine: what configure makes of them, what activate starts, how they are doing."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rclpy.node import Node

from depthclip_ros.core.anchors.estimator import prior_sd_of
from depthclip_ros.core.weights.find import faster_than
from depthclip_ros.ros.anchors.inputs import AnchorInputs, LiveTransforms
from depthclip_ros.ros.anchors.watch import AnchorWatch
from depthclip_ros.ros.depth_node.camera import Camera
from depthclip_ros.ros.depth_node.health import Health
from depthclip_ros.ros.depth_node.image_input import ImageInput, comes_rectified
from depthclip_ros.ros.depth_node.outputs import SCAN, Outputs
from depthclip_ros.ros.depth_node.parameters.values import Settings, live_settings
from depthclip_ros.ros.depth_node.pipeline import FramePipeline
from depthclip_ros.ros.depth_node.worker import DepthWorker
from depthclip_ros.ros.qos import name_of

if TYPE_CHECKING:
    from depthclip_ros.core.engine import DepthEngine


class Rig:
    """Publishers from its making to `destroy`; subscriptions and threads from `start` to `stop`.

    Attributes:
        engine: shared by all cameras.
        hangs: a thread did not end; the engine is left to it.
        names: of the cameras; one empty name where the parameter `cameras` is empty.

    Raises:
        ConfigError: an engine of relative depth.
    """

    def __init__(self, node: Node, engine: DepthEngine, settings: Settings) -> None:
        self.engine = engine
        self._faster_weights = faster_than(engine.info.path)
        self.hangs = False
        self.names = list(settings.cameras) or [""]
        self._node = node
        self._settings = settings
        rectified = {name: comes_rectified(node, settings.input_transport, _prefix(name)) for name in self.names}
        self._pipelines = {
            name: FramePipeline(engine, settings, camera=name, already_rectified=rectified[name]) for name in self.names
        }
        self._transforms = LiveTransforms()
        self._anchors: dict[str, AnchorWatch] = {}  # what they learn is kept while the node is inactive
        for name in self.names if settings.anchors else ():
            label = f"{name}: " if name else ""
            self._anchors[name] = AnchorWatch(
                settings.anchor_options, self._transforms, node.get_logger(), label, prior_sd_of(engine.uncertainty)
            )
            self._pipelines[name].scale = lambda watch=self._anchors[name]: watch.estimate
        self._inputs: dict[str, ImageInput] = {}
        self._anchor_inputs: dict[str, AnchorInputs] = {}
        self._worker: DepthWorker | None = None
        self._outputs: dict[str, Outputs] = {}
        self._active = ExitStack()
        with ExitStack() as made:
            for name in self.names:
                self._outputs[name] = Outputs(node, _prefix(name), self._transforms)
                made.callback(self._outputs[name].destroy)
            self._configured = made.pop_all()

    def start(self) -> None:
        """Subscribe and start the threads; after an error nothing of it is left."""
        node, logger = self._node, self._node.get_logger()
        worker = DepthWorker(self.engine, logger)
        if self.engine.uncertainty is None:
            logger.info("the weights have no intervals: depth/uncertainty is NaN; depthclip-train calibrate makes them")
        with ExitStack() as made:
            made.callback(self._inputs.clear)
            made.callback(self._anchor_inputs.clear)
            made.callback(self._transforms.close, node)
            if self._needs_transforms():
                self._transforms.listen(node)
            for name in self.names:
                camera = Camera(
                    name,
                    self._pipelines[name],
                    self._outputs[name],
                    worker.mailboxes,
                    logger,
                    lambda: node.get_clock().now().nanoseconds,
                    self._anchors.get(name),
                )
                worker.cameras.append(camera)
                source = self._inputs[name] = ImageInput(
                    node,
                    self._settings.input_transport,
                    self._settings.input_reliability,
                    camera.on_image,
                    camera.on_camera_info,
                    _prefix(name),
                )
                made.callback(source.destroy)
                info = source.camera_info
                camera.pipeline.image_topic = source.image.topic
                camera.camera_info_topic, camera.count_camera_infos = info.topic, lambda info=info: info.publishers
                label = f"{name}: " if name else ""
                if name in self._anchors:
                    self._start_anchors(name, made)
                logger.info(f"{label}depth of {source.image.topic} with {info.topic}")
            worker.start()
            self._worker, self._active = worker, made.pop_all()

    def _start_anchors(self, name: str, made: ExitStack) -> None:
        watch = self._anchors[name]
        names = tuple(self._settings.anchors)
        inputs = self._anchor_inputs[name] = AnchorInputs(self._node, watch, names, self._transforms, _prefix(name))
        made.callback(inputs.destroy)
        watch.start()
        made.callback(watch.end)

    def unsubscribe(self) -> None:
        """Hear nothing more; the first half of `stop`."""
        self._active.close()

    def stop(self, timeout_s: float) -> bool:
        """Unsubscribe and wait for the threads; False if one hangs, which is not waited for again."""
        self.unsubscribe()
        if self._worker is not None and (self.hangs or not self._worker.stop(timeout_s)):
            self.hangs = True
            return False
        self._worker = None
        ended = [watch.join(timeout_s) for watch in self._anchors.values()]
        if not all(ended):
            self.hangs = True
            return False
        return True

    def destroy(self) -> None:
        """Unmake the publishers and, unless a thread hangs in it, free the model; after `stop`."""
        self._configured.close()
        if self.hangs:
            return
        try:
            self.engine.close()
        except Exception as error:  # a device that is gone cannot be freed; a new configure may find it again
            self._node.get_logger().warning(f"could not free the model: {error}")

    def apply(self, settings: Settings) -> None:
        """Take up what may change between frames."""
        for pipeline in self._pipelines.values():
            pipeline.settings = live_settings(pipeline.settings, settings)

    def follow(self) -> None:
        """Follow the publishers' QoS, and listen to TF as soon as somebody wants what needs it."""
        if self._inputs and self._needs_transforms():
            self._transforms.listen(self._node)
        for source in [*self._inputs.values(), *self._anchor_inputs.values()]:
            source.follow()

    def _needs_transforms(self) -> bool:
        return bool(self._anchors) or any(SCAN in outputs.wanted() for outputs in self._outputs.values())

    def forget_stamps(self) -> None:
        """The clock jumped: the next stamp of each camera is in order whatever it is, and what moves is elsewhere."""
        self._transforms.forget()
        for camera in self._worker.cameras if self._worker is not None else ():
            camera.order.reset()

    def health(self, node: Health) -> dict[str, Health]:
        """How each camera is doing, by its name.

        Args:
            node: state of the node.
        """
        engine, worker = self.engine, self._worker
        base = dataclasses.replace(
            node,
            system=engine.info.system,
            weights=str(engine.info.path),
            weights_sha256=engine.info.sha256,
            faster_weights=self._faster_weights,
            max_rate_hz=self._settings.input_max_rate,
            runtime=engine.runtime,
            device=engine.device,
            precision=engine.precision,
            notices=tuple(engine.notices),
            preparing=node.preparing or engine.preparing,
            doing=worker.doing if worker is not None else "",
            doing_s=worker.doing_s if worker is not None else 0.0,
        )
        cameras = {camera.name: camera for camera in (worker.cameras if worker is not None else ())}
        return {name: self._health_of(name, base, cameras.get(name)) for name in self.names}

    def _health_of(self, name: str, health: Health, camera: Camera | None) -> Health:
        if name in self._anchors:
            watch = self._anchors[name]
            health = dataclasses.replace(health, anchors=watch.reports, scale=watch.estimate, coverage=watch.coverage)
        if camera is not None:
            health = dataclasses.replace(
                health,
                prefix=_prefix(name),
                awaited=camera.awaited,
                counters=camera.counters,
                overtaken=camera.box.overtaken,
                outputs_overtaken=camera.late.overtaken,
                camera_info_age_s=camera.infos.age_s,
            )
        source = self._inputs.get(name)
        if source is not None:
            health = dataclasses.replace(
                health,
                image_topic=source.image.topic,
                image_publishers=source.image.publishers,
                other_transport=source.other_transport,
                image_qos=name_of(source.image.qos),
                camera_info_topic=source.camera_info.topic,
            )
        return health


def _prefix(name: str) -> str:
    return f"{name}/" if name else ""
