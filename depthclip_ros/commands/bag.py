# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip bag IN OUT`: a recorded bag with the depth topics added, without a ROS installation."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from depthclip_ros.commands.arguments import add_engine
from depthclip_ros.commands.tables import table_of
from depthclip_ros.core.errors import ConfigError

OF_OPTIONS = {"model.weights": "--weights", "model.device": "--device", "model.precision": "--precision"}
OF_NODES = (
    *("autostart", "cameras", "scale.factors", "input.transport", "input.reliability", "model.runtime"),
    *("model.calibration", "anchors", "anchor.base_frame", "anchor.odom_frame", "anchor.ground.height_m"),
    *("anchor.tag.side_m", "anchor.tag.dictionary"),
)
"""Parameters of depth_node that say nothing of a bag's depth."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from depthclip_ros.ros.bag.depth_writer import TOPICS, USUAL

    parser.add_argument("input", type=Path, help="rosbag2 folder, .db3 or .mcap; it is only read")
    parser.add_argument(
        "output",
        type=Path,
        help="new bag: NAME.mcap or NAME.db3 is a file, else a rosbag2 folder with the input's storage",
    )
    parser.add_argument("--image-topic", default="", help="raw or compressed images (default: found in the bag)")
    parser.add_argument("--camera-info-topic", default="", help="default: camera_info beside the image topic")
    also = ", ".join(key for key in TOPICS if key not in USUAL)
    parser.add_argument(
        "--topics",
        default=",".join(USUAL),
        help=f"what to add, separated by commas (default: %(default)s; there are also {also})",
    )
    parser.add_argument(
        "--namespace", default="", help="put before the new topics, e.g. /front gives /front/depth/image"
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of depth_node, e.g. output.max_depth=8, input.max_rate=5, input.rotation=180 or "
        "input.mask=body.png; may be repeated",
    )
    add_engine(parser)


def run(args: argparse.Namespace) -> int:
    """Write the new bag and print what it holds."""
    from depthclip_ros.core.engine import DepthEngine
    from depthclip_ros.ros.bag.add_depth import add_depth_to_bag
    from depthclip_ros.ros.depth_node.parameters.values import settings_from
    from depthclip_ros.ros.depth_node.pipeline import FramePipeline

    console = Console()
    values = dict(_parameter(text) for text in args.param)
    _refuse_without_effect(values)
    settings = settings_from(values)
    if args.output.exists():  # before the network is loaded
        raise ConfigError(f"{args.output} exists; it is never overwritten: give another name or remove it")
    engine = DepthEngine.load(
        args.weights, device=args.device, precision=args.precision, threads=settings.model_threads
    )
    columns = (
        TextColumn("{task.description}", style="progress.description", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("messages"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(args.input.name, total=None)
            pipeline = FramePipeline(engine, settings)
            pipeline.warn = lambda doubt: progress.console.print(doubt, style="yellow", markup=False, highlight=False)
            result = add_depth_to_bag(
                args.input,
                args.output,
                pipeline,
                image_topic=args.image_topic,
                camera_info_topic=args.camera_info_topic,
                topics=[topic.strip() for topic in args.topics.split(",") if topic.strip()],
                namespace=args.namespace,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    finally:
        engine.close()

    counts = {**result.written, "copied unchanged": result.copied}
    rows = [(topic, str(count)) for topic, count in counts.items()]
    console.print(table_of(str(args.output), ("topic", "messages"), rows))
    done = result.frames - result.refused - result.skipped
    speed = f", {result.depth_s / result.frames * 1e3:.0f} ms per image" if result.frames else ""
    console.print(
        f"depth for {done} of {result.frames} images of {result.image_topic}{speed}", markup=False, highlight=False
    )
    if not result.camera_info_topic:
        console.print(
            "no camera_info: an assumed field of view gives the scale, and there is no cloud (--camera-info-topic)"
        )
    if result.skipped:
        console.print(f"left out by input.max_rate: {result.skipped} images", highlight=False)
    if result.no_scan:
        console.print(f"images without a scan: {result.no_scan}", style="yellow", markup=False, highlight=False)
    if result.left_out:
        left = f"left out, for they hold no ROS 2 messages: {', '.join(result.left_out)}"
        console.print(left, style="yellow", markup=False, highlight=False)
    for reason in result.reasons:
        console.print(f"refused: {reason}", style="yellow", markup=False, highlight=False)
    return 0 if done else 1


def _refuse_without_effect(names: Iterable[str]) -> None:
    for name in names:
        if name in OF_OPTIONS:
            raise ConfigError(f"--param {name} has no effect here; give {OF_OPTIONS[name]} in its place")
        if name in OF_NODES:
            raise ConfigError(
                f"--param {name} has no effect on a bag: it is of a running node. Play the bag to depth_node "
                "(ros2 bag play) and record its topics"
            )


def _parameter(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--param {text!r} has no =; write NAME=VALUE, e.g. output.max_depth=8")
    return name.strip(), yaml.safe_load(value)
