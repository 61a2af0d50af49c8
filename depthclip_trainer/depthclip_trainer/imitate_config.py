"""Settings of imitation; apart from what it does, which imports half of the trainer."""

from __future__ import annotations

from dataclasses import dataclass

from depthclip_ros.core.errors import ConfigError


@dataclass(frozen=True)
class ImitateConfig:
    """Learning to replace another network's stem.

    Attributes:
        teacher: a weights file of MoA-DepthCLIP with a hybrid tower that is the same behind its stem. The student
            should start with what is there (`model.take_over`).
        weight: of the imitation against the loss on depth.
    """

    teacher: str
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ConfigError(f"imitate.weight is {self.weight}; it must be above 0 (leave the section out for none)")
