"""Drawn pictures whose structure an inpainter must continue: wood, tiles, cloth, gradients, noise, shapes, lines.

Beside them lettering for objects, which a novel view must carry along unbroken.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Rng = np.random.Generator

WORDS_TEXT = """
    milk tea coffee honey rice soup salt sugar cocoa juice apple lemon berry mint olive bread cheese pasta corn oats
    soap fresh pure gold silver extra super ultra light classic original natural organic best new hot cold open stop
    north south east west river ocean forest summer winter magic turbo robot rocket tiger panda eagle zebra music
    paint glue tools fragile express post park hotel bakery garden kitchen studio museum radio cinema
"""
WORDS = WORDS_TEXT.split()  # on packages, signs and toys


def procedural_image(size: int, rng: Rng) -> tuple[np.ndarray, str]:
    """Draw one picture: size size 3 uint8, and the word that names it."""
    subject = str(rng.choice(list(PAINTERS)))
    image = PAINTERS[subject](size, rng)
    image = image * _lighting(size, rng) + rng.normal(0, rng.uniform(0, 0.02), (size, size, 1))
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8), subject


def _wood(size: int, rng: Rng) -> np.ndarray:
    """Planks, each with rings of a slowly bending grain."""
    u, v = _rotated_grid(size, rng)
    plank = np.floor(v * rng.uniform(2, 6))
    offset = np.sin(plank * 12.9898) * 43.7585
    bend = _noise(size, rng, cells=3) * 0.6
    grain = np.sin((v * rng.uniform(15, 40) + 2.5 * bend + u * rng.uniform(0, 2) + offset) * 2)
    base, dark = _brown(rng), rng.uniform(0.65, 0.9)
    shade = 1 - (1 - dark) * (0.5 + 0.5 * grain) + 0.1 * (np.abs(offset) % 1 - 0.5)
    return base * shade[..., None]


def _tiles(size: int, rng: Rng) -> np.ndarray:
    """A brick or tile wall in perspective, with joints and a tone per tile."""
    u, v = _perspective(*_rotated_grid(size, rng), rng)
    rows = rng.uniform(3, 9)
    v = v * rows
    u = u * rows * rng.uniform(0.4, 1) + (np.floor(v) % 2) * rng.choice([0.0, 0.5])
    joint = rng.uniform(0.03, 0.1)
    inside = ((u % 1) > joint) & ((v % 1) > joint)
    tone = 1 + rng.uniform(0.02, 0.2) * np.sin(np.floor(u) * 127.1 + np.floor(v) * 311.7)
    wall = _colour(rng) * tone[..., None] * (1 + 0.1 * _noise(size, rng, cells=size // 4)[..., None])
    return np.where(inside[..., None], wall, _colour(rng))


def _cloth(size: int, rng: Rng) -> np.ndarray:
    """Woven stripes or checks, lying in soft folds."""
    u, v = _rotated_grid(size, rng)
    folds = _noise(size, rng, cells=4)
    bend = rng.uniform(0, 0.025)
    u, v = u + bend * folds, v + bend * _noise(size, rng, cells=4)
    frequency = rng.uniform(4, 14, 2)
    warp, weft = (
        np.sin(2 * np.pi * axis * f) > rng.uniform(-0.5, 0.5) for axis, f in ((u, frequency[0]), (v, frequency[1]))
    )
    first, second, third = _colour(rng), _colour(rng), _colour(rng)
    image = np.where(warp[..., None], first, second)
    if rng.random() < 0.6:
        image = np.where(weft[..., None], 0.5 * (image + third), image)
    return image * (1 + 0.2 * folds[..., None])


def _gradient(size: int, rng: Rng) -> np.ndarray:
    """A smooth blend of four corner colours."""
    corners = np.stack([_colour(rng) for _ in range(4)]).reshape(2, 2, 3).astype(np.float32)
    return cv2.resize(corners, (3 * size, 3 * size), interpolation=cv2.INTER_LINEAR)[size : 2 * size, size : 2 * size]


def _noise_texture(size: int, rng: Rng) -> np.ndarray:
    """Noise over several octaves between two colours: stone, sand, grass, cloud."""
    field = np.zeros((size, size))
    persistence = rng.uniform(0.4, 1.0)
    for octave in range(6):
        field += persistence**octave * _noise(size, rng, cells=min(size, 3 * 2**octave))
    blend = 1 / (1 + np.exp(-rng.uniform(0.8, 3) * field))
    return _mix(_colour(rng), _colour(rng), blend)


def _shapes(size: int, rng: Rng) -> np.ndarray:
    """Overlapping ellipses and polygons on a gradient."""
    image = np.ascontiguousarray(_gradient(size, rng))
    for _ in range(rng.integers(2, 8)):
        colour = tuple(float(c) for c in _colour(rng))
        centre = rng.uniform(0, size, 2)
        if rng.random() < 0.5:
            axes = tuple(int(a) for a in rng.uniform(0.06, 0.4, 2) * size)
            cv2.ellipse(
                image, tuple(int(c) for c in centre), axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA
            )
        else:
            corners = centre + rng.normal(0, 0.3 * size, (rng.integers(3, 6), 2))
            cv2.fillPoly(image, [np.round(corners).astype(np.int32)], colour, cv2.LINE_AA)
    return image


def _lines(size: int, rng: Rng) -> np.ndarray:
    """Long straight edges and bars on flat or textured ground: what must run on through a hole."""
    image = np.ascontiguousarray((_gradient if rng.random() < 0.5 else _noise_texture)(size, rng), np.float32)
    for _ in range(rng.integers(2, 9)):
        through, heading = rng.uniform(0, size, 2), rng.uniform(0, np.pi)
        along = 2 * size * np.array([np.cos(heading), np.sin(heading)])
        ends = [tuple(int(v) for v in point) for point in (through - along, through + along)]
        cv2.line(image, ends[0], ends[1], tuple(float(c) for c in _colour(rng)), int(rng.integers(1, 12)), cv2.LINE_AA)
    return image


PAINTERS: dict[str, Callable[[int, Rng], np.ndarray]] = {
    "wood": _wood,
    "tiles": _tiles,
    "cloth": _cloth,
    "gradient": _gradient,
    "noise": _noise_texture,
    "shapes": _shapes,
    "lines": _lines,
}


def lettering(size: int, rng: Rng, text: str | None = None) -> np.ndarray:
    """Draw large readable words and digits on a quiet ground: size size 3 uint8.

    text: the lines to draw, separated by newlines; one to three random ones if None.
    """
    lines = (text or _random_text(rng)).split("\n")
    ground, ink = _contrasting(rng)
    image = _quiet_ground(size, ground, rng)
    if rng.random() < 0.4:
        margin, width = int(size * rng.uniform(0.02, 0.05)), max(1, int(size * rng.uniform(0.01, 0.03)))
        cv2.rectangle(image, (margin, margin), (size - margin, size - margin), tuple(map(float, ink)), width)
    coverage = _drawn_lines(size, lines)[..., None]
    return (np.clip(image + coverage * (ink - image), 0, 1) * 255).round().astype(np.uint8)


def plain_colour(rng: Rng) -> np.ndarray:
    """One colour, 3 in [0, 1]: muted as in `_colour`, or a saturated one such as paint and plastic have."""
    if rng.random() < 0.45:
        return _colour(rng)
    hue, saturation, value = rng.uniform(0, 1), rng.uniform(0.45, 1), rng.uniform(0.35, 1)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def _random_text(rng: Rng) -> str:
    lines = []
    for _ in range(rng.integers(1, 4)):
        kind = rng.random()
        if kind < 0.65:
            word = str(rng.choice(WORDS))
            lines.append(word.upper() if rng.random() < 0.6 else word.capitalize())
        elif kind < 0.85:
            lines.append(str(rng.integers(10, 10 ** int(rng.integers(2, 5)))))
        else:
            letters = rng.choice(list("ABCDEFGHKLMNPRSTUVWXYZ"), rng.integers(1, 4))
            lines.append("".join(letters) + str(rng.integers(1, 100)))
    return "\n".join(lines)


def _contrasting(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """A ground and an ink whose luminances lie at least 0.45 apart."""
    luminance = np.array([0.2126, 0.7152, 0.0722])
    while True:
        ground, ink = plain_colour(rng), plain_colour(rng)
        if rng.random() < 0.3:
            ink = np.full(3, rng.choice([0.05, 0.95]))
        if abs(float((ground - ink) @ luminance)) > 0.45:
            return ground, ink


def _quiet_ground(size: int, colour: np.ndarray, rng: Rng) -> np.ndarray:
    """A plain or lightly striped or mottled ground, size size 3 float32."""
    kind = rng.random()
    if kind < 0.5:
        pattern = np.zeros((size, size))
    elif kind < 0.75:
        u, _ = _rotated_grid(size, rng)
        pattern = np.sign(np.sin(2 * np.pi * u * rng.uniform(4, 12)))
    else:
        pattern = np.clip(_noise(size, rng, cells=8), -2, 2)
    return np.clip(colour * (1 + 0.07 * pattern[..., None]), 0, 1).astype(np.float32)


def _drawn_lines(size: int, lines: list[str]) -> np.ndarray:
    """How much ink covers each pixel, size size in [0, 1]: each line as wide and high as its share of the picture."""
    canvas = Image.new("L", (size, size))
    draw = ImageDraw.Draw(canvas)
    row = 0.84 * size / len(lines)
    for index, line in enumerate(lines):
        trial = ImageFont.load_default(size=100.0)
        left, top, right, bottom = trial.getbbox(line)
        scale = min(0.84 * size / (right - left), 0.82 * row / (bottom - top), 0.55 * size / (bottom - top))
        centre = (size / 2, 0.08 * size + (index + 0.5) * row)
        font = ImageFont.load_default(size=100 * scale)
        corner = (centre[0] - scale * (left + right) / 2, centre[1] - scale * (top + bottom) / 2)
        draw.text(corner, line, fill=255, font=font, stroke_width=size // 128)
    return np.asarray(canvas, dtype=np.float32) / 255


def _rotated_grid(size: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of about unit extent, turned, shifted and scaled at random."""
    v, u = np.mgrid[0:size, 0:size] / size - 0.5
    angle = rng.choice([0.0, rng.uniform(0, np.pi)])
    scale, shift = rng.uniform(0.6, 1.6), rng.uniform(0, 10, 2)
    return (
        scale * (u * np.cos(angle) - v * np.sin(angle)) + shift[0],
        scale * (u * np.sin(angle) + v * np.cos(angle)) + shift[1],
    )


def _perspective(u: np.ndarray, v: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    depth = 1 + rng.uniform(0, 0.6) * (v - v.min()) / np.ptp(v)
    return (u - u.mean()) / depth + u.mean(), (v - v.mean()) / depth + v.mean()


def _noise(size: int, rng: Rng, *, cells: int) -> np.ndarray:
    """Smooth noise of unit variance with `cells` bumps across the picture."""
    coarse = rng.normal(size=(max(cells, 2) + 2,) * 2).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float64)


def _lighting(size: int, rng: Rng) -> np.ndarray:
    """A soft falloff of light, and in some pictures the edge of a shadow."""
    v, u = np.mgrid[0:size, 0:size] / size - 0.5
    heading = rng.uniform(0, 2 * np.pi)
    across = u * np.cos(heading) + v * np.sin(heading)
    light = 1 + rng.uniform(0, 0.6) * across
    if rng.random() < 0.25:
        softness = rng.uniform(20, 120)
        light = light * (1 - rng.uniform(0.2, 0.5) / (1 + np.exp(-softness * (across - rng.uniform(-0.3, 0.3)))))
    return light[..., None]


def _colour(rng: Rng) -> np.ndarray:
    """A colour around a random grey: real scenes are rarely saturated."""
    grey = rng.uniform(0.1, 0.95)
    return np.clip(grey + rng.normal(0, rng.uniform(0.02, 0.22), 3), 0, 1)


def _brown(rng: Rng) -> np.ndarray:
    return np.clip(np.array([0.62, 0.44, 0.28]) * rng.uniform(0.5, 1.4) + rng.normal(0, 0.04, 3), 0, 1)


def _mix(first: np.ndarray, second: np.ndarray, blend: np.ndarray) -> np.ndarray:
    return first + blend[..., None] * (second - first)
