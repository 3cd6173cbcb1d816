"""Textures of the room's own things: `H W 3` float32 sRGB arrays in [0, 1], row 0 at v = 0.

Lengths are metres. The views resolve 5 mm per pixel at the object and 13 mm at the far walls.
"""

import numpy as np
from scene_textures import colour, mix, noise, pixel_grid, smoothstep


def metres(width, height, texels_per_metre):
    """Coordinates of texels, both `H W`: along u and along v."""
    shape = round(height * texels_per_metre), round(width * texels_per_metre)
    v, u = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / texels_per_metre
    return u, v


def parquet(width, depth, rng, square=0.36, strips=4, texels_per_metre=260):
    """Squares of strips that lie across and along in turn, each strip of its own tone, with grain along it."""
    u, v = metres(width, depth, texels_per_metre)
    column, row = (u / square).astype(int), (v / square).astype(int)
    lying = (column + row) % 2 == 0
    across = np.where(lying, v % square, u % square) * strips / square
    strip = across.astype(int)
    tones = rng.uniform(-0.3, 0.3, (row.max() + 1, column.max() + 1, strips))
    along_u, along_v = noise(u.shape, (4, 60), rng, 3), noise(u.shape, (60, 4), rng, 3)
    grain = np.where(lying, along_u, along_v) + 0.5 * noise(u.shape, 70, rng, 2)
    image = mix(colour("#c99a62"), colour("#7d4d28"), 0.42 + tones[row, column, strip] + 0.2 * grain)
    edge = np.minimum(across % 1, 1 - across % 1) * square / strips
    border = np.minimum.reduce([u % square, square - u % square, v % square, square - v % square])
    return mix(image, colour("#3a2212"), 0.7 * smoothstep(0.007, 0.001, np.minimum(edge, border)))


def rug(length, breadth, rng, texels_per_metre=400):
    """A knotted rug: fringes, three borders, and a field of diamonds with flowers between them around a medallion."""
    u, v = metres(length, breadth, texels_per_metre)
    u, v = (a + 0.004 * noise(u.shape, 50, rng, 2) for a in (u, v))
    red, navy, cream, ochre, teal = (colour(c) for c in ("#9c2f2b", "#26375e", "#ead9b8", "#d2943a", "#3d7f7a"))
    a, b = (np.abs(x - x.mean()) for x in (u, v))
    image = _diamonds(u, v, 0.15, (red, ochre, navy, cream))
    star = np.hypot(a, b) * (1 + 0.12 * np.cos(8 * np.arctan2(b, a)))
    for radius, tint in ((0.27, navy), (0.24, cream), (0.2, teal), (0.12, ochre), (0.06, red)):
        image = mix(image, tint, smoothstep(radius + 0.006, radius - 0.006, star))
    hem = np.minimum.reduce([u, length - u, v, breadth - v])
    borders = _diamonds(u, v, 0.1, (navy, cream, red, ochre))
    image = mix(image, borders, smoothstep(0.214, 0.206, hem))
    for middle, half, tint in ((0.215, 0.014, cream), (0.085, 0.018, cream), (0.062, 0.012, teal)):
        image = mix(image, tint, smoothstep(half, half - 0.006, np.abs(hem - middle)))
    image = mix(image, red, smoothstep(0.05, 0.044, hem))
    tassels = mix(cream, cream * 0.6, smoothstep(0.3, 0.5, np.abs(v / 0.024 % 1 - 0.5)))
    image = np.where((np.minimum(u, length - u) < 0.035)[..., None], tassels, image)
    return np.clip(image * (1 + 0.07 * noise(u.shape, 6, rng) + 0.08 * noise(u.shape, 120, rng, 2))[..., None], 0, 1)


def _diamonds(u, v, cell, tints):
    """Rows of diamonds, `cell` metres each, with flowers between; tints: ground, diamond, its heart, flower."""
    ground, diamond, heart, flower = tints
    a, b = 2 * (u / cell % 1) - 1, 2 * (v / cell % 1) - 1
    image = mix(ground, diamond, smoothstep(0.84, 0.76, np.abs(a) + np.abs(b)))
    image = mix(image, heart, smoothstep(0.5, 0.42, np.abs(a) + np.abs(b)))
    a, b = np.abs(a) - 1, np.abs(b) - 1
    petals = np.hypot(a, b) * (1 + 0.35 * np.cos(4 * np.arctan2(b, a)))
    return mix(image, flower, smoothstep(0.36, 0.28, petals))


def wallpaper(width, height, rng, texels_per_metre=160):
    """Broad pale stripes with leafy sprigs in a half drop, over a dark skirting board."""
    u, v = metres(width, height, texels_per_metre)
    stripe = smoothstep(0.45, 0.55, np.abs(u / 0.3 % 2 - 1))
    image = mix(colour("#e9dcc0"), colour("#c3cfae"), stripe)
    row = (u / 0.3).astype(int)
    a, b = (u / 0.3 % 1 - 0.5) * 0.3, ((v / 0.3 + 0.5 * (row % 2)) % 1 - 0.5) * 0.3
    stalk = smoothstep(0.011, 0.006, np.abs(a - 0.025 * np.sin(18 * b))) * (np.abs(b) < 0.11)
    leaves = np.zeros_like(a)
    for side, level in ((1, -0.07), (-1, -0.035), (1, 0.0), (-1, 0.035)):
        x, z = (a - side * 0.045) * np.cos(0.7) + side * (b - level) * np.sin(0.7), b - level - side * 0.5 * a + 0.02
        leaves = np.maximum(leaves, smoothstep(1.15, 0.85, np.hypot(x / 0.042, z / 0.016)))
    bloom = np.hypot(a - 0.022, b - 0.1) * (1 + 0.2 * np.cos(5 * np.arctan2(b - 0.1, a - 0.022)))
    image = mix(image, colour("#4d7350"), np.maximum(stalk, leaves))
    image = mix(image, colour("#b8473d"), smoothstep(0.04, 0.034, bloom))
    image = mix(image, colour("#eec35b"), smoothstep(0.016, 0.011, bloom))
    image = image * (1 + 0.04 * noise(u.shape, 60, rng, 3))[..., None]
    return _skirting(image, u, v, rng, "#6d4a30")


def bricks(width, height, rng, texels_per_metre=160):
    """Bare bricks of many tones in running bond, with sooty patches."""
    u, v = metres(width, height, texels_per_metre)
    row = (v / 0.075).astype(int)
    shifted = u + 0.12 * (row % 2) + 0.003 * noise(u.shape, 20, rng)
    column = (shifted / 0.24).astype(int)
    tones = rng.uniform(0, 1, (row.max() + 1, column.max() + 1))
    pick = rng.integers(0, 4, tones.shape)
    palette = np.stack([colour(c) for c in ("#a5553a", "#b9694a", "#8c4632", "#c58a63")])
    image = palette[pick[row, column]] * (0.82 + 0.3 * tones[row, column])[..., None]
    image = image * (1 + 0.16 * noise(u.shape, 9, rng, 3) + 0.12 * noise(u.shape, 120, rng, 2))[..., None]
    edge = np.minimum.reduce([shifted % 0.24, 0.24 - shifted % 0.24, v % 0.075, 0.075 - v % 0.075])
    mortar = colour("#cdbfa9") * (1 + 0.08 * noise(u.shape, 12, rng, 2))[..., None]
    return np.clip(mix(mortar, image, smoothstep(0.004, 0.01, edge)), 0, 1)


def panelling(width, height, rng, texels_per_metre=160):
    """Painted panels up to a rail at 0.85 m, worn a little, and plaster above."""
    u, v = metres(width, height, texels_per_metre)
    worn = noise(u.shape, (60, 25), rng, 4)
    paint = mix(colour("#5d8290"), colour("#86a7ac"), 0.5 + 0.35 * worn)
    a, b = np.abs(u / 0.46 % 1 - 0.5) * 0.46, np.abs(v - 0.46)
    frame = np.maximum(a - 0.165, b - 0.26)
    paint = paint * (1 - 0.4 * smoothstep(0.012, 0.004, np.abs(frame)))[..., None]
    paint = mix(paint, colour("#d9d2b4"), smoothstep(0.012, 0.004, np.abs(frame + 0.045)))
    plaster = mix(colour("#ead8ae"), colour("#d3b37c"), 0.4 + 0.3 * noise(u.shape, 50, rng, 4))
    image = np.where((v < 0.85)[..., None], paint, plaster)
    image = mix(image, colour("#e8e2cc"), smoothstep(0.035, 0.029, np.abs(v - 0.87)))
    return np.clip(_skirting(image, u, v, rng, "#e2dbc3"), 0, 1)


def limewash(width, height, rng, texels_per_metre=160):
    """Brushed ochre wash with a stencilled frieze of fans at knee height."""
    u, v = metres(width, height, texels_per_metre)
    brush = noise(u.shape, (30, 12), rng, 3) + noise(u.shape, 90, rng, 3)
    image = mix(colour("#e8bd74"), colour("#c98a4a"), 0.42 + 0.25 * brush)
    a, b = (u / 0.2 % 1 - 0.5) * 0.2, v - 0.62
    fan, angle = np.hypot(a, b), np.arctan2(b, a)
    rays = smoothstep(0.1, 0.4, np.cos(9 * angle)) * (fan > 0.03) * (fan < 0.085) * (b > 0)
    image = mix(image, colour("#7c3328"), rays)
    for level in (0.605, 0.72):
        image = mix(image, colour("#2e5a66"), smoothstep(0.013, 0.008, np.abs(v - level)))
    return np.clip(_skirting(image, u, v, rng, "#7a4a2c"), 0, 1)


def _skirting(image, u, v, rng, tint):
    board = colour(tint) * (1 + 0.1 * noise(u.shape, (6, 80), rng, 2))[..., None]
    board = board * np.where(v > 0.085, 0.75, 1)[..., None]
    return np.clip(np.where((v < 0.1)[..., None], board, image), 0, 1)


def tartan(length, breadth, ground, stripes, rng, texels_per_metre=250):
    """Woven checks; stripes: (place in the repeat of 1, half width, colour) both ways."""
    u, v = metres(length, breadth, texels_per_metre)
    image = np.broadcast_to(colour(ground), (*u.shape, 3))
    for place, half, tint in stripes:
        both = sum(smoothstep(half + 0.02, half - 0.02, np.abs(x / 0.2 % 1 - place)) for x in (u, v))
        image = mix(image, colour(tint), 0.5 * both)
    return np.clip(image * (1 + 0.06 * noise(u.shape, 4, rng) + 0.06 * noise(u.shape, 70, rng, 2))[..., None], 0, 1)


def stripes(tints, rng, repeats=6, along="u", height=240, width=320):
    """Stripes of some colours in turn, across u or v; soft edges."""
    v, u = pixel_grid(height, width)
    where = (u if along == "u" else v) * repeats * len(tints)
    palette = np.stack([colour(tint) for tint in tints])
    index = where.astype(int) % len(tints)
    image = mix(palette[index], palette[(index + 1) % len(tints)], smoothstep(0.86, 1, where % 1))
    return np.clip(image * (1 + 0.08 * noise((height, width), 40, rng, 3))[..., None], 0, 1)


def dots(ground, tints, rng, columns=6, rows=4, height=240, width=320):
    """Flowers of some colours in staggered rows on one ground: cushions, curtains, painted wood."""
    v, u = pixel_grid(height, width)
    row = (v * rows).astype(int)
    shifted = u * columns + 0.5 * (row % 2)
    a, b = shifted % 1 - 0.5, v * rows % 1 - 0.5
    radius = np.hypot(a, b) * (1 + 0.18 * np.cos(5 * np.arctan2(b, a)))
    pick = (shifted.astype(int) + 2 * row) % len(tints)
    petals = np.stack([colour(tint) for tint in tints])[pick]
    image = mix(colour(ground), petals, smoothstep(0.4, 0.34, radius))
    image = mix(image, colour("#f3e3b0"), smoothstep(0.15, 0.1, radius))
    return np.clip(image * (1 + 0.07 * noise((height, width), 50, rng, 3))[..., None], 0, 1)


def dapples(base, spot, rng, height=240, width=480):
    """A horse's painted coat: blotches with soft edges."""
    blotch = noise((height, width), (34, 44), rng, 2)
    image = mix(colour(base), colour(spot), 0.85 * smoothstep(0.12, 0.3, blotch))
    return np.clip(image * (1 + 0.05 * noise((height, width), 80, rng, 3))[..., None], 0, 1)


def doors(width, height, count, rng, light="#a86f3f", dark="#6b3f20", texels_per_metre=250):
    """The front of a cupboard: `count` framed doors side by side, each with a lozenge and a knob."""
    u, v = metres(width, height, texels_per_metre)
    grain = noise(u.shape, (90, 6), rng, 3)
    image = mix(colour(light), colour(dark), 0.35 + 0.28 * grain)
    leaf = width / count
    a, b = u % leaf - leaf / 2, v - height / 2
    inside = np.minimum(leaf / 2 - np.abs(a), height / 2 - np.abs(b))
    image = mix(image, colour("#2e1a0d"), 0.85 * smoothstep(0.012, 0.004, inside))
    image = mix(image, colour("#e0b878"), smoothstep(0.012, 0.006, np.abs(inside - 0.06)))
    lozenge = np.abs(a) / (0.3 * leaf) + np.abs(b) / (0.3 * height)
    image = mix(image, colour("#3f6d63"), smoothstep(1.02, 0.94, lozenge))
    image = mix(image, colour("#e0b878"), smoothstep(0.6, 0.52, lozenge))
    knob = np.hypot(np.abs(a) - leaf / 2 + 0.035, b)
    return np.clip(mix(image, colour("#e9d28a"), smoothstep(0.018, 0.013, knob)), 0, 1)


def door(width, height, rng, texels_per_metre=200):
    """A painted door: four panels with mouldings, a kicking plate, a knob."""
    u, v = metres(width, height, texels_per_metre)
    brushed = noise(u.shape, (60, 6), rng, 3)
    image = mix(colour("#4f7d5f"), colour("#79a57e"), 0.45 + 0.3 * brushed)
    a = np.abs(np.abs(u - width / 2) - width / 4)
    b = np.where(v < 1.05, np.abs(v - 0.6), np.abs(v - 1.55))
    frame = np.maximum(a - 0.13, b - 0.33)
    image = mix(image, colour("#d9c795"), smoothstep(0.016, 0.01, np.abs(frame)))
    image = mix(image, colour("#2f5340"), smoothstep(0.012, 0.006, np.abs(frame + 0.04)))
    image = np.where((v < 0.17)[..., None], colour("#c9a45a") * (1 + 0.12 * brushed)[..., None], image)
    knob = np.hypot(u - width + 0.07, v - 1.0)
    return np.clip(mix(image, colour("#e9d28a"), smoothstep(0.035, 0.03, knob)), 0, 1)


def crate(rng, tint="#b98a55", ink="#4a2d17", height=200, width=280):
    """Slats with nails, a diagonal brace and a stencilled mark."""
    v, u = pixel_grid(height, width)
    slat = (v * 4).astype(int)
    tones = rng.uniform(0.8, 1.12, 4)[slat]
    image = colour(tint) * (tones + 0.1 * noise((height, width), (4, 70), rng, 3))[..., None]
    image = mix(image, colour("#2b1a0d"), 0.8 * smoothstep(0.08, 0.03, np.minimum(v * 4 % 1, 1 - v * 4 % 1)))
    frame = np.minimum.reduce([u, 1 - u, v * 0.8, (1 - v) * 0.8])
    batten = colour(tint) * (0.92 + 0.1 * noise((height, width), (60, 8), rng, 2))[..., None]
    image = mix(image, batten * 0.9, smoothstep(0.1, 0.095, frame))
    image = mix(image, colour("#2b1a0d"), 0.6 * smoothstep(0.012, 0.004, np.abs(frame - 0.1)))
    ring = np.abs(np.hypot((u - 0.5) * 1.4, v - 0.5) - 0.2)
    arrow = (np.abs(u - 0.5) < 0.05 * (v > 0.36)) * (v < 0.62) + (np.abs(u - 0.5) < 0.7 - v) * (v > 0.56) * (v < 0.7)
    return np.clip(mix(image, colour(ink), 0.85 * np.maximum(smoothstep(0.035, 0.02, ring), arrow > 0)), 0, 1)


def toy_block(ground, ink, motif, rng, size=120):
    """A painted face: a frame and a star, a ring, a heart or a cross."""
    v, u = pixel_grid(size, size)
    a, b = 2 * u - 1, 2 * v - 1
    radius, angle = np.hypot(a, b), np.arctan2(b, a)
    shapes = {
        "star": radius * (1 + 0.3 * np.cos(5 * angle + np.pi / 2)) - 0.48,
        "ring": np.abs(radius - 0.38) - 0.14,
        "heart": np.hypot(a, 1.2 * b - 0.1 - 0.55 * np.sqrt(np.abs(a))) - 0.48,
        "cross": np.minimum(
            np.maximum(np.abs(a) - 0.16, np.abs(b) - 0.5), np.maximum(np.abs(b) - 0.16, np.abs(a) - 0.5)
        ),
    }
    edge = 1 - np.maximum(np.abs(a), np.abs(b))
    image = mix(colour("#f1e4c4"), colour(ground), smoothstep(0.2, 0.15, edge))
    image = mix(image, colour(ink), smoothstep(0.03, -0.03, shapes[motif]))
    return np.clip(image * (1 + 0.06 * noise((size, size), 30, rng, 2))[..., None], 0, 1)


def wicker(rng, rows=12, columns=34, height=200, width=640, light="#c99f62", dark="#6f4a22"):
    """Osier woven around stakes, over and under in turn."""
    v, u = pixel_grid(height, width)
    row, column = (v * rows).astype(int), (u * columns).astype(int)
    over = np.cos(np.pi * (u * columns - column - 0.5)) * np.where((row + column) % 2, 1, 0.45)
    round_ = np.cos(np.pi * (v * rows - row - 0.5))
    shade = over * round_ + 0.25 * noise((height, width), 20, rng, 2)
    return np.clip(mix(colour(dark), colour(light), shade), 0, 1)


def leaf(rng, tint="#3f7a3d", height=40, width=160):
    """A blade: midrib and side veins along u, the stalk at u = 0."""
    v, u = pixel_grid(height, width)
    image = mix(colour(tint), colour("#9cbf66"), 0.25 + 0.3 * u + 0.25 * noise((height, width), 25, rng, 2))
    veins = smoothstep(0.32, 0.45, np.abs((u * 9 - 2.2 * np.abs(v - 0.5)) % 1 - 0.5))
    image = mix(image, colour(tint) * 0.62, 0.5 * veins)
    return np.clip(mix(image, colour("#d3dd9c"), smoothstep(0.1, 0.05, np.abs(v - 0.5))), 0, 1)
