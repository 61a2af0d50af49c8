# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The trainer's configuration: typed dataclasses. `recipe.py` reads them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from depthclip_ros.core.errors import ConfigError
from depthclip_trainer.data.augment import AugmentConfig
from depthclip_trainer.fit.optim import OptimConfig
from depthclip_trainer.losses.distillation import ImitateConfig
from depthclip_trainer.losses.semi import SemiConfig

SOURCE_KINDS = (
    "rgbd_folder",
    "nyu_mat",
    "nyu_folder",
    "kitti",
    "tum",
    "bag",
    "shards",
    "images",
    "rooms",
    "pseudo",
)
"""Rows of `data/sources.py` that open recorded frames, and what is made or labelled here."""

COMMON_KEYS = frozenset({"kind", "path", "share", "count", "longest_px", "min_scale"})
RECORDED_KEYS = COMMON_KEYS | {"part", "split", "crop", "keep", "max_depth_m"}
KEYS_OF_KIND = {
    "nyu_folder": RECORDED_KEYS | {"file_list"},
    "kitti": RECORDED_KEYS | {"file_list"},
    "tum": RECORDED_KEYS | {"intrinsics"},
    "bag": RECORDED_KEYS | {"image_topic", "depth_topic", "camera_info_topic"},
    "images": RECORDED_KEYS | {"hfov_deg"},
    "rooms": COMMON_KEYS | {"seed", "stream"},
    "rooms with a path": COMMON_KEYS - {"longest_px"},
    "pseudo": COMMON_KEYS | {"keep"},
}
"""Keys that a kind reads; `RECORDED_KEYS` where it is not listed. Rooms with a path were rendered before."""

SPLITS = ("runs", "time")
KEEPS = ("memory", "disk")
BEST_BY = ("abs_rel", "rmse", "rmse_log", "silog")
AUTO = "auto"
PRECISIONS = (AUTO, "bf16-mixed", "32-true", "16-mixed")


@dataclass(frozen=True)
class SourceConfig:
    """One source of frames.

    Attributes:
        kind: of recorded frames `rgbd_folder`, `nyu_mat` and `nyu_folder` (`nyu.py`), `kitti`, `tum`, `bag`, `shards`
            or `images` (without depth: for a teacher only), each with a module in `data/readers` or `data/store`;
            `rooms` (rendered; `data/store/rooms.py`); `pseudo` (pictures with a teacher's labels;
            `data/store/pseudo.py`).
        path: the folder, relative to `data.root`; for rooms a cache made by `depthclip-train render-rooms`, relative
            to where the trainer is started, empty to render `count` frames at the start; for pseudo the folder that
            `depthclip-train pseudo-label` wrote, relative to where the trainer is started.
        share: relative weight in the mixture.
        min_scale: `augment.min_scale` for these frames, where it is above 0; those of near things stand deep crops.
        part: all, train or validation; of a split in time also test.
        split: how the parts are cut: `runs` of numbers without a gap, or whole folders (scenes, drives) where names
            have some (`data/split.py`), in shards as in the set that they hold; or `time`, one recording cut where it
            is so far along (`data/split.py`).
        crop: left, top, width, height in pixels taken of each frame; empty takes the whole.
        longest_px: frames are kept in memory at this size at most.
        keep: `memory` holds all frames, `disk` reads them when a batch takes them (`data/store/pools.py`).
        max_depth_m: farther readings are none.
        count: frames to take, spread evenly over the part (of a split in time over the whole), or to render; 0 takes
            all there are.
        seed: of rendered rooms.
        stream: rooms rendered anew at each step while training, on the training device, each in place of the oldest of
            `count`; 0 keeps the same rooms.
        file_list: of nyu_folder and kitti, relative to `path`; empty takes the usual training list there.
        intrinsics: fx, fy, cx, cy in pixels, of tum; empty finds the published ones.
        hfov_deg: horizontal field of view that is assumed of images.
        image_topic, depth_topic, camera_info_topic: of a bag; empty ones are found.
    """

    kind: str = "rgbd_folder"
    path: str = ""
    share: float = 1.0
    min_scale: float = 0.0
    part: str = "all"
    split: str = "runs"
    crop: list[int] = field(default_factory=list)
    longest_px: int = 384
    count: int = 0
    seed: int = 0
    stream: float = 0.0
    keep: str = "memory"
    max_depth_m: float = 10.0
    file_list: str = ""
    intrinsics: list[float] = field(default_factory=list)
    hfov_deg: float = 60.0
    image_topic: str = ""
    depth_topic: str = ""
    camera_info_topic: str = ""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"source split is {self.split!r}; allowed: {', '.join(SPLITS)}")
        if self.kind not in SOURCE_KINDS:
            raise ConfigError(f"source kind is {self.kind!r}; allowed: {', '.join(SOURCE_KINDS)}")
        kind = "rooms with a path" if self.kind == "rooms" and self.path else self.kind
        allowed = KEYS_OF_KIND.get(kind, RECORDED_KEYS)
        for key in dataclasses.fields(self):
            unset = key.default if key.default is not dataclasses.MISSING else []
            if key.name not in allowed and getattr(self, key.name) != unset:
                raise ConfigError(f"{key.name} does not apply to {kind}; its keys are {', '.join(sorted(allowed))}")
        if not 0 <= self.min_scale <= 1:
            raise ConfigError(f"source min_scale is {self.min_scale}; allowed: 0 (as augment says) to 1")
        if self.stream < 0:
            raise ConfigError(f"source stream is {self.stream}; it takes a number above 0")
        if self.crop and len(self.crop) != 4:
            raise ConfigError(f"crop is {self.crop}; it takes left, top, width, height")
        if self.keep not in KEEPS:
            raise ConfigError(f"source keep is {self.keep!r}; allowed: {', '.join(KEEPS)}")
        if self.intrinsics and len(self.intrinsics) != 4:
            raise ConfigError(f"intrinsics is {self.intrinsics}; it takes fx, fy, cx, cy in pixels")
        if not 0.1 < self.max_depth_m <= 1000:
            raise ConfigError(f"max_depth_m is {self.max_depth_m}; allowed: above 0.1, at most 1000")


@dataclass(frozen=True)
class DataConfig:
    """Where frames come from and at which size the network is trained.

    Attributes:
        root: folder that source paths are relative to.
        width_px, height_px: of the training batches.
        more_sizes_px: [width, height] of batches beside that: each step draws one of all, so that the weights serve
            other sizes and shapes of image too.
        train, validation: sources by name.
        never_train_on: what no source here may be: names of sources as their data states them, and folders, relative to
            where the trainer is started.
    """

    root: str
    train: dict[str, SourceConfig]
    validation: dict[str, SourceConfig]
    width_px: int = 256
    height_px: int = 192
    more_sizes_px: list[list[int]] = field(default_factory=list)
    never_train_on: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for size in self.more_sizes_px:
            if len(size) != 2 or min(size) < 32:
                raise ConfigError(f"more_sizes_px has {size}; each is [width, height], at least 32 pixels a side")


@dataclass(frozen=True)
class ModelConfig:
    """What is trained.

    Attributes:
        preset: of `depthclip_ros.core.model`.
        train: groups of parameters that are trained, of `adapters`, `last_blocks` and `tower`; all others are frozen.
            Empty leaves it to the system. Each group that is trained has its rate in `optim.rates`.
        overrides: fields of the preset's config.
        init: weights file to start from; empty starts anew.
        take_over: weights files of other networks, one after the other: tensors of the same name and shape replace
            those of the start.
    """

    preset: str = "nano"
    train: list[str] = field(default_factory=list)
    overrides: dict[str, Any] = field(default_factory=dict)
    init: str = ""
    take_over: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LoopConfig:
    """How long, how big, where to.

    Attributes:
        out: folder of checkpoints, logs, pictures and the exported weights.
        steps: optimiser steps; 0 leaves the length to `max_minutes`.
        max_minutes: wall-clock budget; the schedule runs to its end in it, whatever the machine. 0 is no budget.
        batch: samples of one forward pass on one process.
        accumulate: forward passes of one optimiser step.
        precision: bf16-mixed, 32-true, 16-mixed, or auto: bf16-mixed where the device multiplies bfloat16 in hardware,
            32-true elsewhere.
        accelerator: of Lightning Fabric: auto, cpu, cuda.
        devices: processes of this machine.
        nodes: machines (torchrun).
        threads: CPU threads; 0 leaves torch's choice.
        prefetch: micro-batches that are made ahead of the step that takes them, beside it; 0 makes each in its turn.
        evaluate_every: steps between evaluations; 0 makes ten of them.
        checkpoint_every: steps between checkpoints of `last`.
        log_every: steps between lines of the log.
        seed: of weights, data and augmentation.
        resume: continue from `out/last.ckpt` where it exists.
        best_by: metric on the validation sources, the lower the better, that picks `best.ckpt`: abs_rel, or rmse_log,
            which counts too near as it counts too far and does better on a handful of frames.
        settle: last share of the training in which every frame is shown as the engine shows it, not zoomed or rolled.
        final_table: after the training export the weights and score them through the engine.
    """

    out: str
    steps: int = 0
    max_minutes: float = 0.0
    batch: int = 16
    accumulate: int = 1
    precision: str = AUTO
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    threads: int = 0
    prefetch: int = 2
    evaluate_every: int = 0
    checkpoint_every: int = 500
    log_every: int = 20
    seed: int = 0
    resume: bool = True
    best_by: str = "abs_rel"
    settle: float = 0.1
    final_table: bool = True

    def __post_init__(self) -> None:
        if self.steps <= 0 and self.max_minutes <= 0:
            raise ConfigError("neither loop.steps nor loop.max_minutes is above 0; one of them must end the training")
        for name in ("batch", "accumulate", "devices", "nodes", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"loop.{name} is {getattr(self, name)}; it must be 1 or more")
        if not 0 <= self.settle <= 1:
            raise ConfigError(f"loop.settle is {self.settle}; allowed: 0..1")
        if self.best_by not in BEST_BY:
            raise ConfigError(f"loop.best_by is {self.best_by!r}; allowed: {', '.join(BEST_BY)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"loop.precision is {self.precision!r}; allowed: {', '.join(PRECISIONS)}")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training run is; a checkpoint carries it.

    `loss` holds the weight of each term of `losses/terms.py`; `semi` is how sources of kind `pseudo` are learned from;
    `imitate` names a network whose stem the student's learns to replace.
    """

    data: DataConfig
    loop: LoopConfig
    optim: OptimConfig
    loss: dict[str, float]
    model: ModelConfig = field(default_factory=ModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    semi: SemiConfig | None = None
    imitate: ImitateConfig | None = None

    def __post_init__(self) -> None:
        if self.semi is not None and not self.semi.loss:
            object.__setattr__(self, "semi", dataclasses.replace(self.semi, loss=self.loss))
        if self.semi is None and any(source.kind == "pseudo" for source in self.data.train.values()):
            raise ConfigError("a source of kind pseudo needs the section semi: how its labels are learned from")
