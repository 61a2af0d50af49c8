# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`python -m depthclip_trainer` is `depthclip-train`: torchrun starts modules."""

from __future__ import annotations

import sys

from depthclip_trainer.cli import train_main

if __name__ == "__main__":
    sys.exit(train_main())
