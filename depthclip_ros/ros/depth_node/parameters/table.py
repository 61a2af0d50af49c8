# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Every parameter of depth_node in one table: default, unit, what is allowed, and when a change takes effect."""

from __future__ import annotations

from depthclip_ros.ros.anchors.parameters import ANCHOR_ROWS
from depthclip_ros.ros.depth_node.parameters.clouds import CLOUD_ROWS, SCAN_ROWS
from depthclip_ros.ros.depth_node.parameters.parameter import NEXT_CONFIGURE, NEXT_START, Parameter, Value

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
        "Weights: `default` or `fast` (shipped), a .safetensors file, preset:NAME or a .yaml file of a system that "
        "needs no training, a folder of transformers, or a Hugging Face id org/name.",
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
        pattern=(r"(cuda|xpu):\d+", "cuda:N, xpu:N"),
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "model.precision",
        "auto",
        "Number format of the network; auto takes 16 bit where that is faster and depth stays the same within 1 % "
        "(median; 5 % at 99 of 100 pixels). int8 is calibrated on the images of model.calibration.",
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
        "model.threads",
        0,
        "Threads of the CPU that the network runs in. 0: as many as its library likes, most often one for each core.",
        minimum=0,
        maximum=256,
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
        0.0,
        "Horizontal field of view in degrees of a camera without camera_info: then there is a cloud too. 0: 60 are "
        "assumed, and there is no cloud.",
        minimum=5.0,
        maximum=170.0,
        zero="unknown",
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "input.max_rate",
        0.0,
        "Images a second of each camera that become depth; the others are left out before they cost anything, and "
        "counted as frames_skipped. 0: every image.",
        minimum=0.0,
        maximum=1000.0,
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "input.mask",
        "",
        "A black and white picture of the images' size, as the camera sends them; {camera} stands for the camera's "
        "name. Black is the robot's own body: depth is unknown there, and there is no point. Empty: none.",
        effect=NEXT_CONFIGURE,
    ),
    Parameter(
        "input.rotation",
        0,
        "Degrees by which images must be turned clockwise to be upright, for a camera that is mounted turned (180: "
        "upside down). The network sees them upright; all outputs stay as the images are.",
        minimum=0,
        maximum=270,
        step=90,
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
    *CLOUD_ROWS,
    *SCAN_ROWS,
    Parameter(
        "uncertainty.level",
        0.9,
        "Share of pixels whose true depth should lie within depth/uncertainty.",
        minimum=0.5,
        maximum=0.98,
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
        "filter.temporal",
        False,
        "Steady depth: where the picture moved as optical flow explains, the last images count too; elsewhere, and "
        "after a cut or a gap of half a second, only the newest. Adds no delay.",
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
    *ANCHOR_ROWS,
)
BY_NAME: dict[str, Parameter] = {parameter.name: parameter for parameter in TABLE}
DEFAULTS: dict[str, Value] = {parameter.name: parameter.default for parameter in TABLE}
FLOATS: frozenset[str] = frozenset(name for name, value in DEFAULTS.items() if isinstance(value, float))
