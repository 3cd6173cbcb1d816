"""Furniture of the room. Every piece stands on the floor, its front toward -y before the turn. Metres, z up."""

import numpy as np
import room_textures as own_textures
import scene_textures as textures
from scene_meshes import Mesh, box, grid, lathe, merge, pillow, tube
from scene_parts import Part

Piece = tuple[Mesh, np.ndarray | str, bool]  # mesh, skin, smooth


def placed(name, pieces: list[Piece], at, turn) -> list[Part]:
    """Pieces of one thing as parts, turned about z and moved."""
    return [
        Part(f"{name}_{number}", mesh.place(at, turn), skin, smooth=smooth)
        for number, (mesh, skin, smooth) in enumerate(pieces)
    ]


def timber(length, breadth, rng, light="#b5804e", dark="#6d4427") -> np.ndarray:
    """One broad board's grain."""
    return textures.wood(length, breadth, rng, plank=breadth, texels_per_metre=250, light=light, dark=dark)


def bookshelf(at, turn) -> list[Part]:
    """1 m wide, 1.2 m high, with three shelves of books and a globe on top."""
    rng = np.random.default_rng(31)
    width, depth, height, board = 1.0, 0.3, 1.2, 0.03
    levels = [0.05, 0.42, 0.79]
    side = box((board, depth, height))
    shelf = box((width - 2 * board, depth, board))
    boards = merge(
        *(side.place((sign * (width - board) / 2, 0, 0)) for sign in (-1, 1)),
        *(shelf.place((0, 0, level)) for level in [*levels, height - board]),
        box((width, 0.012, height)).place((0, depth / 2, 0)),
    )
    pieces: list[Piece] = [(boards, timber(1.2, 0.3, rng), False)]
    for level in levels:
        pieces += row_of_books(width - 2 * board - 0.02, level + board, rng)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 15)
    globe = lathe(np.stack([0.1 * np.cos(angle), 0.15 + 0.1 * np.sin(angle)], 1))
    foot = lathe([(0, 0), (0.07, 0), (0.07, 0.012), (0.012, 0.02), (0.012, 0.06)])
    pieces += [
        (globe.place((-0.25, 0, height)), textures.peel("#3d7fa6", "#c9a860", rng, pole="#e8e4d4"), True),
        (foot.place((-0.25, 0, height)), "#6d4427", True),
    ]
    return placed("shelf", pieces, at, turn)


def row_of_books(width, level, rng) -> list[Piece]:
    """Upright books of all sizes and colours, `width` metres of them around x = 0, standing at height `level`."""
    grounds = ["#8e2f2b", "#24525a", "#d09a35", "#3b3a52", "#5c7a4a", "#b9653a", "#e0d3b4", "#2f4f86", "#6e4a6a"]
    inks = ["#ecd9a8", "#d9b36a", "#2a2522", "#f3ead0", "#c9d6c0", "#f0d8a8", "#8e2f2b", "#efc14a", "#e6dccb"]
    pieces, left = [], -width / 2
    while (thickness := rng.uniform(0.03, 0.065)) < width / 2 - left:
        if rng.random() < 0.07:  # a gap
            left += thickness
            continue
        tall, deep = rng.uniform(0.22, 0.31), rng.uniform(0.17, 0.21)
        pick = rng.integers(len(grounds))
        spine = textures.book_spine(grounds[pick], inks[pick], rng).transpose(1, 0, 2)
        book = box((thickness - 0.003, deep, tall), "y").place((left + thickness / 2, -0.02, level))
        pieces.append((book, spine, False))
        left += thickness
    return pieces


def sofa(at, turn) -> list[Part]:
    """1.7 m wide, upholstered in checks, with three cushions."""
    rng = np.random.default_rng(32)
    lines = [(0.25, 0.06, "#e8d9b0"), (0.7, 0.1, "#3d5a44"), (0.5, 0.03, "#c4472f")]
    cloth = own_textures.tartan(0.8, 0.8, "#a8763f", lines, rng)
    wide = own_textures.tartan(1.5, 0.6, "#a8763f", lines, rng)
    seat = pillow((0.68, 0.62, 0.2), 0.25)
    pieces: list[Piece] = [
        (box((1.6, 0.66, 0.24)).place((0, 0, 0.06)), wide, False),
        (pillow((1.5, 0.2, 0.62), 0.25).place((0, 0.3, 0.24)), wide, True),
        *((seat.place((x, -0.05, 0.26)), cloth, True) for x in (-0.345, 0.345)),
        *((pillow((0.2, 0.76, 0.56), 0.25).place((x, 0, 0.05)), cloth, True) for x in (-0.78, 0.78)),
    ]
    cushions = [
        (-0.5, 10, own_textures.dots("#2c5d63", ["#e6b04a", "#e9e0c6"], rng)),
        (0.12, -6, own_textures.stripes(["#c4472f", "#efe2c2", "#e0a23c"], rng, 3)),
        (0.5, -14, own_textures.dots("#efe2c2", ["#a8383a", "#48705a"], rng, 4, 4)),
    ]
    cushion = pillow((0.38, 0.36, 0.14), 0.55).place(tilt=68)
    feet = merge(*(box((0.06, 0.06, 0.07)).place((x, y, 0)) for x in (-0.7, 0.7) for y in (-0.3, 0.3)))
    pieces += [(cushion.place((x, 0.12, 0.62), lean), skin, True) for x, lean, skin in cushions]
    return placed("sofa", [*pieces, (feet, "#3f2817", False)], at, turn)


def sideboard(at, turn) -> list[Part]:
    """A cupboard 1.3 m wide and 0.72 m high on feet, with a jug, a bowl and a picture on it."""
    rng = np.random.default_rng(33)
    width, depth, height = 1.3, 0.38, 0.72
    body = box((width, depth, height - 0.1), "xz").place((0, 0, 0.08))
    front = box((width - 0.02, 0.01, height - 0.13), "y").place((0, -depth / 2 - 0.004, 0.09))
    top = box((width + 0.06, depth + 0.04, 0.03)).place((0, 0, height - 0.03))
    feet = merge(*(box((0.06, 0.06, 0.08)).place((x, y, 0)) for x in (-0.6, 0.6) for y in (-0.14, 0.14)))
    jug = lathe(
        [(0, 0), (0.06, 0), (0.085, 0.06), (0.07, 0.15), (0.045, 0.2), (0.055, 0.24), (0.048, 0.235), (0.03, 0.2)]
    )
    bowl = lathe([(0, 0), (0.05, 0), (0.13, 0.06), (0.15, 0.1), (0.14, 0.095), (0.05, 0.02), (0, 0.015)])
    jug_skin = textures.bands(["#2f5f86", "#efe3c6", "#2f5f86", "#efe3c6", "#c9762e"], [0.2, 0.3, 0.5, 0.6], rng)
    bowl_skin = textures.bands(["#c9762e", "#efe3c6", "#8a3f22", "#e0a23c"], [0.25, 0.35, 0.55], rng)
    picture = box((0.42, 0.02, 0.5), "y").place(tilt=-10).place((0.3, 0.1, height))
    return placed("sideboard", [
        (body, timber(1.3, 0.4, rng, "#a86f3f", "#6b3f20"), False),
        (front, own_textures.doors(width, height - 0.13, 3, rng), False),
        (top, timber(1.3, 0.4, rng, "#8a5a34", "#4f2f1a"), False),
        (feet, "#3f2817", False),
        (jug.place((-0.45, 0, height)), jug_skin, True),
        (bowl.place((-0.1, -0.02, height)), bowl_skin, True),
        (picture, textures.painting(rng), False),
    ], at, turn)  # fmt: skip


def chair(at, turn) -> list[Part]:
    """A wooden chair with a woven seat and three slats in its back."""
    rng = np.random.default_rng(34)
    front = tube([(0, 0), (0, 0.15), (0, 0.3), (0, 0.43)], [0.018, 0.02, 0.022, 0.02])
    rear = tube([(0, 0), (0, 0.3), (0.01, 0.55), (0.05, 0.9)], [0.018, 0.022, 0.02, 0.016]).place(turn=90)
    rails = [
        (box((0.38, 0.016, 0.07)).place((0, 0.19 + lean, level)))
        for level, lean in ((0.55, 0.01), (0.67, 0.02), (0.79, 0.035))
    ]
    rungs = [box((0.38, 0.02, 0.025)).place((0, y, 0.18)) for y in (-0.19, 0.19)]
    rungs += [box((0.02, 0.38, 0.025)).place((x, 0, 0.25)) for x in (-0.19, 0.19)]
    legs = merge(*(leg.place((x, y, 0)) for leg, y in ((front, -0.19), (rear, 0.19)) for x in (-0.19, 0.19)))
    return placed("chair", [
        (legs, timber(0.5, 0.2, rng, "#3d6a72", "#2a4a55"), True),
        (merge(*rails, *rungs), own_textures.dots("#3d6a72", ["#e6b04a", "#e9e0c6"], rng, 6, 1), False),
        (pillow((0.42, 0.42, 0.05), 0.2).place((0, 0, 0.42)), own_textures.wicker(rng, 14, 14, 280, 280), True),
    ], at, turn)  # fmt: skip


def lamp_table(at, turn) -> list[Part]:
    """A round table of one turned leg, under a cloth, with a lamp."""
    rng = np.random.default_rng(35)
    leg = lathe([(0, 0), (0.17, 0), (0.17, 0.03), (0.05, 0.06), (0.04, 0.2), (0.06, 0.3), (0.035, 0.4), (0.06, 0.53)])
    top = lathe([(0, 0.53), (0.27, 0.53), (0.28, 0.545), (0.27, 0.56), (0, 0.56)])
    angle, drop = np.meshgrid(np.linspace(0, 2 * np.pi, 181), np.linspace(0, 1, 12))
    fold = 0.012 * drop * np.cos(14 * angle)
    ring = np.stack([(0.285 + fold) * np.cos(angle), (0.285 + fold) * np.sin(angle), 0.38 + 0.185 * (1 - drop)], -1)
    skirt = grid(ring[::-1])
    cover = lathe([(0.285, 0.565), (0.2, 0.566), (0.1, 0.566), (0, 0.566)])
    foot = lathe([(0, 0.566), (0.08, 0.566), (0.09, 0.6), (0.05, 0.68), (0.075, 0.76), (0.02, 0.84), (0.012, 0.9)])
    shade = lathe([(0.17, 0.88), (0.14, 0.96), (0.1, 1.08)])
    return placed("table", [
        (leg, timber(0.6, 0.3, rng), True),
        (top, timber(0.6, 0.5, rng), True),
        (skirt, own_textures.dots("#efe6d0", ["#a8383a", "#2f5f86"], rng, 18, 2), True),
        (cover, own_textures.stripes(["#efe6d0", "#d8c49a"], rng, 3, "v"), True),
        (foot, textures.bands(["#2f6f6b", "#efe3c6", "#3d857f"], [0.3, 0.45], rng), True),
        (shade, own_textures.stripes(["#f2dfae", "#d98f4a"], rng, 10), True),
    ], at, turn)  # fmt: skip


def plant(at, turn) -> list[Part]:
    """Long leaves that arch out of a glazed pot."""
    rng = np.random.default_rng(36)
    side = [(0.12, 0), (0.15, 0.12), (0.175, 0.26), (0.185, 0.29)]
    pot = lathe([(0, 0), (0.12, 0), *side, (0.185, 0.29), (0.165, 0.29), (0.155, 0.25), (0.155, 0.25), (0, 0.25)])
    glaze = textures.bands(["#2d6a73", "#e6d6b0", "#2d6a73", "#c9762e"], [0.3, 0.38, 0.6], rng)
    pieces: list[Piece] = [(pot, glaze, True)]
    for number in range(26):
        reach, rise = rng.uniform(0.2, 0.42), rng.uniform(0.35, 0.85)
        if number % 3 == 0:
            reach, rise = rng.uniform(0.05, 0.2), rng.uniform(0.75, 1.0)
        along = np.linspace(0, 1, 20)
        x, z = reach * along**1.6 + 0.03, 0.25 + rise * along - 0.35 * reach * along**4 * 2
        half = 0.042 * np.sin(np.pi * np.clip(along * 0.93 + 0.07, 0, 1)) ** 0.7 + 0.002
        blade = np.stack([np.stack([x, s * half, z + 0.25 * half * abs(s)], -1) for s in (-1, -0.5, 0, 0.5, 1)])
        both_sides = merge(grid(blade), grid(blade[::-1] - (0, 0, 0.002)))  # for the albedo, parts glow in front only
        turned = both_sides.place(turn=137.5 * number + rng.uniform(-15, 15))
        tint = ["#3f7a3d", "#4f8a46", "#2f6a4a"][number % 3]
        pieces.append((turned, own_textures.leaf(rng, tint), True))
    return placed("plant", pieces, at, turn)


def boxes(at, turn) -> list[Part]:
    """Three crates, one on the others."""
    rng = np.random.default_rng(37)
    crates = [
        ((0.46, 0.36, 0.34), (-0.14, 0, 0), 6, "#b98a55"),
        ((0.36, 0.34, 0.28), (0.32, -0.03, 0), -12, "#8d9a6a"),
        ((0.36, 0.3, 0.26), (-0.06, 0.02, 0.34), -16, "#c07a5a"),
    ]
    return placed("crate", [
        (box(size).place(where, lean), own_textures.crate(rng, tint), False) for size, where, lean, tint in crates
    ], at, turn)  # fmt: skip


def curtain(width, height, skin, at, turn) -> list[Part]:
    """A curtain in even folds, from the floor up."""
    s, z = np.meshgrid(np.linspace(-0.5, 0.5, 160) * width, np.linspace(0.02, height, 12))
    fold = 0.035 * np.sin(2 * np.pi * s / 0.13) * (1 + 0.15 * np.sin(3 * z + 9 * s))
    return placed("curtain", [(grid(np.stack([s, fold, z], -1)), skin, True)], at, turn)


def door(width, height, at, turn) -> list[Part]:
    """A closed door in its frame."""
    rng = np.random.default_rng(38)
    leaf = box((width, 0.04, height), "y").place((0, -0.02, 0))
    post = box((0.09, 0.06, height + 0.09))
    frame = merge(*(post.place((side * (width / 2 + 0.045), -0.03, 0)) for side in (-1, 1)))
    return placed("door", [
        (leaf, own_textures.door(width, height, rng), False),
        (frame, timber(2.1, 0.1, rng, "#e5dcc2", "#b7a684"), False),
    ], at, turn)  # fmt: skip


def pouf(at, turn) -> list[Part]:
    """A round stuffed seat of leather sectors, 0.3 m high."""
    rng = np.random.default_rng(39)
    outline = [(0, 0.01), (0.16, 0.01), (0.24, 0.08), (0.255, 0.15), (0.24, 0.22), (0.16, 0.29), (0, 0.3)]
    skin = own_textures.stripes(["#c98a3f", "#7d3b2a", "#e0c48a", "#3d6a72"], rng, 3)
    return placed("pouf", [(lathe(outline), skin, True)], at, turn)
