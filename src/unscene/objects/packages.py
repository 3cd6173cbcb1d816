"""What goods come in: boxes with labels and tape, milk cartons, books, jars, cases with a handle."""

from __future__ import annotations

import numpy as np

from unscene.objects.lettering import lettering
from unscene.objects.mesh import TexturedMesh, joined, transformed, translation
from unscene.objects.parts import Paint, Rng
from unscene.objects.shapes import box, extruded, quad, superellipsoid, turned
from unscene.objects.vessels import overhead_handle

RAISED = 0.004  # what is stuck on lies so far above the surface


def labelled_box(rng: Rng, paint: Paint) -> TexturedMesh:
    """A plain box with labels on some of its faces, and at times tape along the top."""
    extent = rng.uniform(0.3, 1, 3)
    x, y, z = extent
    board = paint.other()
    parts = [box(extent, [board])]
    # lower left corner, to the right and up, seen from outside, of +x, -y, -x and +y
    faces = [
        (np.array([x / 2 + RAISED, -y / 2, 0]), np.array([0, y, 0])),
        (np.array([-x / 2, -y / 2 - RAISED, 0]), np.array([x, 0, 0])),
        (np.array([-x / 2 - RAISED, y / 2, 0]), np.array([0, -y, 0])),
        (np.array([x / 2, y / 2 + RAISED, 0]), np.array([-x, 0, 0])),
    ]
    label = lettering(paint.size, rng)
    for index in rng.permutation(4)[: rng.integers(1, 4)]:
        corner, right = faces[index]
        up = np.array([0, 0, z])
        wide, high = rng.uniform(0.35, 0.9, 2)
        left, low = rng.uniform(0.05, 0.95 - wide), rng.uniform(0.05, 0.95 - high)
        parts.append(quad(corner + left * right + low * up, wide * right, high * up, label))
        label = label if rng.random() < 0.6 else lettering(paint.size, rng)
    if rng.random() < 0.5:
        width = rng.uniform(0.08, 0.2) * y
        corner = np.array([-x / 2, -width / 2, z + RAISED])
        parts.append(quad(corner, np.array([x, 0, 0]), np.array([0, width, 0]), paint.plain()))
    return joined(parts)


def carton(rng: Rng, paint: Paint) -> TexturedMesh:
    """A milk carton: a tall box with a gable and its fin."""
    width, depth, height, ridge = (
        rng.uniform(0.3, 0.5),
        rng.uniform(0.3, 0.5),
        rng.uniform(0.6, 1),
        rng.uniform(0.1, 0.3),
    )
    front, side, paper = paint.main(), paint.other(), paint.plain()
    back = front if rng.random() < 0.6 else paint.main()
    body = box(np.array([width, depth, height]), [side, back, side, front, paper, paper])
    outline = np.array([(-depth / 2, 0), (depth / 2, 0), (0, ridge)])
    roof = extruded(outline, width, [paper, side, side], side)
    matrix = np.array([[0, 0, 1, -width / 2], [1, 0, 0, 0], [0, 1, 0, height - 0.003]])
    fin = transformed(box(np.array([width, 0.02, 0.12]), [paper]), translation(0, 0, height + 0.9 * ridge))
    return joined([body, transformed(roof, matrix), fin])


def book(rng: Rng, paint: Paint) -> TexturedMesh:
    """Covers around a block of paper, standing or lying."""
    width, height, thickness, board = rng.uniform(0.5, 0.8), rng.uniform(0.7, 1.1), rng.uniform(0.06, 0.3), 0.02
    cover, spine = paint.main(), paint.other()
    back = paint.main() if rng.random() < 0.5 else spine
    paper = np.full((4, 4, 3), int(rng.integers(215, 250)), np.uint8)
    block = transformed(box(np.array([width - 0.05, thickness, height - 0.05]), [paper]), translation(0, 0, 0.025))
    front = transformed(box(np.array([width, board, height]), [cover]), translation(0, -(thickness + board) / 2, 0))
    rear = transformed(box(np.array([width, board, height]), [back]), translation(0, (thickness + board) / 2, 0))
    bound = box(np.array([board, thickness + 2 * board, height]), [spine])
    whole = joined([block, front, rear, transformed(bound, translation(-width / 2, 0, 0))])
    if rng.random() < 0.5:
        return whole
    # its back to the ground
    return transformed(whole, np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]]))


def jar(rng: Rng, paint: Paint) -> TexturedMesh:
    """Glass with a label around it and a lid."""
    radius, height = rng.uniform(0.25, 0.4), rng.uniform(0.4, 0.9)
    glass, label, lid = paint.plain(), paint.main(), paint.other()
    neck = radius * rng.uniform(0.7, 0.95)
    body = np.array([(0.93 * radius, 0), (radius, 0.06), (radius, 0.8 * height), (neck, 0.95 * height), (neck, height)])
    band = np.array([(1.01 * radius, 0.18 * height), (1.01 * radius, 0.7 * height)])
    cap = np.array([(1.06 * neck, height - 0.02), (1.06 * neck, height + rng.uniform(0.06, 0.15))])
    return joined([turned(body, glass, glass), turned(band, label, glass), turned(cap, lid, lid)])


def case(rng: Rng, paint: Paint) -> TexturedMesh:
    """A suitcase, toaster or handbag: a rounded box with a handle on top."""
    extent = np.array([rng.uniform(0.3, 0.55), rng.uniform(0.7, 1.1), rng.uniform(0.4, 0.8)])
    shell = superellipsoid(extent, (rng.uniform(0.15, 0.5), rng.uniform(0.15, 0.5)), paint.main())
    rise = rng.uniform(0.1, 0.25)
    return joined([shell, overhead_handle(rng, 0.2 * extent[1], 0.97 * extent[2], rise, paint.other())])
