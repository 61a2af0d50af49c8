# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Renders the drive that the package ships, and packs it into depthclip_ros/data/room_drive.zip.

.venv/bin/python scripts/make_drive.py

Needs torch; takes one to two minutes on two cores unless this renderer's drive is in the cache.
"""

import json
import zipfile
from dataclasses import asdict

import cv2
import simplejpeg

from depthclip_ros.ros.camera_node.rendered_drive import DEPTH_UNITS_PER_METRE, RenderedDrive
from depthclip_ros.ros.camera_node.room_source import SHIPPED
from depthclip_ros.ros.camera_node.shipped_drive import DRIVE

JPEG_QUALITY = 90
# Each row's difference to the row above: 7 % larger than the smallest, and unpacked in half the time.
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
PNG += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]

camera = SHIPPED.intrinsics
meta = {
    "source": "depthclip_ros, a rendered room",
    "licence": "Apache-2.0",
    "intrinsics": {"fx": camera.fx_px, "fy": camera.fy_px, "cx": camera.cx_px, "cy": camera.cy_px},
    "depth_units_per_metre": DEPTH_UNITS_PER_METRE,
    "invalid_value": 0,
    "room": asdict(SHIPPED),
    "camera_to_world": [],
}
drive = RenderedDrive(SHIPPED, lambda done, total: print(f"\r{done} of {total} frames", end="", flush=True))
with zipfile.ZipFile(DRIVE, "w") as packed:

    def put(name: str, data: bytes, how: int = zipfile.ZIP_STORED) -> None:
        """With a fixed date: the same drive is the same file."""
        packed.writestr(zipfile.ZipInfo(name), data, how)

    for number, (rgb, depth, pose) in enumerate(drive):
        put(f"rgb/{number:03d}.jpg", simplejpeg.encode_jpeg(rgb, JPEG_QUALITY, "RGB", "420"))
        put(f"depth/{number:03d}.png", cv2.imencode(".png", depth, PNG)[1].tobytes())
        meta["camera_to_world"].append(pose.tolist())
    put("meta.json", json.dumps(meta).encode(), zipfile.ZIP_DEFLATED)
print(f"\n{DRIVE}: {DRIVE.stat().st_size / 1e6:.1f} MB")
