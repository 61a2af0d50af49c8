"""`depthclip-train --config FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from depthclip_trainer.commands import SUBCOMMANDS


def train_command(arguments: list[str]) -> None:
    """The command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="depthclip-train",
        description="Train a depth model. Any setting of the configuration can be given as --section.key VALUE.",
        epilog=f"Subcommands, each with its own --help: {', '.join(SUBCOMMANDS)}. "
        "Adapt weights to a recording: --preset adapt --data MY.mcap (--preset adapt --help).",
    )
    parser.add_argument("--config", required=True, type=Path, help="YAML, e.g. depthclip_trainer/configs/nano.yaml")
    known, overrides = parser.parse_known_args(arguments)
    from lightning.fabric.utilities import rank_zero_only

    from depthclip_trainer.config import read_config
    from depthclip_trainer.fit.export import finish
    from depthclip_trainer.fit.loop import train

    config = read_config(known.config, overrides)
    train(config)
    if config.loop.final_table:
        rank_zero_only(finish)(config)
