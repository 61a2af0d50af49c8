"""What depth_node offers to navigation, over DDS: rays to clear along."""

from __future__ import annotations

import numpy as np
import pytest

ROWS = np.linspace(0, 119, 31).round().astype(int)  # of the rays: at most 4 apart, the first and the last among them
COLUMNS = np.linspace(0, 159, 41).round().astype(int)
RAYS = np.ix_(ROWS, COLUMNS)


@pytest.fixture(scope="module")
def live(start_node, camera):
    """A running node and the camera that feeds it; the farther half of the picture is +Inf."""
    node = start_node("/navigation")
    eye = camera("/navigation")
    eye.node = node
    return eye


def _depth_m(message) -> np.ndarray:
    return np.frombuffer(message.data, "<f4").reshape(message.height, message.width)


def test_rays_end_before_the_depth_and_at_the_range_where_depth_is_infinite(live, room):
    from sensor_msgs.msg import PointCloud2

    def make():
        return live.image_message(room), live.info_message(160, 120)

    clear = live.client.subscribe(PointCloud2, "/navigation/depth/points_clear")
    first = live.send_until(make, clear)
    median_m = live.answer(live.stats, first.header.stamp).depth_median_m
    for name, value in (("output.max_depth", median_m), ("cloud.clear_range", 0.8 * median_m)):
        assert live.client.set_parameter("/navigation/depth_node", name, value).successful
    stamp = live.send(*make())
    rays, points = live.answer(clear, stamp), live.answer(live.cloud, stamp)
    depth_m = _depth_m(live.answer(live.depth, stamp))[RAYS]
    off_m = _depth_m(live.answer(live.uncertainty, stamp))[RAYS]
    assert (rays.width, rays.height, rays.point_step) == (41, 31, 16)
    assert [field.name for field in rays.fields] == ["x", "y", "z"]
    assert rays.header.frame_id == "camera_optical_frame"
    z = np.frombuffer(rays.data, "<f4").reshape(31, 41, 4)[..., 2]
    marked = np.isfinite(np.frombuffer(points.data, "<f4").reshape(120, 160, 4)[..., 2][RAYS])
    beyond = np.isposinf(depth_m)
    assert beyond.mean() > 0.2
    assert np.isnan(z[~beyond & ~marked]).all()  # on a depth step there is neither point nor ray
    np.testing.assert_allclose(z[marked], (depth_m**2 / (depth_m + off_m))[marked], rtol=1e-4)  # d e^-h
    assert np.isfinite(z[beyond]).any()
    np.testing.assert_allclose(z[beyond & np.isfinite(z)], 0.8 * median_m, rtol=1e-5)

    # never beyond what +Inf tells
    assert live.client.set_parameter("/navigation/depth_node", "cloud.clear_range", 50.0).successful
    stamp = live.send(*make())
    z = np.frombuffer(live.answer(clear, stamp).data, "<f4").reshape(31, 41, 4)[..., 2]
    assert np.nanmax(z) == pytest.approx(median_m, rel=1e-5)
