# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import cv2
import numpy as np
import pytest
from depthclip_trainer.evaluation.pictures import PictureRow, write_sheet
from matplotlib import colormaps


def colour(name: str, share: float) -> np.ndarray:
    """BGR."""
    return (np.array(colormaps[name](share)[:3]) * 255).astype(np.uint8)[::-1]


def test_a_sheet_has_image_truth_prediction_and_error_by_the_colours_of_the_truth(tmp_path):
    """Truth of 1, 2 and 3 m in thirds, then none; the prediction is 25 % too far, then infinite, then unknown."""
    truth_m = np.repeat(np.array([[1.0, 2.0, 3.0]]), 20, 1).repeat(40, 0).astype(np.float32)
    truth_m[20:] = 0
    predicted_m = np.where(truth_m > 0, truth_m * 1.25, 3.0).astype(np.float32)
    predicted_m[30:35], predicted_m[35:] = np.inf, np.nan
    image = np.full((40, 60, 3), (200, 100, 50), np.uint8)
    write_sheet(tmp_path / "new" / "sheet.png", [PictureRow(image, truth_m, predicted_m, "")] * 2, width_px=60)
    sheet = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    assert sheet.shape == (80, 240, 3)
    np.testing.assert_array_equal(sheet[:40], sheet[40:])
    np.testing.assert_array_equal(sheet[10, 30], (50, 100, 200))
    truth, predicted, error = (sheet[:40, 60 * i : 60 * i + 60] for i in (1, 2, 3))
    for column, share in ((10, 0.0), (30, 0.5), (50, 1.0)):
        np.testing.assert_array_equal(truth[10, column], colour("turbo_r", share))
    np.testing.assert_array_equal(predicted[10, 10], colour("turbo_r", 0.25 / 2))
    np.testing.assert_array_equal(predicted[10, 50], colour("turbo_r", 1.0))
    np.testing.assert_array_equal(predicted[32, 10], colour("turbo_r", 1.0))
    np.testing.assert_array_equal(predicted[38, 10], colour("turbo_r", 0.0))
    np.testing.assert_array_equal(error[10, 30], colour("magma", 0.25 / 0.5))
    assert not truth[25:].any()
    assert not error[25:].any()


def test_a_row_of_one_depth_or_of_none_is_drawn_and_no_row_writes_nothing(tmp_path):
    image = np.zeros((30, 40, 3), np.uint8)
    flat = np.full((30, 40), 2.0, np.float32)
    rows = [PictureRow(image, flat, flat, "flat"), PictureRow(image, np.zeros_like(flat), flat, "none")]
    write_sheet(tmp_path / "sheet.png", rows)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * 180, 4 * 240, 3)
    near, far = 0.3, 10.0  # of a row without truth
    assert sheet[180 + 90, 600].tolist() == pytest.approx(colour("turbo_r", (2 - near) / (far - near)).tolist(), abs=1)
    write_sheet(tmp_path / "empty.png", [])
    assert not (tmp_path / "empty.png").exists()
