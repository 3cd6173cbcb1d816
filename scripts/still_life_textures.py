"""Textures of the still life's own things: `H W 3` float32 sRGB arrays in [0, 1], row 0 at v = 0."""

import numpy as np
from scene_textures import colour, mix, noise, pixel_grid, smoothstep


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
