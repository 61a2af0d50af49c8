"""The size of images as commands take it: WIDTHxHEIGHT."""

from __future__ import annotations

from depthclip_ros.core.errors import ConfigError


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) in pixels.

    Raises:
        ConfigError: another form.
    """
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ConfigError(f"--size is {text!r}; write WIDTHxHEIGHT, e.g. 640x480")
    return int(width), int(height)
