"""Objects at random: vessels, packages, soft things, toys, furniture, each part with a texture of its own."""

from __future__ import annotations

import numpy as np

from unscene.objects.mesh import TexturedMesh, bounds, joined, normalized, rotation, transformed, translation
from unscene.objects.packages import book, carton, case, jar, labelled_box
from unscene.objects.parts import PARTS, Paint, Rng, bottle, can, mug, parcel, vase
from unscene.objects.soft_things import bag, cushion, fruit, plush, shoe
from unscene.objects.things import aeroplane, armchair, creature, house, lamp, stool, table, vehicle
from unscene.objects.vessels import basket, jug, pan, teapot, watering_can


def procedural_object(rng: Rng, texture_size: int = 256) -> TexturedMesh:
    """One object, z up, inside the unit ball: a few parts stacked, side by side, or put together as a known thing.

    The same state of ``rng`` gives the same object. Textures are texture_size texture_size 3 (smaller if plain).
    """
    paint = Paint(rng, texture_size)
    thing = THINGS[rng.choice(len(THINGS), p=np.array(SHARES) / sum(SHARES))](rng, paint)
    turn = rotation(2, rng.uniform(0, 2 * np.pi))
    if rng.random() < 0.2:  # fallen over, or in somebody's hand
        turn = rotation(0, rng.normal(0, 0.5)) @ rotation(1, rng.normal(0, 0.5)) @ turn
    return normalized(transformed(thing, turn))


def _part(rng: Rng, paint: Paint) -> TexturedMesh:
    return PARTS[rng.integers(len(PARTS))](rng, paint)


def _single(rng: Rng, paint: Paint) -> TexturedMesh:
    return _part(rng, paint)


def _stack(rng: Rng, paint: Paint) -> TexturedMesh:
    """Two to four parts upon each other, mostly smaller upwards."""
    parts, height, width = [], 0.0, np.inf
    for _ in range(rng.integers(2, 5)):
        part = transformed(_part(rng, paint), rotation(2, rng.uniform(0, 2 * np.pi)))
        low, high = bounds(part)
        scale = min(1.0, width / max(high[:2] - low[:2]))
        part = transformed(part, np.diag([scale, scale, scale * rng.uniform(0.5, 1), 1]))
        x, y = rng.normal(0, 0.02, 2)
        parts.append(transformed(part, translation(x, y, height - bounds(part)[0][2] - 0.005)))
        height, width = float(bounds(parts[-1])[1][2]), scale * float(max(high[:2] - low[:2])) * rng.uniform(0.6, 1.1)
    return joined(parts)


def _row(rng: Rng, paint: Paint) -> TexturedMesh:
    """Two or three parts on one floor, touching."""
    parts, right = [], 0.0
    for _ in range(rng.integers(2, 4)):
        part = transformed(_part(rng, paint), rotation(2, rng.uniform(0, 2 * np.pi)))
        low, high = bounds(part)
        parts.append(transformed(part, translation(right - low[0] - 0.01, rng.normal(0, 0.08), -low[2])))
        right += float(high[0] - low[0])
    return joined(parts)


def _mirrored(rng: Rng, paint: Paint) -> TexturedMesh:
    """A body with one to three parts on each of its sides, as tools, instruments and toys have them."""
    middle = _part(rng, paint)
    low, high = bounds(middle)
    parts = [middle]
    for _ in range(rng.integers(1, 4)):
        part = transformed(_part(rng, paint), rotation(2, rng.uniform(0, 2 * np.pi)))
        size = rng.uniform(0.25, 0.7)
        part = transformed(part, np.diag([size, size, size, 1]))
        x = rng.uniform(0.7 * low[0], 0.7 * high[0])
        y = high[1] + rng.uniform(-0.6, 0.6) * size * 0.4
        right = transformed(part, translation(x, y, rng.uniform(low[2], 0.7 * high[2])))
        parts += [right, transformed(right, np.diag([1, -1, 1, 1]))]
    return joined(parts)


SIMPLE = (_single, _stack, _row, _mirrored)
VESSELS = (can, bottle, mug, vase, teapot, jug, watering_can, pan, basket)
PACKAGES = (parcel, labelled_box, carton, book, jar, case)
SOFT_THINGS = (cushion, fruit, bag, plush, shoe)
FURNITURE = (table, stool, armchair, lamp, house)
TOYS = (vehicle, aeroplane, creature)
THINGS = (*SIMPLE, *VESSELS, *PACKAGES, *SOFT_THINGS, *FURNITURE, *TOYS)
SHARES = (3, 3, 2, 3, 1, 2, 3, 1, 2, 2, 1, 1, 1, 2, 3, 1, 1, 1, 1, 1, 1, 1, 2, 1, 2, 1, 1, 1, 1, 2, 1, 2)
