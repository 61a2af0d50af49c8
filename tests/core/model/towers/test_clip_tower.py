# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import pytest
import torch

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.towers.clip_tower import ClipTower, build_clip

SCENES = ("kitchen", "street")


@pytest.fixture
def tower(tiny_clip):
    return build_clip(tiny_clip, None, SCENES).tower.eval()


def test_walk_gives_open_clips_own_embedding_and_tokens_at_the_native_size(tower):
    images = torch.randn(2, 3, 64, 64)
    outputs = []
    hooks = [
        block.register_forward_hook(lambda *args: outputs.append(args[2]))
        for block in tower.visual.transformer.resblocks
    ]
    with torch.no_grad():
        expected = tower.visual(images)
        for hook in hooks:
            hook.remove()
        seen = tower(images, {}, (1, 3))
    torch.testing.assert_close(seen.embedding, expected)
    for tap, tokens in zip(seen.taps, (outputs[1], tower.visual.ln_post(outputs[3])), strict=True):
        torch.testing.assert_close(tap.flatten(2).transpose(1, 2), tokens[:, 1:])


def test_walks_towers_that_keep_tokens_batch_second(tiny_clip, tower):
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = tower(images, {}, (3,)).embedding
        for block in tower.visual.transformer.resblocks:
            block.attn.batch_first = False
        tower.visual.transformer.batch_first = False
        old = ClipTower(tower.visual)(images, {}, (3,)).embedding
    torch.testing.assert_close(old, expected)


def test_takes_any_size_and_keeps_the_layout_of_positions(tower):
    with torch.no_grad():
        tower.visual.positional_embedding[1:] = torch.arange(4.0).repeat_interleave(4)[:, None]  # each row its number
        assert tower(torch.randn(1, 3, 48, 160), {}, (3,)).taps[0].shape == (1, 64, 3, 10)
        learned = tower.visual.positional_embedding[1:].T.unflatten(1, (4, 4))[None]
        wide = tower._grid.resize(learned, 8, 10)[0, 0]
    torch.testing.assert_close(wide, wide[:, :1].expand(8, 10))
    assert (wide[1:, 0] >= wide[:-1, 0] - 0.2).all()
    assert wide[-1, 0] > wide[0, 0] + 2


def test_notices_that_positions_changed_after_a_size_was_seen(tower):
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        before = tower(images, {}, (3,)).embedding
        again = tower(images, {}, (3,)).embedding
    assert torch.equal(before, again)
    with torch.no_grad():
        tower.visual.positional_embedding.mul_(-1)
    with torch.inference_mode():
        assert not torch.allclose(tower(images, {}, (3,)).embedding, before)


def test_adapters_sit_on_block_outputs_and_change_all_tokens(tower):
    seen = []
    shift = torch.linspace(-1, 1, 64)  # not the same for all channels: the norms behind would take that out

    class Shift(torch.nn.Module):
        def forward(self, tokens):
            seen.append(tokens.shape)
            return tokens + shift

    with torch.no_grad():
        plain = tower(torch.zeros(1, 3, 64, 64), {}, (1,))
        adapted = tower(torch.zeros(1, 3, 64, 64), {1: Shift()}, (1,))
    assert seen == [(1, 17, 64)]  # 4x4 patches and the class token
    torch.testing.assert_close(adapted.taps[0], plain.taps[0] + shift[:, None, None])
    assert not torch.allclose(adapted.embedding, plain.embedding)


def test_last_four_blocks_of_vit_b_are_28_35_million():
    with torch.device("meta"):  # shapes only
        tower = build_clip("ViT-B-32-quickgelu", None, SCENES, load_base=False).tower
    assert round(sum(parameter.numel() for parameter in tower.last_parameters(4)) / 1e6, 2) == 28.35
    assert tower.last_parameters(0) == []


def test_prompts_are_the_normalised_text_embeddings(tiny_clip):
    clip = build_clip(tiny_clip, None, SCENES)
    assert clip.prompts.shape == (2, 32)
    torch.testing.assert_close(clip.prompts.norm(dim=-1), torch.ones(2))
    assert not torch.allclose(clip.prompts[0], clip.prompts[1])
    assert not clip.prompts.requires_grad
    assert clip.base_name is None


def test_unknown_tower_names_the_nearest():
    with pytest.raises(ConfigError, match="nearest is 'ViT-B-16-quickgelu'"):
        build_clip("ViT-B-16-quikgelu", None, SCENES)


def test_refuses_towers_that_are_not_plain_transformers():
    with pytest.raises(ConfigError, match="plain vision transformer"):
        build_clip("RN50", None, SCENES, load_base=False)
