"""What is poured from, cooked in and carried: teapots, jugs, pans, baskets, with their handles, spouts and lids."""

from __future__ import annotations

import numpy as np

from unscene.objects.mesh import TexturedMesh, joined, rotation, transformed, translation
from unscene.objects.parts import Paint, Rng, can, open_above
from unscene.objects.shapes import COLUMNS, patch, superellipsoid, tube, turned


def teapot(rng: Rng, paint: Paint) -> TexturedMesh:
    """A belly with a spout, a handle across from it or above, and a lid with a knob."""
    radius, height = rng.uniform(0.3, 0.45), rng.uniform(0.4, 0.75)
    skin = paint.main()
    trim = skin if rng.random() < 0.6 else paint.other()
    belly = superellipsoid(np.array([2 * radius, 2 * radius, height]), (rng.uniform(0.5, 1), 1.0), skin)
    spout = _spout(rng, radius, height, trim)
    top = 0.93 * height
    rim = radius * rng.uniform(0.35, 0.6)
    dome = np.linspace(0, 0.5 * np.pi, 8)
    lid = np.stack([rim * np.cos(dome), top + 0.12 * height * np.sin(dome)], -1)
    knob = transformed(superellipsoid(np.full(3, 0.3 * rim), (1, 1), trim), translation(0, 0, top + 0.1 * height))
    if rng.random() < 0.25:
        handle = overhead_handle(rng, 0.75 * radius, top, rng.uniform(0.25, 0.45), trim)
    else:
        handle = side_handle(rng, 0.9 * radius, height, trim)
    return joined([belly, spout, turned(lid, trim, trim), knob, handle])


def jug(rng: Rng, paint: Paint) -> TexturedMesh:
    """An open vessel of smooth profile with a handle, at times with a spout."""
    radius, height = rng.uniform(0.22, 0.35), rng.uniform(0.6, 1.1)
    skin, inside = paint.main(), paint.plain()
    rows = np.linspace(0, 1, 20)
    waist = radius * (1 + rng.uniform(-0.25, 0.25) * np.sin(2 * np.pi * rows + rng.uniform(0, 1)))
    outside = np.stack([waist, rows * height], -1)
    parts = [_hollow(outside, 0.9, skin, inside)]
    trim = skin if rng.random() < 0.5 else paint.other()
    parts.append(side_handle(rng, float(waist.min()) * 0.95, height, trim))
    if rng.random() < 0.5:
        parts.append(_spout(rng, float(waist.mean()), height, trim))
    return joined(parts)


def watering_can(rng: Rng, paint: Paint) -> TexturedMesh:
    """A can with a long spout, and a handle behind or above."""
    body = can(rng, paint)
    radius, height = float(body.vertices[:, 0].max()), float(body.vertices[:, 2].max())
    metal = paint.other()
    handle = (
        overhead_handle(rng, 0.8 * radius, height, rng.uniform(0.2, 0.35), metal)
        if rng.random() < 0.5
        else side_handle(rng, radius * 0.97, height, metal)
    )
    return joined([body, _spout(rng, radius, height, metal, reach=rng.uniform(1.0, 1.8)), handle])


def pan(rng: Rng, paint: Paint) -> TexturedMesh:
    """A low round vessel with one long handle, or two short ones."""
    radius, height = rng.uniform(0.35, 0.5), rng.uniform(0.12, 0.4)
    metal, inside, grip = paint.other(), paint.plain(), paint.plain()
    wall = np.array([(radius * rng.uniform(0.8, 1), 0), (radius, height)])
    parts = [_hollow(wall, 0.93, metal, inside)]
    thick = rng.uniform(0.025, 0.05)
    if rng.random() < 0.6:
        along = np.linspace(0, 1, 8)
        reach, lift = rng.uniform(0.4, 0.9), rng.uniform(-0.05, 0.2)
        path = np.stack([0.95 * radius + reach * along, 0 * along, 0.8 * height + lift * along**2], -1)
        parts.append(tube(path, np.full(8, thick), grip))
    else:
        for turn in (0, np.pi):
            arc = np.linspace(-0.45, 0.45, 12)
            bow = radius * (0.97 + 0.18 * np.cos(arc / 0.45 * np.pi / 2))
            path = np.stack([bow * np.cos(arc), bow * np.sin(arc), np.full(12, 0.8 * height)], -1)
            parts.append(transformed(tube(path, np.full(12, thick), grip), rotation(2, turn)))
    return joined(parts)


def basket(rng: Rng, paint: Paint) -> TexturedMesh:
    """A bucket or basket with a handle over it."""
    radius, height = rng.uniform(0.3, 0.45), rng.uniform(0.3, 0.7)
    side, inside, grip = paint.main(), paint.other(), paint.other()
    wall = np.array([(radius * rng.uniform(0.65, 1), 0), (radius, height)])
    vessel = _hollow(wall, 0.94, side, inside, int(rng.choice([4, 48, 48])))
    return joined([vessel, overhead_handle(rng, 0.97 * radius, 0.95 * height, rng.uniform(0.3, 0.6), grip)])


def side_handle(rng: Rng, radius: float, height: float, texture: np.ndarray) -> TexturedMesh:
    """An ear on the wall at -x, between two heights of a vessel."""
    low, high = rng.uniform(0.15, 0.35) * height, rng.uniform(0.7, 0.92) * height
    along = np.linspace(0, np.pi, 16)
    reach = rng.uniform(0.14, 0.3)
    out = reach * np.sin(along) ** rng.uniform(0.5, 1)
    path = np.stack([-radius - out, 0 * along, low + (high - low) * (0.5 - 0.5 * np.cos(along))], -1)
    return tube(path, np.full(16, rng.uniform(0.025, 0.05)), texture)


def overhead_handle(rng: Rng, radius: float, height: float, rise: float, texture: np.ndarray) -> TexturedMesh:
    """A bow from one side of a rim to the other."""
    along = np.linspace(0, np.pi, 20)
    path = np.stack([0 * along, -radius * np.cos(along), height + rise * np.sin(along)], -1)
    return tube(path, np.full(20, rng.uniform(0.02, 0.04)), texture)


def _hollow(
    wall: np.ndarray, inner: float, outside: np.ndarray, inside: np.ndarray, columns: int = COLUMNS
) -> TexturedMesh:
    """An open vessel: a wall (P 2, radius and height upwards), the same again a little inside, and the rim between.

    inner: the inside's radius, as a share of the outside's; outside, inside: textures.
    """
    height = float(wall[-1, 1])
    hollow = (wall * [inner, 0.92] + [0, 0.08 * height])[::-1]  # downwards: its outside is the vessel's inside
    angle = np.linspace(0, 2 * np.pi, columns + 1)
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    rim = patch(wall[-1, 0] * np.array([1, inner])[:, None, None] * circle, inside, (6, 1))
    rim = transformed(rim, translation(0, 0, height))
    walls = ((wall, outside), (hollow, inside))
    return joined([*(open_above(turned(profile, paint, inside, columns), height) for profile, paint in walls), rim])


def _spout(rng: Rng, radius: float, height: float, texture: np.ndarray, reach: float | None = None) -> TexturedMesh:
    """A bent, tapering tube from the wall at +x up and outwards."""
    along = np.linspace(0, 1, 12)
    reach = rng.uniform(0.5, 1.0) if reach is None else reach
    out = 0.8 * radius + reach * radius * along
    low, high = rng.uniform(0.2, 0.5) * height, rng.uniform(0.8, 1.1) * height
    rise = low + (high - low) * along ** rng.uniform(1, 2)
    radii = rng.uniform(0.06, 0.11) * (1 - rng.uniform(0.3, 0.6) * along)
    return tube(np.stack([out, 0 * along, rise], -1), radii, texture)
