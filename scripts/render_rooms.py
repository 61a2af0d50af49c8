# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Renders the sheets of rooms in depthclip_ros/data/, with which runtimes are proven and int8 networks calibrated.

.venv/bin/python scripts/render_rooms.py 910000-910047 --columns 8 depthclip_ros/data/calibration_rooms.jpg
"""

import argparse

import cv2
import torch

from depthclip_ros.scene import render_batch

WIDTH_PX, HEIGHT_PX, QUALITY = 320, 240, 90

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("seeds", help="FIRST-LAST")
parser.add_argument("sheet", help="JPEG to write")
parser.add_argument("--columns", type=int, required=True)
args = parser.parse_args()
first, last = map(int, args.seeds.split("-"))
rooms = render_batch(range(first, last + 1), WIDTH_PX, HEIGHT_PX)[0]  # [N, H, W, 3]
rows = torch.cat([torch.cat(list(row), dim=1) for row in rooms.split(args.columns)])
cv2.imwrite(args.sheet, rows.numpy()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
