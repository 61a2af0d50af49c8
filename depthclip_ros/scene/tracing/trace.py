# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Ray casting against unit shapes: what a camera sees, and what stands between a point and a light.

Rays go through in square tiles of pixels. A primitive meets only the tiles that its bounds may touch, so the work is
one batched test per (tile, primitive) pair, on a CPU in cache-sized chunks and on a GPU in few kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from depthclip_ros.scene.tracing.primitives import BOX, CASTS, CENTRE, HALF, KIND, MATRIX, RADIUS, TAPER, SceneBatch
from depthclip_ros.scene.tracing.shapes import BLOCKS, ENTER, Vector, box_span, no_zero

TILE_PX = 16
"""Side of a tile."""
_CHUNK_ELEMENTS = {"cpu": 1 << 15, "cuda": 1 << 24}


def _apply(matrix: Tensor, v: Vector) -> Vector:
    """Rows of `matrix` [9, n] (as [n, 1] each) times components that broadcast with them."""
    m = [row.unsqueeze(1) for row in matrix]
    out = [torch.addcmul(m[3 * i] * v[0], m[3 * i + 1], v[1]).addcmul_(m[3 * i + 2], v[2]) for i in range(3)]
    return out[0], out[1], out[2]


def _chunks(count: int, samples: int, device: torch.device) -> list[slice]:
    step = max(1, _CHUNK_ELEMENTS.get(device.type, 1 << 20) // samples)
    return [slice(i, i + step) for i in range(0, count, step)]


def corners(primitives: Tensor) -> Tensor:
    """World corners [P, 8, 3] of the primitives' oriented boxes."""
    matrix = primitives[MATRIX : MATRIX + 9].T.reshape(-1, 3, 3)
    half = primitives[HALF : HALF + 3].T.unsqueeze(2)
    axes = matrix * half * half  # rows of the unit matrix are axis / half; these are axis * half
    signs = torch.tensor(
        [[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)], device=primitives.device
    )
    offset = (signs[None, :, :, None] * axes[:, None]).sum(2)
    return primitives[CENTRE : CENTRE + 3].T[:, None] + offset


def _tile_pairs(batch: SceneBatch, rotation: Tensor, origin: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (tile of B*T, primitive of B*P) of all pairs that may meet, from screen rectangles and ray cones."""
    size, slots = batch.size, batch.slots
    world = corners(batch.primitives).reshape(size, slots * 8, 3) - origin[:, None]
    local = (world[:, :, :, None] * rotation[:, None]).sum(2).reshape(size, slots, 8, 3)  # R^T v
    z = local[..., 2].clamp_min(1e-6)
    safe = local[..., 2].amin(2) > 0.02
    low, high = rays.amin(2), rays.amax(2)  # [B, T, 2]
    mask = (local[..., 2].amax(2) > 0)[:, None]
    for axis in range(2):
        at = local[..., axis] / z
        least, most = torch.where(safe, at.amin(2), -torch.inf), torch.where(safe, at.amax(2), torch.inf)
        mask = mask & (least[:, None] <= high[:, :, None, axis]) & (most[:, None] >= low[:, :, None, axis])
    # a primitive beside the camera has no rectangle: there its bounding sphere must touch the tile's cone
    direction = torch.cat([rays, torch.ones_like(rays[..., :1])], 3)
    direction = direction / direction.norm(dim=3, keepdim=True)
    axis_of_tile = direction.mean(2)
    axis_of_tile = axis_of_tile / axis_of_tile.norm(dim=2, keepdim=True)
    spread = (direction * axis_of_tile[:, :, None]).sum(3).amin(2).clamp(-1, 1).acos()  # [B, T]
    centre = local.mean(2)
    distance = centre.norm(dim=2).clamp_min(1e-6)
    radius = batch.primitives[RADIUS].reshape(size, slots)
    reach = torch.where(distance > radius, (radius / distance).clamp(0, 1).asin(), torch.pi)
    cosine = (axis_of_tile[:, :, None] * (centre / distance[..., None])[:, None]).sum(3).clamp(-1, 1)
    mask = mask & (cosine.acos() <= reach[:, None] + spread[:, :, None] + 1e-3)
    mask = mask & (radius > 0)[:, None]
    mask[:, :, 0] = False  # the shell is not a thing in the room
    scene, tile, primitive = mask.nonzero(as_tuple=True)
    return scene * rays.shape[1] + tile, scene * slots + primitive


def visible(batch: SceneBatch, poses: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """The first surface along every ray.

    Args:
        batch: B scenes.
        poses: float32 [B, 4, 4], camera to world, optical frame.
        rays: float32 [B, T, S, 2], x/z and y/z of the rays, in tiles of neighbouring pixels.

    Returns:
        depth_m float32 [B, T, S] along the optical axis, and the primitive int64 [B, T, S] (of B * P).
    """
    size, tiles, samples, _ = rays.shape
    rotation, origin = poses[:, :3, :3], poses[:, :3, 3]
    flat_x, flat_y = (rays[..., k].reshape(size * tiles, samples) for k in range(2))
    best = torch.empty(size * tiles, samples, device=rays.device)
    # numbers of primitives, as float32 (exact to 2^24), so that one scatter picks the winner
    which = torch.empty(size * tiles, samples, device=rays.device)
    # the shell: where the ray leaves it
    for i in range(size):
        rows = slice(i * tiles, (i + 1) * tiles)
        shell = batch.primitives[:, i * batch.slots]
        away = origin[i] - shell[CENTRE : CENTRE + 3]
        leave = None
        for axis in range(3):
            m = shell[MATRIX + 3 * axis : MATRIX + 3 * axis + 3]
            a, b = (m * away).sum(), (m[:, None] * rotation[i]).sum(0)
            d = no_zero(flat_x[rows] * b[0] + flat_y[rows] * b[1] + b[2])
            t = (torch.where(d > 0, 1.0, -1.0) - a) / d
            leave = t if leave is None else torch.minimum(leave, t)
        assert leave is not None
        best[rows] = leave
        which[rows] = i * batch.slots
    tile, primitive = _tile_pairs(batch, rotation, origin, rays)
    if len(tile) == 0:
        return best.reshape(size, tiles, samples), which.long().reshape(size, tiles, samples)
    kinds = batch.primitives[KIND].long()[primitive]
    scene = primitive // batch.slots
    table = batch.primitives.index_select(1, primitive)
    away = origin.T[:, scene] - table[CENTRE : CENTRE + 3]
    matrix = table[MATRIX : MATRIX + 9].reshape(3, 3, -1)
    start = (matrix * away[None]).sum(1)  # camera in unit coordinates
    turn = (matrix[:, :, None] * rotation[scene].permute(1, 2, 0)[None]).sum(1)  # ray in camera -> unit coordinates
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for kind, enter in ENTER.items():
        chosen = (kinds == kind).nonzero()[:, 0]
        for part in _chunks(len(chosen), samples, rays.device):
            pick = chosen[part]
            at_tile = tile[pick]
            x, y = flat_x.index_select(0, at_tile), flat_y.index_select(0, at_tile)
            o = start[:, pick].unsqueeze(2)
            m = turn[:, :, pick].unsqueeze(3)
            way = [torch.addcmul(m[i, 2] + m[i, 0] * x, m[i, 1], y) for i in range(3)]
            t = enter((o[0], o[1], o[2]), (way[0], way[1], way[2]), table[TAPER, pick].unsqueeze(1))
            best.scatter_reduce_(0, at_tile[:, None].expand_as(t), t, "amin")
            found.append((at_tile, primitive[pick], t))
    for at_tile, what, t in found:
        won = torch.eq(t, best.index_select(0, at_tile), out=torch.empty_like(t)).mul_(what.unsqueeze(1))
        which.scatter_reduce_(0, at_tile[:, None].expand_as(t), won, "amax")
    return best.reshape(size, tiles, samples), which.long().reshape(size, tiles, samples)


def blocked(batch: SceneBatch, points: Tensor, ways: Tensor, own: Tensor, active: Tensor) -> Tensor:
    """Whether something stands on the straight way from each point to point + way.

    Args:
        batch: B scenes.
        points: float32 [3, B, T, S] world, lifted off their surface, in tiles of neighbouring pixels.
        ways: float32 [3, B, T, S].
        own: int64 [B, T, S], the primitive (of B * P) on which the point lies; hollow shapes do not block their own.
        active: bool [B, T], tiles that matter; in the others nothing is blocked.

    Returns:
        float32 [B, T, S], 1 where blocked, else 0.
    """
    _, size, tiles, samples = points.shape
    tile, primitive = _shadow_pairs(batch, points, ways, active)
    lit_margin = torch.full((size * tiles, samples), -1.0, device=points.device)
    if len(tile) == 0:
        return torch.zeros(size, tiles, samples, device=points.device)
    kinds = batch.primitives[KIND].long()[primitive]
    flat_points, flat_ways = points.reshape(3, -1, samples), ways.reshape(3, -1, samples)
    flat_own = own.reshape(-1, samples)
    for kind, blocks in BLOCKS.items():
        chosen = (kinds == kind).nonzero()[:, 0]
        for part in _chunks(len(chosen), samples, points.device):
            pick = chosen[part]
            at, what = tile[pick], primitive[pick]
            table = batch.primitives.index_select(1, what)
            p, w = flat_points.index_select(1, at), flat_ways.index_select(1, at)
            c = table[CENTRE : CENTRE + 3].unsqueeze(2)
            matrix = table[MATRIX : MATRIX + 9]
            start = _apply(matrix, (p[0] - c[0], p[1] - c[1], p[2] - c[2]))
            margin = blocks(start, _apply(matrix, (w[0], w[1], w[2])))
            if kind != BOX:
                margin = margin.masked_fill(flat_own.index_select(0, at) == what.unsqueeze(1), -1.0)
            lit_margin.scatter_reduce_(0, at[:, None].expand_as(margin), margin, "amax")
    return torch.gt(lit_margin, 0, out=torch.empty_like(lit_margin)).reshape(size, tiles, samples)


def _shadow_pairs(batch: SceneBatch, points: Tensor, ways: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (tile of B*T, primitive of B*P) whose ways may be blocked."""
    _, size, tiles, _ = points.shape
    slots = batch.slots
    # each tile's ways lie in a capsule: the segment from mean start to mean end, with the radius of the wider end
    ends = points + ways
    first, last = points.mean(3), ends.mean(3)  # [3, B, T]
    wide = torch.maximum(
        (points - first[..., None]).square().sum(0).amax(2), (ends - last[..., None]).square().sum(0).amax(2)
    ).sqrt()
    centre = batch.primitives[CENTRE : CENTRE + 3].reshape(3, size, 1, slots)
    along = (last - first)[..., None]
    away = centre - first[..., None]
    s = ((away * along).sum(0) / along.square().sum(0).clamp_min(1e-9)).clamp(0, 1)
    gap = (away - s * along).square().sum(0)  # [B, T, P]
    radius = batch.primitives[RADIUS].reshape(size, 1, slots)
    casts = (batch.primitives[CASTS].reshape(size, 1, slots) > 0) & (radius > 0)
    mask = casts & (gap < (radius + wide[..., None]).square()) & active[..., None]
    mask[:, :, 0] = False
    scene, tile, primitive = mask.nonzero(as_tuple=True)
    tile, primitive = scene * tiles + tile, scene * slots + primitive
    # of the pairs left, the segment must meet the primitive's box grown by the capsule's radius
    table = batch.primitives.index_select(1, primitive)
    half = table[HALF : HALF + 3]
    shrink = (half / (half + wide.reshape(-1)[tile])).repeat_interleave(3, 0)
    matrix = (table[MATRIX : MATRIX + 9] * shrink).reshape(3, 3, -1)
    start = first.reshape(3, -1)[:, tile] - table[CENTRE : CENTRE + 3]
    o, d = (matrix * start).sum(1), (matrix * along.reshape(3, -1)[:, tile]).sum(1)
    near, far = box_span((o[0], o[1], o[2]), (d[0], d[1], d[2]))
    keep = ((near <= far) & (far >= 0) & (near <= 1)).nonzero()[:, 0]
    return tile[keep], primitive[keep]
