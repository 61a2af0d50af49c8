"""Ray casting against unit shapes: what a camera sees, and what stands between a point and a light.

Rays go through in square tiles of pixels. A primitive meets only the tiles that its bounds may touch, so the work is
one batched test per (tile, primitive) pair, on a CPU in cache-sized chunks and on a GPU in few kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from depthclip_ros.core.scene.primitives import (
    BOWL,
    BOX,
    CASTS,
    CENTRE,
    HALF,
    KIND,
    MATRIX,
    RADIUS,
    ROUND,
    SPHERE,
    TAPER,
    TUBE,
    SceneBatch,
)

TILE_PX = 16
"""Side of a tile."""
_TINY = 1e-9
_CHUNK_ELEMENTS = {"cpu": 1 << 16, "cuda": 1 << 24}
Vector = tuple[Tensor, Tensor, Tensor]


def _no_zero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < _TINY, _TINY, x)


def _box_span(o: Vector, d: Vector) -> tuple[Tensor, Tensor]:
    near = far = None
    for a, b in zip(o, d, strict=True):
        inverse = _no_zero(b).reciprocal()
        middle = a * inverse
        half = inverse.abs()
        low, high = -half - middle, half - middle
        near = low if near is None else torch.maximum(near, low)
        far = high if far is None else torch.minimum(far, high)
    assert near is not None
    assert far is not None
    return near, far


def _enter_box(o: Vector, d: Vector, taper: Tensor) -> Tensor:
    near, far = _box_span(o, d)
    return torch.where((near <= far) & (near > 0), near, torch.inf)


def _closest(o: Vector, d: Vector) -> tuple[Tensor, Vector]:
    # Counting from the point nearest to the shape's centre keeps the quadratic free of cancellation.
    shift = -(o[0] * d[0] + o[1] * d[1] + o[2] * d[2]) / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    return shift, (o[0] + shift * d[0], o[1] + shift * d[1], o[2] + shift * d[2])


def _sphere_roots(o: Vector, d: Vector) -> tuple[Tensor, Tensor, Tensor, Vector]:
    shift, p = _closest(o, d)
    rest = 1 - (p[0] * p[0] + p[1] * p[1] + p[2] * p[2])
    reach = (rest.clamp_min(0) / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2])).sqrt()
    return shift, reach, rest, p


def _enter_sphere(o: Vector, d: Vector, taper: Tensor) -> Tensor:
    shift, reach, rest, _ = _sphere_roots(o, d)
    near = shift - reach
    return torch.where((rest > 0) & (near > 0), near, torch.inf)


def _enter_bowl(o: Vector, d: Vector, taper: Tensor) -> Tensor:
    shift, reach, rest, p = _sphere_roots(o, d)
    near, far = shift - reach, shift + reach
    hit = torch.where((far > 0) & (p[2] + reach * d[2] < 0), far, torch.inf)
    hit = torch.where((near > 0) & (p[2] - reach * d[2] < 0), near, hit)
    return torch.where(rest > 0, hit, torch.inf)


def _enter_round(o: Vector, d: Vector, taper: Tensor, *, lid: bool = True) -> Tensor:
    shift, p = _closest(o, d)
    middle, slope = (1 + taper) / 2, (taper - 1) / 2
    # |xy|² = (middle + slope z)² along the ray
    radius, growth = middle + slope * p[2], slope * d[2]
    a = _no_zero(d[0] * d[0] + d[1] * d[1] - growth * growth)
    b = p[0] * d[0] + p[1] * d[1] - radius * growth
    c = p[0] * p[0] + p[1] * p[1] - radius * radius
    rest = b * b - a * c
    root = rest.clamp_min(0).sqrt()
    hit = torch.full_like(rest, torch.inf)
    for sign in (-1.0, 1.0):
        s = (sign * root - b) / a
        inside = (rest > 0) & ((p[2] + s * d[2]).abs() <= 1) & (s + shift > 0) & (radius + s * growth >= 0)
        hit = torch.where(inside, torch.minimum(hit, s), hit)
    vertical = _no_zero(d[2])
    for z in (-1.0, 1.0) if lid else (-1.0,):
        s = (z - p[2]) / vertical
        x, y, cap = p[0] + s * d[0], p[1] + s * d[1], middle + slope * z
        hit = torch.where((x * x + y * y <= cap * cap) & (s + shift > 0), torch.minimum(hit, s), hit)
    return hit + shift


def _enter_tube(o: Vector, d: Vector, taper: Tensor) -> Tensor:
    return _enter_round(o, d, taper, lid=False)


_ENTER = {BOX: _enter_box, ROUND: _enter_round, SPHERE: _enter_sphere, BOWL: _enter_bowl, TUBE: _enter_tube}


def _apply(matrix: Tensor, v: Vector) -> Vector:
    """Rows of `matrix` [9, n] (as [n, 1] each) times components that broadcast with them."""
    m = [row.unsqueeze(1) for row in matrix]
    out = [torch.addcmul(m[3 * i] * v[0], m[3 * i + 1], v[1]).addcmul_(m[3 * i + 2], v[2]) for i in range(3)]
    return out[0], out[1], out[2]


def _chunks(count: int, samples: int, device: torch.device) -> list[slice]:
    step = max(1, _CHUNK_ELEMENTS[device.type] // samples)
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
    flat = rays.reshape(size * tiles, samples, 2)
    best = torch.empty(size * tiles, samples, device=rays.device)
    which = torch.empty(size * tiles, samples, dtype=torch.int64, device=rays.device)
    # the shell: where the ray leaves it
    for i in range(size):
        rows = slice(i * tiles, (i + 1) * tiles)
        shell = batch.primitives[:, i * batch.slots]
        away = origin[i] - shell[CENTRE : CENTRE + 3]
        leave = None
        for axis in range(3):
            m = shell[MATRIX + 3 * axis : MATRIX + 3 * axis + 3]
            a, b = (m * away).sum(), (m[:, None] * rotation[i]).sum(0)
            d = _no_zero(flat[rows, :, 0] * b[0] + flat[rows, :, 1] * b[1] + b[2])
            t = (torch.where(d > 0, 1.0, -1.0) - a) / d
            leave = t if leave is None else torch.minimum(leave, t)
        assert leave is not None
        best[rows] = leave
        which[rows] = i * batch.slots
    tile, primitive = _tile_pairs(batch, rotation, origin, rays)
    if len(tile) == 0:
        return best.reshape(size, tiles, samples), which.reshape(size, tiles, samples)
    kinds = batch.primitives[KIND].long()[primitive]
    scene = primitive // batch.slots
    table = batch.primitives.index_select(1, primitive)
    away = origin.T[:, scene] - table[CENTRE : CENTRE + 3]
    matrix = table[MATRIX : MATRIX + 9].reshape(3, 3, -1)
    start = (matrix * away[None]).sum(1)  # camera in unit coordinates
    turn = (matrix[:, :, None] * rotation[scene].permute(1, 2, 0)[None]).sum(1)  # ray in camera -> unit coordinates
    for kind, enter in _ENTER.items():
        chosen = (kinds == kind).nonzero()[:, 0]
        for part in _chunks(len(chosen), samples, rays.device):
            pick = chosen[part]
            at_tile = tile[pick]
            x, y = flat[at_tile].unbind(2)
            o = start[:, pick].unsqueeze(2)
            m = turn[:, :, pick].unsqueeze(3)
            d = [torch.addcmul(m[i, 2] + m[i, 0] * x, m[i, 1], y) for i in range(3)]
            t = enter((o[0], o[1], o[2]), (d[0], d[1], d[2]), table[TAPER, pick].unsqueeze(1))
            _keep_nearest(best, which, at_tile, t, primitive[pick])
    return best.reshape(size, tiles, samples), which.reshape(size, tiles, samples)


def _layers(tile: Tensor) -> list[Tensor]:
    """Rows of sorted pairs in layers: the k-th holds the k-th pair of every tile, so no tile twice."""
    change = torch.ones_like(tile, dtype=torch.bool)
    change[1:] = tile[1:] != tile[:-1]
    index = torch.arange(len(tile), device=tile.device)
    rank = index - torch.where(change, index, 0).cummax(0).values
    counts = torch.bincount(rank).tolist()
    return list(rank.argsort(stable=True).split(counts))


def _keep_nearest(best: Tensor, which: Tensor, tile: Tensor, t: Tensor, primitive: Tensor) -> None:
    """Z-buffer update. Pairs are sorted by tile; layers have no collisions."""
    for rows in _layers(tile):
        at, new = tile[rows], t[rows]
        old = best[at]
        nearer = new < old
        best[at] = torch.where(nearer, new, old)
        which[at] = torch.where(nearer, primitive[rows].unsqueeze(1), which[at])


def _blocks_box(o: Vector, d: Vector) -> Tensor:
    near, far = _box_span(o, d)
    return (near <= far) & (far > 0) & (near < 1) & (near > 0)


def _blocks_sphere(o: Vector, d: Vector) -> Tensor:
    shift, _ = _closest(o, d)
    s = shift.clamp(0, 1)
    x, y, z = (a + s * b for a, b in zip(o, d, strict=True))
    return x * x + y * y + z * z < 1


def _blocks_round(o: Vector, d: Vector) -> Tensor:
    # the straight piece between the caps, then its nearest approach to the axis (a cone counts as a cylinder)
    inverse = _no_zero(d[2]).reciprocal()
    a, b = (-1 - o[2]) * inverse, (1 - o[2]) * inverse
    low, high = torch.minimum(a, b).clamp_min(0), torch.maximum(a, b).clamp_max(1)
    s = -(o[0] * d[0] + o[1] * d[1]) / (d[0] * d[0] + d[1] * d[1]).clamp_min(_TINY)
    s = torch.minimum(torch.maximum(s, low), high)
    x, y = o[0] + s * d[0], o[1] + s * d[1]
    return (x * x + y * y < 1) & (low < high)


_BLOCKS = {BOX: _blocks_box, ROUND: _blocks_round, SPHERE: _blocks_sphere, BOWL: _blocks_sphere, TUBE: _blocks_round}


def blocked(batch: SceneBatch, points: Tensor, ways: Tensor, own: Tensor) -> Tensor:
    """Whether something stands on the straight way from each point to point + way.

    Args:
        batch: B scenes.
        points: float32 [3, B, T, S] world, lifted off their surface, in tiles of neighbouring pixels.
        ways: float32 [3, B, T, S].
        own: int64 [B, T, S], the primitive (of B * P) on which the point lies; hollow shapes do not block their own.

    Returns:
        bool [B, T, S].
    """
    _, size, tiles, samples = points.shape
    slots = batch.slots
    # each tile's ways lie in a capsule: segment between mean start and mean end, radius of the wider end
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
    mask = casts & (gap < (radius + wide[..., None]).square())
    # the slab of heights is a cheap second test: much that stands near a tile's shadow way stands below it
    mask[:, :, 0] = False
    scene, tile, primitive = mask.nonzero(as_tuple=True)
    out = torch.zeros(size * tiles, samples, dtype=torch.bool, device=points.device)
    if len(tile) == 0:
        return out.reshape(size, tiles, samples)
    tile, primitive = scene * tiles + tile, scene * slots + primitive
    kinds = batch.primitives[KIND].long()[primitive]
    flat_points, flat_ways = points.reshape(3, -1, samples), ways.reshape(3, -1, samples)
    flat_own = own.reshape(-1, samples)
    for kind, blocks in _BLOCKS.items():
        chosen = (kinds == kind).nonzero()[:, 0]
        for part in _chunks(len(chosen), samples, points.device):
            pick = chosen[part]
            at, what = tile[pick], primitive[pick]
            table = batch.primitives.index_select(1, what)
            p, w = flat_points.index_select(1, at), flat_ways.index_select(1, at)
            c = table[CENTRE : CENTRE + 3].unsqueeze(2)
            matrix = table[MATRIX : MATRIX + 9]
            start = _apply(matrix, (p[0] - c[0], p[1] - c[1], p[2] - c[2]))
            hit = blocks(start, _apply(matrix, (w[0], w[1], w[2])))
            if kind in (BOWL, TUBE, SPHERE, ROUND):
                hit &= flat_own[at] != what.unsqueeze(1)
            for rows in _layers(at):
                out[at[rows]] |= hit[rows]
    return out.reshape(size, tiles, samples)
