# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
"""How every family of surface patterns is drawn: two planes of mixing weights, periodic where it matters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SIDE = 256
"""Side of a pattern in texels."""

Plane = NDArray[np.float32]
Rng = np.random.Generator
_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE


def _noise(rng: Rng, power: float = 1.5, stretch: float = 1.0, low: float = 0.0) -> Plane:
    """Periodic noise in 0..1 with spectrum 1/f^power, `stretch` times longer along u; no waves below `low` cycles."""
    fy = np.fft.fftfreq(SIDE)[:, None] * SIDE
    fx = np.fft.rfftfreq(SIDE)[None] * SIDE * stretch
    f = np.sqrt(fx * fx + fy * fy)
    gain = np.where(f > low, 1 / np.maximum(f, 1) ** power, 0)
    gain[0, 0] = 0
    spectrum = gain * np.exp(2j * np.pi * rng.random(gain.shape))
    field = np.fft.irfft2(spectrum, (SIDE, SIDE))
    out: Plane = np.clip(0.5 + field / (4.5 * field.std()), 0, 1).astype(np.float32)
    return out


def _none() -> Plane:
    return np.zeros((SIDE, SIDE), np.float32)


def _cells(rng: Rng, columns: int, rows: int, shift: float, gap: float) -> tuple[Plane, Plane]:
    """A bond of columns x rows pieces, each row shifted: tone of every piece 0..1, and its joints."""
    y = _Y * rows
    row = np.floor(y).astype(int)
    offsets = np.arange(rows) * shift if shift >= 0 else rng.random(rows)
    x = _X * columns + offsets[row]
    column = np.floor(x).astype(int) % columns
    tone = rng.random((rows, columns)).astype(np.float32)[row, column]
    fx, fy = np.minimum(x % 1, 1 - x % 1) / columns, np.minimum(y % 1, 1 - y % 1) / rows
    return tone, (np.minimum(fx, fy) < gap / SIDE).astype(np.float32)


def _plaster(rng: Rng) -> tuple[Plane, Plane]:
    return _noise(rng, rng.uniform(0.4, 2.0)), _noise(rng, 1.8) * 0.3


def _wood(rng: Rng) -> tuple[Plane, Plane]:
    bend = _noise(rng, 2.0, 4.0)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (_Y * rng.integers(3, 12) + bend * rng.uniform(1, 4)))
    return 0.6 * rings + 0.4 * _noise(rng, 1.0, 14.0), 0.5 * _noise(rng, 0.6, 20.0) ** 3


def _planks(rng: Rng) -> tuple[Plane, Plane]:
    tone, joints = _cells(rng, int(rng.integers(1, 4)), int(rng.integers(4, 12)), -1.0, rng.uniform(0.6, 1.2))
    return np.clip(0.65 * tone + 0.35 * _noise(rng, 1.0, 14.0), 0, 1), joints * rng.uniform(0.3, 0.9)


def _parquet(rng: Rng) -> tuple[Plane, Plane]:
    n, strips = int(rng.choice([4, 6, 8])), int(rng.integers(3, 6))
    block = (np.floor(_X * n) + np.floor(_Y * n)) % 2
    along = np.where(block > 0, _X * n % 1, _Y * n % 1) * strips
    tone = rng.random((n, n, strips)).astype(np.float32)
    a = tone[np.floor(_X * n).astype(int), np.floor(_Y * n).astype(int), np.floor(along).astype(int)]
    joints = (np.minimum(along % 1, 1 - along % 1) < 0.06).astype(np.float32)
    return 0.7 * a + 0.3 * _noise(rng, 1.0), joints * 0.5


def _tiles(rng: Rng) -> tuple[Plane, Plane]:
    n = int(rng.integers(2, 8))
    tone, joints = _cells(rng, n, n if rng.random() < 0.7 else 2 * n, 0.0, rng.uniform(0.8, 2.5))
    return np.clip(tone * rng.uniform(0, 0.5) + _noise(rng, 1.6) * rng.uniform(0.1, 0.6), 0, 1), joints


def _brick(rng: Rng) -> tuple[Plane, Plane]:
    n = int(rng.integers(2, 6))
    tone, joints = _cells(rng, n, 4 * int(rng.integers(1, 3)) * max(1, n // 2), 0.5, rng.uniform(1.5, 3.5))
    return np.clip(0.7 * tone + 0.3 * _noise(rng, 0.8), 0, 1), joints * rng.uniform(0.5, 1)


def _checker(rng: Rng) -> tuple[Plane, Plane]:
    n = 2 * int(rng.integers(1, 5))
    return (np.floor(_X * n) + np.floor(_Y * n)) % 2, 0.25 * _noise(rng, 1.4)


def _stripes(rng: Rng) -> tuple[Plane, Plane]:
    n, duty = int(rng.integers(2, 16)), rng.uniform(0.15, 0.6)
    thin = (_X * n % 1 < duty).astype(np.float32)
    return thin, ((_X * n + 0.5) % 1 < 0.1).astype(np.float32) * float(rng.random() < 0.4)


def _folds(rng: Rng) -> tuple[Plane, Plane]:
    phase = sum(rng.normal() / k * np.sin(2 * np.pi * (k * _X + rng.random())) for k in range(3, 16))
    a = np.abs(np.asarray(phase)) ** 0.7
    return np.clip(a / a.max(), 0, 1), _none()


def _plaid(rng: Rng) -> tuple[Plane, Plane]:
    n = int(rng.integers(2, 8))
    u, v = (_X * n % 1 < rng.uniform(0.2, 0.6)), (_Y * n % 1 < rng.uniform(0.2, 0.6))
    return 0.5 * u + 0.5 * v, 0.6 * ((_X * n + 0.4) % 1 < 0.07) + 0.4 * ((_Y * n + 0.4) % 1 < 0.07)


def _dots(rng: Rng) -> tuple[Plane, Plane]:
    n = int(rng.integers(3, 10))
    x = (_X * n + 0.5 * (np.floor(_Y * n) % 2)) % 1 - 0.5
    return ((x * x + (_Y * n % 1 - 0.5) ** 2) < rng.uniform(0.02, 0.12)).astype(np.float32), 0.2 * _noise(rng, 1.0)


def _carpet(rng: Rng) -> tuple[Plane, Plane]:
    return _noise(rng, rng.uniform(0, 0.7)), _noise(rng, 1.4) * rng.uniform(0, 0.5)


def _rug(rng: Rng) -> tuple[Plane, Plane]:
    u, v = np.abs(_X - 0.5) * 2, np.abs(_Y - 0.5) * 2
    edge = np.maximum(u, v)
    waves = rng.integers(2, 10, 4)
    a = 0.5 + 0.5 * np.sin(np.pi * waves[0] * u + rng.normal()) * np.sin(np.pi * waves[1] * v + rng.normal())
    medallion = (u * u + v * v) * rng.uniform(2, 5) % 1 < 0.5
    border = (edge > 0.8) & (edge < 0.93)
    a = np.where(border, np.sin(waves[2] * 20 * (u + v)) > 0, np.round(a * 3) / 3 * medallion)
    return np.clip(a + 0.2 * _noise(rng, 0.3), 0, 1), ((edge > 0.78) & (edge < 0.82)) * 0.8


def _marble(rng: Rng) -> tuple[Plane, Plane]:
    veins = np.abs(np.sin(np.pi * (2 * _noise(rng, 1.8) + _noise(rng, 1.5) * 4)))
    return _noise(rng, 1.6), np.clip(1 - veins * rng.uniform(3, 8), 0, 1) * 0.7


def _speckle(rng: Rng) -> tuple[Plane, Plane]:
    return (_noise(rng, 0.3) > 0.6) * 0.7, (_noise(rng, 0.5) > 0.72) * 0.8


def _box_of(rng: Rng, low: float, high: float) -> tuple[slice, slice]:
    w, h = rng.integers(int(low * SIDE), int(high * SIDE) + 1, 2)
    x, y = rng.integers(0, SIDE - w + 1), rng.integers(0, SIDE - h + 1)
    return slice(y, y + h), slice(x, x + w)


def _poster(rng: Rng) -> tuple[Plane, Plane]:
    a = _noise(rng, rng.uniform(1.2, 2.5)) * rng.uniform(0, 1) + _Y * rng.uniform(-0.5, 0.5)
    b = _noise(rng, rng.uniform(1.2, 2.5)) * rng.uniform(0, 1)
    for _ in range(rng.integers(2, 9)):
        plane = a if rng.random() < 0.5 else b
        if rng.random() < 0.5:
            plane[_box_of(rng, 0.05, 0.6)] = rng.random()
        else:
            x, y, r = rng.random(), rng.random(), rng.uniform(0.04, 0.35)
            plane[(_X - x) ** 2 + ((_Y - y) * rng.uniform(0.5, 2)) ** 2 < r * r] = rng.random()
    if rng.random() < 0.5:
        w = int(rng.integers(6, 26))
        frame = np.ones_like(b, bool)
        frame[w:-w, w:-w] = False
        b[frame] = 1.0
    return np.clip(a, 0, 1), np.clip(b, 0, 1)


def _text(rng: Rng) -> tuple[Plane, Plane]:
    a, b = _none(), _none()
    line = int(rng.integers(7, 18))
    for y in range(line, SIDE - line, line):
        x = int(rng.integers(10, 30))
        while x < SIDE - 24 and rng.random() > 0.03:
            word = int(rng.integers(6, 34))
            end = min(x + word, SIDE - 12)
            a[y : y + line * 5 // 9, x:end] = rng.random((1, end - x)) > 0.3
            x += word + line // 2
    for _ in range(rng.integers(0, 3)):
        b[_box_of(rng, 0.1, 0.45)] = rng.uniform(0.4, 1)
    return a, b


def _label(rng: Rng) -> tuple[Plane, Plane]:
    a, b = _none(), _none()
    low, high = np.sort(rng.uniform(0.05, 0.95, 2))
    a[(low < _Y) & (high > _Y)] = 1
    for _ in range(rng.integers(1, 4)):
        b[_box_of(rng, 0.06, 0.4)] = rng.uniform(0.3, 1)
    letters = _text(rng)[0]
    return a, np.maximum(b, letters * (np.abs(_Y - rng.random()) < 0.12))


def _panel(rng: Rng) -> tuple[Plane, Plane]:
    """Fronts of cabinets, drawers and doors: fields with a shadow line, each with a handle."""
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    x, y = _X * columns % 1, _Y * rows % 1
    edge = np.minimum(np.minimum(x, 1 - x) / columns, np.minimum(y, 1 - y) / rows)
    a = 0.15 * _noise(rng, 1.0, 10.0)
    if rng.random() < 0.5:
        inset = rng.uniform(0.02, 0.05)
        a = np.where(np.abs(edge - inset) < 0.006, 0.8, a)
    b = (edge < 0.006) * 0.9
    handle = (np.abs(x - rng.choice([0.12, 0.5, 0.88])) < 0.05) & (np.abs(y - rng.choice([0.5, 0.8])) < 0.03)
    return a, np.maximum(b, handle)


def _books(rng: Rng) -> tuple[Plane, Plane]:
    edges = np.cumsum(rng.uniform(0.02, 0.07, 60))
    edges = edges[edges < 1]
    book = np.searchsorted(edges, _X)
    tone, mark = rng.random(len(edges) + 1).astype(np.float32), rng.uniform(0.1, 0.8, len(edges) + 1)
    title = (np.abs(_Y - mark[book]) < 0.1) & (rng.random(len(edges) + 1)[book] < 0.7)
    return tone[book], np.where(np.isin(book, [0]), 0, 0.8 * title * (np.sin(_Y * 260) > 0)).astype(np.float32)


def _outdoor(rng: Rng) -> tuple[Plane, Plane]:
    """Sky (a 0), trees or houses (a 1) below a wavy line, ground or windows (b)."""
    skyline = rng.uniform(0.2, 0.6) + 0.25 * (_noise(rng, 1.6)[:1] - 0.5)
    if rng.random() < 0.5:
        steps = rng.uniform(-0.15, 0.2, 12)
        skyline = skyline + steps[np.floor(_X[:1] * 12).astype(int)]
    below = (skyline > _Y).astype(np.float32)
    a = below * (0.6 + 0.4 * _noise(rng, 1.0)) + (1 - below) * 0.4 * _noise(rng, 2.0)
    return np.clip(a, 0, 1), (rng.uniform(0.05, 0.3) > _Y) * (0.5 + 0.5 * _noise(rng, 1.2))


def _grid(rng: Rng) -> tuple[Plane, Plane]:
    """Keyboards, grilles, ceiling panels, radiators."""
    tone, joints = _cells(rng, int(rng.integers(4, 18)), int(rng.integers(1, 8)), 0.0, rng.uniform(1.5, 4))
    return joints, (tone > 0.8) * rng.uniform(0, 0.5)


def _screen(rng: Rng) -> tuple[Plane, Plane]:
    a, b = _text(rng)
    for _ in range(rng.integers(1, 5)):
        a[_box_of(rng, 0.1, 0.6)] = rng.random()
    return np.clip(a, 0, 1), b


def _plain(rng: Rng) -> tuple[Plane, Plane]:
    return 0.3 * _noise(rng, 2.0), _none()


MAKERS: dict[str, tuple[Callable[[Rng], tuple[Plane, Plane]], int]] = {
    "plain": (_plain, 2), "plaster": (_plaster, 5), "wood": (_wood, 6), "planks": (_planks, 6),
    "parquet": (_parquet, 3), "tiles": (_tiles, 6), "brick": (_brick, 4), "checker": (_checker, 3),
    "stripes": (_stripes, 5), "folds": (_folds, 3), "plaid": (_plaid, 3), "dots": (_dots, 3), "carpet": (_carpet, 5),
    "rug": (_rug, 6), "marble": (_marble, 4), "speckle": (_speckle, 3), "poster": (_poster, 14), "text": (_text, 6),
    "label": (_label, 8), "panel": (_panel, 8), "books": (_books, 4), "outdoor": (_outdoor, 6), "grid": (_grid, 4),
    "screen": (_screen, 4),
}  # fmt: skip
"""Families by name: their maker and how many variants the bank holds."""


def _family_rows() -> dict[str, range]:
    rows, start = {}, 0
    for name, (_, count) in MAKERS.items():
        rows[name] = range(start, start + count)
        start += count
    return rows


FAMILIES: dict[str, range] = _family_rows()
"""Which patterns of the bank belong to each family."""
