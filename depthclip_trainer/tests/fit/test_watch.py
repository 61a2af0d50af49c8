# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

import math

import pytest
import torch
from depthclip_trainer.fit.watch import DivergedError, LossWatch, Outcome
from lightning_fabric import Fabric


@pytest.fixture
def watch() -> LossWatch:
    found = LossWatch(Fabric(accelerator="cpu", devices=1))
    found._every = 10  # as on a GPU
    return found


def outcome(*losses: float, norm: float | None = 1.0) -> Outcome:
    paths = [[f"{i}a", f"{i}b"] for i in range(len(losses))]
    return Outcome(torch.tensor(losses), {}, None if norm is None else torch.tensor(norm), paths)


def test_the_mean_is_over_the_steps_since_it_was_asked_for(watch):
    for step in range(12):
        watch.add(step, outcome(step, step + 1))
    assert watch.mean_loss() == pytest.approx(6.0)
    watch.add(12, outcome(3.0, norm=None))
    assert watch.mean_loss() == 3.0


def test_the_first_bad_step_is_named_with_the_frames_of_its_bad_part(watch):
    watch.add(4, outcome(1.0))
    watch.add(5, outcome(1.0, math.inf))
    watch.add(6, outcome(math.nan))
    with pytest.raises(DivergedError, match=r"the loss is inf at step 5, in the batch of 1a, 1b$"):
        watch.look()


def test_a_gradient_that_is_no_number_is_named_too(watch):
    for step in range(9):
        watch.add(step, outcome(1.0))
    with pytest.raises(DivergedError, match=r"a gradient is nan at step 9, in the batch of 0a, 0b$"):
        watch.add(9, outcome(1.0, norm=math.nan))
