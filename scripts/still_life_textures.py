"""Procedural textures of the still life: `H W 3` float32 sRGB arrays in [0, 1], row 0 at v = 0.

Everything is drawn from smooth value noise and analytic patterns. Details stay above a centimetre or so: the views
resolve about 3 mm per pixel, and finer patterns would alias instead of adding texture.
"""

import cv2
import numpy as np


def colour(hex_code: str) -> np.ndarray:
    """`#rrggbb` as three floats in [0, 1]."""
    return np.array([int(hex_code[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255


def mix(a, b, amount):
    """Blend colours (or images) `a` and `b`; `amount` is `H W`, 0 gives `a`, 1 gives `b`."""
    amount = np.clip(amount, 0, 1)[..., None]
    return a * (1 - amount) + b * amount


def smoothstep(low, high, x):
    """Smooth ramp from 0 at `low` to 1 at `high`; falls instead where `low > high`."""
    x = np.clip((x - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)


def noise(shape, cell, rng, octaves=1):
    """Fractal value noise of about unit amplitude; `cell` is the (rows, columns) size of a coarsest bump in texels."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows, columns = (max(c / 2**octave, 1) for c in np.broadcast_to(cell, 2))
        lattice = rng.uniform(-1, 1, (int(shape[0] / rows) + 4, int(shape[1] / columns) + 4)).astype(np.float32)
        size = (int(lattice.shape[1] * columns), int(lattice.shape[0] * rows))
        bumps = cv2.resize(lattice, size, interpolation=cv2.INTER_CUBIC)
        row, column = (rng.integers(0, n - m + 1) for n, m in zip(bumps.shape, shape, strict=True))
        total += bumps[row : row + shape[0], column : column + shape[1]] * 0.55**octave
    return total


def pixel_grid(height, width):
    """Row and column coordinates of the texel centres, in [0, 1]."""
    return np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")


def wood(length, breadth, rng, plank=0.15, texels_per_metre=500, light="#bd8d60", dark="#6e472b"):
    """Planks running along u, each cut from its own log: noise-warped rings, fibres, seams and staggered ends."""
    height, width = round(breadth * texels_per_metre), round(length * texels_per_metre)
    image = np.empty((height, width, 3), np.float32)
    rows_per_plank = round(plank * texels_per_metre)
    for top in range(0, height, rows_per_plank):
        rows = min(rows_per_plank, height - top)
        joint = round(rng.uniform(0.15, 0.85) * width)
        for left, right in ((0, joint), (joint, width)):
            image[top : top + rows, left:right] = _plank(rows, right - left, texels_per_metre, rng, light, dark)
    return image


def _plank(rows, columns, texels_per_metre, rng, light, dark):
    across = (np.arange(rows)[:, None] + 0.5) / texels_per_metre
    along = (np.arange(columns)[None] + 0.5) / texels_per_metre
    warp = noise((rows, columns), (60, 260), rng, octaves=3)
    pith = rng.uniform(0.0, 0.15)
    depth = rng.uniform(0.02, 0.06) + rng.uniform(-0.06, 0.06) * (along - along.mean()) + 0.022 * warp
    ring = np.hypot(across - pith, depth) / 0.016 + 0.25 * warp
    ring = ring - np.floor(ring)
    late_wood = smoothstep(0.35, 0.85, ring) * smoothstep(1.0, 0.88, ring)
    fibre = noise((rows, columns), (5, 110), rng, octaves=2)
    stain = noise((rows, columns), (90, 240), rng, octaves=2)
    tone = rng.uniform(-0.1, 0.16)
    image = mix(colour(light), colour(dark), 0.2 + tone + 0.55 * late_wood + 0.13 * fibre + 0.13 * stain)
    seam = np.minimum(np.minimum(across, across[::-1]), np.minimum(along, along[:, ::-1]))
    return mix(image, colour("#38200f"), 0.85 * smoothstep(0.0045, 0.001, seam))


def wall(width, height, rng, tile=0.085, rows=2, texels_per_metre=500):
    """Glazed tiles, a patterned border row and plaster above; row 0 is the table's height, v grows upward."""
    shape = round(height * texels_per_metre), round(width * texels_per_metre)
    z, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / texels_per_metre
    cloud = noise(shape, (70, 90), rng, octaves=4)
    trowel = noise(shape, (14, 42), rng, octaves=2)
    image = mix(colour("#e6d2ab"), colour("#c09a66"), 0.42 + 0.34 * cloud + 0.16 * trowel)
    column, row = (x / tile).astype(int), (z / tile).astype(int)
    glazed = _glaze(column, row, shape, rng)
    border = _border_motif(2 * (x / tile - column) - 1, 2 * (z / tile - row) - 1, column)
    glazed = np.where((row == rows)[..., None], border * (1 + 0.07 * cloud[..., None]), glazed)
    edge = np.minimum(np.minimum(x % tile, tile - x % tile), np.minimum(z % tile, tile - z % tile))
    grout = colour("#b9a68a") * (1 + 0.12 * trowel[..., None])
    glazed = glazed * (0.88 + 0.12 * smoothstep(0.002, 0.012, edge))[..., None]
    glazed = mix(grout, glazed, smoothstep(0.0022, 0.0042, edge))
    top = tile * (rows + 1)
    rail = mix(colour("#7c4a2c"), colour("#a8693f"), 0.5 + 0.5 * trowel)
    image = np.where((z < top + 0.018)[..., None], rail, image)
    return np.clip(np.where((z < top)[..., None], glazed, image), 0, 1)


def _glaze(column, row, shape, rng):
    """Each tile has a glaze from a small palette, clouded a little, as hand-dipped ones are."""
    palette = np.stack([colour(c) for c in ("#5f9a8c", "#8bb5a2", "#47827c", "#e2dcc4", "#6fa79b", "#a9c4ae")])
    pick = rng.integers(0, len(palette), (row.max() + 1, column.max() + 1))
    tint = rng.uniform(0.9, 1.08, pick.shape)
    cloud = noise(shape, 18, rng, octaves=2)
    return palette[pick[row, column]] * (tint[row, column] + 0.07 * cloud)[..., None]


def _border_motif(a, b, column):
    """Star flowers and diamonds in turn, in tile coordinates `a`, `b` in [-1, 1]."""
    radius, angle = np.hypot(a, b), np.arctan2(b, a)
    cream, blue, ochre, red = (colour(c) for c in ("#efe3c6", "#2f5f86", "#d99a34", "#b4532f"))
    petals = smoothstep(0.04, -0.04, radius - (0.55 + 0.3 * np.cos(4 * angle)))
    flower = mix(mix(cream, blue, petals), ochre, smoothstep(0.33, 0.26, radius))
    corner = smoothstep(0.5, 0.42, np.hypot(np.abs(a) - 1, np.abs(b) - 1))
    flower = mix(flower, red, corner)
    diamond = np.abs(a) + np.abs(b)
    rhombus = mix(mix(cream, red, smoothstep(0.95, 0.87, diamond)), cream, smoothstep(0.62, 0.54, diamond))
    rhombus = mix(rhombus, blue, smoothstep(0.36, 0.28, diamond))
    return np.where((column % 2 == 0)[..., None], flower, rhombus)


def gingham(length, breadth, rng, check=0.028, texels_per_metre=800):
    """Checked cotton: two dyed thread directions that cross, a contrast stripe near the hem, uneven dye."""
    shape = round(breadth * texels_per_metre), round(length * texels_per_metre)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / texels_per_metre
    x = x + 0.0012 * noise(shape, 60, rng)
    y = y + 0.0012 * noise(shape, 60, rng)

    def dyed(t):
        phase = np.abs(t / check % 2 - 1)
        return smoothstep(0.42, 0.58, phase)

    threads = 0.5 * (dyed(x) + dyed(y)) + 0.05 * noise(shape, 7, rng) + 0.06 * noise(shape, 90, rng, 2)
    image = mix(colour("#e6dcc6"), colour("#b3332e"), 0.95 * threads)
    hem = np.minimum(np.minimum(x, length - x), np.minimum(y, breadth - y))
    stripe = smoothstep(0.006, 0.008, hem) * smoothstep(0.018, 0.016, hem)
    return mix(image, colour("#31506e"), 0.9 * stripe + 0.5 * smoothstep(0.003, 0.0015, hem))


def teapot_glaze(rng, height=360, width=1440):
    """Cobalt glaze with a cream belt of ochre diamonds and dots; u runs around, v from foot to lid."""
    v, u = pixel_grid(height, width)
    cobalt, cream, ochre = colour("#1f4f94"), colour("#f2e8d2"), colour("#dd9a2f")
    drip = noise((height, width), (60, 50), rng, octaves=3)
    image = mix(cobalt, colour("#3f7fc0"), 0.35 + 0.4 * drip)
    belt = smoothstep(0.40, 0.41, v) * smoothstep(0.64, 0.63, v)
    image = mix(image, cream, belt)
    a, b = 2 * ((u * 14) % 1) - 1, (v - 0.52) / 0.085
    diamond = np.abs(a) * 1.1 + np.abs(b)
    image = mix(image, ochre, smoothstep(1.0, 0.9, diamond))
    image = mix(image, cobalt, smoothstep(0.55, 0.45, diamond))
    dot = np.hypot((np.abs(a) - 1) * 1.1, np.abs(b) - 0.75)
    image = mix(image, colour("#b4532f"), belt * smoothstep(0.3, 0.22, dot))
    for line in (0.37, 0.67, 0.86):
        image = mix(image, cream, smoothstep(0.011, 0.007, np.abs(v - line)))
    return np.clip(image, 0, 1)


def bands(colours, edges, rng, height=240, width=480, mottle=0.06):
    """Horizontal bands from v = 0 upward, `colours[i]` up to `edges[i]`, lightly mottled: cups, bowls, bottles."""
    v, _ = pixel_grid(height, width)
    v = v + 0.006 * noise((height, width), 40, rng)
    image = np.broadcast_to(colour(colours[-1]), (height, width, 3))
    for band, edge in reversed(list(zip(colours[:-1], edges, strict=True))):
        image = mix(image, colour(band), smoothstep(edge + 0.008, edge - 0.008, v))
    return np.clip(image * (1 + mottle * noise((height, width), 30, rng, 3))[..., None], 0, 1)


def peel(base, blush, rng, streaks=False, pole="#6b4a22", height=200, width=400):
    """Fruit skin: a base colour that turns to `blush` in patches, or in streaks from pole to pole."""
    v, u = pixel_grid(height, width)
    patch = noise((height, width), (90, 22) if streaks else (60, 60), rng, octaves=3)
    blend = np.sin(np.pi * u)  # zero at both ends, so that the noise meets itself around the fruit
    side = 0.5 + 0.5 * np.cos(2 * np.pi * (u - 0.3))
    image = mix(colour(base), colour(blush), 0.75 * side + 0.5 * blend * patch)
    image = mix(image, colour(pole), 0.8 * smoothstep(0.955, 0.99, v) + 0.5 * smoothstep(0.035, 0.01, v))
    return np.clip(image, 0, 1)


def book_cover(ground, ink, rng, height=300, width=420):
    """A cloth cover: double frame, a rosette and a title block."""
    v, u = pixel_grid(height, width)
    weave = 1 + 0.07 * noise((height, width), 8, rng) + 0.07 * noise((height, width), 90, rng, 2)
    image = colour(ground) * weave[..., None]
    inset = np.minimum(np.minimum(u, 1 - u) * width / height, np.minimum(v, 1 - v))
    frame = smoothstep(0.012, 0.006, np.abs(inset - 0.09))
    radius, angle = np.hypot((u - 0.62) * width / height, v - 0.5), np.arctan2(v - 0.5, (u - 0.62) * width / height)
    rosette = smoothstep(0.02, -0.02, np.abs(radius - 0.15 - 0.05 * np.cos(6 * angle)) - 0.03)
    title = (np.abs(u - 0.27) < 0.07) * (np.abs(v - 0.5) < 0.28) * (np.abs((u * 17) % 1 - 0.5) < 0.3)
    return np.clip(mix(image, colour(ink), 0.9 * np.maximum(np.maximum(frame, rosette), title)), 0, 1)


def book_spine(ground, ink, rng, height=60, width=480):
    """A spine: ground colour, raised bands and blocks of lettering along u."""
    v, u = pixel_grid(height, width)
    image = colour(ground) * (1 + 0.08 * noise((height, width), 20, rng))[..., None]
    rule = np.min([np.abs(u - p) for p in (0.1, 0.16, 0.84, 0.9)], axis=0)
    letters = (np.abs(v - 0.5) < 0.22) * (np.abs(u - 0.5) < 0.25) * (noise((height, width), (999, 16), rng) > -0.15)
    return np.clip(mix(image, colour(ink), 0.9 * np.maximum(smoothstep(0.016, 0.01, rule), letters)), 0, 1)


def pages(rng, height=60, width=480):
    """The fore-edge of a book block."""
    shade = noise((height, width), (12, 200), rng, octaves=2)
    return mix(colour("#efe2c4"), colour("#c9b48a"), 0.4 + 0.4 * shade)


def painting(rng, height=420, width=340):
    """A framed little landscape: sun, sky, layered hills and a field; v grows upward."""
    v, u = pixel_grid(height, width)
    image = mix(colour("#f4d9a0"), colour("#6fa3b8"), smoothstep(0.35, 0.95, v + 0.05 * noise(v.shape, 80, rng, 3)))
    image = mix(image, colour("#f6efd0"), smoothstep(0.095, 0.085, np.hypot((u - 0.64), (v - 0.66) * height / width)))
    hills = (("#8fa7a6", 0.52), ("#5d8a79", 0.44), ("#3f6b52", 0.36), ("#c99a3d", 0.27), ("#8a5a2c", 0.18))
    for tint, level in hills:
        ridge = level + 0.05 * noise((1, width), (9, 110), rng, octaves=2)
        brush = 1 + 0.12 * noise(v.shape, (12, 40), rng, octaves=2)
        image = mix(image, colour(tint) * brush[..., None], smoothstep(0.006, -0.006, v - ridge))
    inset = np.minimum(np.minimum(u, 1 - u) * width, np.minimum(v, 1 - v) * height) / width
    image = mix(image, colour("#efe6d2"), smoothstep(0.172, 0.166, inset))
    grain = 0.4 + 0.25 * noise(v.shape, (70, 12), rng, octaves=2)
    return np.clip(mix(image, mix(colour("#6a3d22"), colour("#43230f"), grain), smoothstep(0.082, 0.076, inset)), 0, 1)
