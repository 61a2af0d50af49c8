# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""The commands: command `some-name` is `some_name_command(arguments)` of the module `some_name`."""

SUBCOMMANDS = (
    *("render-rooms", "pseudo-label", "write-shards", "calibrate", "fit-scale", "bench"),
    *("convert-encoder", "convert-checkpoint"),
)
"""Those of depthclip-train, beside training itself (`train`) and `--preset adapt` (`adapt`)."""
