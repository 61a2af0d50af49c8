"""Every parameter of depth_node in one table: default, unit, what is allowed, and when a change takes effect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from depthclip_ros.core.errors import ConfigError

Value = bool | int | float | str | list[str] | list[float]

NEXT_FRAME = "with the next frame"
NEXT_CONFIGURE = "at the next configure"
NEXT_START = "at the next start of the node"


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
        name: as ROS knows it, e.g. `output.max_depth`.
        default: its type is the parameter's type; a list's is `element`'s.
        description: one or two sentences with the unit.
        choices: the allowed texts; empty means any text, or a number within `minimum` and `maximum`.
        pattern: a regular expression that is allowed beside `choices`, and how to say it to a person.
        element: of a list: str or float. What is allowed holds for each element, and texts must differ.
        effect: when a change takes effect: NEXT_FRAME, NEXT_CONFIGURE; NEXT_START: it cannot be changed.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: tuple[str, str] | None = None
    element: type | None = None
    effect: str = NEXT_FRAME

    @property
    def live(self) -> bool:
        """Whether a running node takes a change up."""
        return self.effect == NEXT_FRAME

    @property
    def allowed(self) -> str:
        """The allowed values, for a person."""
        if self.element:
            return f"a list of {self.pattern[1] if self.pattern else f'{self.minimum:g} to {self.maximum:g}'}"
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
        if self.element:
            return self._check_list(value)
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

    def _check_list(self, value: Any) -> Value:
        # ROS has no empty list in YAML: there it is a parameter without a value.
        items = [] if value is None else value
        good = not isinstance(items, str) and hasattr(items, "__iter__")
        items = list(items) if good else []
        if self.element is str:
            pattern = self.pattern[0] if self.pattern else ".+"
            good = good and all(isinstance(item, str) and re.fullmatch(pattern, item) for item in items)
            good = good and len(set(items)) == len(items)
        else:
            low, high = self.minimum or 0.0, self.maximum or 0.0
            good = good and all(type(item) in (int, float) and low <= item <= high for item in items)
            items = [float(item) for item in items] if good else items
        if not good:
            raise ConfigError(f"{self.name} is {value!r}; allowed: {self.allowed}")
        return items


TABLE: tuple[Parameter, ...] = (
    Parameter(
        "autostart",
        False,
        "Configure and activate without a lifecycle manager as soon as the node runs.",
        effect=NEXT_START,
    ),
    Parameter(
        "cameras",
        [],
        "Names of the cameras that the node serves with one model, each with its topics under its own name, e.g. "
        "`front/image`. Empty: one camera, whose topics have no such prefix.",
        element=str,
        pattern=("[A-Za-z][A-Za-z0-9_]*", "different names of letters, digits and _ that begin with a letter"),
        effect=NEXT_CONFIGURE,
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
        choices=("auto", "torch", "openvino", "onnxruntime"),
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "model.device",
        "auto",
        "Where the network runs; auto takes the first CUDA device if there is one, else the CPU, and turns to the CPU "
        "when the GPU's memory is full. A named device is kept to; xpu is Intel's GPU, for the runtime openvino.",
        choices=("auto", "cpu", "cuda", "xpu"),
        pattern=(r"cuda:\d+", "cuda:N"),
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "model.precision",
        "auto",
        "Number format of the network; auto takes 16 bit where that is faster and depth stays the same within 2 %. "
        "int8 is calibrated on the images of model.calibration.",
        choices=("auto", "fp32", "bf16", "fp16", "int8"),
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "model.calibration",
        "rooms",
        "Images that int8 is calibrated on: `rooms` (rendered ones) or a folder of images. Other precisions need none.",
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
    Parameter(
        "scale.factors",
        [],
        "One factor for each of `cameras`, in their order, multiplied onto scale.factor. Empty: 1 for all.",
        element=float,
        minimum=0.01,
        maximum=100.0,
    ),
)
BY_NAME: dict[str, Parameter] = {parameter.name: parameter for parameter in TABLE}
DEFAULTS: dict[str, Value] = {parameter.name: parameter.default for parameter in TABLE}
FLOATS: frozenset[str] = frozenset(name for name, value in DEFAULTS.items() if isinstance(value, float))
