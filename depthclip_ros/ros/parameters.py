"""Every parameter of depth_node in one table: default, unit, what is allowed, and when a change takes effect."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.types import DepthLimits

Value = bool | int | float | str

NEXT_FRAME = "with the next frame"
NEXT_CONFIGURE = "at the next configure"
NEXT_START = "at the next start of the node"


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
        name: as ROS knows it, e.g. `output.max_depth`.
        default: its type is the parameter's type.
        description: one or two sentences with the unit.
        choices: the allowed texts; empty means any text, or a number within `minimum` and `maximum`.
        pattern: a regular expression that is allowed beside `choices`, and how to say it to a person.
        effect: when a change takes effect: NEXT_FRAME, NEXT_CONFIGURE or NEXT_START.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: tuple[str, str] | None = None
    effect: str = NEXT_FRAME

    @property
    def live(self) -> bool:
        """Whether a running node takes a change up."""
        return self.effect == NEXT_FRAME

    @property
    def allowed(self) -> str:
        """The allowed values, for a person."""
        if self.choices:
            return ", ".join([*self.choices, *([self.pattern[1]] if self.pattern else [])])
        if self.minimum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        return {bool: "true or false", str: "a text that is not empty"}[type(self.default)]

    def check(self, value: Any) -> Value:
        """The value, with its type made exact.

        Raises:
            ConfigError: a value of another type or outside what is allowed; it names both.
        """
        kind = type(self.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if good and self.choices:
            good = value in self.choices or bool(self.pattern and re.fullmatch(self.pattern[0], value))
        elif good and self.minimum is not None and self.maximum is not None:
            good = self.minimum <= value <= self.maximum  # false for NaN
        elif good and kind is str:
            good = bool(value)
        if not good:
            raise ConfigError(f"{self.name} is {value!r}; allowed: {self.allowed}")
        return value  # type: ignore[no-any-return]


TABLE: tuple[Parameter, ...] = (
    Parameter(
        "autostart",
        False,
        "Configure and activate without a lifecycle manager as soon as the node runs.",
        effect=NEXT_START,
    ),
    Parameter(
        "model.weights",
        "default",
        "Weights: `default` (shipped), a .safetensors file, preset:NAME or a .yaml file of a system that needs no "
        "training, a folder of transformers, or a Hugging Face id org/name.",
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "model.runtime",
        "auto",
        "Library that runs the network; auto takes the fastest that is installed and fits the device.",
        choices=("auto", "torch"),
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "model.device",
        "auto",
        "Where the network runs; auto takes the first CUDA device if there is one, else the CPU, and turns to the CPU "
        "when the GPU's memory is full. A named device is kept to.",
        choices=("auto", "cpu", "cuda"),
        pattern=(r"cuda:\d+", "cuda:N"),
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "model.precision",
        "auto",
        "Number format of the network; auto takes 16 bit where that is faster and depth stays the same within 2 %.",
        choices=("auto", "fp32", "bf16", "fp16"),
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "input.transport",
        "raw",
        "raw subscribes to `image` (Image), compressed to `image`/compressed (CompressedImage, JPEG or PNG).",
        choices=("raw", "compressed"),
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "input.reliability",
        "auto",
        "QoS reliability of the image and camera_info subscriptions; auto takes reliable if all publishers offer it, "
        "best effort otherwise, and follows publishers that come later.",
        choices=("auto", "reliable", "best_effort"),
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "input.rectify",
        "auto",
        "auto: a distorted image is rectified by its camera_info, except one of a topic named image_rect*, whose "
        "camera_info holds the distortion of the raw image. never: every image is taken as rectified already, and P "
        "describes it. require: an image that does not arrive rectified (distortion in camera_info, or no camera_info) "
        "is refused.",
        choices=("auto", "never", "require"),
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "input.assumed_hfov",
        60.0,
        "Horizontal field of view in degrees that scale rests on while there is no camera_info.",
        minimum=5.0,
        maximum=170.0,
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "output.encoding",
        "32FC1",
        "Encoding of depth/image: 32FC1 is metres with NaN and Inf (REP-117), 16UC1 millimetres with 0 invalid.",
        choices=("32FC1", "16UC1"),
    ),
    Parameter(
        "output.min_depth",
        0.1,
        "Metres; nearer depth becomes -Inf (16UC1: 0). Must be below output.max_depth.",
        minimum=0.0,
        maximum=1000.0,
    ),
    Parameter(
        "output.max_depth",
        10.0,
        "Metres; farther depth becomes +Inf (16UC1: 0). The model's own range ends at 10 m for most weights.",
        minimum=0.01,
        maximum=1000.0,
    ),
    Parameter(
        "output.confidence_threshold",
        0.0,
        "0 to 1; depth of lower confidence becomes NaN (16UC1: 0). 0 keeps all.",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "cloud.stride",
        1,
        "Every stride-th pixel of both axes becomes a point of depth/points.",
        minimum=1,
        maximum=64,
    ),
    Parameter(
        "cloud.max_range",
        0.0,
        "Metres along the optical axis; farther points of depth/points become NaN. 0 sets no limit of its own.",
        minimum=0.0,
        maximum=1000.0,
    ),
    Parameter(
        "cloud.color",
        True,
        "Points of depth/points carry the image's colour in a field `rgb`.",
    ),
    Parameter(
        "filter.edge_threshold",
        0.0,
        "Share of the nearer depth, e.g. 0.05; pixels on a larger step between neighbours (flying pixels) become NaN. "
        "0 keeps all.",
        minimum=0.0,
        maximum=10.0,
    ),
    Parameter(
        "scale.factor",
        1.0,
        "Multiplies depth: true distance divided by the distance that the node gave, for a calibrated camera.",
        minimum=0.01,
        maximum=100.0,
    ),
)
BY_NAME: dict[str, Parameter] = {parameter.name: parameter for parameter in TABLE}
DEFAULTS: dict[str, Value] = {parameter.name: parameter.default for parameter in TABLE}


@dataclass(frozen=True)
class Settings:
    """The values of all parameters at one moment; a field is the parameter's name with `_` for `.`."""

    autostart: bool
    model_weights: str
    model_runtime: str
    model_device: str
    model_precision: str
    input_transport: str
    input_reliability: str
    input_rectify: str
    input_assumed_hfov: float
    output_encoding: str
    output_min_depth: float
    output_max_depth: float
    output_confidence_threshold: float
    cloud_stride: int
    cloud_max_range: float
    cloud_color: bool
    filter_edge_threshold: float
    scale_factor: float

    @property
    def limits(self) -> DepthLimits:
        """What the engine does to depth."""
        return DepthLimits(
            min_depth_m=self.output_min_depth,
            max_depth_m=self.output_max_depth,
            confidence_threshold=self.output_confidence_threshold,
            edge_threshold=self.filter_edge_threshold,
            scale_factor=self.scale_factor,
        )

    @property
    def cloud_max_range_m(self) -> float:
        """Farthest point of the cloud in metres; infinity where the parameter sets no limit."""
        return self.cloud_max_range or math.inf


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Settings of the given parameter values over the defaults.

    Raises:
        ConfigError: an unknown name (it names the nearest), a value that is not allowed, or two that contradict.
    """
    checked = dict(DEFAULTS)
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
    return Settings(**{name.replace(".", "_"): value for name, value in checked.items()})  # type: ignore[arg-type]


def effect_of(names: Iterable[str], configured: bool) -> str:
    """One sentence on the named parameters that do not take effect by themselves; empty if there are none.

    Args:
        names: parameters that were changed.
        configured: whether the node is; if not, the next configure comes anyway and needs no mention.
    """
    known = [BY_NAME[name] for name in names if name in BY_NAME]
    waiting = [parameter.name for parameter in known if parameter.effect == NEXT_CONFIGURE]
    sentences = []
    if waiting and configured:
        verb = "takes" if len(waiting) == 1 else "take"
        sentences.append(
            f"{', '.join(waiting)} {verb} effect {NEXT_CONFIGURE}: deactivate, cleanup, configure and activate the node"
        )
    sentences += [f"{p.name} takes effect {NEXT_START}" for p in known if p.effect == NEXT_START]
    return "; ".join(sentences)
