"""Objects at random: cans, mugs, bottles, parcels, toys, furniture, each part with a texture of its own."""

from __future__ import annotations

import numpy as np

from unscene.objects.mesh import TexturedMesh, bounds, joined, normalized, rotation, transformed, translation
from unscene.objects.parts import PARTS, Paint, bottle, can, mug, parcel, vase
from unscene.objects.shapes import box, extruded, superellipsoid, turned

Rng = np.random.Generator


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


def _table(rng: Rng, paint: Paint) -> TexturedMesh:
    """A slab on four legs, at times with a back: table, stool or chair."""
    width, depth, height, slab = rng.uniform(0.5, 1.2), rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.8), 0.06
    top, edge, leg = paint.main(), paint.plain(), paint.other()
    side = rng.uniform(0.03, 0.08)
    parts = [transformed(box(np.array([width, depth, slab]), [edge] * 4 + [top, edge]), translation(0, 0, height))]
    turned_leg = turned(np.array([(0.6 * side, 0), (side, height)]), leg, leg)
    legs = turned_leg if rng.random() < 0.5 else box(np.array([side, side, height]), [leg])
    for x in (-1, 1):
        for y in (-1, 1):
            parts.append(transformed(legs, translation(x * (width / 2 - side), y * (depth / 2 - side), 0)))
    if rng.random() < 0.4:
        back = box(np.array([width, slab, rng.uniform(0.3, 0.7)]), [paint.main()])
        parts.append(transformed(back, translation(0, (depth - slab) / 2, height + slab - 0.005)))
    return joined(parts)


def _house(rng: Rng, paint: Paint) -> TexturedMesh:
    width, depth, height, ridge = rng.uniform(0.5, 1), rng.uniform(0.5, 1), rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.5)
    sides = [paint.main(), paint.other(), paint.main(), paint.other(), *[paint.plain()] * 2]
    walls = box(np.array([width, depth, height]), sides)
    gable, tiles = paint.other(), paint.pattern()
    outline = np.array([(-0.55 * depth, 0), (0.55 * depth, 0), (0, ridge)])
    lying = extruded(outline, width * 1.1, [paint.plain(), tiles, tiles], gable)
    # the prism's axis z to x, its outline's x to y and y to z
    matrix = np.array([[0, 0, 1, -0.55 * width], [1, 0, 0, 0], [0, 1, 0, height - 0.005]])
    parts = [walls, transformed(lying, matrix)]
    if rng.random() < 0.4:
        chimney = box(np.array([0.1, 0.1, 0.8 * ridge]), [paint.other()])
        parts.append(transformed(chimney, translation(0.25 * width, 0.12 * depth, height + 0.5 * ridge)))
    return joined(parts)


def _vehicle(rng: Rng, paint: Paint) -> TexturedMesh:
    """A body, a cabin and four wheels."""
    length, width, height = rng.uniform(0.9, 1.5), rng.uniform(0.4, 0.6), rng.uniform(0.2, 0.5)
    side, end, roof, tyre, hub = paint.main(), paint.other(), paint.plain(), paint.plain(), paint.plain()
    cabin_side = paint.other()
    radius = rng.uniform(0.1, 0.18)
    body = box(np.array([length, width, height]), [end, side, end, side, roof, roof])
    extent = np.array([length * rng.uniform(0.25, 0.6), 0.9 * width, rng.uniform(0.15, 0.45)])
    if rng.random() < 0.5:
        cabin = box(extent, [cabin_side] * 4 + [roof] * 2)
    else:
        cabin = superellipsoid(extent, (0.4, 0.3), cabin_side)
    along = rng.uniform(-0.5, 0.5) * (length - extent[0])
    parts = [
        transformed(body, translation(0, 0, radius)),
        transformed(cabin, translation(along, 0, radius + height - 0.01)),
    ]
    wheel = turned(np.array([(radius, -0.05), (radius, 0.05)]), tyre, hub)
    for x in (-0.32, 0.32):
        for y in (-1, 1):
            upright = transformed(wheel, rotation(0, np.pi / 2))
            parts.append(transformed(upright, translation(x * length, y * (width / 2 + 0.02), radius)))
    return joined(parts)


def _lamp(rng: Rng, paint: Paint) -> TexturedMesh:
    """A foot, a pole and a shade; or, with the shade turned over, a goblet."""
    foot, pole, height = rng.uniform(0.2, 0.35), rng.uniform(0.02, 0.05), rng.uniform(0.5, 1)
    metal, cloth = paint.other(), paint.main()
    lower, upper, shade = rng.uniform(0.25, 0.5), rng.uniform(0.1, 0.35), rng.uniform(0.25, 0.5)
    stand = np.array([(foot, 0), (foot, 0.04), (pole * 1.5, 0.08), (pole, 0.12), (pole, height)])
    top = turned(np.array([(lower, height - 0.02), (upper, height + shade)]), cloth, paint.plain())
    return joined([turned(stand, metal, metal), top])


def _creature(rng: Rng, paint: Paint) -> TexturedMesh:
    """A body on legs with a head and ears, of blobs."""
    skin = paint.other()
    extent = np.array([rng.uniform(0.6, 1), rng.uniform(0.35, 0.5), rng.uniform(0.3, 0.5)])
    leg, head = rng.uniform(0.2, 0.5), rng.uniform(0.25, 0.4)
    roundness = (rng.uniform(0.6, 1), rng.uniform(0.6, 1))
    parts = [transformed(superellipsoid(extent, roundness, paint.main()), translation(0, 0, leg - 0.05))]
    face = superellipsoid(np.full(3, head), roundness, skin)
    parts.append(transformed(face, translation(extent[0] / 2, 0, leg + 0.5 * extent[2])))
    limb = turned(np.array([(0.07, 0), (0.06, leg * 0.5), (0.08, leg + 0.1)]), skin, skin)
    ear = turned(np.array([(0.07, 0), (0.0, rng.uniform(0.12, 0.3))]), skin, skin)
    for y in (-1, 1):
        parts += [transformed(limb, translation(x * extent[0], y * 0.3 * extent[1], 0)) for x in (-0.28, 0.28)]
        parts.append(transformed(ear, translation(extent[0] / 2, y * 0.3 * head, leg + 0.5 * extent[2] + 0.85 * head)))
    return joined(parts)


THINGS = (_single, _stack, _row, parcel, can, bottle, mug, vase, _table, _house, _vehicle, _lamp, _creature)
SHARES = (4, 6, 3, 2, 1, 2, 3, 1, 2, 2, 2, 2, 2)
