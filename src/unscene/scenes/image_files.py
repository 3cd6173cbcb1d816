"""Finding, decoding and down-scaling the photos of a scene folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unscene.file_names import folded
from unscene.scenes.capture import NoPhotosError, inside, listing, scene_path, size_text
from unscene.scenes.image_formats import IMAGE_SUFFIXES, is_readable, open_image
from unscene.scenes.orientation import as_stored, stored_size
from unscene.scenes.pinhole import Resampling
from unscene.scenes.scene import SceneError

DECODING_THREADS = 4


@dataclass(frozen=True)
class Photos:
    """The files to decode and the resolution to decode them at.

    size: (width, height) after down-scaling; original: (width, height) of the photos before.
    """

    paths: tuple[Path, ...]
    size: tuple[int, int]
    original: tuple[float, float]
    notes: tuple[str, ...] = ()


def list_images(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Image files of a folder in name order; none if there is no such folder."""
    files = folder.rglob("*") if recursive else folder.glob("*")
    return sorted(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."))


def folder_called(parent: Path, name: str) -> Path:
    """The folder ``name`` of ``parent``, also if its case differs; the path as it would be if there is none."""
    exact = parent / name
    if exact.is_dir() or not parent.is_dir():
        return exact
    others = (path for path in sorted(parent.iterdir()) if folded(path.name) == folded(name) and path.is_dir())
    return next(others, exact)


def find_image(path: Path) -> Path:
    """``path``, or the image that it names without or with another extension; ``path`` itself if there is none."""
    if os.path.isfile(path) and is_readable(path):  # which knows no name that is too long
        return path
    suffixes = [spelled for suffix in IMAGE_SUFFIXES for spelled in (suffix, suffix.upper())]
    appended = (path.with_name(path.name + suffix) for suffix in suffixes)
    replaced = (path.with_suffix(suffix) for suffix in suffixes if path.suffix)
    return next((file for file in (*appended, *replaced) if os.path.isfile(file) and is_readable(file)), path)


def image_folder(root: Path, scale: float) -> Path:
    """``images/``, or ``images_K/`` with K = scale where only that was kept of a capture."""
    if (folder := folder_called(root, "images")).is_dir():
        return inside(root, folder, folder.name)
    if (root / f"images_{scale:g}").is_dir():
        return inside(root, root / f"images_{scale:g}", f"images_{scale:g}")
    scaled = sorted(folder.name for folder in root.glob("images_*") if folder.is_dir())
    found = f"found only {', '.join(scaled)}" if scaled else "found none"
    remedy = f"load it with scale {scaled[0].removeprefix('images_')}." if scaled else "put the photos there."
    kind = SceneError if scaled else NoPhotosError
    raise kind(f"{root}: expected the photos in a folder images/, {found}; {remedy}")


def choose_photos(root: Path, paths: Sequence[Path], scale: float) -> Photos:
    """Photos of ``paths`` at 1/scale: files of ``images_K/`` with K = scale where they fit, else those of ``paths``."""
    width, height = _common_size(root, paths)
    stored_at = root.resolve() / f"images_{scale:g}"
    if scale != 1 and all(path.is_relative_to(stored_at) for path in paths):
        return Photos(tuple(paths), (width, height), (width * scale, height * scale))
    size = (max(1, int(width / scale + 0.5)), max(1, int(height / scale + 0.5)))
    if scale == 1 or not stored_at.is_dir():
        return Photos(tuple(paths), size, (width, height))
    stored = _stored_copies(root, paths, stored_at)
    if stored:
        stored_size = _common_size(root, stored)
        if max(abs(a - b) for a, b in zip(stored_size, size, strict=True)) <= 1:
            return Photos(tuple(stored), stored_size, (width, height))
    note = f"{stored_at.name}/ does not match images/ in count or size; the photos of images/ are scaled down instead"
    return Photos(tuple(paths), size, (width, height), (note,))


def image_size(path: Path, label: str) -> tuple[int, int]:
    """(width, height) from the header of an image file."""
    with open_image(path, label) as image:
        return stored_size(image)


def read_image(path: Path, label: str, size: tuple[int, int], resampling: Resampling | None = None) -> np.ndarray:
    """One photo, height width 3 uint8, area-averaged to ``size``; transparency becomes white (Blender's convention).

    With ``resampling`` it becomes the pinhole camera's on the way.

    EXIF orientation is ignored, as COLMAP does: intrinsics and poses belong to the pixels as stored.
    """
    with open_image(path, label) as image:
        pixels = _rgb(as_stored(image))
    if resampling:
        return resampling.photo(pixels, size)
    if (pixels.shape[1], pixels.shape[0]) != size:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return pixels


def read_photos(root: Path, photos: Photos, resamplings: Sequence[Resampling | None]) -> Tensor:
    """All photos, N H W 3 uint8, decoded by a few threads, and resampled there where their lens asks for it."""
    width, height = photos.size
    images = np.empty((len(photos.paths), height, width, 3), np.uint8)

    def read(view: int) -> None:
        path = photos.paths[view]
        images[view] = read_image(path, scene_path(root, path), photos.size, resamplings[view])

    with ThreadPoolExecutor(min(DECODING_THREADS, os.cpu_count() or 1)) as threads:
        list(threads.map(read, range(len(photos.paths))))
    return torch.from_numpy(images)


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey, which PIL would clip at 255
        grey = (np.asarray(image).astype(np.float32) / 257).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, 2)
    if not image.has_transparency_data:
        return np.array(image.convert("RGB"))
    rgba = np.asarray(image.convert("RGBA")).astype(np.float32)
    alpha = rgba[..., 3:] / 255
    return (rgba[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def _stored_copies(root: Path, paths: Sequence[Path], stored_at: Path) -> list[Path] | None:
    """The files of ``stored_at`` that belong to ``paths``: by name, or by order where the counts agree."""
    originals = root.resolve() / "images"
    if not all(path.is_relative_to(originals) for path in paths):
        return None
    by_name = [find_image(stored_at / path.relative_to(originals)) for path in paths]
    if not all(path.is_file() for path in by_name):
        order, stored = list_images(originals), list_images(stored_at)
        if len(order) != len(stored) or not set(paths) <= set(order):
            return None
        by_name = [stored[order.index(path)] for path in paths]
    return [inside(root, path, scene_path(root, path)) for path in by_name]


def _common_size(root: Path, paths: Sequence[Path]) -> tuple[int, int]:
    sizes = [image_size(path, scene_path(root, path)) for path in paths]
    common, count = Counter(sizes).most_common(1)[0]
    odd = [f"{scene_path(root, p)} is {size_text(s)}" for p, s in zip(paths, sizes, strict=True) if s != common]
    if odd:
        raise SceneError(
            f"{root}: expected photos of one size, got {count} of {size_text(common)}, but "
            f"{listing(odd)}; "
            "remove the others or load each size as a scene of its own."
        )
    return common
