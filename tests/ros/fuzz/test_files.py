# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Damaged and foreign files through the readers of node, commands and trainer: read, or refused in one sentence.

A slice of fixed seeds runs with the other tests. `make fuzz` reads as many as it is told (environment FUZZ_FILES, from
the seed FUZZ_SEED on).
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import random
import resource
import struct
import time
from collections import Counter

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("torch", reason="needs torch to read weights files for training")

from depthclip_ros.core.calibration import read_calibration
from depthclip_ros.core.errors import DepthClipError
from depthclip_ros.core.images.compressed import decode_depth_values, decode_picture
from depthclip_ros.core.recordings.bags import Recording
from depthclip_ros.core.rectify import Rectifier
from depthclip_ros.core.weights.load import load_weights
from depthclip_ros.ros.depth_node.parameters.values import DEFAULTS, settings_from

FILES = int(os.environ.get("FUZZ_FILES") or 600)
SEED = int(os.environ.get("FUZZ_SEED") or 0)
HANG_S = 60.0
MOST_BYTES = 2**30  # that a small file may take
WORDS = (
    *(
        ".nan",
        ".inf",
        "-.inf",
        "1e999",
        "-1",
        "0",
        "99999999999999999999",
        "[]",
        "{}",
        "null",
        "true",
        "''",
        "*a",
        "&a x",
    ),
    *(
        "!!python/object:os.system x",
        "[1, [2, 3]]",
        "2026-01-01",
        "0x1F",
        "\t",
        "---",
        "é",
        "'",
        "1:30",
        "!!binary aGk=",
    ),
)
CALIBRATION = """image_width: 64
image_height: 48
camera_name: eye
camera_matrix: {rows: 3, cols: 3, data: [50.0, 0.0, 31.5, 0.0, 50.0, 23.5, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.3, 0.1, 0.001, -0.001, 0.0]}
rectification_matrix: {rows: 3, cols: 3, data: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]}
projection_matrix: {rows: 3, cols: 4, data: [50.0, 0.0, 31.5, 0.0, 0.0, 50.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]}
"""
OPENCV = """%YAML:1.0
image_width: 64
image_height: 48
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [50., 0., 31.5, 0., 50., 23.5, 0., 0., 1.]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [-0.3, 0.1, 0.001, -0.001, 0.]
"""


# ---- what is written -------------------------------------------------------------------------------------------------


def broken_bytes(rng, data):
    """Up to four changes: turned bits, cuts, doubled and foreign pieces, lengths that lie."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randint(0, max(0, len(data) - 1)) if rng.random() < 0.6 else rng.randint(0, min(200, len(data)))
        kind = rng.randint(0, 5)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randint(0, 7)
        elif kind == 1:
            del data[at : at + rng.choice((1, 2, 8, 100, len(data)))]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
        elif kind == 3:
            data[at:at] = data[at : at + rng.choice((1, 8, 200))]
        elif kind == 4:
            data[at : at + 8] = struct.pack("<Q", rng.choice((0, 1, 2**31, 2**32 - 1, 2**63, len(data))))
        elif kind == 5:
            data[at : at + 4] = struct.pack(">I", rng.choice((0, 1, 2**16, 2**31, 2**32 - 1)))
    return bytes(data)


def broken_text(rng, text):
    """YAML with words exchanged, lines lost, doubled or shifted; now and then bytes that are no text."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        at = rng.randrange(len(lines))
        kind = rng.randint(0, 5)
        if kind == 0:
            del lines[at : at + 1]
        elif kind == 1:
            lines.insert(at, lines[rng.randrange(len(lines))] if lines else "")
        elif kind == 2 and lines and ":" in lines[at]:
            lines[at] = f"{lines[at].partition(':')[0]}: {rng.choice(WORDS)}"
        elif kind == 3 and lines:
            parts = lines[at].split(", ")
            parts[rng.randrange(len(parts))] = rng.choice(WORDS)
            lines[at] = ", ".join(parts)
        elif kind == 4 and lines:
            lines[at] = " " * rng.randint(0, 4) + lines[at]
        elif kind == 5 and lines:
            lines[at] = lines[at].replace(rng.choice(":{}[],-."), rng.choice(WORDS), 1)
        lines = lines or [""]
    data = "\n".join(lines).encode()
    return broken_bytes(rng, data) if rng.random() < 0.2 else data


def broken_weights(rng, data):
    """A weights file whose header, or whose bytes, say something else."""
    if rng.random() < 0.3:
        return broken_bytes(rng, data)
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    values = (None, "", "[]", "{}", "NaN", "-1", "1e999", '"x"', "true", [], {}, 0, "nul", "9" * 400, "é")
    for _ in range(rng.choice((1, 1, 2))):
        kind = rng.randint(0, 3)
        metadata, names = header.get("__metadata__", {}), [name for name in header if name != "__metadata__"]
        if kind == 0 and metadata:
            metadata[rng.choice(sorted(metadata))] = str(rng.choice(values))
        elif kind == 1 and "config" in metadata:
            try:
                config = json.loads(metadata["config"])
                config[rng.choice(sorted(config))] = rng.choice((*values, 1e9, -5, 10**12, [1], "nano", [0, 0, 0]))
                metadata["config"] = json.dumps(config)
            except (ValueError, TypeError, IndexError, AttributeError):
                continue
        elif kind == 2 and names:
            tensor = header[rng.choice(names)]
            tensor[rng.choice(("dtype", "shape", "data_offsets"))] = rng.choice(
                ("F64", "BOOL", "x", [2, 2], [0, 8], [8, 0], [2**40, 2], [-1], [], 7)
            )
        elif names:
            name = rng.choice(names)
            header[rng.choice(("other", name[:-1], "é" * 40))] = header.pop(name)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# ---- what reads it ---------------------------------------------------------------------------------------------------


def read_bag(path):
    with Recording(path) as bag:
        for connection, _, data in bag.messages():
            with contextlib.suppress(DepthClipError):
                bag.deserialize(data, connection.msgtype)


def read_parameters(path):
    """What YAML says of parameters, in every shape that it can have, against the table."""
    try:
        values = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError):  # no number, no date, no text: rcl refuses such a file itself
        return
    settings_from(values if isinstance(values, dict) else {})


@pytest.fixture(scope="module")
def kinds(small_weights, tmp_path_factory):
    """Suffix, whole file, how it is broken, and its reader, by the name of the kind."""
    folder = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(0)
    depth = cv2.imencode(".png", rng.integers(0, 9000, (12, 16), np.uint16))[1].tobytes()
    pixels = rng.integers(0, 256, (12, 16, 3), np.uint8)
    pictures = {
        suffix: cv2.imencode(suffix, pixels)[1].tobytes() for suffix in (".jpg", ".bmp", ".webp", ".tiff", ".ppm")
    }
    parameters = yaml.safe_dump(dict(DEFAULTS))
    bags = {suffix: written_bag(folder, storage) for suffix, storage in ((".db3", "sqlite3"), (".mcap", "mcap"))}

    def read_camera(path):
        Rectifier(read_calibration(path)).rectify(np.zeros((48, 64, 3), np.uint8))

    return {
        "weights": (".safetensors", small_weights.read_bytes(), broken_weights, load_weights),
        "calibration": (".yaml", CALIBRATION, broken_text, read_camera),
        "OpenCV's calibration": (".yaml", OPENCV, broken_text, read_camera),
        "parameters": (".yaml", parameters, broken_text, read_parameters),
        "depth PNG": (".png", depth, broken_bytes, lambda path: decode_depth_values(path.read_bytes())),
        **{
            f"picture {suffix}": (suffix, data, broken_bytes, lambda path: decode_picture(path.read_bytes()))
            for suffix, data in pictures.items()
        },
        **{f"bag {suffix}": (suffix, data, broken_bytes, read_bag) for suffix, data in bags.items()},
    }


def written_bag(folder, storage):
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store, path = get_typestore(Stores.ROS2_JAZZY), folder / storage
    kind = "std_msgs/msg/Header"
    stamp = store.types["builtin_interfaces/msg/Time"](sec=1, nanosec=2)
    message = store.serialize_cdr(store.types[kind](stamp=stamp, frame_id="eye"), kind)
    with Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        connection = writer.add_connection("/a", kind, typestore=store)
        for time_ns in range(3):
            writer.write(connection, time_ns, message)
    return next(file for file in path.iterdir() if file.suffix in (".db3", ".mcap")).read_bytes()


@pytest.mark.timeout(300 + FILES // 20)
def test_every_file_is_read_or_refused_in_one_sentence(kinds, tmp_path):
    counts, start_s, faults, peak = Counter(), time.monotonic(), [], peak_bytes()
    names = sorted(kinds)
    for seed in range(SEED, SEED + FILES):
        name, rng = names[seed % len(names)], random.Random(seed)
        suffix, whole, damage, read = kinds[name]
        path = tmp_path / f"file{suffix}"
        path.write_bytes(damage(rng, whole))
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        try:
            read(path)
            counts[name, "read"] += 1
        except DepthClipError as error:
            counts[name, "refused"] += 1
            if "\n" in str(error).strip() or len(str(error)) > 3000:
                faults.append(f"FUZZ_SEED={seed} FUZZ_FILES=1, {name}: more than a sentence: {str(error)[:300]}")
        except Exception as error:
            faults.append(f"FUZZ_SEED={seed} FUZZ_FILES=1, {name}: {type(error).__name__}: {error}"[:500])
        if (now := peak_bytes()) > peak + MOST_BYTES:
            faults.append(f"FUZZ_SEED={seed} FUZZ_FILES=1, {name}: took {(now - peak) / 2**30:.1f} GiB")
        peak = now
        if (seed - SEED) % 10_000 == 9_999:
            print(f"{seed - SEED + 1} files, {time.monotonic() - start_s:.0f} s, {len(faults)} faults", flush=True)
    faulthandler.cancel_dump_traceback_later()
    print(dict(counts))
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults[:20])
