"""Reading the masks of a scene. In files, white is what gets removed, except nerfstudio's ``mask_path``."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unscene.scenes.capture import listing, same_aspect, size_text
from unscene.scenes.image_files import DECODING_THREADS
from unscene.scenes.mask_search import MaskFiles
from unscene.scenes.mask_values import MaskImage, decode_mask, white_pixels
from unscene.scenes.orientation import stored_size
from unscene.scenes.pinhole import Resampling
from unscene.scenes.scene import SceneError

LARGEST_SCALE = 16  # of a mask against its photo: files of a few bytes can claim to be larger than memory


def read_masks(
    files: MaskFiles,
    names: Sequence[str],
    train: Tensor,
    resamplings: Sequence[Resampling | None],
    *,
    size: tuple[int, int],
    original: tuple[float, float],
    label: int | None = None,
) -> tuple[Tensor, tuple[str, ...]]:
    """Masks of all views at ``size`` (width, height), N H W bool with True = remove, and notes.

    ``original`` is the size of the photos before down-scaling, which masks must share up to scale; ``resamplings`` are
    the photos' own. label: the one label to remove, of masks that number their objects. Views held out for testing may
    lack a mask. Raises SceneError for missing masks, other aspect ratios, all-empty or all-full masks.
    """
    views: list[int] = train.tolist()
    missing = [names[view] for view in views if not files.paths[view]]
    if missing:
        raise SceneError(
            f"{files.source}: expected a mask for each of {len(views)} training photos, found none for "
            f"{len(missing)}: {listing(missing)}; add them (all black where the object is out of view). Photos taken "
            "after the object was gone must not be trained on: take them out, or put masks of where it was into "
            "test_label/, as SPIn-NeRF does, to test with them."
        )
    own = [(view, path) for view, paths in enumerate(files.paths) for path in paths]
    truth = list(files.truth.items())

    def read(job: tuple[int, Path]) -> MaskImage:
        view, path = job
        _check_size(path, names[view], original)
        return read_mask(path, names[view]).fitted(size, resamplings[view])

    with ThreadPoolExecutor(DECODING_THREADS) as threads:
        decoded = list(threads.map(read, [*own, *truth]))
    white, notes = white_pixels(decoded[: len(own)], files.source, label)
    numbered = label is not None and any((mask.values == label).any() for mask in decoded[len(own) :])
    white_of_truth, _ = white_pixels(decoded[len(own) :], "test_label/", label if numbered else None)
    masks = np.zeros((len(names), size[1], size[0]), bool)
    for (view, _), pixels in zip(own, white, strict=True):
        masks[view] |= pixels != (files.black_is_removed and label is None)
    for (view, _), pixels in zip(truth, white_of_truth, strict=True):
        masks[view] = pixels
    said = _check_coverage(masks, train, files.source, names)
    return torch.from_numpy(masks), (*files.notes, *notes, *said)


def read_mask(path: Path, name: str) -> MaskImage:
    """The mask of the photo ``name``. Raises SceneError for a file that cannot be decoded."""
    try:
        return decode_mask(path)
    except Exception as error:  # decoders raise whatever they stumble over
        raise _unreadable(path, name) from error


def _check_size(path: Path, name: str, original: tuple[float, float]) -> None:
    """Raises SceneError for a mask that is not of the photo's size up to scale, before any pixel is decoded."""
    try:
        with Image.open(path) as image:
            size = stored_size(image)
    except Exception as error:
        raise _unreadable(path, name) from error
    if same_aspect(size, original) and size[0] <= LARGEST_SCALE * original[0]:
        return
    turned = same_aspect(size, (original[1], original[0]))
    hint = "without turning them (their EXIF orientation is ignored)" if turned else "as they are"
    raise SceneError(
        f"{path.name}: expected a mask of {name}'s size {size_text(original)} or the same aspect ratio, "
        f"got {size_text(size)}; export the masks again from the photos {hint}."
    )


def _unreadable(path: Path, name: str) -> SceneError:
    return SceneError(
        f"{path.name}: expected the readable mask of {name}, but the file is truncated or no image; copy it again."
    )


def _check_coverage(masks: np.ndarray, train: Tensor, source: str, names: Sequence[str]) -> tuple[str, ...]:
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
    if of_train.mean() <= 0.5:
        return ()
    return (f"{source}: masks cover {of_train.mean():.0%} of the photos; invert them if that is what to keep",)
