# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The shipped sheets of rendered rooms, on which runtimes prove themselves and int8 networks are calibrated."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthclip_ros.core.errors import DeviceError

DATA = Path(__file__).resolve().parents[2] / "data"
PROOF = DATA / "proof_rooms.jpg"
"""Seeds 900001, 900002, 900005, 900009 of `scene.render_batch`."""
CALIBRATION = DATA / "calibration_rooms.jpg"
"""Seeds 910000 to 910047, by `scripts/render_rooms.py`; no recipe renders those of either sheet."""

WIDTH_PX, HEIGHT_PX = 320, 240  # of each room


def shipped_rooms(sheet: Path, width: int, height: int) -> NDArray[np.uint8]:
    """A sheet's rooms, row by row, at a network's input size: uint8 [N, height, width, 3] RGB.

    Raises:
        DeviceError: the sheet is not in this installation.
    """
    bgr = cv2.imread(str(sheet))
    if bgr is None:
        raise DeviceError(f"{sheet} is missing or damaged, so no runtime can prove itself; reinstall the package")
    corners = np.ndindex(bgr.shape[0] // HEIGHT_PX, bgr.shape[1] // WIDTH_PX)
    rooms = [bgr[y * HEIGHT_PX : (y + 1) * HEIGHT_PX, x * WIDTH_PX : (x + 1) * WIDTH_PX] for y, x in corners]
    return np.stack([cv2.resize(room, (width, height), interpolation=cv2.INTER_AREA)[..., ::-1] for room in rooms])
