# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-train pseudo-label`: a teacher labels pictures, on any number of machines, restartable at the shard.

Every worker finds the same list of pictures, cut into the same pieces; worker r of n takes the pieces r, r + n, ...
A piece becomes one shard, which appears under its name when it is whole. Who starts again, with as many workers or
others, finds those that are there and goes on: so each picture is labelled once, whatever was killed in between.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import ConfigError, InputError
from depthclip_ros.core.files import replaced
from depthclip_ros.core.types import Intrinsics
from depthclip_trainer.data.readers.unlabelled import PictureSet, Piece, find_pictures, read_piece
from depthclip_trainer.data.store.pseudo import INDEX_NAME, PseudoFrame, encode
from depthclip_trainer.data.store.tar import write_shard
from depthclip_trainer.labelling.teacher import Label, Teacher

log = logging.getLogger(__name__)

FORMAT = "depthclip-pseudo-1"
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class LabelConfig:
    """What is labelled and how.

    Attributes:
        weights: the teacher's: a weights file of any system, `default`, or a Hugging Face id.
        data: folder of pictures, however deep, or of `.tar` shards of pictures.
        out: folder of the labelled shards.
        target: `canonical`, `affine`, or empty for what the teacher can give.
        flip: average with the mirrored picture; twice the time, and where both disagree confidence falls.
        hfov_deg: horizontal field of view that is written down for every picture.
        longest_px: pictures are shrunk to this before they are stored.
        shard: pictures of one shard.
        batch: pictures of one forward pass.
        runtime, device, precision: as of the engine.
        threads: that read pictures.
    """

    weights: str
    data: Path
    out: Path
    target: str = ""
    flip: bool = False
    hfov_deg: float = 60.0
    longest_px: int = 384
    shard: int = 256
    batch: int = 16
    runtime: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    threads: int = 4

    def __post_init__(self) -> None:
        for name in ("longest_px", "shard", "batch", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not 5 <= self.hfov_deg <= 170:
            raise ConfigError(f"hfov is {self.hfov_deg} degrees; allowed: 5..170")


@dataclass
class Counts:
    """What one worker did: shards and pictures written, shards that were there, names of broken pictures."""

    shards: int = 0
    pictures: int = 0
    found: int = 0
    broken: int = 0


def label_pictures(
    config: LabelConfig, rank: int = 0, world_size: int = 1, on_pictures: Callable[[int], None] | None = None
) -> Counts:
    """This worker's part of the labelling; calls `on_pictures` with the number of pictures just dealt with.

    Raises:
        WeightsError, InputError: a teacher or pictures that do not read.
        ConfigError: `out` holds labels of another teacher, other pictures or other settings.
    """
    pictures = find_pictures(config.data, config.shard)
    teacher = Teacher.load(config.weights, config.target, config.flip, config.runtime, config.device, config.precision)
    claim(config.out, settings(config, teacher, pictures))
    counts = Counts()
    with ThreadPoolExecutor(config.threads) as readers, ThreadPoolExecutor(1) as writer:
        writing = None  # the last shard is written while the next is labelled
        for number in range(rank, len(pictures.pieces), world_size):
            path = config.out / f"shard-{number:06d}.tar"
            piece = pictures.pieces[number]
            if path.is_file():
                counts.found += 1
                if on_pictures:
                    on_pictures(len(piece.names))
                continue
            broken: list[str] = []
            frames = list(label_piece(config, teacher, piece, number, readers, broken, on_pictures))
            if writing:
                writing.result()
            writing = writer.submit(store, path, frames, broken)
            counts.shards += 1
            counts.pictures += len(frames)
            counts.broken += len(broken)
        if writing:
            writing.result()
    summarise(config.out, len(pictures.pieces))
    return counts


def label_piece(
    config: LabelConfig,
    teacher: Teacher,
    piece: Piece,
    number: int,
    readers: Executor,
    broken: list[str],
    on_pictures: Callable[[int], None] | None,
) -> Iterator[PseudoFrame]:
    """Labels of one piece, in an order that batches of one size give; names of broken pictures go to `broken`."""
    waiting: dict[tuple[int, int], list[tuple[str, str, NDArray[np.uint8]]]] = {}
    for place, (name, picture) in enumerate(read_piece(piece, readers)):
        if isinstance(picture, InputError):
            log.warning("skipped: %s", picture)
            broken.append(name)
            if on_pictures:
                on_pictures(1)
            continue
        size = teacher.network_size(picture.shape[1], picture.shape[0])
        row = waiting.setdefault(size, [])
        row.append((f"{number:06d}-{place:06d}", name, picture))
        if len(row) == config.batch:
            yield from _labelled(config, teacher, waiting.pop(size), on_pictures)
    for row in waiting.values():
        yield from _labelled(config, teacher, row, on_pictures)


def _labelled(
    config: LabelConfig,
    teacher: Teacher,
    row: list[tuple[str, str, NDArray[np.uint8]]],
    on_pictures: Callable[[int], None] | None,
) -> Iterator[PseudoFrame]:
    labels = teacher.label([picture for _, _, picture in row])
    if on_pictures:
        on_pictures(len(row))
    for (key, name, picture), label in zip(row, labels, strict=True):
        yield frame_of(config, key, name, picture, label)


def frame_of(config: LabelConfig, key: str, name: str, picture: NDArray[np.uint8], label: Label) -> PseudoFrame:
    """A labelled picture at the size it is stored."""
    height_px, width_px = picture.shape[:2]
    ratio = min(1.0, config.longest_px / max(height_px, width_px))
    if ratio < 1:
        size = max(1, round(width_px * ratio)), max(1, round(height_px * ratio))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return PseudoFrame(
        name=name,
        image=picture,
        target=label.target,
        label=label.values,
        confidence=label.confidence,
        intrinsics=Intrinsics.from_hfov(config.hfov_deg, picture.shape[1], picture.shape[0]),
        assumed_intrinsics=True,
        network_size=label.network_size,
        canonical_focal_px=label.canonical_focal_px,
        key=key,
    )


def store(path: Path, frames: list[PseudoFrame], broken: list[str]) -> None:
    """Writes a shard, its account first: a shard that is there has one."""
    write_whole(path.with_suffix(".json"), {"pictures": len(frames), "broken": broken})
    write_shard(path, (encode(frame) for frame in sorted(frames, key=lambda frame: frame.key)))


def settings(config: LabelConfig, teacher: Teacher, pictures: PictureSet) -> dict[str, Any]:
    """What must be the same for all workers and restarts, and what a student's metadata says of its labels."""
    return {
        "format": FORMAT,
        "teacher": Path(config.weights).name,
        **teacher.about(),
        **{k: v for k, v in asdict(config).items() if k in ("flip", "hfov_deg", "longest_px", "shard")},
        "data": pictures.description,
        "licence": pictures.licence,
        "pictures": pictures.pictures,
        "shards": len(pictures.pieces),
        "listing_sha256": pictures.sha256,
        "folder": str(config.data.resolve()),
    }


def claim(out: Path, wanted: dict[str, Any]) -> None:
    """Writes the index of a new folder, or checks that the folder was begun with the same settings.

    Raises:
        ConfigError: it was begun with others; names the first that differs.
    """
    out.mkdir(parents=True, exist_ok=True)
    index = out / INDEX_NAME
    if not index.exists():
        temporary = out / f".{INDEX_NAME}.{os.getpid()}.{os.uname().nodename}.tmp"
        temporary.write_text(json.dumps(wanted, indent=1))
        try:
            os.link(temporary, index)  # of workers that start together, the first one's stays
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    try:
        found = json.loads(index.read_text())
    except ValueError as error:
        raise ConfigError(f"{index} does not read ({error}); remove the folder and label again") from error
    for name, value in wanted.items():
        if name != "folder" and found.get(name) != value:  # which is another one on another machine
            raise ConfigError(
                f"{out} was begun with {name} {found.get(name)!r}, now it is {value!r}; use another --out to label anew"
            )


def summarise(out: Path, shards: int) -> bool:
    """Writes the manifest when every shard is there, whoever finishes last; True when it was written."""
    if len(list(out.glob("shard-*.tar"))) < shards:
        return False
    accounts = [json.loads(path.read_text()) for path in sorted(out.glob("shard-*.json"))]
    manifest = {
        **json.loads((out / INDEX_NAME).read_text()),
        "labelled": sum(a["pictures"] for a in accounts),
        "broken": [name for a in accounts for name in a["broken"]],
    }
    write_whole(out / MANIFEST_NAME, manifest)
    return True


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """JSON that is there when it is whole."""
    with replaced(path) as file:
        file.write(json.dumps(content, indent=1).encode())
