# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The values of depth_node's parameters: checked against the table and against each other."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.level_scan import ScanLimits
from depthclip_ros.core.types import DepthLimits
from depthclip_ros.ros.anchors.sources import AnchorOptions
from depthclip_ros.ros.depth_node.parameters.parameter import NEXT_CONFIGURE
from depthclip_ros.ros.depth_node.parameters.table import BY_NAME, DEFAULTS, FLOATS, TABLE

__all__ = ["BY_NAME", "DEFAULTS", "FLOATS", "TABLE", "Settings", "effect_of", "live_settings", "settings_from"]

USUAL_HFOV_DEG = 60.0


@dataclass(frozen=True)
class Settings:
    """The values of all parameters at one moment; a field is the parameter's name with `_` for `.`."""

    autostart: bool
    cameras: list[str]
    model_weights: str
    model_runtime: str
    model_device: str
    model_precision: str
    model_calibration: str
    model_threads: int
    input_transport: str
    input_reliability: str
    input_rectify: str
    input_assumed_hfov: float
    input_max_rate: float
    input_mask: str
    input_rotation: int
    output_encoding: str
    output_min_depth: float
    output_max_depth: float
    output_confidence_threshold: float
    cloud_stride: int
    cloud_max_range: float
    cloud_color: bool
    cloud_edge_threshold: float
    cloud_fields: list[str]
    cloud_clear_stride: int
    cloud_clear_range: float
    cloud_clear_level: float
    scan_frame: str
    scan_min_height: float
    scan_max_height: float
    scan_max_range: float
    scan_confidence_threshold: float
    uncertainty_level: float
    filter_edge_threshold: float
    filter_temporal: bool
    scale_factor: float
    scale_factors: list[float]
    anchors: list[str]
    anchor_base_frame: str
    anchor_odom_frame: str
    anchor_ground_height_m: float
    anchor_tag_side_m: float
    anchor_tag_dictionary: str

    @property
    def limits(self) -> DepthLimits:
        """What the engine does to depth."""
        return self.limits_of("")

    def limits_of(self, camera: str) -> DepthLimits:
        """What the engine does to depth of one of `cameras`; "": of the only one."""
        factor = self.scale_factors[self.cameras.index(camera)] if camera and self.scale_factors else 1.0
        return DepthLimits(
            min_depth_m=self.output_min_depth,
            max_depth_m=self.output_max_depth,
            confidence_threshold=self.output_confidence_threshold,
            edge_threshold=self.filter_edge_threshold,
            scale_factor=self.scale_factor * factor,
            level=self.uncertainty_level,
        )

    @property
    def engine_options(self) -> dict[str, Any]:
        """What `DepthEngine.load` is told beside the weights."""
        return {
            "runtime": self.model_runtime,
            "device": self.model_device,
            "precision": self.model_precision,
            "calibration": self.model_calibration,
            "threads": self.model_threads,
            "allow_cpu_fallback": self.model_device == "auto",
        }

    @property
    def scan_limits(self) -> ScanLimits:
        """What is an obstacle of the scan, as far as depth reaches."""
        return ScanLimits(self.scan_min_height, self.scan_max_height, self.output_min_depth, self.scan_max_range)

    @property
    def anchor_options(self) -> AnchorOptions:
        """What the anchors are told."""
        return AnchorOptions(
            names=tuple(self.anchors),
            base_frame=self.anchor_base_frame,
            odom_frame=self.anchor_odom_frame,
            ground_height_m=self.anchor_ground_height_m,
            tag_side_m=self.anchor_tag_side_m,
            tag_dictionary=self.anchor_tag_dictionary,
        )

    @property
    def assumed_hfov_deg(self) -> float:
        """Field of view where there is no CameraInfo: the user's, or that of a usual webcam."""
        return self.input_assumed_hfov or USUAL_HFOV_DEG

    @property
    def cloud_max_range_m(self) -> float:
        """Farthest point of the cloud in metres; infinity where the parameter sets no limit."""
        return self.cloud_max_range or math.inf


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Settings of the given parameter values over the defaults.

    Raises:
        ConfigError: an unknown name (it names the nearest), a value that is not allowed, or two that contradict.
    """
    checked = {name: BY_NAME[name].check(value) for name, value in DEFAULTS.items()}
    for name, value in values.items():
        if name not in BY_NAME:
            near = difflib.get_close_matches(name, BY_NAME, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(BY_NAME)}"
            raise ConfigError(f"there is no parameter {name}{hint}")
        checked[name] = BY_NAME[name].check(value)
    if checked["output.min_depth"] >= checked["output.max_depth"]:
        raise ConfigError(
            f"output.min_depth is {checked['output.min_depth']} and output.max_depth {checked['output.max_depth']}; "
            "the first must be below the second"
        )
    if checked["scan.min_height"] >= checked["scan.max_height"]:
        raise ConfigError(
            f"scan.min_height is {checked['scan.min_height']} and scan.max_height {checked['scan.max_height']}; the "
            "first must be below the second"
        )
    cameras, factors = checked["cameras"], checked["scale.factors"]
    if factors and len(factors) != len(cameras):  # type: ignore[arg-type]
        raise ConfigError(
            f"scale.factors is {factors} and cameras {cameras}; there must be one factor for each camera, or none"
        )
    if "tag" in checked["anchors"] and not checked["anchor.tag.side_m"]:  # type: ignore[operator]
        raise ConfigError("anchors has tag and anchor.tag.side_m is 0; give the side of the markers' black square")
    return Settings(**{name.replace(".", "_"): value for name, value in checked.items()})  # type: ignore[arg-type]


def live_settings(running: Settings, asked: Settings) -> Settings:
    """What a running node takes up of `asked` at once; factors of other cameras than it has wait with these."""
    names = [row.name.replace(".", "_") for row in TABLE if row.live]
    if asked.cameras != running.cameras:
        names.remove("scale_factors")
    return dataclasses.replace(running, **{name: getattr(asked, name) for name in names})


def effect_of(names: Iterable[str], configured: bool) -> str:
    """One sentence on the named parameters that do not take effect by themselves; empty if there are none.

    Args:
        names: parameters that were changed.
        configured: whether the node is; if not, the next configure comes anyway and needs no mention.
    """
    known = [BY_NAME[name] for name in names if name in BY_NAME]
    waiting = [parameter.name for parameter in known if parameter.effect == NEXT_CONFIGURE]
    if not waiting or not configured:
        return ""
    verb = "takes" if len(waiting) == 1 else "take"
    return f"{', '.join(waiting)} {verb} effect {NEXT_CONFIGURE}: deactivate, cleanup, configure and activate the node"
