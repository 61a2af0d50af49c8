# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Frames at rest: shards, caches, and the pools that batches are drawn from."""
