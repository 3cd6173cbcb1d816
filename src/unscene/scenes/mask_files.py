"""Finding and reading object masks. In files, white is what gets removed, except nerfstudio's ``mask_path``."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unscene.scenes.capture import inside, listing, same_aspect, size_text
from unscene.scenes.image_files import DECODING_THREADS, list_images
from unscene.scenes.pinhole import Resampling
from unscene.scenes.scene import SceneError

MASK_FOLDERS = ("masks", "seg", "label")
THRESHOLD = 128


@dataclass(frozen=True)
class MaskFiles:
    """One mask file per view or None, where they come from, and whether black (not white) is what gets removed."""

    paths: tuple[Path | None, ...]
    source: str
    black_is_removed: bool = False
    notes: tuple[str, ...] = ()


def find_masks(root: Path, names: Sequence[str], *, scale: float, folder: Path | None) -> MaskFiles | None:
    """Mask files for the photos ``names``, from ``folder`` or one of the usual places in the scene folder."""
    if folder is not None:
        files = list_images(folder, recursive=True)
        if not files:
            raise SceneError(f"{folder}: expected a folder with one mask per photo, found none; check the path.")
        return _match(folder, files, names, str(folder))
    scaled = [root / f"images_{scale:g}", *sorted(root.glob("images_*")), root / "images"]
    places = [scaled[0] / "label", *(root / name for name in MASK_FOLDERS), *(base / "label" for base in scaled[1:])]
    found = [place for place in dict.fromkeys(places) if list_images(place, recursive=True)]
    if not found:
        return None
    sources: list[str] = [f"{place.relative_to(root).as_posix()}/" for place in found]
    files = list_images(found[0], recursive=True)
    for file in files:
        inside(root, file, file.relative_to(root).as_posix())
    matched = _match(found[0], files, names, sources[0])
    unused = (f"masks are read from {sources[0]}, not from {listing(sources[1:])}",) if len(found) > 1 else ()
    return MaskFiles(matched.paths, matched.source, notes=(*matched.notes, *unused))


def nerfstudio_masks(paths: Sequence[Path | None]) -> MaskFiles | None:
    """The masks that frames name as ``mask_path``; None if none does."""
    if not any(paths):
        return None
    files = tuple(path if path and path.is_file() else None for path in paths)
    note = "masks are the frames' mask_path, in which black means ignored: black is removed"
    return MaskFiles(files, "mask_path", black_is_removed=True, notes=(note,))


def read_masks(
    files: MaskFiles,
    names: Sequence[str],
    train: Tensor,
    resamplings: Sequence[Resampling | None],
    *,
    size: tuple[int, int],
    original: tuple[float, float],
) -> tuple[Tensor, tuple[str, ...]]:
    """Masks of all views at ``size`` (width, height), N H W bool with True = remove, and notes.

    ``original`` is the size of the photos before down-scaling, which masks must share up to scale; ``resamplings`` are
    the photos' own. Views held out for testing may lack a mask. Raises SceneError for missing masks, other aspect
    ratios, all-empty or all-full masks.
    """
    views: list[int] = train.tolist()
    missing = [names[view] for view in views if files.paths[view] is None]
    if missing:
        raise SceneError(
            f"{files.source}: expected a mask for each of {len(views)} training photos, found none for "
            f"{len(missing)}: {listing(missing)}; add them (an all-black mask where the object is not in view)."
        )
    with ThreadPoolExecutor(DECODING_THREADS) as threads:
        read = partial(_read_grey, size=size, original=original)
        grey = list(threads.map(read, files.paths, names, resamplings))
    brightest = max(value for _, value in grey)
    notes = list(files.notes)
    if brightest == 1:
        notes.append(f"{files.source}: masks hold 0 and 1, not 0 and 255; 1 is read as white")
    white = np.stack([mask for mask, _ in grey]) >= (1 if brightest == 1 else THRESHOLD)
    present = np.array([path is not None for path in files.paths])[:, None, None]
    masks = (white != files.black_is_removed) & present
    _check_coverage(masks, train, files.source, names, notes)
    return torch.from_numpy(masks), tuple(notes)


def _match(folder: Path, files: list[Path], names: Sequence[str], source: str) -> MaskFiles:
    """Pair masks with photos by name without extension (or COLMAP's ``name.jpg.png``), else by order."""
    by_key = {file.relative_to(folder).with_suffix("").as_posix(): file for file in reversed(files)}
    paths = tuple(by_key.get(name) or by_key.get(PurePosixPath(name).with_suffix("").as_posix()) for name in names)
    if any(paths):
        return MaskFiles(paths, source)
    if len(files) != len(names):
        raise SceneError(
            f"{source}: expected one mask per photo, named like it, got {len(files)} masks for {len(names)} photos "
            f"and no common name ({files[0].name} and {names[0]}); rename the masks like the photos."
        )
    note = f"{source}: masks are named differently from the photos ({files[0].name}, {names[0]}); paired by order"
    return MaskFiles(tuple(files), source, notes=(note,))


def _read_grey(
    path: Path | None, name: str, resampling: Resampling | None, size: tuple[int, int], original: tuple[float, float]
) -> tuple[np.ndarray, int]:
    """A mask at ``size``, height width uint8, and its brightest value; black where there is no file."""
    if path is None:
        return np.zeros(size[::-1], np.uint8), 0
    grey = _decode_grey(path, name)
    got = (grey.shape[1], grey.shape[0])
    if not same_aspect(got, original):
        raise SceneError(
            f"{path.name}: expected a mask of {name}'s size {size_text(original)} or the same aspect ratio, "
            f"got {size_text(got)}; export the masks again from the photos as they are."
        )
    if resampling:
        return resampling.labels(grey, size), int(grey.max())
    return cv2.resize(grey, size, interpolation=cv2.INTER_NEAREST_EXACT), int(grey.max())


def _decode_grey(path: Path, name: str) -> np.ndarray:
    """The largest channel of a mask file, so that coloured labels count as white."""
    try:
        with Image.open(path) as image:
            if not image.mode.startswith("I"):
                return np.asarray(image.convert("RGB")).max(-1)
            grey = np.asarray(image).astype(np.int64)  # 16 bit
            return (grey // 257 if grey.max() > 255 else grey).astype(np.uint8)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise SceneError(
            f"{path.name}: expected the readable mask of {name}, but the file is truncated or no image; copy it again."
        ) from error


def _check_coverage(masks: np.ndarray, train: Tensor, source: str, names: Sequence[str], notes: list[str]) -> None:
    coverage = masks.mean((1, 2))
    full = [name for name, covered in zip(names, coverage, strict=True) if covered == 1]
    if full:
        raise SceneError(
            f"{source}: expected masks that leave some of each photo, got full ones for {len(full)} of {len(names)}: "
            f"{listing(full)}; if black and white are swapped, invert the masks."
        )
    of_train = coverage[train.numpy()]
    if not of_train.any():
        raise SceneError(
            f"{source}: nothing to remove: expected white where the object is, got {len(of_train)} masks that are all "
            "black; check the masks."
        )
    if of_train.mean() > 0.5:
        notes.append(f"{source}: masks cover {of_train.mean():.0%} of the photos; invert them if that is what to keep")
