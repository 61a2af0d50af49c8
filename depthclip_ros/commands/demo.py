# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip demo`: a rendered or recorded camera, the depth node and a recorder, each a process, on real ROS 2."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from depthclip_ros.commands.arguments import add_engine, parse_size
from depthclip_ros.commands.demo_report import anchor_row, make_report, milliseconds, report_rows, write_report
from depthclip_ros.commands.tables import table_of
from depthclip_ros.core.errors import DepthClipError
from depthclip_ros.ros import processes
from depthclip_ros.ros.camera_node.source import SourceOptions
from depthclip_ros.ros.camera_node.sources import open_source
from depthclip_ros.ros.measure import scores

if TYPE_CHECKING:
    from depthclip_ros.ros.measure.recorder import Record, Recorder

SAMPLES = 8
# What is run once more, with what the rendered robot has.
ANCHOR_RUNS = {"one range beam": ("range",), "ground, range, scan, odometry": ("ground", "range", "scan", "odometry")}
ANCHOR_TOPICS = {"anchors/range": "range", "anchors/scan": "scan", "anchors/odometry": "odom"}
ANCHOR_S = 8.0  # of each of these runs, at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--duration", type=float, default=20.0, help="seconds from the first depth on (default: %(default)g)"
    )
    parser.add_argument(
        "--source",
        default="room",
        help="room, or the path of a folder of pictures, a video or a bag (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for report and pictures (default: %(default)s)"
    )
    add_engine(parser, precision=False)
    parser.add_argument("--rate", type=float, default=30.0, help="camera frames per second (default: %(default)g)")
    parser.add_argument("--size", default="640x480", help="of the rendered room's pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SourceOptions.seed, help="which room (default: %(default)s)")
    parser.add_argument(
        "--frames", type=int, default=SourceOptions.frames, help="frames of the room's loop (default: %(default)s)"
    )
    parser.add_argument(
        "--depth-topic", default="", help="topic of a bag with depth aligned to the image, to compare with"
    )
    parser.add_argument("--image-topic", default="", help="image topic of a bag (default: found)")
    parser.add_argument(
        "--no-anchors", action="store_true", help="leave out the runs with a range beam and with all anchors"
    )
    parser.add_argument("--domain-id", type=int, default=None, help="ROS domain (default: one that nobody uses)")
    parser.add_argument(
        "--startup-timeout", type=float, default=180.0, help="longest wait for the first depth in seconds"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 when depth came and report and pictures are written, 130 on Ctrl-C."""
    console = Console()
    width_px, height_px = parse_size(args.size)
    source = {
        "source": "room" if args.source == "room" else str(Path(args.source).expanduser().resolve()),
        "width": width_px,
        "height": height_px,
        "seed": args.seed,
        "frames": args.frames,
        "image_topic": args.image_topic,
        "depth_topic": args.depth_topic,
    }
    try:
        with processes.interruptible():
            _prepare(source, console)
            args.out.mkdir(parents=True, exist_ok=True)
            record = _run_processes(args, source, console)
            report = make_report(record, args, source)
            if args.source == "room" and not args.no_anchors:
                report["anchors"] = [_with_anchors(args, source, console, *run) for run in ANCHOR_RUNS.items()]
            written = write_report(record, report, args.out, console)
    except KeyboardInterrupt:
        console.print("stopped before the end; no process is left running")
        return 130
    console.print(table_of("depthclip demo", rows=report_rows(report), header=False))
    console.print(
        f"report and pictures: {args.out}/{', '.join(written)}", markup=False, highlight=False, soft_wrap=True
    )
    return 0


def _prepare(source: Mapping[str, Any], console: Console) -> None:
    """Open the source here first: a bad one is named before anything starts, and what must be rendered has a bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("rendering the room (once)", total=source["frames"], visible=False)

        def show(done: int, total: int) -> None:
            if not (console.is_terminal or progress.tasks[task].visible):  # one line, and no bar, in a log
                console.print("rendering the room (once)")
            progress.update(task, completed=done, total=total, visible=True)

        opened = open_source(source["source"], SourceOptions.of(source, show))
    if next(iter(opened), None) is None:
        raise DepthClipError(f"no frame of {source['source']} can be read: {'; '.join(opened.skipped[:3])}")


def _with_anchors(
    args: argparse.Namespace, source: Mapping[str, Any], console: Console, name: str, anchors: tuple[str, ...]
) -> dict[str, Any]:
    """The same drive for a few seconds with anchors: a row of the report."""
    short = argparse.Namespace(**{**vars(args), "duration": min(args.duration, ANCHOR_S)})
    if not console.is_terminal:
        console.print(f"once more with {name}", markup=False)
    return anchor_row(name, _run_processes(short, source, console, anchors))


def _run_processes(
    args: argparse.Namespace, source: Mapping[str, Any], console: Console, anchors: tuple[str, ...] = ()
) -> Record:
    domain_id = processes.free_domain() if args.domain_id is None else args.domain_id
    environment = processes.private_environment(domain_id)
    with processes.environment_of(environment):
        from depthclip_ros.ros.measure.recorder import recording

        with recording(domain_id, sample_every_s=args.duration / SAMPLES) as recorder:
            nodes: list[processes.NodeProcess] = []
            try:
                nodes.append(
                    processes.NodeProcess(
                        "depth_node",
                        {
                            "autostart": True,
                            "model.weights": args.weights,
                            "model.device": args.device,
                            **({"anchors": list(anchors)} if anchors else {}),
                        },
                        environment=environment,
                        log_path=args.out / ("_".join(["depth_node", *anchors]) + ".log"),
                        remappings={"image": "image_raw", **(ANCHOR_TOPICS if anchors else {})},
                    )
                )
                nodes.append(
                    processes.NodeProcess(
                        "camera_node",
                        {**source, "rate_hz": float(args.rate)},
                        environment=environment,
                        log_path=args.out / "camera_node.log",
                    )
                )
                _watch(recorder, nodes, args, console)
                record = recorder.finish()
            finally:
                processes.stop(nodes)
    return record


def _watch(recorder: Recorder, nodes: list[processes.NodeProcess], args: argparse.Namespace, console: Console) -> None:
    """Wait for the first depth, then for `duration`, showing the state of things.

    Raises:
        DepthClipError: a process has ended, or no depth came.
    """
    patience_ends_s = time.monotonic() + args.startup_timeout
    live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
    next_line_s = 0.0
    if live:
        live.start()
    else:
        console.print("starting the depth node and the camera")
    try:
        while recorder.record.began_s is None or recorder.record.seconds < args.duration:
            time.sleep(0.1)
            for node in nodes:
                if failure := (node.failure() or _configure_error(node)):
                    raise DepthClipError(failure)
            now_s, record = time.monotonic(), recorder.record
            newest_s = record.newest_s
            if record.began_s is None and now_s > patience_ends_s:
                raise DepthClipError(
                    f"no image with depth came within {args.startup_timeout:.0f} s; {args.out}/depth_node.log and "
                    "camera_node.log beside it say why"
                )
            if newest_s is not None and now_s > newest_s + 30:
                raise DepthClipError(f"depth stopped coming 30 s ago; {args.out}/depth_node.log says what the node did")
            if live:
                live.update(table_of("depthclip demo", rows=_live_rows(record, args.duration), header=False))
            elif record.began_s is not None and now_s >= next_line_s:
                next_line_s = now_s + 2
                console.print(
                    "  ".join(f"{name} {value}" for name, value in _live_rows(record, args.duration)), highlight=False
                )
    finally:
        if live:
            live.update("")
            live.stop()


def _configure_error(node: processes.NodeProcess) -> str | None:
    """The node lives on after a failed configure; the demo does not wait for somebody to mend it."""
    marker = "cannot configure: "
    line = next((line for line in node.log().splitlines() if marker in line), None)
    return f"{node.name} cannot start: {line.partition(marker)[2]}" if line else None


def _live_rows(record: Record, duration_s: float) -> list[tuple[str, str]]:
    if record.began_s is None:
        return [
            ("state", "waiting for the first depth (the node is loading its network)"),
            ("images", str(record.images)),
        ]
    last = record.stats[-1] if record.stats else None
    mean = scores.mean(record.scores[-30:])
    return [
        ("time", f"{record.seconds:.0f} of {duration_s:g} s"),
        ("frames in", str(last.frames_in) if last else "-"),
        ("frames out", str(record.depths)),
        ("dropped", str(last.frames_dropped) if last else "-"),
        ("rate", f"{record.rate_hz:.1f} Hz"),
        ("latency p50", milliseconds(record.latency_percentile_ms(50))),
        ("latency p95", milliseconds(record.latency_percentile_ms(95))),
        ("δ1 AbsRel", f"{mean.delta1:.3f} {mean.abs_rel:.3f}" if mean else "-"),
    ]
