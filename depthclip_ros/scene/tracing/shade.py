# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Colour of what the rays have hit: patterns, lamps, window light and sun with shadow, occluded ambient light."""

from __future__ import annotations

import torch
from torch import Tensor

from depthclip_ros.scene.tracing import textures
from depthclip_ros.scene.tracing.primitives import (
    BOX,
    CENTRE,
    COLOUR_0,
    COLOUR_1,
    COLOUR_2,
    EMISSION,
    FACES,
    GRAIN,
    HALF,
    KIND,
    LIGHT_AT,
    LIGHT_COLOUR,
    LIGHT_NORMAL,
    LIGHT_SUN,
    LIGHT_U,
    LIGHT_V,
    MATERIAL,
    MATRIX,
    OFFSET,
    PERIOD,
    ROOM,
    ROUND,
    SHININESS,
    SPECULAR,
    SWAP,
    TAPER,
    TEXTURE,
    TUBE,
    SceneBatch,
)  # fmt: skip
from depthclip_ros.scene.tracing.soften import enlarge, half_resolution, smooth, tile, untile
from depthclip_ros.scene.tracing.trace import TILE_PX, blocked

_LIFT_M = 2e-3
_AMBIENT_REACH_M = (0.08, 0.9)


def shade(batch: SceneBatch, poses: Tensor, rays: Tensor, depth_m: Tensor, primitive: Tensor, footprint: Tensor,
          width: int, height: int) -> Tensor:  # fmt: skip
    """Linear colour [3, B, H, W] of what `trace.visible` found.

    Args:
        batch: B scenes.
        poses: float32 [B, 4, 4].
        rays: float32 [B, T, S, 2].
        depth_m: float32 [B, T, S], from `visible`.
        primitive: int64 [B, T, S], from `visible`.
        footprint: float32 [B], width of a pixel at 1 m, metres.
        width: of the tiled picture, a multiple of TILE_PX.
        height: of the tiled picture, a multiple of TILE_PX.
    """
    shape = depth_m.shape
    flat = primitive.reshape(-1)
    table = batch.primitives.index_select(1, flat)
    x, y = rays.unbind(3)
    turn, origin = poses[:, :3, :3, None, None], poses[:, :3, 3, None, None]
    way = torch.stack([turn[:, i, 0] * x + turn[:, i, 1] * y + turn[:, i, 2] for i in range(3)])  # [3, B, T, S]
    way = way * depth_m
    point = way + origin.transpose(0, 1)
    flat_point, flat_way = point.reshape(3, -1), way.reshape(3, -1)
    normal, u, v, face = _surface(table, flat_point, flat_way)
    distance = flat_way.square().sum(0).sqrt_()
    view = flat_way / -distance
    facing = (normal * view).sum(0).clamp_min_(0.05)

    material = batch.materials.index_select(1, (table[MATERIAL] + face * table[FACES]).long())
    pixel = depth_m * footprint[:, None, None]
    albedo = _albedo(material, u, v, pixel.reshape(-1) / facing.sqrt(), flat_point, batch.photographs)
    guide = (flat * 8 + face.long()).reshape(shape)
    light, gloss = _light(batch, point, normal.reshape(3, *shape), view, material, guide, primitive, width, height)
    colour = albedo * light + gloss
    colour += albedo * material[EMISSION]
    return untile(colour.reshape(3, *shape), height, width)


def _surface(table: Tensor, point: Tensor, way: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normal [3, N] towards the viewer, surface coordinates u and v in metres, and the face's number (of a box)."""
    away = point - table[CENTRE : CENTRE + 3]
    m = table[MATRIX : MATRIX + 9]
    local = torch.stack([m[3 * i] * away[0] + m[3 * i + 1] * away[1] + m[3 * i + 2] * away[2] for i in range(3)])
    kind, half = table[KIND], table[HALF : HALF + 3]
    is_box = (kind == BOX) | (kind == ROOM)
    is_round = (kind == ROUND) | (kind == TUBE)
    ax, ay, az = local.abs()
    on_x = (ax >= ay) & (ax >= az)
    on_y = ~on_x & (ay >= az)
    # round shapes: side or cap, whichever is nearer
    slope = (table[TAPER] - 1) / 2
    radius = slope * local[2] + (1 + table[TAPER]) / 2
    reach = (local[0] * local[0] + local[1] * local[1]).sqrt()
    on_cap = is_round & (reach / radius.clamp_min(1e-6) < az)
    flat_z = torch.where(is_box, ~on_x & ~on_y, on_cap)
    sign = torch.where(local > 0, 1.0, -1.0)
    nx = torch.where(is_box, torch.where(on_x, sign[0], 0.0), torch.where(on_cap, 0.0, local[0]))
    ny = torch.where(is_box, torch.where(on_y, sign[1], 0.0), torch.where(on_cap, 0.0, local[1]))
    nz = torch.where(is_round, -radius * slope, local[2])
    nz = torch.where(flat_z, sign[2], torch.where(is_box, 0.0, nz))
    normal = torch.stack([m[i] * nx + m[3 + i] * ny + m[6 + i] * nz for i in range(3)])
    normal = normal * normal.square().sum(0).rsqrt_()
    normal = torch.where((normal * way).sum(0) > 0, -normal, normal)
    metres = local * half
    around = torch.atan2(local[1], local[0]) * half[0]
    u = torch.where(is_box, torch.where(on_x, metres[1], metres[0]), torch.where(on_cap, metres[0], around))
    v = torch.where(flat_z, metres[1], metres[2])
    face = torch.where(on_x, 0.0, torch.where(on_y, 2.0, 4.0)) + torch.where(
        torch.where(on_x, local[0], torch.where(on_y, local[1], local[2])) > 0, 1.0, 0.0
    )
    return normal, u, v, torch.where(is_box, face, on_cap.float())


def _albedo(
    material: Tensor, u: Tensor, v: Tensor, pixel_m: Tensor, point: Tensor, photographs: Tensor | None
) -> Tensor:
    swap = material[SWAP] > 0
    u, v = torch.where(swap, v, u), torch.where(swap, u, v)
    pattern = material[TEXTURE].to(torch.int32)
    s = u / material[PERIOD] + material[OFFSET]
    t = v / material[PERIOD + 1] + material[OFFSET + 1]
    footprint = pixel_m / torch.minimum(material[PERIOD], material[PERIOD + 1])
    a, b = textures.sample(pattern.clamp_min(0), s, t, footprint)
    first = material[COLOUR_0 : COLOUR_0 + 3]
    colour = torch.lerp(first, material[COLOUR_1 : COLOUR_1 + 3], a)
    colour = colour.lerp_(material[COLOUR_2 : COLOUR_2 + 3], b)
    if photographs is not None:
        at = (pattern < 0).nonzero().flatten()
        rgb = textures.lookup(photographs, 3, -1 - pattern[at], s[at], t[at], footprint[at])
        colour[:, at] = (first[:, at] * torch.stack(rgb).pow_(2.2)).clamp_max_(0.95)
    # stains and wear: slow waves over everything that no pattern repeats
    stain = torch.sin(point[0] * 2.1 + 1.7 * point[1] + 3 * torch.sin(point[2] * 1.3 + point[1]))
    return colour * (1 + material[GRAIN] * stain)


def _pattern(device: torch.device, salt: int) -> Tensor:
    """Sixteen well spread points of the unit square, one for each place of a 4x4 block: [2, 16]."""
    index = torch.arange(16, device=device)
    order = (index * 7 + salt * 5) % 16
    a = (order % 4 + 0.5) / 4
    b = ((order // 4) + 0.5) / 4
    return torch.stack([(a + 0.11 * b) % 1, b])


def _light(batch: SceneBatch, point: Tensor, normal: Tensor, view: Tensor, material: Tensor, guide: Tensor,
           primitive: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Diffuse light [3, N] and highlights [3, N]."""
    shape = point.shape[1:]
    start = half_resolution(point + normal * _LIFT_M)
    n_half = half_resolution(normal)
    own = half_resolution(primitive)
    side = TILE_PX // 2
    index = torch.arange(side * side, device=point.device)
    block = (index // side % 4) * 4 + index % 4
    masks, targets = [], []
    for k in range(batch.lights.shape[2]):
        row = batch.lights[:, :, k]
        jitter = _pattern(point.device, k)[:, block] * 2 - 1  # [2, S]
        masks.append(_lit(batch, row, start, n_half, own, jitter))
        targets.append(row)
    masks.append(_open_sky(batch, start, n_half, own, block))
    half_size = (height // 2, width // 2)
    small = untile(torch.stack(masks, 1), *half_size, side)  # [B, L + 1, H/2, W/2]
    guide_image = untile(guide, height, width)
    soft = smooth(small, guide_image[:, ::2, ::2])
    full = enlarge(soft, guide_image)  # [B, L + 1, H, W]
    visibility = _retile(full)

    flat_normal = normal.reshape(3, -1)
    up = normal[2] * 0.5 + 0.5
    ambient = batch.ambient.permute(1, 2, 0)[..., None, None]  # [3, 2, B, 1, 1]
    # Light that comes by way of other walls is brighter from above, and reaches corners less.
    diffuse = (ambient[:, 1] + (ambient[:, 0] - ambient[:, 1]) * up) * visibility[-1]
    diffuse = diffuse.reshape(3, -1)
    gloss = torch.zeros_like(diffuse)
    for k, row in enumerate(targets):
        way, strength = _towards(row, point)
        flat_way = way.reshape(3, -1)
        cosine = (flat_normal * flat_way).sum(0).clamp_min_(0)
        lit = (strength * visibility[k]).reshape(-1)
        rgb = row[:, LIGHT_COLOUR : LIGHT_COLOUR + 3].T[:, :, None, None].expand(3, *shape).reshape(3, -1)
        diffuse += rgb * (lit * cosine)
        half = flat_way + view
        shine = (flat_normal * half).sum(0).clamp_min_(0) * half.square().sum(0).clamp_min_(1e-6).rsqrt_()
        shine = torch.pow(shine, material[SHININESS]) * material[SPECULAR] * lit
        gloss += rgb * shine
    return diffuse, gloss


def _retile(image: Tensor) -> Tensor:
    return tile(image).transpose(0, 1)  # [L + 1, B, T, S]


def _towards(row: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
    """Unit way to a light's middle [3, B, T, S] and the light's strength there, without its colour."""

    def column(i: int) -> Tensor:
        return row[:, i : i + 3].T[:, :, None, None]

    sun = column(LIGHT_SUN)
    is_sun = sun.square().sum(0) > 0
    way = column(LIGHT_AT) - point
    square = way.square().sum(0)
    way = way * square.clamp_min(1e-6).rsqrt()
    emit = column(LIGHT_NORMAL)
    cosine = -(way * emit).sum(0)
    cosine = torch.where(emit.square().sum(0) > 0, cosine.clamp_min(0), 1.0)
    strength = torch.where(is_sun, 1.0, cosine / (square + 0.25))
    return torch.where(is_sun, sun, way), strength


def _lit(batch: SceneBatch, row: Tensor, start: Tensor, turned: Tensor, own: Tensor, jitter: Tensor) -> Tensor:
    """Share [B, T, S] of a light that reaches each point: 0 or 1, towards one place of its area per point."""

    def column(i: int) -> Tensor:
        return row[:, i : i + 3].T[:, :, None, None]

    u, v, sun, normal = column(LIGHT_U), column(LIGHT_V), column(LIGHT_SUN), column(LIGHT_NORMAL)
    at = column(LIGHT_AT)
    is_sun = sun.square().sum(0) > 0
    way = at + u * jitter[0] + v * jitter[1] - start
    # sunlight comes in by the window only: where does the way to the sun cross the window's plane
    gap = ((at - start) * normal).sum(0)
    pace = (sun * normal).sum(0)
    reach = gap / torch.where(pace.abs() < 1e-6, -1e-6, pace)
    sun_way = sun * reach
    hit = start + sun_way - at
    inside = ((hit * u).sum(0).abs() < u.square().sum(0)) & ((hit * v).sum(0).abs() < v.square().sum(0)) & (reach > 0)
    way = torch.where(is_sun, torch.where(inside, sun_way, 1e-3 * sun), way)
    # a surface that looks away from the light needs no shadow
    useful = ((way * turned).sum(0) > 0) & (inside | ~is_sun)
    dark = blocked(batch, start, way * 0.999, own, useful.any(2))
    return (1 - dark) * (inside | ~is_sun)


def _open_sky(batch: SceneBatch, start: Tensor, normal: Tensor, own: Tensor, block: Tensor) -> Tensor:
    """Ambient occlusion [B, T, S]: one short way over the surface per point, sixteen directions in every block."""
    spread = _pattern(start.device, 3)[:, block]
    angle, radius = 6.2831853 * spread[0], (0.95 * spread[1]).sqrt()
    x, y = radius * angle.cos(), radius * angle.sin()
    z = (1 - radius * radius).sqrt()
    # any frame around the normal
    sign = torch.where(normal[2] >= 0, 1.0, -1.0)
    a = -1 / (sign + normal[2])
    b = normal[0] * normal[1] * a
    t1 = torch.stack([1 + sign * normal[0] * normal[0] * a, sign * b, -sign * normal[0]])
    t2 = torch.stack([b, sign + normal[1] * normal[1] * a, -normal[1]])
    low, high = _AMBIENT_REACH_M
    reach = low + (high - low) * ((block * 5 + 3) % 16).float() / 15
    way = (t1 * x + t2 * y + normal * z) * reach
    everywhere = torch.ones(start.shape[1:3], dtype=torch.bool, device=start.device)
    dark = blocked(batch, start, way, own, everywhere)
    # the shell itself
    shell = batch.primitives.reshape(-1, batch.size, batch.slots)[:, :, 0]
    end = (start + way - shell[CENTRE : CENTRE + 3, :, None, None]).abs()
    return (1 - dark) * (end <= shell[HALF : HALF + 3, :, None, None]).all(0)
