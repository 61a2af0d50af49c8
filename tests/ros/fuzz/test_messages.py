# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Messages with every field wild, through the node's own path and a real network: depth, or one named refusal, each.

A slice of fixed seeds runs with the other tests. `make fuzz` runs as many as it is told (environment FUZZ_MESSAGES,
FUZZ_NODE_MESSAGES, from the seed FUZZ_SEED on); docs/reliability.md says how far it got. One seed is one stream of
`STREAM` messages, so that a fault is found again by its number.
"""

from __future__ import annotations

import array
import faulthandler
import math
import os
import random
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or the package's extra `ros`")
pytest.importorskip("hypothesis", reason="needs hypothesis: pip install hypothesis")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthclip_ros.core.engine import DepthEngine
from depthclip_ros.core.images.encodings import ENCODINGS, OF_DEPTH
from depthclip_ros.ros.camera_info import CameraInfoCache
from depthclip_ros.ros.depth_node import camera as camera_module
from depthclip_ros.ros.depth_node.camera import Camera
from depthclip_ros.ros.depth_node.outputs import FIRST, LATE, Outputs
from depthclip_ros.ros.depth_node.parameters.values import settings_from
from depthclip_ros.ros.depth_node.pipeline import FramePipeline
from depthclip_ros.ros.depth_node.worker import DepthWorker

STREAM = 20
MESSAGES = int(os.environ.get("FUZZ_MESSAGES") or 2_000)
NODE_MESSAGES = int(os.environ.get("FUZZ_NODE_MESSAGES") or 200)
SEED = int(os.environ.get("FUZZ_SEED") or 0)
HANG_S = 60.0
WIDTH, HEIGHT = 40, 32
SETTINGS = (
    {},
    {"input.rectify": "never"},
    {"input.rectify": "require", "input.assumed_hfov": 100.0},
    {"filter.temporal": True, "cloud.stride": 2, "output.encoding": "16UC1"},
    {"input.rotation": 90, "cloud.fields": ["uncertainty"], "cloud.color": False},
    {"input.assumed_hfov": 5.0, "filter.edge_threshold": 0.05, "output.confidence_threshold": 0.3},
)
MODELS = ("plumb_bob", "rational_polynomial", "equidistant", "fisheye", "", "thin_prism", "wild\n")


# ---- what is sent ----------------------------------------------------------------------------------------------------


def number(rng):
    """Any float64, the awkward ones often."""
    awkward = (0.0, -0.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 1e-30, 1e30, -1.0, 1e-3, 1e6)
    return rng.choice(awkward) if rng.random() < 0.5 else rng.uniform(-1, 1) * 10.0 ** rng.randint(-3, 5)


def whole(rng, likely, limit=2**32 - 1):
    """Any unsigned number up to `limit`; often the likely one, or beside it."""
    near = [likely, max(0, likely - 1), likely + 1, likely // 2, likely * 2, 0, 1, limit, limit // 2, 65536]
    return min(limit, rng.choice(near) if rng.random() < 0.8 else rng.randint(0, limit))


def changes(rng):
    """How many fields are wrong."""
    return rng.choice((0, 0, 0, 0, 1, 1, 1, 2, 3))


def noise(rng, count):
    return np.random.default_rng(rng.randint(0, 2**32 - 1)).integers(0, 256, count, np.uint8).tobytes()


def stamp(message, rng, clock):
    """A stamp after the one before; now and then any."""
    clock[0] += rng.choice((1, 33_000_000, 1_000_000_000))
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(clock[0], 10**9)
    message.header.frame_id = rng.choice(("eye", "eye", "eye", "/eye", "", "äöü", "x" * 300))
    if rng.random() < 0.01:
        message.header.stamp.sec = rng.choice((0, -1, 2**31 - 1, -(2**31)))
    if rng.random() < 0.01:
        message.header.stamp.nanosec = whole(rng, 0)
    return message


def wild_image(rng, clock):
    """An Image that is right, or wrong in up to three fields."""
    encoding = rng.choice(tuple(ENCODINGS) if rng.random() < 0.95 else OF_DEPTH)
    width = rng.choice((16, 18, 40, 40, 41, 64, 200)) if rng.random() < 0.95 else rng.randint(1, 20)
    height = rng.choice((16, 18, 32, 32, 33, 48)) if rng.random() < 0.95 else rng.randint(1, 20)
    known = ENCODINGS.get(encoding)
    pixel = known.bytes_per_pixel if known else 4
    step = width * pixel + rng.choice((0, 0, 0, 1, 3, 64))
    rows = height * 3 // 2 if known and known.half_height_chroma else height
    data = noise(rng, rows * step)
    fields = {"encoding": encoding, "width": width, "height": height, "step": step, "is_bigendian": rng.choice((0, 1))}
    for field in rng.sample(("width", "height", "step", "encoding", "data", "is_bigendian"), changes(rng)):
        if field == "encoding":
            fields[field] = rng.choice(
                ("", "RGB8", "rgb8 ", "bayer", "32FC3", "8UC2", "\0", "ü" * 50, "mono12", *OF_DEPTH)
            )
        elif field == "data":
            data = rng.choice((b"", data[:-1], data[: len(data) // 2], data + b"\0", data[:1]))
        else:
            fields[field] = whole(rng, fields[field], 255 if field == "is_bigendian" else 2**32 - 1)
    return stamp(Image(data=array.array("B", data), **fields), rng, clock)


def _pictures():
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.integers(0, 256, (4, 5, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    grey, deep = smooth[..., 0].copy(), smooth.astype(np.uint16) * 257
    kinds = [(".jpg", smooth, []), (".jpg", grey, []), (".jpg", smooth, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])]
    kinds += [(".jpg", smooth, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]), (".png", smooth, []), (".png", grey, [])]
    kinds += [(".png", deep, []), (".png", deep[..., 0].copy(), []), (".png", np.dstack([smooth, grey]), [])]
    kinds += [(".png", (grey > 99).astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1]), (".bmp", grey, [])]
    return [cv2.imencode(suffix, pixels, flags)[1].tobytes() for suffix, pixels, flags in kinds]


PICTURES = _pictures()


def broken(rng, data):
    """Bytes with up to four changes: turned bits, cuts, doubled and foreign pieces, numbers that lie."""
    data = bytearray(data)
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 4))):
        at = rng.randint(0, max(0, len(data) - 1))
        kind = rng.randint(0, 6)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randint(0, 7)
        elif kind == 1:
            del data[at : at + rng.choice((1, 2, 4, 16, len(data)))]
        elif kind == 2:
            data[at:at] = noise(rng, rng.choice((1, 4, 64)))
        elif kind == 3:
            data[at:at] = data[at : at + rng.choice((1, 8, 64))]
        elif kind == 4:
            data[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\x40\0"))
        elif kind == 5 and data:
            data[at] = rng.choice((0, 0xFF, 0xD8, 0xD9, 0xC0, 0x0A))
    return bytes(data)


def wild_compressed(rng, clock):
    """A CompressedImage of a picture, mostly damaged."""
    data = broken(rng, rng.choice(PICTURES)) if rng.random() < 0.95 else noise(rng, rng.randint(0, 200))
    formats = (
        "jpeg",
        "png",
        "rgb8; jpeg compressed bgr8",
        "",
        ";",
        "ü",
        "png",
        "jpeg",
        "bgr8; x",
        "16UC1; compressedDepth",
    )
    return stamp(CompressedImage(format=rng.choice(formats), data=array.array("B", data)), rng, clock)


def wild_info(rng, image):
    """A CameraInfo of the image, right or wrong in up to three fields."""
    width, height = (image.width, image.height) if hasattr(image, "encoding") else (WIDTH, HEIGHT)
    width, height = (side if 0 < side < 5000 else 40 for side in (width, height))
    focal = rng.choice((width * 0.8, width * 0.3, 1.0, 1e5))
    cx, cy = (width - 1) / 2, (height - 1) / 2
    lens = {"plumb_bob": [-0.3, 0.1, 1e-3, -1e-3, 0.01], "equidistant": [0.1, -0.02, 0.01, -0.001]}
    model = rng.choice(("plumb_bob", "plumb_bob", "equidistant", "rational_polynomial"))
    d = rng.choice(([], [0.0] * 5, lens.get(model, [0.1] * 8), [rng.uniform(-1, 1) for _ in range(rng.randint(0, 15))]))
    fields = {
        "width": width,
        "height": height,
        "distortion_model": model,
        "d": d,
        "k": [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
        "r": rng.choice(([0.0] * 9, [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0])),
        "p": rng.choice(([0.0] * 12, [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0])),
        "binning_x": rng.choice((0, 0, 0, 1)),
        "binning_y": rng.choice((0, 0, 0, 1)),
    }
    for field in rng.sample(tuple(fields), changes(rng)):
        value = fields[field]
        if field == "distortion_model":
            fields[field] = rng.choice(MODELS)
        elif isinstance(value, list):
            value = list(value) if field != "d" else [0.0] * rng.randint(0, 20)
            for at in rng.sample(range(len(value)), min(len(value), rng.choice((1, 2, 9)))):
                value[at] = number(rng)
            fields[field] = value
        else:
            fields[field] = whole(rng, value)
    info = CameraInfo(**{k: [float(x) for x in v] if isinstance(v, list) else v for k, v in fields.items()})
    if rng.random() < 0.08:
        for name, likely in (("x_offset", 4), ("y_offset", 4), ("width", width), ("height", height)):
            setattr(info.roi, name, whole(rng, likely))
    info.header = image.header if rng.random() < 0.9 else type(image.header)()
    return info


def good(clock):
    """An image and its CameraInfo with which nothing is wrong."""
    clock[0] += 33_000_000
    image = Image(encoding="rgb8", width=WIDTH, height=HEIGHT, step=3 * WIDTH)
    image.data = array.array("B", np.random.default_rng(0).integers(0, 256, 3 * WIDTH * HEIGHT, np.uint8).tobytes())
    image.header.stamp.sec, image.header.stamp.nanosec = divmod(clock[0], 10**9)
    image.header.frame_id = "eye"
    k = [30.0, 0.0, 19.5, 0.0, 30.0, 15.5, 0.0, 0.0, 1.0]
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5, k=k, header=image.header)
    info.p = [30.0, 0.0, 19.5, 0.0, 0.0, 30.0, 15.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    return image, info


# ---- what takes it ---------------------------------------------------------------------------------------------------


class Node:
    """What depth_node makes for one camera, all topics wanted, in this thread: camera, worker, real outputs."""

    def __init__(self, engine, node, values, name):
        self.lines, self.clock = [], [10**18]
        log = SimpleNamespace(error=self.lines.append, warning=self.lines.append, info=self.lines.append)
        transforms = SimpleNamespace(
            between=lambda *_, **__: np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0.3], [0, 0, 0, 1]])
        )
        outputs = Outputs(node, name, transforms)
        outputs.wanted = lambda: frozenset({*FIRST, *LATE})
        self.worker = DepthWorker(engine, log)
        self.camera = Camera(
            "", FramePipeline(engine, settings_from(values)), outputs, self.worker.mailboxes, log, time.time_ns
        )
        self.camera.infos = CameraInfoCache(first_wait_s=0.0, own_wait_s=0.0)

        def publish_all(late):
            outputs.publish_late(late)
            if outputs.has_scan_of(late):
                outputs.publish_scan(late)

        self.camera.late.put = publish_all
        self.worker.cameras.append(self.camera)
        send = outputs.publish_depth

        def check(header, result):
            depth_m = result.depth_m
            assert depth_m.shape == result.frame.rgb.shape[:2]
            assert not (depth_m[np.isfinite(depth_m)] <= 0).any()
            assert ((result.confidence >= 0) & (result.confidence <= 1)).all()
            send(header, result)

        outputs.publish_depth = check

    def send(self, image, info):
        """What became of the image: "out" or "refused". Exactly one, and nothing else of the account changes."""
        before = self.camera.counters.account(self.camera.box.overtaken)
        if info is not None:
            self.camera.on_camera_info(info)
        self.camera.on_image(image)
        while (arrival := self.camera.box.take()) is not None:
            self.worker._round([arrival])
        after = self.camera.counters.account(self.camera.box.overtaken)
        changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        trace = next((line for line in self.lines if "Traceback" in line), "")
        assert not trace, f"{trace}\n{image.header}, {described(image)}, {info}"
        assert changed in ({"in": 1, "out": 1}, {"in": 1, "refused": 1}), changed
        return "out" if "out" in changed else "refused"

    def stream(self, rng):
        """Wild messages, then good ones until one is served; how many of the wild ones gave depth."""
        served = 0
        for _ in range(STREAM):
            image = (wild_image if rng.random() < 0.6 else wild_compressed)(rng, self.clock)
            served += self.send(image, wild_info(rng, image) if rng.random() < 0.8 else None) == "out"
        self.clock[0] = max(self.clock[0], 10**18)
        # After a stamp far ahead a few good ones are refused as old.
        assert any(self.send(*good(self.clock)) == "out" for _ in range(7)), self.lines[-3:]
        self.lines.clear()
        return served


def described(image):
    if hasattr(image, "encoding"):
        return f"{image.encoding!r} {image.width}x{image.height} step {image.step}, {len(image.data)} bytes"
    return f"{image.format!r}, {len(image.data)} bytes"


@pytest.fixture(scope="module")
def nodes(ros_environment, small_weights, quick_runtime):
    """One for each of `SETTINGS`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camera_module, "CHANGED_S", 0.0)
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=int(os.environ["ROS_DOMAIN_ID"]))
        node = rclpy.create_node("fuzz", context=context)
        engine = DepthEngine.load(small_weights, runtime=quick_runtime, device="cpu", precision="fp32", threads=1)
        yield [Node(engine, node, values, f"n{index}/") for index, values in enumerate(SETTINGS)]
        node.destroy_node()
        rclpy.shutdown(context=context, uninstall_handlers=False)


@settings(max_examples=20, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(rng=st.randoms(use_true_random=False), which=st.integers(0, len(SETTINGS) - 1))
def test_a_stream_that_hypothesis_chooses(nodes, rng, which):
    nodes[which].stream(rng)


@pytest.mark.timeout(300 + MESSAGES // 20)
def test_every_message_is_depth_or_one_named_refusal(nodes):
    served, start_s, faults = 0, time.monotonic(), []
    streams = max(len(SETTINGS), MESSAGES // STREAM)
    for seed in range(SEED, SEED + streams):
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        try:
            served += nodes[seed % len(nodes)].stream(random.Random(seed))
        except Exception as error:
            faults.append(f"FUZZ_SEED={seed} FUZZ_MESSAGES={STREAM}: {type(error).__name__}: {error}"[:3000])
            nodes[seed % len(nodes)].lines.clear()
        if (seed - SEED) % 500 == 499:
            print(
                f"{(seed - SEED + 1) * STREAM} messages, {served} with depth, {time.monotonic() - start_s:.0f} s",
                flush=True,
            )
    faulthandler.cancel_dump_traceback_later()
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults[:10])
    assert 0.1 < served / (streams * STREAM) < 0.9  # wild, but not only nonsense


# ---- over DDS --------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300 + NODE_MESSAGES // 20)
def test_node_survives_wild_messages(start_node, client):
    """The same messages to a node as a process: it lives, its account adds up, and the next good frame is served."""
    rng, clock, namespace = random.Random(SEED), [10**18], "/fuzz"
    node = start_node(namespace)
    images = client.node.create_publisher(Image, f"{namespace}/image", 10)
    infos = client.node.create_publisher(CameraInfo, f"{namespace}/camera_info", 10)
    depths = client.subscribe(Image, f"{namespace}/depth/image", depth=5)
    reports = client.subscribe(DiagnosticArray, "/diagnostics", depth=5)

    sound = set()

    def served():
        image, info = good(clock)
        sound.add(Time.from_msg(image.header.stamp).nanoseconds)
        infos.publish(info)
        images.publish(image)
        time.sleep(0.05)
        return any(Time.from_msg(depth.header.stamp).nanoseconds in sound for depth in list(depths.messages))

    def frames():
        for status in reversed(reports.messages[-1].status if reports.messages else []):
            if status.name.endswith(": depth"):
                found = {pair.key: pair.value for pair in status.values}
                return {key: int(value) for key, value in found.items() if key.startswith("frames ")}
        return {}

    client.wait(served, what="the first depth")
    for sent in range(NODE_MESSAGES):
        image = wild_image(rng, clock)
        if rng.random() < 0.8:
            infos.publish(wild_info(rng, image))
        images.publish(image)
        time.sleep(0.004)
        if sent % 1000 == 999:
            clock[0] = max(clock[0], 10**18)
            del depths.messages[:], reports.messages[:-2]
            sound.clear()
            client.wait(served, what=f"depth of a good image after {sent + 1} wild ones")
            assert node.process.poll() is None, node.log()[-3000:]
            print(f"{sent + 1} messages to the node, {frames()}", flush=True)
    sound.clear()
    client.wait(served, what="depth of a good image after the wild ones")
    reports.messages.clear()
    account = client.wait(frames, what="diagnostics")
    assert account["frames failed"] == 0, node.log()[-3000:]
    assert "Traceback" not in node.log()
    ended = sum(count for key, count in account.items() if key not in ("frames in", "frames waiting"))
    assert ended + account["frames waiting"] == account["frames in"]
    assert account["frames in"] > NODE_MESSAGES / 10  # what DDS overwrites before the node hears of it is in no account
