# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from depthclip_ros.core.errors import InputError
from depthclip_ros.core.geometry import organised_cloud
from depthclip_ros.core.level_scan import LevelScan, ScanLimits
from depthclip_ros.core.types import Intrinsics
from depthclip_ros.ros import conversions

CAMERA = Intrinsics(50.0, 55.0, 31.5, 23.5, 64, 48)


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def depth_m() -> np.ndarray:
    depth = np.random.default_rng(1).uniform(0.5, 9, (48, 64)).astype(np.float32)
    depth[0, :4] = [np.nan, np.inf, -np.inf, 70.0]
    return depth


def _image_message(**fields):
    return SimpleNamespace(**{"is_bigendian": 0, "header": None, **fields})


def test_an_image_is_read_without_copying_its_pixels(rgb):
    data = array.array("B", rgb.tobytes())
    message = _image_message(encoding="rgb8", width=64, height=48, step=192, data=data)
    pixels = conversions.read_image(message)
    np.testing.assert_array_equal(pixels, rgb)
    assert np.may_share_memory(pixels, np.frombuffer(data, np.uint8))


def test_a_compressed_image_is_told_by_its_fields(rgb):
    data = array.array("B", cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(conversions.read_image(SimpleNamespace(format="png", data=data)), rgb)


def test_a_broken_image_is_an_input_error():
    with pytest.raises(InputError, match="encoding 'none'"):
        conversions.read_image(_image_message(encoding="none", width=4, height=4, step=4, data=b""))


def test_float_depth_keeps_every_bit(depth_m):
    values = conversions.depth_image(depth_m, "32FC1")
    assert (values["height"], values["width"], values["step"], values["encoding"]) == (48, 64, 256, "32FC1")
    assert values["is_bigendian"] == 0
    np.testing.assert_array_equal(values["data"].view("<f4").reshape(48, 64), depth_m)


def test_depth_with_too_little_data_is_an_input_error(depth_m):
    message = _image_message(encoding="32FC1", width=64, height=48, step=256, data=depth_m.tobytes()[:-256])
    with pytest.raises(InputError):
        conversions.read_depth(message, keep_limits=True)


def test_millimetres_are_rounded_and_invalid_is_0(depth_m):
    values = conversions.depth_image(depth_m, "16UC1")
    mm = values["data"].view("<u2").reshape(48, 64)
    assert values["step"] == 128
    assert list(mm[0, :4]) == [0, 0, 0, 0]
    np.testing.assert_array_equal(mm[1:], np.rint(depth_m[1:].astype(np.float64) * 1000))


def test_an_image_with_gaps_in_memory_becomes_contiguous(depth_m):
    values = conversions.depth_image(depth_m[:, ::2], "32FC1")
    np.testing.assert_array_equal(values["data"].view("<f4").reshape(48, 32), depth_m[:, ::2])


def test_camera_info_has_no_distortion_and_the_same_k_in_p():
    values = conversions.camera_info(CAMERA)
    assert (values["width"], values["height"]) == (64, 48)
    assert not values["d"].any()
    assert (values["binning_x"], values["binning_y"]) == (0, 0)
    np.testing.assert_array_equal(values["k"].reshape(3, 3), [[50, 0, 31.5], [0, 55, 23.5], [0, 0, 1]])
    np.testing.assert_array_equal(values["p"].reshape(3, 4)[:, :3], values["k"].reshape(3, 3))
    np.testing.assert_array_equal(values["p"].reshape(3, 4)[:, 3], 0)
    np.testing.assert_array_equal(values["r"].reshape(3, 3), np.eye(3))


@pytest.mark.parametrize("color", [True, False])
@pytest.mark.parametrize("stride", [1, 3])
def test_a_cloud_projects_back_onto_its_pixels(depth_m, rgb, stride, color):
    values = conversions.point_cloud(
        organised_cloud(depth_m, rgb if color else None, CAMERA, stride=stride, max_range_m=60)
    )
    fields = {name: (offset, datatype) for name, offset, datatype in values["fields"]}
    assert [*fields] == ["x", "y", "z", "rgb"][: 4 if color else 3]
    assert (values["height"], values["width"]) == (-(-48 // stride), -(-64 // stride))
    assert values["row_step"] == values["width"] * values["point_step"]
    assert values["is_dense"] is False
    raw = values["data"].reshape(values["height"], values["width"], values["point_step"])
    x, y, z = (np.ascontiguousarray(raw[..., fields[n][0] : fields[n][0] + 4]).view("<f4")[..., 0] for n in "xyz")
    expected = np.where(np.isfinite(depth_m) & (depth_m <= 60), depth_m, np.nan)[::stride, ::stride]
    np.testing.assert_array_equal(z, expected)
    assert np.array_equal(np.isnan(x), np.isnan(z))
    v, u = np.indices((48, 64))[:, ::stride, ::stride]
    known = np.isfinite(z)
    assert np.abs(x / z * 50 + 31.5 - u)[known].max() < 0.01
    assert np.abs(y / z * 55 + 23.5 - v)[known].max() < 0.01
    if color:
        packed = np.ascontiguousarray(raw[..., fields["rgb"][0] :][..., :4]).view("<u4")[..., 0]
        red, green, blue = (packed >> 16) & 255, (packed >> 8) & 255, packed & 255
        np.testing.assert_array_equal(np.stack([red, green, blue], -1), rgb[::stride, ::stride])


def test_real_messages_take_the_values(depth_m, rgb):
    sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="needs the ROS message packages")
    header = pytest.importorskip("std_msgs.msg").Header(frame_id="camera")

    def checked(kind):
        """A message that refuses what Humble refuses, which always looks; later ones do where they are told."""
        try:
            return kind(check_fields=True)
        except AssertionError:
            return kind()

    image = conversions.assign(checked(sensor_msgs.Image), header, conversions.depth_image(depth_m))
    assert isinstance(image.data, array.array)
    assert image.header.frame_id == "camera"
    info = conversions.assign(checked(sensor_msgs.CameraInfo), header, conversions.camera_info(CAMERA))
    assert list(info.d) == [0.0] * 5
    cloud = conversions.assign(
        checked(sensor_msgs.PointCloud2),
        header,
        conversions.point_cloud(organised_cloud(depth_m, rgb, CAMERA)),
        sensor_msgs.PointField,
    )
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1), ("rgb", 12, 7, 1),
    ]  # fmt: skip
    level = LevelScan(-0.5, 0.1, np.array([1.0, np.inf, np.nan], np.float32))
    scan = conversions.assign(
        checked(sensor_msgs.LaserScan), header, conversions.laser_scan(level, ScanLimits(0.1, 1.0, 0.1, 8.0))
    )
    np.testing.assert_array_equal(np.array(scan.ranges, np.float32), level.ranges_m)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "bayer_rggb8"])
def test_reading_agrees_with_cv_bridge(encoding):
    cv_bridge = pytest.importorskip("cv_bridge", reason="needs cv_bridge, which only a ROS installation has")
    sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="needs the ROS message packages")
    channels = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}.get(encoding, 1)
    pixels = np.random.default_rng(2).integers(0, 256, (48, 64, channels), np.uint8)
    message = sensor_msgs.Image(
        height=48, width=64, encoding=encoding, step=64 * channels, data=array.array("B", pixels.tobytes())
    )
    expected = cv_bridge.CvBridge().imgmsg_to_cv2(message, "rgb8")
    np.testing.assert_array_equal(conversions.read_image(message), expected)


def test_the_cloud_agrees_with_sensor_msgs_py(depth_m, rgb):
    reader = pytest.importorskip("sensor_msgs_py.point_cloud2", reason="needs sensor_msgs_py of a ROS installation")
    sensor_msgs = pytest.importorskip("sensor_msgs.msg")
    header = pytest.importorskip("std_msgs.msg").Header()
    values = conversions.point_cloud(organised_cloud(depth_m, rgb, CAMERA))
    cloud = conversions.assign(sensor_msgs.PointCloud2(), header, values, sensor_msgs.PointField)
    z = reader.read_points(cloud, ("x", "y", "z"))["z"].reshape(depth_m.shape)  # its own reshaping exchanges the sides
    finite = np.isfinite(z)
    assert finite.any()
    np.testing.assert_array_equal(z[finite], depth_m[finite])


def test_p_of_a_rectified_stereo_camera_holds_its_offset_in_pixels():
    p = conversions.camera_info(CAMERA, conversions.stereo_offset_m([100, 0, 9, -12, 0, 105, 9, 0, 0, 0, 1, 0]))["p"]
    assert p[3] == pytest.approx(-0.12 * 50)
    assert p[7] == 0
    assert conversions.stereo_offset_m([0.0] * 12) == (0.0, 0.0)


def test_a_scan_is_of_one_moment_and_its_beams_go_from_first_to_last():
    scan = SimpleNamespace(first_rad=-0.5, increment_rad=0.25, ranges_m=np.array([1, 2, np.inf, 4, np.nan], np.float32))
    values = conversions.laser_scan(scan, SimpleNamespace(min_range_m=0.1, max_range_m=8.0))
    assert (values["angle_min"], values["angle_max"], values["angle_increment"]) == (-0.5, 0.5, 0.25)
    assert (values["time_increment"], values["scan_time"]) == (0.0, 0.0)
    assert (values["range_min"], values["range_max"]) == (0.1, 8.0)
    np.testing.assert_array_equal(values["ranges"], scan.ranges_m)


def test_a_cloud_may_have_points_that_are_none_and_says_so(depth_m):
    values = conversions.point_cloud(organised_cloud(depth_m, None, CAMERA))
    assert (values["is_dense"], values["is_bigendian"]) == (False, False)
    assert (values["height"], values["width"]) == (48, 64)
    assert values["row_step"] == 64 * values["point_step"] == len(values["data"]) // 48


def test_a_colour_image_is_rgb8(rgb):
    values = conversions.color_image(rgb)
    assert (values["encoding"], values["height"], values["width"], values["step"]) == ("rgb8", 48, 64, 192)
    np.testing.assert_array_equal(values["data"].reshape(48, 64, 3), rgb)
    assert conversions.float_image(np.ones((2, 3), np.float32))["encoding"] == "32FC1"


def test_millimetres_end_where_sixteen_bits_do():
    depth_m = np.array([[0.0004, 0.0006, 65.535, 65.5356, -1.0]], np.float32)
    values = conversions.depth_image(depth_m, "16UC1")["data"].view("<u2")
    assert values.tolist() == [0, 1, 65535, 0, 0]


@pytest.mark.parametrize("change", [{"is_bigendian": 1}, {"step": 20}, {"encoding": "16UC1"}])
def test_depth_in_another_layout_is_read_all_the_same(change):
    """3 x 2 pixels; big-endian, with rows that are padded, or in millimetres."""
    metres = np.array([[1.0, 2.0, np.nan], [0.5, 4.0, 8.0]], np.float32)
    if change.get("encoding"):
        data, step = np.nan_to_num(metres * 1000).astype("<u2"), 6
    else:
        data, step = metres.astype(">f4" if change.get("is_bigendian") else "<f4"), 12
    rows = data.view(np.uint8).reshape(2, step)
    rows = np.pad(rows, ((0, 0), (0, change.get("step", step) - step)))
    fields = {"encoding": "32FC1", "width": 3, "height": 2, "step": rows.shape[1], **change}
    for keep_limits in (False, True):
        found = conversions.read_depth(_image_message(data=rows.tobytes(), **fields), keep_limits=keep_limits)
        np.testing.assert_array_equal(found, metres)


@pytest.mark.parametrize(
    ("fx", "fy", "offset"), [(0.0, 2.0, (0.0, 0.0)), (2.0, 0.0, (0.0, 0.0)), (4.0, 2.0, (2.0, 3.0))]
)
def test_the_offset_of_a_stereo_pair_is_in_metres_where_p_has_focal_lengths(fx, fy, offset):
    assert conversions.stereo_offset_m([fx, 0, 0, 8.0, 0, fy, 0, 6.0, 0, 0, 1, 0]) == offset
