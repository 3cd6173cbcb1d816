"""Training images, captions and masks for the bundled prior.

Every batch is a pure function of a seed, so a run that resumes at step k sees exactly what an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from unscene.files import read_pixels
from unscene.objects.textures import procedural_image
from unscene.pretraining.training_loop import as_floats

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
Rng = np.random.Generator


@dataclass(frozen=True)
class PriorBatch:
    """Images as N 3 H W uint8, masks as N 1 H W bool (true = fill), one caption per image."""

    images: Tensor
    masks: Tensor
    captions: list[str]

    def floats(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Images in [0, 1] and masks of 0 and 1."""
        return as_floats(self.images, device), as_floats(self.masks, device)


class PhotoFolder:
    """Photos of some folders, decoded once and kept as uint8.

    Args:
        folders: searched recursively for JPEG and PNG files.
        short_side: photos are shrunk to this many pixels on the short side, which bounds memory (0.3 MB each at 256).
    """

    def __init__(self, folders: Sequence[Path], *, short_side: int = 288):
        paths = [path for folder in folders for path in sorted(Path(folder).rglob("*"))]
        self.paths = [path for path in paths if path.suffix.lower() in PHOTO_SUFFIXES]
        if not self.paths:
            raise ValueError(f"expected JPEG or PNG photos under {[str(f) for f in folders]}, found none")
        self.photos = [_read_photo(path, short_side) for path in self.paths]
        self.names = [_subject(path) for path in self.paths]

    def __len__(self) -> int:
        return len(self.photos)

    def crop(self, index: int, size: int, rng: Rng) -> np.ndarray:
        """A square of photo `index`, of random scale, side and exposure, resized to `size`: size size 3, uint8."""
        photo = self.photos[index]
        height, width = photo.shape[:2]
        shortest = min(height, width)
        side = round(np.exp(rng.uniform(np.log(min(size, shortest)), np.log(shortest))))
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        crop = photo[top : top + side, left : left + side]
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)
        crop = crop[:, ::-1] if rng.random() < 0.5 else crop
        return _reexposed(crop, rng) if rng.random() < 0.5 else crop


def draw_batch(photos: PhotoFolder, *, batch: int, crop: int, procedural: float, rng: Rng) -> PriorBatch:
    """Draw one batch: photos, or with probability `procedural` a drawn texture, each with a mask and a caption."""
    images, captions = [], []
    for _ in range(batch):
        if rng.random() < procedural:
            image, subject = procedural_image(crop, rng)
            captions.append(f"a texture of {subject}")
        else:
            index = int(rng.integers(len(photos)))
            image = photos.crop(index, crop, rng)
            captions.append(f"a photo of a {photos.names[index]}" if photos.names[index] else "a photo")
        images.append(np.ascontiguousarray(image))
    masks = np.stack([random_mask(crop, crop, rng) for _ in range(batch)])
    return PriorBatch(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.from_numpy(masks)[:, None], captions
    )


def _reexposed(image: np.ndarray, rng: Rng) -> np.ndarray:
    """The same picture, uint8, under slightly other light and white balance."""
    gamma, gains = np.exp(rng.normal(0, 0.2)), np.exp(rng.normal(0, 0.06, 3))
    curves = np.linspace(0, 1, 256)[:, None] ** gamma * gains
    return cv2.LUT(np.ascontiguousarray(image), (np.clip(curves, 0, 1) * 255).round().astype(np.uint8)[:, None])


def random_mask(height: int, width: int, rng: Rng, *, coverage: tuple[float, float] = (0.05, 0.45)) -> np.ndarray:
    """Draw an object silhouette, a box or brush strokes covering a fraction of H W within `coverage`: H W bool."""
    draw: Callable[[int, int, Rng], np.ndarray] = (_blob, _box, _strokes)[rng.choice(3, p=(0.5, 0.2, 0.3))]
    mask = draw(height, width, rng)
    for _ in range(20):
        if coverage[0] <= mask.mean() <= coverage[1]:
            break
        mask = draw(height, width, rng)
    return mask


def _blob(height: int, width: int, rng: Rng) -> np.ndarray:
    """A closed curve whose radius is a random Fourier series: a convex thing, a limbed thing, or something between."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = np.ones_like(angle)
    for frequency in range(1, 7):
        amplitude, phase = rng.normal(0, 0.45 / frequency), rng.uniform(0, 2 * np.pi)
        radius += amplitude * np.cos(frequency * angle + phase)
    radius = np.clip(radius, 0.15, 2.2) * rng.uniform(0.14, 0.38) * min(height, width)
    stretch, tilt = rng.uniform(0.6, 1.0), rng.uniform(0, np.pi)
    x, y = radius * np.cos(angle), radius * np.sin(angle) * stretch
    centre = rng.uniform(0.2, 0.8, 2) * (width, height)
    curve = np.stack([x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], -1) + centre
    return _filled(height, width, curve)


def _box(height: int, width: int, rng: Rng) -> np.ndarray:
    box_height, box_width = (rng.uniform(0.2, 0.75, 2) * (height, width)).astype(int)
    top, left = rng.integers(height - box_height + 1), rng.integers(width - box_width + 1)
    mask = np.zeros((height, width), bool)
    mask[top : top + box_height, left : left + box_width] = True
    return mask


def _strokes(height: int, width: int, rng: Rng) -> np.ndarray:
    canvas = np.zeros((height, width), np.uint8)
    size = min(height, width)
    for _ in range(rng.integers(1, 4)):
        point, heading = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0, 2 * np.pi)
        thickness = int(rng.uniform(0.06, 0.2) * size) + 1
        for _ in range(rng.integers(2, 8)):
            heading += rng.normal(0, 0.7)
            step = rng.uniform(0.08, 0.25) * size * np.array([np.cos(heading), np.sin(heading)])
            ends = [tuple(int(v) for v in p) for p in (point, point + step)]
            cv2.line(canvas, ends[0], ends[1], 1, thickness)
            point = point + step
    return canvas.astype(bool)


def _filled(height: int, width: int, polygon: np.ndarray) -> np.ndarray:
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillPoly(canvas, [np.round(polygon).astype(np.int32)], 1)
    return canvas.astype(bool)


def _read_photo(path: Path, short_side: int) -> np.ndarray:
    image = read_pixels(path)
    if image is None:
        raise ValueError(f"{path} is named like a photo but cannot be decoded; remove it or replace it")
    scale = short_side / min(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _subject(path: Path) -> str:
    """The class name in ImageNet-style names such as n02980441_castle.jpg; empty for names that carry none."""
    synset, _, name = path.stem.partition("_")
    return name.replace("_", " ").lower() if synset[:1] == "n" and synset[1:].isdigit() else ""
