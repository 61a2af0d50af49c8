# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip export`: the network as a graph that runs without torch, as an ONNX file, or compiled and proved ahead."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from depthclip_ros.commands.arguments import parse_size
from depthclip_ros.core.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    onnx = formats.add_parser("onnx", help="an ONNX file for other programs: one size, any batch")
    onnx.add_argument("out", type=Path, metavar="FILE", help="the file to write, e.g. depth.onnx")
    compiled = formats.add_parser(
        "cache", help="compile for this machine now what the node would compile at its first start, and prove it"
    )
    compiled.add_argument("--runtime", default="auto", help="auto, openvino, onnxruntime (default: %(default)s)")
    compiled.add_argument("--device", default="auto", help="auto, cpu, cuda[:N], xpu[:N] (default: %(default)s)")
    compiled.add_argument("--precision", default="auto", help="auto, fp32, bf16, fp16, int8 (default: %(default)s)")
    compiled.add_argument(
        "--calibration", default="rooms", help="for int8: rooms, or a folder of pictures (default: %(default)s)"
    )
    compiled.add_argument("--cameras", type=int, default=1, help="largest batch to compile for (default: %(default)s)")
    graph = formats.add_parser("graph", help="what a weights file needs beside it to run without torch; written there")
    graph.add_argument("weights", type=Path, metavar="WEIGHTS", help="a .safetensors file of this package")
    for one in (onnx, compiled):
        one.add_argument("--weights", default="default", help="as for the node (default: %(default)s)")
        one.add_argument("--size", default="640x480", help="of the camera's images (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the file, or fill the cache; 1 where a runtime refused itself."""
    if args.format == "graph":
        return _write_graph(args.weights)
    width_px, height_px = parse_size(args.size)
    if args.format == "onnx":
        return _write_onnx(args.weights, args.out, width_px, height_px)
    return _fill_cache(args, width_px, height_px)


def _write_graph(weights: Path) -> int:
    from rich.console import Console

    from depthclip_ros.core.present import require_torch

    require_torch("depthclip export graph")
    from depthclip_ros.core.runtimes.graph_export import write_graph

    console = Console()
    with console.status("tracing, and asking torch for its answers"):
        files = write_graph(weights)
    for file in files:
        console.print(f"{file}: {file.stat().st_size / 1e6:.2f} MB", markup=False, highlight=False)
    return 0


def _write_onnx(weights: str, out: Path, width_px: int, height_px: int) -> int:
    from rich.console import Console

    from depthclip_ros.core.runtimes.onnx_export import export_onnx
    from depthclip_ros.core.runtimes.pixel_network import PixelNetwork
    from depthclip_ros.core.weights.load import load_weights

    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent} is no folder to write {out.name} into")
    loaded = load_weights(weights)
    width, height = loaded.model.network_size(width_px, height_px)
    config = loaded.model.config
    about = {
        "weights_sha256": loaded.info.sha256,
        "system": config.system,
        "canonical_focal_px": json.dumps(config.focal_px_at(width, height)),
        "max_depth_m": str(config.max_depth_m),
        "scene_labels": json.dumps(list(loaded.model.scene_labels)),
    }
    network = PixelNetwork(loaded.model.prepare_inference())
    export_onnx(network, out, height, width, about)
    console = Console()
    console.print(f"{out}: {out.stat().st_size / 1e6:.1f} MB", markup=False, highlight=False)
    console.print(f"  in   pixels uint8 [batch, {height}, {width}, 3], RGB: the camera's image, resized", markup=False)
    focal = config.focal_px_at(width, height)
    unit = "metres" if focal is None else f"times (focal length at this size in px / {focal:g}) is metres"
    console.print(f"  out  depth float32, {unit}; confidence float32, 0..1", markup=False, highlight=False)
    return 0


def _fill_cache(args: argparse.Namespace, width_px: int, height_px: int) -> int:
    from rich.console import Console

    from depthclip_ros.commands.tables import table_of
    from depthclip_ros.core.engine import DepthEngine

    console = Console()
    if args.cameras < 1:
        raise ConfigError(f"--cameras is {args.cameras}; it must be at least 1")
    with console.status("compiling (int8: a minute or more)"):
        engine = DepthEngine.load(
            args.weights,
            runtime=args.runtime,
            device=args.device,
            precision=args.precision,
            calibration=args.calibration,
        )
        for batch in range(1, args.cameras + 1):
            engine.warm_up(width_px, height_px, batch)
    title = f"{engine.runtime} on {engine.device} in {engine.precision}: off from torch in float32 by"
    rows = [
        (str(batch), f"{width}x{height}", f"{proof.median:.2%}", f"{proof.p99:.2%}", f"{proof.confidence:.3f}")
        for (batch, height, width), proof in engine.proofs.items()
    ]
    columns = ("batch", "network input", "median", "99 of 100 pixels", "confidence")
    console.print(table_of(title, columns, rows, words=0))
    for notice in engine.notices:
        console.print(notice, style="yellow", markup=False)
    return 1 if engine.notices else 0
