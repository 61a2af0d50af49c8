# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Configuration of MoA-DepthCLIP and its presets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from depthclip_ros.core.model.model_config import ModelConfig, require
from depthclip_ros.core.model.towers.mobile_encoder import ENCODERS

HYBRID_TOWER = "hybrid"
DINOV2_TOWER = "dinov2-vits14"
PLAIN_STEM = "plain"

SCENES = (
    "kitchen",
    "living room",
    "bedroom",
    "bathroom",
    "dining room",
    "office",
    "classroom",
    "conference room",
    "computer lab",
    "study",
    "bookstore",
    "cafe",
    "furniture store",
    "playroom",
    "basement",
    "hallway",
    "staircase",
    "lobby",
    "workshop",
    "warehouse",
    "laboratory",
    "garage",
    "table top",
    "street",
    "garden",
)


@dataclass(frozen=True, kw_only=True)
class MoaDepthClipConfig(ModelConfig):
    """MoA-DepthCLIP (arXiv 2604.01118), its dense variant and its small one.

    Attributes:
        tower: a vision transformer of open_clip by name, "dinov2-vits14", or "hybrid", the small convolutional
            transformer.
        base_weights: for an open_clip tower, a pretrained tag of open_clip (downloaded), the path of a
            safetensors file, or None for random weights; for DINOv2 and for a pretrained stem the file that
            `depthclip-train convert-encoder` writes.
        train_tower: train the whole tower, not only `last_blocks`.
        last_blocks: how many of the tower's last transformer blocks are trained (with the norm behind them).
        adapter_layers: blocks (from 0) whose output passes through a mixture of adapters.
        adapter_experts, adapter_width, gate_width, gate_temperature: of each mixture.
        context: "average" (one constant text vector, concatenated), "prompts" (text vectors weighted by the image,
            modulate the decoder) or "prototypes" (the same with learned vectors in place of text).
        scenes: scene names of the prompts; for "prototypes" only their number counts.
        tap_layers: blocks (from 0, shallow to deep) that the decoder reads; the last must be the tower's last.
        decoder_channels: one per decoder stage, from the tower's stride down by halves.
        detail_stem: a few convolutions on the image itself give the decoder its finest levels (not the hybrid tower,
            which has a stem of its own).
        bins, bin_spacing, bin_low, bin_high: depth bins, "uniform" or "log", range in the units of the output.
        prior_depth: where an untrained head starts, in the units of the output.
        fusion: of bins and regression: "scalar" (one learned weight) or "gate" (a weight per pixel).
        stem: of the hybrid tower: "plain", from scratch, or a pretrained encoder of `mobile_encoder.ENCODERS`.
        tower_width, tower_blocks, tower_heads, stem_channels, stem_blocks, position_grid: of the hybrid tower only;
            one plain stem level per halving from 1/2 on, position_grid is (rows, columns) of the position embeddings.
    """

    system: str = "moa_depthclip"
    tower: str = HYBRID_TOWER
    base_weights: str | None = None
    train_tower: bool = False
    last_blocks: int = 4
    adapter_layers: tuple[int, ...] = (2, 5, 8, 11)
    adapter_experts: int = 4
    adapter_width: int = 64
    gate_width: int = 128
    gate_temperature: float = 2.0
    context: str = "prompts"
    scenes: tuple[str, ...] = SCENES
    tap_layers: tuple[int, ...] = (2, 5, 8, 11)
    decoder_channels: tuple[int, ...] = (192, 128, 96, 48)
    detail_stem: bool = False
    bins: int = 128
    bin_spacing: str = "log"
    bin_low: float = 0.045
    bin_high: float = 30.0
    prior_depth: float = 3.5
    fusion: str = "gate"
    stem: str = PLAIN_STEM
    tower_width: int = 224
    tower_blocks: int = 4
    tower_heads: int = 4
    stem_channels: tuple[int, ...] = (32, 64, 128, 160)
    stem_blocks: tuple[int, ...] = (0, 1, 1, 1)
    position_grid: tuple[int, ...] = (6, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tower == HYBRID_TOWER and self.stem == PLAIN_STEM and not self.stem_channels:
            object.__setattr__(self, "stem", "mobilenet-v2")  # as files older than `stem` say it
        require(self.system == "moa_depthclip", "system", self.system, "moa_depthclip")
        require(self.context in CONTEXTS, "context", self.context, ", ".join(CONTEXTS))
        require(self.bin_spacing in BIN_SPACINGS, "bin_spacing", self.bin_spacing, ", ".join(BIN_SPACINGS))
        require(self.fusion in FUSIONS, "fusion", self.fusion, ", ".join(FUSIONS))
        require(2 <= self.bins <= 1024, "bins", self.bins, "2..1024")
        low_allowed = self.bin_low > 0 or (self.bin_low == 0 and self.bin_spacing == "uniform")
        require(low_allowed and self.bin_low < self.bin_high, "bin_low", self.bin_low, "0 < bin_low < bin_high")
        require(self.bin_low < self.prior_depth < self.bin_high, "prior_depth", self.prior_depth, "inside the bins")
        require(self.adapter_experts >= 1, "adapter_experts", self.adapter_experts, "1 or more")
        require(self.adapter_width >= 1 and self.gate_width >= 1, "adapter_width", self.adapter_width, "1 or more")
        require(self.gate_temperature > 0, "gate_temperature", self.gate_temperature, "above 0")
        require(self.last_blocks >= 0, "last_blocks", self.last_blocks, "0 or more")
        require(len(self.scenes) >= 1, "scenes", self.scenes, "at least one scene")
        require(len(set(self.scenes)) == len(self.scenes), "scenes", self.scenes, "names that differ")
        require(len(self.tap_layers) >= 1, "tap_layers", self.tap_layers, "at least one block")
        require(list(self.tap_layers) == sorted(set(self.tap_layers)), "tap_layers", self.tap_layers, "ascending")
        require(min((*self.tap_layers, *self.adapter_layers)) >= 0, "tap_layers", self.tap_layers, "0 or more")
        require(2 <= len(self.decoder_channels) <= 5, "decoder_channels", self.decoder_channels, "2 to 5 stages")
        require(min(self.decoder_channels) >= 4, "decoder_channels", self.decoder_channels, "4 or more each")
        if self.tower in (HYBRID_TOWER, DINOV2_TOWER):
            require(self.context == "prototypes", "context", self.context, "prototypes, with a tower without text")
        if self.tower == HYBRID_TOWER:
            self._check_hybrid()

    def _check_hybrid(self) -> None:
        stems = (PLAIN_STEM, *ENCODERS)
        require(self.stem in stems, "stem", self.stem, ", ".join(stems))
        if self.stem == PLAIN_STEM:
            require(self.base_weights is None, "base_weights", self.base_weights, "none, with a plain stem")
            require(2 <= len(self.stem_channels) <= 4, "stem_channels", self.stem_channels, "two to four levels")
        else:
            require(not self.stem_channels, "stem_channels", self.stem_channels, f"none, with the stem {self.stem}")
        require(not self.detail_stem, "detail_stem", self.detail_stem, "false: the hybrid tower has its own stem")
        require(self.tower_blocks >= 1, "tower_blocks", self.tower_blocks, "1 or more")
        heads = self.tower_heads
        require(heads >= 1 and self.tower_width % heads == 0, "tower_heads", heads, "a divisor of tower_width")
        matches = len(self.stem_blocks) == len(self.stem_channels) and min((0, *self.stem_blocks)) >= 0
        require(matches, "stem_blocks", self.stem_blocks, "0 or more for each of stem_channels")
        require(len(self.position_grid) == 2, "position_grid", self.position_grid, "(rows, columns)")


CONTEXTS = ("average", "prompts", "prototypes")
BIN_SPACINGS = ("uniform", "log")
FUSIONS = ("scalar", "gate")

PAPER_VITB32 = MoaDepthClipConfig(
    tower="ViT-B-32-quickgelu",
    base_weights="openai",
    canonical_focal_px=None,
    min_depth_m=0.001,
    max_depth_m=10.0,
    input_pixels=640 * 480,
    context="average",
    tap_layers=(11,),
    decoder_channels=(256, 128, 96, 64),
    bin_spacing="uniform",
    bin_low=0.001,
    bin_high=10.0,
    prior_depth=2.5,
    fusion="scalar",
)
"""The published architecture.

Published: ViT-B/32 with the `openai` weights, the mixture of adapters and its layers, four trained blocks, the averaged
prompt vector concatenated on channels, 128 fixed bins read as an expected value, direct regression, fusion, cap 10 m.
Not published, and therefore ours:
    input        640x480 (a 20x15 grid of tokens), CLIP's normalisation, bicubic position embeddings;
    prompts      "a photo of a {scene}" over `SCENES`;
    bins         uniform over 0.001..10 m;
    head layout  tokens of the last block after `ln_post`, concatenated with the context; 1x1 convolution to 256
                 channels, then stages of bilinear doubling and a residual 3x3 block with 256, 128, 96, 64 channels
                 up to 1/4 of the input; on it a 1x1 convolution for the bins, and a 3x3 and a 1x1 for the regression,
                 10 m * sigmoid;
    fusion       w * bins + (1 - w) * regression in metres, one learned w that starts at 0.5;
    confidence   1 / (1 + (s/s0)^2) from the spread s of the bins in log depth.
"""

DENSE_VITB16 = MoaDepthClipConfig(
    tower="ViT-B-16-quickgelu",
    base_weights="openai",
    input_pixels=352 * 352,
    detail_stem=True,
)
"""The same adapters, bins and regression behind a dense decoder; recommended for new training. All choices are ours.

Blocks 2, 5, 8 and 11 feed the decoder's stages 1/2, 1/4, 1/8 and 1/16; scene prompts weighted by their similarity to
the image modulate every stage. Depth is for 300 px focal length at network resolution: 0.1..10 m seen through lenses
of 40 to 110 degrees, aspect 16:9 to 3:4, is 0.047..28 in these units, which the log-spaced bins cover (0.045..30, 5 %
each).
The image's embedding comes from the adapted tower, so training may shift what the scene weights say.
"""

NANO = MoaDepthClipConfig(
    tower=HYBRID_TOWER,
    train_tower=True,
    last_blocks=2,
    adapter_layers=(1, 3),
    adapter_width=16,
    gate_width=32,
    context="prototypes",
    scenes=tuple(f"prototype {index}" for index in range(16)),
    tap_layers=(3,),
    decoder_channels=(224, 160, 112, 64, 32),
    bin_low=0.07,
    bin_high=45.0,
)
"""About 6 M parameters for a CPU, 256x192, trained from scratch. All choices are ours.

A convolutional stem down to 1/16, four transformer blocks at 1/32, adapters on every second, learned prototypes in
place of prompts. With eight blocks at 1/16 and a shorter stem a training step took twice the time.
0.1..10 m through lenses of 40 to 110 degrees, aspect 16:9 to 3:4, is 0.074..45 in canonical units of 300 px focal
length, which the log-spaced bins cover (0.07..45, 5 % each).
"""

TEACHER_MOBILENET = replace(
    NANO,
    input_pixels=256 * 192,
    stem="mobilenet-v2",
    stem_channels=(),
    stem_blocks=(),
)
"""`nano` with MobileNetV2 as its stem, which starts from ImageNet weights.

Behind the stem both are the same, so that a student can take that over from its teacher. The depthwise convolutions
make it slower than `nano` on a CPU.
"""

LITE = replace(
    NANO,
    stem="efficientnet-lite0",
    stem_channels=(),
    stem_blocks=(),
    tower_width=192,
    decoder_channels=(192, 128, 96, 48, 24),
    input_pixels=160 * 128,
)
"""EfficientNet-Lite0, four transformer blocks at 1/32, and a small decoder: about `nano`'s time on a CPU."""

DINO_SMALL = MoaDepthClipConfig(
    tower=DINOV2_TOWER,
    last_blocks=7,
    adapter_layers=(4, 6, 8, 10),
    adapter_width=16,
    gate_width=32,
    context="prototypes",
    scenes=tuple(f"prototype {index}" for index in range(16)),
    tap_layers=(2, 5, 8, 10),
    decoder_channels=(160, 112, 80, 40),
    detail_stem=True,
    bin_low=0.045,
    bin_high=45.0,
    input_pixels=256 * 192,
    canonical_pixels=256 * 192,
)
"""DINOv2 ViT-S as the tower: adapters, bins and regression behind a dense decoder.

No CLIP tower and no text: learned prototypes in place of prompts.
"""

PRESETS = {
    "paper-vitb32": PAPER_VITB32,
    "dense-vitb16": DENSE_VITB16,
    "dino-small": DINO_SMALL,
    "lite": LITE,
    "nano": NANO,
    "teacher-mobilenet": TEACHER_MOBILENET,
}
