"""Drawn pictures whose structure an inpainter must continue: wood, tiles, cloth, gradients, noise, shapes, lines."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

Rng = np.random.Generator


def procedural_image(size: int, rng: Rng) -> tuple[np.ndarray, str]:
    """Draw one picture: size size 3 uint8, and the word that names it."""
    subject = str(rng.choice(list(PAINTERS)))
    image = PAINTERS[subject](size, rng)
    image = image * _lighting(size, rng) + rng.normal(0, rng.uniform(0, 0.02), (size, size, 1))
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8), subject


def _wood(size: int, rng: Rng) -> np.ndarray:
    """Planks, each with rings of a slowly bending grain."""
    u, v = rotated_grid(size, rng)
    plank = np.floor(v * rng.uniform(2, 6))
    offset = np.sin(plank * 12.9898) * 43.7585
    bend = noise(size, rng, cells=3) * 0.6
    grain = np.sin((v * rng.uniform(15, 40) + 2.5 * bend + u * rng.uniform(0, 2) + offset) * 2)
    base, dark = _brown(rng), rng.uniform(0.65, 0.9)
    shade = 1 - (1 - dark) * (0.5 + 0.5 * grain) + 0.1 * (np.abs(offset) % 1 - 0.5)
    return base * shade[..., None]


def _tiles(size: int, rng: Rng) -> np.ndarray:
    """A brick or tile wall in perspective, with joints and a tone per tile."""
    u, v = _perspective(*rotated_grid(size, rng), rng)
    rows = rng.uniform(3, 9)
    v = v * rows
    u = u * rows * rng.uniform(0.4, 1) + (np.floor(v) % 2) * rng.choice([0.0, 0.5])
    joint = rng.uniform(0.03, 0.1)
    inside = ((u % 1) > joint) & ((v % 1) > joint)
    tone = 1 + rng.uniform(0.02, 0.2) * np.sin(np.floor(u) * 127.1 + np.floor(v) * 311.7)
    wall = _colour(rng) * tone[..., None] * (1 + 0.1 * noise(size, rng, cells=size // 4)[..., None])
    return np.where(inside[..., None], wall, _colour(rng))


def _cloth(size: int, rng: Rng) -> np.ndarray:
    """Woven stripes or checks, lying in soft folds."""
    u, v = rotated_grid(size, rng)
    folds = noise(size, rng, cells=4)
    bend = rng.uniform(0, 0.025)
    u, v = u + bend * folds, v + bend * noise(size, rng, cells=4)
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
        field += persistence**octave * noise(size, rng, cells=min(size, 3 * 2**octave))
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


def plain_colour(rng: Rng) -> np.ndarray:
    """One colour, 3 in [0, 1]: muted as in `_colour`, or a saturated one such as paint and plastic have."""
    if rng.random() < 0.45:
        return _colour(rng)
    hue, saturation, value = rng.uniform(0, 1), rng.uniform(0.45, 1), rng.uniform(0.35, 1)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def rotated_grid(size: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
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


def noise(size: int, rng: Rng, *, cells: int) -> np.ndarray:
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
