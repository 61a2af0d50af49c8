# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from depthclip_trainer.data.sample import CANONICAL, METRIC, TARGETS, Batch
from depthclip_trainer.fit.start import take_over
from depthclip_trainer.losses.distillation import (
    ALIGNMENT,
    IMITATION,
    AlignedObjective,
    ImitateConfig,
    ImitatingObjective,
    alignment,
    encoder_of,
    features_of,
    imitation,
    objective_of,
)
from depthclip_trainer.losses.semi import SemiConfig

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.registry import build_model, preset
from depthclip_ros.core.weights.weights_file import save_weights

LOSS = {"log_l1": 1.0}
SMALL = {
    "tower_width": 32,
    "tower_blocks": 2,
    "tower_heads": 2,
    "adapter_layers": [1],
    "tap_layers": [1],
    "decoder_channels": [32, 24, 16, 12, 8],
}
STEM = {"stem_channels": [8, 8, 12, 16], "stem_blocks": [0, 0, 0, 0]}


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


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    torch.manual_seed(1)
    model = build_model(preset("teacher-mobilenet", **SMALL))
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_weights(path, model, training={"data": "none"}, metrics={})
    return path, model.eval()


@pytest.fixture
def student():
    torch.manual_seed(2)
    return build_model(preset("nano", **SMALL, **STEM))


def a_batch(size=2):
    images = torch.rand(size, 3, 64, 64)
    depth = torch.ones(size, 64, 64)
    return Batch(images, depth, depth > 0, torch.full((size, 4), 60.0), [str(i) for i in range(size)])


def no_loss(network, model, batch):
    network(batch.images)
    return torch.zeros(()), {}


def test_everything_behind_the_stem_is_taken_over(teacher, student):
    path, model = teacher
    stem = student.tower.stem[0][0].conv.weight.clone()
    take_over(student, str(path))
    torch.testing.assert_close(student.tower.stem[0][0].conv.weight, stem)
    own, other = student.state_dict(), model.state_dict()
    for name in ("tower.transformer.0.qkv.weight", "decoder.stages.0.refine.first.conv.weight", "heads.bins.weight"):
        torch.testing.assert_close(own[name], other[name], atol=1e-2, rtol=1e-2)  # the file holds float16


def test_a_file_with_nothing_in_common_is_refused(teacher):
    path, _ = teacher
    with pytest.raises(ConfigError, match="has no tensor of a name and shape"):
        take_over(torch.nn.Linear(2, 2), str(path))


def test_joints_are_what_the_stem_passes_on(teacher):
    _, model = teacher
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        outputs = model.enter(images)
        seen = []
        hooks = [j.register_forward_hook(lambda _m, _i, o: seen.append(o)) for j in model.joints()]
        model(images)
        for hook in hooks:
            hook.remove()
    assert [o.shape for o in outputs] == [o.shape for o in seen]
    for one, other in zip(outputs, seen, strict=True):
        torch.testing.assert_close(one, other)


def test_imitation_is_zero_for_an_equal_stem_and_counts_in_units_of_spread():
    wanted = torch.randn(2, 3, 4, 4)
    assert imitation(wanted, wanted, torch.ones(3)).tolist() == [0, 0]
    far = imitation(wanted + 20.0, wanted, torch.full((3,), 2.0))  # 10 spreads: smooth L1 is 10 - 1/2
    torch.testing.assert_close(far, torch.full((2,), 9.5))


def test_imitation_reaches_the_stem_and_lowers(teacher, student):
    path, _ = teacher
    objective = ImitatingObjective(no_loss, student, ImitateConfig(str(path), weight=1.0))
    optimizer = torch.optim.Adam(student.parameters(), 3e-2)
    batch, values = a_batch(), []
    for _ in range(30):
        loss, terms = objective(student, student, batch)
        optimizer.zero_grad()
        loss.backward()
        assert student.tower.stem[0][0].conv.weight.grad.abs().sum() > 0
        assert student.heads.bins.weight.grad is None
        optimizer.step()
        values.append(float(terms[IMITATION]))
    assert values[-1] < 0.8 * values[0]


def test_weight_multiplies_the_imitation_alone(teacher, student):
    path, _ = teacher
    student.eval()
    half = ImitatingObjective(no_loss, student, ImitateConfig(str(path), weight=0.5))
    loss, terms = half(student, student, a_batch())
    torch.testing.assert_close(loss, 0.5 * terms[IMITATION])


def test_networks_that_differ_behind_the_stem_are_refused(teacher):
    path, _ = teacher
    other = build_model(preset("nano", **{**SMALL, "decoder_channels": [32, 24, 16, 12, 12]}, **STEM))
    with pytest.raises(ConfigError, match="they must be the same"):
        ImitatingObjective(no_loss, other, ImitateConfig(str(path)))


def test_weight_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"imitate\.weight is 0"):
        ImitateConfig("x", weight=0)


def test_features_are_the_deepest_that_an_encoder_gives():
    maps = [torch.full((1, 2, 3, 3), float(depth)) for depth in range(3)]
    assert features_of(maps[0]) is maps[0]
    assert features_of(SimpleNamespace(taps=maps)) is maps[-1]
    assert features_of(SimpleNamespace(feature_maps=maps)) is maps[-1]
