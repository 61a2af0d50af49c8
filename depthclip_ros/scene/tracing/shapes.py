# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""Where a ray meets a unit shape, and whether a stretch of way does.

`o` and `d` are the components of origin and direction in the shape's own coordinates; they broadcast with each other.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from depthclip_ros.scene.tracing.primitives import BOWL, BOX, ROUND, SPHERE, TUBE

_TINY = 1e-20
_FAR = 1e20
Vector = tuple[Tensor, Tensor, Tensor]

# On a CPU a comparison that makes bool and a `where` cost ten times an addition. So the tests below work with numbers:
# a margin is positive where something holds, and what misses is moved to _FAR.


def no_zero(x: Tensor) -> Tensor:
    """A divisor that is never 0."""
    return x + _TINY


def _far_where_negative(margin: Tensor) -> Tensor:
    """0 where the margin holds, _FAR where it is negative."""
    return torch.lt(margin, 0, out=torch.empty_like(margin)).mul_(_FAR)


def box_span(o: Vector, d: Vector) -> tuple[Tensor, Tensor]:
    """Ray parameters where the line enters and leaves the unit box; it misses where the first is the larger."""
    near = far = None
    for a, b in zip(o, d, strict=True):
        inverse = no_zero(b).reciprocal_()
        middle = a * inverse
        half = inverse.abs_()
        low, high = -half - middle, half - middle
        near = low if near is None else torch.maximum(near, low, out=near)
        far = high if far is None else torch.minimum(far, high, out=far)
    assert near is not None
    assert far is not None
    return near, far


def _enter_box(o: Vector, d: Vector, taper: Tensor) -> Tensor:
    near, far = box_span(o, d)
    return _far_where_negative(torch.minimum(far.sub_(near), near)).add_(near)


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
    return _far_where_negative(torch.minimum(rest, near)).add_(near)


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
    a = no_zero(d[0] * d[0] + d[1] * d[1] - growth * growth)
    b = p[0] * d[0] + p[1] * d[1] - radius * growth
    c = p[0] * p[0] + p[1] * p[1] - radius * radius
    rest = b * b - a * c
    root = rest.clamp_min(0).sqrt()
    hit = torch.full_like(rest, torch.inf)
    for sign in (-1.0, 1.0):
        s = (sign * root - b) / a
        inside = (rest > 0) & ((p[2] + s * d[2]).abs() <= 1) & (s + shift > 0) & (radius + s * growth >= 0)
        hit = torch.where(inside, torch.minimum(hit, s), hit)
    vertical = no_zero(d[2])
    for z in (-1.0, 1.0) if lid else (-1.0,):
        s = (z - p[2]) / vertical
        x, y, cap = p[0] + s * d[0], p[1] + s * d[1], middle + slope * z
        hit = torch.where((x * x + y * y <= cap * cap) & (s + shift > 0), torch.minimum(hit, s), hit)
    return hit + shift


def _enter_tube(o: Vector, d: Vector, taper: Tensor) -> Tensor:
    return _enter_round(o, d, taper, lid=False)


def _blocks_box(o: Vector, d: Vector) -> Tensor:
    near, far = box_span(o, d)
    return torch.minimum(far.sub_(near), torch.minimum(near, 1 - near))


def _blocks_sphere(o: Vector, d: Vector) -> Tensor:
    shift, _ = _closest(o, d)
    s = shift.clamp(0, 1)
    x, y, z = (a + s * b for a, b in zip(o, d, strict=True))
    return 1 - (x * x + y * y + z * z)


def _blocks_round(o: Vector, d: Vector) -> Tensor:
    # the straight piece between the caps, then its nearest approach to the axis (a cone counts as a cylinder)
    inverse = no_zero(d[2]).reciprocal()
    a, b = (-1 - o[2]) * inverse, (1 - o[2]) * inverse
    low, high = torch.minimum(a, b).clamp_min(0), torch.maximum(a, b).clamp_max(1)
    s = -(o[0] * d[0] + o[1] * d[1]) / (d[0] * d[0] + d[1] * d[1]).clamp_min(_TINY)
    s = torch.minimum(torch.maximum(s, low), high)
    x, y = o[0] + s * d[0], o[1] + s * d[1]
    return torch.minimum(1 - (x * x + y * y), high - low)


BLOCKS: dict[int, Callable[[Vector, Vector], Tensor]] = {
    BOX: _blocks_box,
    ROUND: _blocks_round,
    SPHERE: _blocks_sphere,
    BOWL: _blocks_sphere,
    TUBE: _blocks_round,
}
"""By kind: a margin above 0 where the way from o to o + d goes through the shape."""

ENTER: dict[int, Callable[[Vector, Vector, Tensor], Tensor]] = {
    BOX: _enter_box,
    ROUND: _enter_round,
    SPHERE: _enter_sphere,
    BOWL: _enter_bowl,
    TUBE: _enter_tube,
}
"""By kind: the ray parameter of the first surface met by o + t d from outside, 1e20 or infinity if none."""
