# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""depth_node as a client sees it that knows the interface only: its topics, over DDS, between processes."""

from __future__ import annotations

import json
import time

import cv2
import numpy as np
import pytest

FRAME_ID = "camera_optical_frame"
FLOAT32 = 7


def _pixels(message, dtype="<f4") -> np.ndarray:
    itemsize = np.dtype(dtype).itemsize
    assert message.step == message.width * itemsize
    assert len(message.data) == message.step * message.height
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


def _points(cloud) -> dict[str, np.ndarray]:
    raw = np.frombuffer(cloud.data, np.uint8).reshape(cloud.height, cloud.row_step)
    raw = raw[:, : cloud.width * cloud.point_step].reshape(cloud.height, cloud.width, cloud.point_step)
    points = {}
    for field in cloud.fields:
        assert (field.datatype, field.count) == (FLOAT32, 1)
        kind = "<u4" if field.name == "rgb" else "<f4"
        points[field.name] = np.ascontiguousarray(raw[..., field.offset : field.offset + 4]).view(kind)[..., 0]
    return points


def _check_cloud(cloud, depth_m: np.ndarray, info, rgb: np.ndarray | None) -> None:
    """Each point lies on its pixel's ray, its z is the depth, its colour the pixel's; on a depth step there is none."""
    points = _points(cloud)
    assert (cloud.height, cloud.width, cloud.is_dense) == (*depth_m.shape, False)
    known = np.isfinite(points["z"])
    assert not (known & ~np.isfinite(depth_m)).any()
    assert known.mean() > 0.3
    np.testing.assert_array_equal(points["z"][known], depth_m[known])
    assert np.isnan(np.stack([points[axis][~known] for axis in "xyz"])).all()
    v, u = np.indices(depth_m.shape)
    fx, cx, fy, cy = info.p[0], info.p[2], info.p[5], info.p[6]
    assert np.abs(points["x"] / points["z"] * fx + cx - u)[known].max() < 0.01
    assert np.abs(points["y"] / points["z"] * fy + cy - v)[known].max() < 0.01
    if rgb is not None:
        packed = points["rgb"]
        colour = np.stack([(packed >> 16) & 255, (packed >> 8) & 255, packed & 255], -1)
        np.testing.assert_array_equal(colour[known], rgb[known])


def _check_uncertainty(depth_m: np.ndarray, certainty: np.ndarray, uncertainty_m: np.ndarray, stats) -> None:
    """Known where depth is, above 0, and what is wider is less certain."""
    known = np.isfinite(depth_m)
    np.testing.assert_array_equal(np.isfinite(uncertainty_m), known)
    half_width = np.log1p(uncertainty_m[known] / depth_m[known])
    assert half_width.min() > 0
    by_width = certainty[known][np.argsort(half_width)]
    assert np.diff(by_width).max(initial=-1) < 1e-4
    assert stats.half_width_mean == pytest.approx(half_width.mean(), rel=0.02)
    assert stats.half_width_level == pytest.approx(0.9)


def _check_frame(camera, stamp, rgb: np.ndarray, *, same_colour: bool = True) -> np.ndarray:
    """All topics of one frame agree; its depth."""
    height, width = rgb.shape[:2]
    depth, info, cloud, confidence, uncertainty, stats = (
        camera.answer(inbox, stamp)
        for inbox in (camera.depth, camera.info, camera.cloud, camera.confidence, camera.uncertainty, camera.stats)
    )
    for message in (depth, info, cloud, confidence, uncertainty, stats):
        assert message.header.stamp == stamp
        assert message.header.frame_id == FRAME_ID
    for message in (depth, info, confidence, uncertainty):
        assert (message.width, message.height) == (width, height)
    assert (depth.encoding, confidence.encoding, uncertainty.encoding) == ("32FC1", "32FC1", "32FC1")
    depth_m, certainty, uncertainty_m = _pixels(depth), _pixels(confidence), _pixels(uncertainty)
    assert ((certainty >= 0) & (certainty <= 1)).all()
    _check_uncertainty(depth_m, certainty, uncertainty_m, stats)
    assert not any(info.d)
    assert list(info.k[:3]) == list(info.p[:3])
    _check_cloud(cloud, depth_m, info, rgb if same_colour else None)
    finite = depth_m[np.isfinite(depth_m)]
    assert stats.depth_min_m == finite.min()
    assert stats.depth_max_m == finite.max()
    assert stats.depth_median_m == pytest.approx(np.median(finite), rel=0.02)
    assert stats.valid_ratio == pytest.approx(finite.size / depth_m.size)
    assert stats.confidence_mean == pytest.approx(certainty.mean(), abs=1e-4)
    assert stats.system == "moa_depthclip"
    assert len(stats.weights) == 12
    assert stats.device == "cpu"
    assert not stats.focal_assumed
    assert min(stats.preprocess_ms, stats.network_ms, stats.postprocess_ms, stats.publish_ms) > 0
    assert stats.latency_ms > stats.network_ms
    return depth_m


@pytest.fixture(scope="module")
def live(start_node, camera):
    """A running node and the camera that feeds it."""
    node = start_node("/live")
    eye = camera("/live")
    eye.node = node
    return eye


def test_depth_cloud_camera_info_and_stats_belong_to_their_image(live, room):
    def make():
        return live.image_message(room), live.info_message(160, 120)

    live.send_until(make, live.cloud)
    _check_frame(live, live.send(*make()), room)


def test_points_carry_their_interval_and_none_is_left_out_where_that_is_asked_for(live, room):
    """By parameters of the running node: the field, no edge threshold, another level."""
    live.send_until(lambda: (live.image_message(room), live.info_message(160, 120)), live.cloud)
    narrow = {}
    for name, value in (("cloud.edge_threshold", 0.0), ("cloud.fields", ["uncertainty"]), ("uncertainty.level", 0.5)):
        assert live.client.set_parameter("/live/depth_node", name, value).successful
        stamp = live.send(live.image_message(room), live.info_message(160, 120))
        narrow[name] = _pixels(live.answer(live.uncertainty, stamp))
    points = _points(live.answer(live.cloud, stamp))
    known = np.isfinite(_pixels(live.answer(live.depth, stamp)))
    np.testing.assert_array_equal(np.isfinite(points["z"]), known)
    np.testing.assert_array_equal(points["uncertainty"], narrow["uncertainty.level"])
    assert (narrow["uncertainty.level"][known] < 0.8 * narrow["cloud.fields"][known]).all()
    assert live.answer(live.stats, stamp).half_width_level == pytest.approx(0.5)
    for name, value in (("cloud.edge_threshold", 0.15), ("cloud.fields", []), ("uncertainty.level", 0.9)):
        assert live.client.set_parameter("/live/depth_node", name, value).successful
    refused = live.client.set_parameter("/live/depth_node", "cloud.fields", ["certainty"])
    assert not refused.successful
    assert "uncertainty" in refused.reason


def test_every_frame_of_a_real_camera_gets_its_depth(live, shared_data):
    folder = shared_data / "rgbd" / "felix_realsense"
    numbers = json.loads((folder / "meta.json").read_text())["intrinsics"]
    fx, fy, cx, cy = (numbers[name] for name in ("fx", "fy", "cx", "cy"))
    k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]

    for path in sorted((folder / "rgb").glob("*.png")):
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        make = lambda: (live.image_message(rgb), live.info_message(640, 480, k=k, p=p))  # noqa: B023, E731
        if not live.cloud.messages or live.cloud.messages[-1].width != 640:
            live.send_until(make, live.cloud)  # until the new size is known on both sides
        _check_frame(live, live.send(*make()), rgb)


def test_scale_follows_the_focal_length(live, room):
    """The same picture through a lens of twice the focal length shows things twice as far."""
    depths, scales = [], []
    for focal_px in (100.0, 200.0):

        def make(focal_px=focal_px):
            return live.image_message(room), live.info_message(160, 120, focal_px)

        live.send_until(make, live.stats)
        stamp = live.send(*make())
        depths.append(live.answer(live.stats, stamp).depth_median_m)
        scales.append(live.answer(live.stats, stamp).scale)
    assert depths[1] / depths[0] == pytest.approx(2, rel=0.02)
    assert scales[1] / scales[0] == pytest.approx(2, rel=1e-4)


def test_another_image_size_needs_no_restart(live):
    rgb = np.full((97, 131, 3), 90, np.uint8)
    stamp = live.send(live.image_message(rgb), live.info_message(131, 97))
    _check_frame(live, stamp, rgb)


def test_the_camera_info_of_a_new_image_size_may_come_after_the_image(live, room):
    live.answer(live.cloud, live.send(live.image_message(room), live.info_message(160, 120)))
    image = live.image_message(np.full((60, 80, 3), 90, np.uint8))
    stamp = live.send(image, None)
    time.sleep(0.05)
    live.send_info(live.info_message(80, 60), image.header)
    assert live.answer(live.cloud, stamp).width == 80


def test_padded_rows_and_another_encoding(live, room):
    padded = np.zeros((120, 500), np.uint8)
    padded[:, :480] = room[..., ::-1].reshape(120, 480)
    image = live.image_message(room, encoding="bgr8", step=500, data=padded.tobytes())
    _check_frame(live, live.send(image, live.info_message(160, 120)), room)


def test_binning_scales_the_camera(live, room):
    info = live.info_message(320, 240, 400.0, binning_x=2, binning_y=2)
    stamp = live.send(live.image_message(room), info)
    _check_frame(live, stamp, room)
    assert live.answer(live.info, stamp).p[0] == 200.0


def test_a_distorted_image_comes_out_rectified(live, room):
    """Straight lines of the scene become straight, and camera_info is that of the rectified image."""
    d = [-0.28, 0.07, 0.0, 0.0, 0.0]
    info = live.info_message(160, 120, 120.0, d=d)
    stamp = live.send(live.image_message(room), info)
    _check_frame(live, stamp, room, same_colour=False)
    out = live.answer(live.info, stamp)
    assert list(out.p) == list(info.p)
    k = np.array(info.k).reshape(3, 3)
    expected = cv2.undistort(room, k, np.array(d), newCameraMatrix=k).astype(int)
    packed = _points(live.answer(live.cloud, stamp))["rgb"]
    colour = np.stack([(packed >> 16) & 255, (packed >> 8) & 255, packed & 255], -1).astype(int)
    depth_m = _pixels(live.answer(live.depth, stamp))
    inside = np.isfinite(depth_m)
    assert np.abs(colour - expected)[inside].mean() < 2
    assert np.abs(colour - room.astype(int))[inside].mean() > 4


def test_a_fisheye_image_comes_out_rectified(live, room):
    info = live.info_message(160, 120, 80.0, distortion_model="equidistant", d=[0.05, -0.01, 0.002, 0.0])
    stamp = live.send(live.image_message(room), info)
    _check_frame(live, stamp, room, same_colour=False)


def test_frames_that_are_overtaken_are_counted_and_none_is_queued(live, room):
    def stats_of_good():
        return live.answer(live.stats, live.send(live.image_message(room), live.info_message(160, 120)))

    before = stats_of_good()
    large = np.zeros((600, 800, 3), np.uint8)
    image, info = live.image_message(large), live.info_message(800, 600)

    def overloaded():
        """Send faster than depth comes, not so fast that the middleware drops what the node has not yet read."""
        image.header.stamp = live.client.node.get_clock().now().to_msg()
        live.send(image, info)
        return live.stats.messages[-1].frames_dropped >= before.frames_dropped + 3

    live.client.wait(overloaded, what="dropped frames", pause_s=0.005)
    after = stats_of_good()
    out, dropped = after.frames_out - before.frames_out, after.frames_dropped - before.frames_dropped
    assert out + dropped == after.frames_in - before.frames_in
    assert after.frames_refused == before.frames_refused


@pytest.mark.parametrize("reliable", [True, False])
def test_a_publisher_that_was_there_before_the_node_is_heard(start_node, camera, room, reliable):
    namespace = f"/camera_first/{'reliable' if reliable else 'best_effort'}"
    eye = camera(namespace, reliable=reliable)
    node = start_node(namespace)
    assert eye.send_until(lambda: (eye.image_message(room), eye.info_message(160, 120)), eye.depth).width == 160
    node.kill()


def test_publishers_that_come_later_are_heard_whatever_they_offer(start_node, camera, room):
    """One camera after the other takes the topic; the node asks each for what it offers."""
    node = start_node("/node_first")
    node.wait_for_log("depth of")
    for reliable in (False, True, False):
        eye = camera("/node_first", reliable=reliable)
        answer = eye.send_until(lambda: (eye.image_message(room), eye.info_message(160, 120)), eye.depth)  # noqa: B023
        assert answer.width == 160
        if reliable:
            node.wait_for_log("/node_first/image: subscribing as reliable, was best_effort")
        eye.leave()
    node.wait_for_log("/node_first/image: subscribing as best_effort, was reliable", count=2)
    node.kill()


def test_compressed_images(start_node, camera, room):
    remaps = {"image": "cam/image_raw"}
    node = start_node("/compressed", {"input.transport": "compressed"}, remaps)
    eye = camera("/compressed", image="cam/image_raw/compressed")
    for kind in ("png", "jpeg"):

        def make(kind=kind):
            return eye.compressed_message(room, kind), eye.info_message(160, 120)

        eye.send_until(make, eye.cloud)
        _check_frame(eye, eye.send(*make()), room, same_colour=kind == "png")
    broken = eye.compressed_message(room, "jpeg", cut=400)
    eye.send(broken, eye.info_message(160, 120))
    node.wait_for_log("JPEG of 400 bytes is broken")
    _check_frame(eye, eye.send(*make()), room, same_colour=False)
    assert eye.depth.of_stamp(broken.header.stamp) is None
    node.kill()


def test_a_camera_that_sends_compressed_images_alone_is_told_of_in_the_log(start_node, camera):
    node = start_node("/packed", remaps={"image": "cam/image_raw"})
    camera("/packed", image="cam/image_raw/compressed")
    node.wait_for_log("images come compressed, on /packed/cam/image_raw/compressed: set input.transport to compressed")
    time.sleep(2.5)
    assert node.log().count("no image on /packed/cam/image_raw for ") == 1, "said once"
    node.kill()
