"""The training itself: start, loop, checkpoints, export."""
