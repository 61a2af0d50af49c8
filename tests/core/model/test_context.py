# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import torch
from torch.nn import functional as F

from depthclip_ros.core.model.context import AverageContext, Modulation, SceneContext


def test_average_is_one_vector_for_every_image():
    prompts = F.normalize(torch.randn(5, 8), dim=-1)
    context, weights = AverageContext(prompts)(torch.randn(3, 99))
    torch.testing.assert_close(context, prompts.mean(0).expand(3, 8))
    assert weights is None


def test_scene_weights_are_clips_softmax_over_cosines():
    scenes = F.normalize(torch.randn(5, 8), dim=-1)
    images = torch.randn(3, 8) * 4
    context, weights = SceneContext(scenes, scale=100.0)(images)
    cosine = torch.stack([F.cosine_similarity(image[None], scenes) for image in images])
    torch.testing.assert_close(weights, (100 * cosine).softmax(-1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(context, weights @ scenes)


def test_prompts_are_fixed_and_prototypes_are_learned():
    scenes = torch.randn(5, 8)
    assert list(SceneContext(scenes, scale=100.0).parameters()) == []
    assert "scenes" in SceneContext(scenes, scale=100.0).state_dict()
    learned = {name for name, _ in SceneContext(scenes, scale=5.0, query_width=6).named_parameters()}
    assert learned == {"query.weight", "query.bias", "scenes", "log_scale"}


def test_modulation_starts_as_the_identity_and_follows_the_context():
    modulation = Modulation(8, 4)
    x, context = torch.randn(2, 4, 3, 3), torch.randn(2, 8)
    assert torch.equal(modulation(x, context), x)
    torch.nn.init.normal_(modulation.project.weight)
    gain, shift = (context @ modulation.project.weight.T).split(4, dim=1)
    torch.testing.assert_close(modulation(x, context), x * (1 + gain[..., None, None]) + shift[..., None, None])
