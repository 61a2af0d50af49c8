"""Imitation: the student's stem learns to feed a decoder that its teacher has already trained.

Where teacher and student are the same network behind the stem, the student takes all of that over and is left with
one thing to learn: to make of a picture what the teacher's stem makes of it. That is a dense target, hundreds of
channels at every place of every picture, labelled or not, where depth is one number. The idea is that of "Knowledge
Distillation with the Reused Teacher Classifier" (Chen et al., CVPR 2022), with a depth decoder in place of the
classifier.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.contract import DepthModel
from depthclip_ros.core.model.moa_depthclip import MoaDepthClip
from depthclip_ros.core.weights import load_weights
from depthclip_trainer.data.sample import Batch
from depthclip_trainer.imitate_config import ImitateConfig
from depthclip_trainer.step import Objective, normalise

IMITATION = "teacher/imitation"


class ImitatingObjective:
    """An objective with the imitation beside it.

    Args:
        plain: the rest of the loss.
        model: the student; its joints are watched.
        config: names the teacher.

    Raises:
        ConfigError: networks that have no stem, or differ behind it.
        WeightsError: a teacher that does not read.
    """

    def __init__(self, plain: Objective, model: DepthModel, config: ImitateConfig) -> None:
        teacher = load_weights(config.teacher).model
        if not isinstance(model, MoaDepthClip) or not isinstance(teacher, MoaDepthClip):
            raise ConfigError("imitate takes two networks of moa_depthclip with hybrid towers; leave the section out")
        own, other = ([_channels(joint) for joint in network.joints()] for network in (model, teacher))
        if own != other:
            raise ConfigError(
                f"imitate.teacher passes {other} channels on from its stem, the student {own}; they must be the same: "
                "see tower_width and decoder_channels"
            )
        self.plain, self.weight = plain, config.weight
        self.teacher = teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # What a normalisation passes on has its gain as standard deviation.
        self._spread = [_norm(joint).weight.detach().abs().clamp_min(1e-3) for joint in teacher.joints()]
        self._seen: dict[int, Tensor] = {}
        for index, joint in enumerate(model.joints()):
            joint.register_forward_hook(lambda _m, _i, output, index=index: self._keep(index, output))

    def __call__(self, network: nn.Module, model: DepthModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """See `step.Objective`. The teacher sees what the student sees, as it was augmented."""
        total, terms = self.plain(network, model, batch)
        seen, self._seen = self._seen, {}
        if not seen:
            return total, terms
        device = batch.images.device
        self.teacher.to(device)
        with torch.no_grad():
            wanted = self.teacher.enter(normalise(batch.images, self.teacher))
        value = torch.stack(
            [imitation(seen[i], wanted[i], self._spread[i].to(device)) for i in range(len(wanted))]
        ).sum(0)
        return total + self.weight * value.mean(), {**terms, IMITATION: value.detach().mean()}

    def _keep(self, index: int, output: Any) -> None:
        if torch.is_grad_enabled():
            self._seen[index] = output


def imitation(own: Tensor, wanted: Tensor, spread: Tensor) -> Tensor:
    """Smooth L1 between two maps [B, C, h, w] in units of each channel's `spread` [C]; one number an image, [B]."""
    scale = spread[:, None, None]
    return F.smooth_l1_loss(own.float() / scale, wanted.float() / scale, reduction="none").flatten(1).mean(1)


def _norm(joint: nn.Module) -> nn.BatchNorm2d:
    return [module for module in joint.modules() if isinstance(module, nn.BatchNorm2d)][-1]


def _channels(joint: nn.Module) -> int:
    return _norm(joint).num_features
