from __future__ import annotations

import pytest
import torch
from depthclip_trainer.align import ALIGNMENT, AlignedObjective, alignment, encoder_of, objective_of
from depthclip_trainer.data.sample import CANONICAL, METRIC, TARGETS, Batch
from depthclip_trainer.semi import SemiConfig

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.weights import save_weights

LOSS = {"log_l1": 1.0}


@pytest.fixture
def make_model(make_config):
    def make(seed=0, **overrides):
        torch.manual_seed(seed)
        return build_model(preset("nano", **{**make_config().model.overrides, **overrides}))

    return make


def make_batch(kinds):
    n = len(kinds)
    return Batch(
        images=torch.rand(n, 3, 64, 96, generator=torch.Generator().manual_seed(0)),
        depth_m=torch.ones(n, 64, 96),
        valid=torch.ones(n, 64, 96, dtype=torch.bool),
        intrinsics=torch.full((n, 4), 80.0),
        paths=["x"] * n,
        confidence=torch.ones(n, 64, 96),
        targets=torch.tensor([TARGETS.index(kind) for kind in kinds]),
    )


def test_places_nearer_than_the_margin_are_left_alone():
    own = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [9.0, 1.0]]).T[None, :, None]  # [1, 2, 1, 4]
    wanted = torch.tensor([[3.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]).T[None, :, None]
    # Distances: 0, 1, 1 - 1/sqrt 2 = .29, .006
    assert float(alignment(own, wanted, 0.15)) == pytest.approx((1 + 1 - 0.5**0.5) / 4, abs=1e-5)
    assert float(alignment(own, wanted, 0.5)) == pytest.approx(1 / 4, abs=1e-5)
    tokens = alignment(own.flatten(2).transpose(1, 2), wanted.flatten(2).transpose(1, 2), 0.15)
    assert float(tokens) == pytest.approx((1 + 1 - 0.5**0.5) / 4, abs=1e-5)


def test_an_encoder_is_at_no_distance_from_itself_and_its_gradient_reaches_the_student_alone(make_model, tmp_path):
    model, guide = make_model(0, adapter_layers=[]), make_model(1, adapter_layers=[])
    semi = SemiConfig(loss=LOSS, align_to=str(tmp_path / "guide.safetensors"), align_weight=2.0)
    save_weights(semi.align_to, guide, training={}, metrics={}, dtype="float32")
    batch = make_batch([METRIC, CANONICAL, CANONICAL])
    model.eval()
    objective = objective_of(model, LOSS, semi)
    assert isinstance(objective, AlignedObjective)
    total, terms = objective(model, model, batch)
    plain, _ = objective.plain(model, model, batch)
    assert float(terms[ALIGNMENT]) > 0.15
    assert float(total.detach() - plain.detach()) == pytest.approx(2.0 * float(terms[ALIGNMENT]) * 2 / 3, rel=1e-4)
    total.backward()
    assert all(p.grad is None for p in objective.guide.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder_of(model).parameters())
    encoder_of(model).load_state_dict(encoder_of(guide).state_dict())
    assert float(objective(model, model, batch)[1][ALIGNMENT]) == 0.0


def test_measured_pictures_are_not_aligned(make_model):
    model = make_model().eval()
    objective = AlignedObjective(objective_of(model, LOSS, None), model, make_model(1), SemiConfig(loss=LOSS))
    assert ALIGNMENT not in objective(model, model, make_batch([METRIC, METRIC]))[1]


def test_encoders_of_two_widths_are_refused(make_model):
    model = make_model()
    with pytest.raises(ConfigError, match="width 48, the student's is 32"):
        AlignedObjective(objective_of(model, LOSS, None), model, make_model(tower_width=48), SemiConfig(loss=LOSS))
