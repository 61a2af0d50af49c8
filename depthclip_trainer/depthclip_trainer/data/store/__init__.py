"""Frames at rest: shards, caches, and the pools that batches are drawn from."""
