# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""`depthclip-train --config FILE`."""

from __future__ import annotations

import argparse

from depthclip_trainer.commands import SUBCOMMANDS


def train_command(arguments: list[str]) -> None:
    """The command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="depthclip-train",
        description="Train a depth model. Any setting of the configuration can be given as --section.key VALUE.",
        epilog=f"Subcommands, each with its own --help: {', '.join(SUBCOMMANDS)}. "
        "Adapt weights to a recording: --preset adapt --data MY.mcap (--preset adapt --help).",
    )
    parser.add_argument(
        "--config", required=True, help="a recipe: the name of one that ships, e.g. nano, or a YAML file"
    )
    parser.add_argument(
        "--print-config", "--print_config", action="store_true", help="show what would be trained, whole, and end"
    )
    known, overrides = parser.parse_known_args(arguments)
    from depthclip_trainer.recipe import as_mapping, read_config

    config = read_config(known.config, overrides)
    if known.print_config:
        import yaml

        print(yaml.safe_dump(as_mapping(config), sort_keys=False, default_flow_style=None, width=100), end="")
        return
    from lightning_fabric.utilities import rank_zero_only

    from depthclip_trainer.fit.export import finish
    from depthclip_trainer.fit.loop import train

    train(config)
    if config.loop.final_table:
        rank_zero_only(finish)(config)
