# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
import pytest
import torch

from depthclip_ros.core.errors import ConfigError
from depthclip_ros.core.model.towers.hybrid_tower import HybridTower, _coordinates
from depthclip_ros.core.model.towers.tower import PositionGrid


@pytest.fixture
def tower():
    return HybridTower(48, 3, 3, (8, 12, 16), (0, 1, 1), (3, 4)).eval()


@pytest.mark.parametrize(("height", "width"), [(48, 64), (16, 16), (80, 32)])
def test_takes_any_multiple_of_its_stride(tower, height, width):
    seen = tower(torch.randn(2, 3, height, width), {}, (0, 2))
    assert [tuple(tap.shape) for tap in seen.taps] == [(2, 48, height // 16, width // 16)] * 2
    assert [(x.shape[1], height // x.shape[2]) for x in seen.skips] == list(tower.skips)
    assert seen.embedding.shape == (2, 48)


def test_knows_the_height_in_the_image(tower):
    with torch.no_grad():
        tower.positions.zero_()
        half = tower(torch.zeros(1, 3, 96, 64), {}, (2,)).skips[-1][0]  # [C, 48, 32]
    upper, lower = half[:, 12, 16], half[:, 36, 16]  # far from the border: only the coordinates differ
    assert (upper - lower).abs().max() > 1e-3


def test_coordinates_are_those_of_pixel_centres_from_edge_to_edge():
    x, y = _coordinates(torch.zeros(2, 3, 2, 4))[1]
    assert x.tolist() == [[-0.75, -0.25, 0.25, 0.75]] * 2
    assert y.tolist() == [[-0.5] * 4, [0.5] * 4]


def test_positions_are_added_to_the_grid(tower):
    images, position = torch.randn(1, 3, 48, 64), torch.randn(48)
    with torch.no_grad():
        tower.positions.copy_(position.view(1, -1, 1, 1).expand_as(tower.positions))
        seen = tower(images, {}, (2,)).embedding
        tower.positions.zero_()
        tower.to_tokens.register_forward_hook(lambda _, __, grid: grid + position[:, None, None])
        torch.testing.assert_close(tower(images, {}, (2,)).embedding, seen)


def test_a_tap_of_the_last_block_is_normalised_and_its_mean_is_the_embedding(tower):
    seen = tower(torch.randn(2, 3, 48, 64), {}, (2,))
    torch.testing.assert_close(seen.taps[0].mean(dim=(2, 3)), seen.embedding)


def test_attention_is_softmax_of_scaled_products(tower):
    block = tower.transformer[0]
    tokens = torch.randn(1, 5, 48)
    query, key, value = (block.qkv(tokens)).split(48, dim=-1)
    heads = []
    for head in range(3):
        part = slice(head * 16, (head + 1) * 16)
        weights = (query[..., part] @ key[..., part].transpose(1, 2) / 4).softmax(-1)
        heads.append(weights @ value[..., part])
    expected = block.out(torch.cat(heads, -1))
    torch.testing.assert_close(block.attend(tokens), expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # the fused kernel
        torch.testing.assert_close(block.attend(tokens), expected, rtol=1e-4, atol=1e-5)


def test_last_parameters_are_the_last_blocks_and_the_norm(tower):
    last = {id(parameter) for parameter in tower.last_parameters(2)}
    expected = [*tower.transformer[1].parameters(), *tower.transformer[2].parameters(), *tower.norm.parameters()]
    assert last == {id(parameter) for parameter in expected}


def test_refuses_blocks_that_it_does_not_have(tower):
    with pytest.raises(ConfigError, match=r"adapter_layers is \(3,\); allowed: 0..2"):
        tower.check_layers("adapter_layers", (3,))


def test_a_graph_that_is_recorded_makes_positions_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnGpu(torch.Tensor):
        is_cuda = True

    learned = torch.randn(1, 4, 3, 3).as_subclass(OnGpu)
    grid = PositionGrid()
    with torch.inference_mode():
        recording = False
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: recording)
        kept = grid.resize(learned, 5, 6)
        assert grid.resize(learned, 5, 6) is kept
        recording = True  # what is kept for a size may be gone before the graph is
        own = grid.resize(learned, 5, 6)
    assert own is not kept
    assert torch.equal(own, kept)
