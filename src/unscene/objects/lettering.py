"""Lettering for objects: words and digits which a novel view must carry along unbroken."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unscene.objects.textures import Rng, noise, plain_colour, rotated_grid

WORDS_TEXT = """
    milk tea coffee honey rice soup salt sugar cocoa juice apple lemon berry mint olive bread cheese pasta corn oats
    soap fresh pure gold silver extra super ultra light classic original natural organic best new hot cold open stop
    north south east west river ocean forest summer winter magic turbo robot rocket tiger panda eagle zebra music
    paint glue tools fragile express post park hotel bakery garden kitchen studio museum radio cinema
"""
WORDS = WORDS_TEXT.split()  # on packages, signs and toys


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
        u, _ = rotated_grid(size, rng)
        pattern = np.sign(np.sin(2 * np.pi * u * rng.uniform(4, 12)))
    else:
        pattern = np.clip(noise(size, rng, cells=8), -2, 2)
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
