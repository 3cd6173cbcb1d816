"""Furniture, houses, vehicles, lamps and animals, each of several parts."""

from __future__ import annotations

import numpy as np

from unscene.objects.mesh import TexturedMesh, joined, rotation, transformed, translation
from unscene.objects.parts import Paint, Rng
from unscene.objects.shapes import box, extruded, superellipsoid, tube, turned


def table(rng: Rng, paint: Paint) -> TexturedMesh:
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


def house(rng: Rng, paint: Paint) -> TexturedMesh:
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


def vehicle(rng: Rng, paint: Paint) -> TexturedMesh:
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


def lamp(rng: Rng, paint: Paint) -> TexturedMesh:
    """A foot, a pole and a shade; or, with the shade turned over, a goblet."""
    foot, pole, height = rng.uniform(0.2, 0.35), rng.uniform(0.02, 0.05), rng.uniform(0.5, 1)
    metal, cloth = paint.other(), paint.main()
    lower, upper, shade = rng.uniform(0.25, 0.5), rng.uniform(0.1, 0.35), rng.uniform(0.25, 0.5)
    stand = np.array([(foot, 0), (foot, 0.04), (pole * 1.5, 0.08), (pole, 0.12), (pole, height)])
    top = turned(np.array([(lower, height - 0.02), (upper, height + shade)]), cloth, paint.plain())
    return joined([turned(stand, metal, metal), top])


def creature(rng: Rng, paint: Paint) -> TexturedMesh:
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
    if rng.random() < 0.7:
        along = np.linspace(0, 1, 10)[:, None]
        root = np.array([-0.48 * extent[0], 0, leg + 0.5 * extent[2]])
        bend = np.array([0, 0, rng.uniform(-0.5, 0.7)]) * along**2
        tail = root + np.array([-rng.uniform(0.2, 0.5), 0, 0.05]) * along + bend
        parts.append(tube(tail, np.linspace(rng.uniform(0.04, 0.09), 0.03, 10), skin))
    return joined(parts)


def stool(rng: Rng, paint: Paint) -> TexturedMesh:
    """A round or square seat on three or four splayed legs, at times with a ring between them."""
    radius, height, thick = rng.uniform(0.3, 0.45), rng.uniform(0.4, 0.9), rng.uniform(0.05, 0.15)
    seat, wood = paint.main(), paint.other()
    columns = int(rng.choice([4, 48, 48]))
    top = turned(np.array([(radius, height), (radius, height + thick)]), seat, seat, columns)
    count, splay = int(rng.integers(3, 5)), rng.uniform(0.0, 0.2)
    leg = np.array([(0.75 * radius + splay, 0, 0), (0.75 * radius, 0, height)])
    path = leg[0] + np.linspace(0, 1, 4)[:, None] * (leg[1] - leg[0])
    thickness = rng.uniform(0.02, 0.05)
    parts = [top]
    for index in range(count):
        turn = rotation(2, 2 * np.pi * index / count + np.pi / 4)
        parts.append(transformed(tube(path, np.full(4, thickness), wood), turn))
    if rng.random() < 0.4:
        around = np.linspace(0, 2 * np.pi, 4 * count + 1)
        reach = 0.75 * radius + 0.6 * splay
        ring = np.stack([reach * np.cos(around), reach * np.sin(around), np.full_like(around, 0.4 * height)], -1)
        parts.append(tube(ring, np.full(len(around), 0.8 * thickness), wood))
    return joined(parts)


def armchair(rng: Rng, paint: Paint) -> TexturedMesh:
    """Upholstery on short legs: a seat, a back and two arms."""
    width, depth, seat = rng.uniform(0.6, 1.3), rng.uniform(0.5, 0.7), rng.uniform(0.25, 0.4)
    cloth, legs = paint.main(), paint.plain()
    roundness = (rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5))
    foot = rng.uniform(0.03, 0.15)
    back = superellipsoid(np.array([width, 0.2, rng.uniform(0.6, 1.0)]), roundness, cloth)
    arm = superellipsoid(np.array([0.18, depth, seat + rng.uniform(0.1, 0.25)]), roundness, cloth)
    parts = [
        transformed(superellipsoid(np.array([width, depth, seat]), roundness, cloth), translation(0, 0, foot)),
        transformed(back, translation(0, depth / 2, foot)),
    ]
    stump = box(np.array([0.05, 0.05, foot + 0.05]), [legs])
    for side in (-1, 1):
        parts.append(transformed(arm, translation(side * width / 2, 0, foot)))
        parts += [transformed(stump, translation(side * 0.42 * width, end * 0.4 * depth, 0)) for end in (-1, 1)]
    return joined(parts)


def aeroplane(rng: Rng, paint: Paint) -> TexturedMesh:
    """A fuselage with two wings and a tail, standing on its wheels."""
    length, thick = rng.uniform(1.0, 1.5), rng.uniform(0.15, 0.3)
    skin, wing_paint, plain = paint.main(), paint.other(), paint.plain()
    height = thick * rng.uniform(0.8, 1.2)
    fuselage = superellipsoid(np.array([length, thick, thick]), (1.0, rng.uniform(0.5, 1.0)), skin)
    span, chord = rng.uniform(0.4, 0.75), rng.uniform(0.18, 0.35)
    sweep = rng.uniform(-0.3, 0.1)
    outline = np.array([(-chord / 2, 0), (chord / 2, 0), (chord / 4 + sweep, span), (-chord / 4 + sweep, span)])
    parts = [transformed(fuselage, translation(0, 0, height))]
    for scale, along, up in ((1.0, 0.05 * length, 0.4), (0.45, -0.42 * length, 0.6)):
        for side in (-1, 1):
            half = extruded(outline * scale, 0.03, [plain], wing_paint)
            place = translation(along, side * 0.3 * thick * scale, height + up * thick)
            parts.append(transformed(half, place @ np.diag([1, side, 1, 1])))
    fin = np.array([(-0.1, 0), (0.08, 0), (-0.04, 0.3), (-0.12, 0.3)])
    upright = np.array([[1, 0, 0, -0.4 * length], [0, 0, 1, -0.015], [0, 1, 0, height + 0.6 * thick]])
    parts.append(transformed(extruded(fin, 0.03, [plain], wing_paint), upright))
    wheel = turned(np.array([(0.07, -0.03), (0.07, 0.03)]), plain, plain)
    for along, across in ((0.3, 0), (-0.05, -0.25), (-0.05, 0.25)):
        place = translation(along * length, across, 0.07) @ rotation(0, np.pi / 2)
        parts.append(transformed(wheel, place))
        leg = np.linspace((along * length, across, 0.07), (along * length, 0.5 * across, height + 0.4 * thick), 3)
        parts.append(tube(leg, np.full(3, 0.018), plain))
    return joined(parts)
