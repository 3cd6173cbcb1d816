"""Procedural textures that scenes share: `H W 3` float32 sRGB arrays in [0, 1], row 0 at v = 0.

Everything is drawn from smooth value noise and analytic patterns. Details stay above a few pixels of the views that
see them, about 3 mm each on the still life and 5 to 13 mm in the room: finer patterns would average out.
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
