"""Readers of recorded frames, one format a file."""
