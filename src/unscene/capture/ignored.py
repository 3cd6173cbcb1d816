"""Masks of what must not guide the poses: white is ignored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from unscene.capture.capture_error import CaptureError
from unscene.capture.photos import Photo, turned
from unscene.scenes.capture import listing, same_aspect, size_text
from unscene.scenes.mask_files import read_mask
from unscene.scenes.mask_search import find_masks
from unscene.scenes.mask_values import white_pixels

Size = tuple[int, int]


class Ignored:
    """The masks of a capture: one file for all photos, or a folder with one for each photo that needs one."""

    def __init__(self, masks: Path, photos: Sequence[Photo], folder: Path):
        """folder: that of the photos. Raises SceneError where no mask belongs to a photo, CaptureError for no masks."""
        if masks.is_file():
            self._files = {photo.name: (masks,) for photo in photos}
        elif masks.is_dir():
            found = find_masks(folder, [photo.path.resolve() for photo in photos], scale=1, folder=masks)
            assert found is not None
            self._files = dict(zip((photo.name for photo in photos), found.paths, strict=True))
        else:
            raise CaptureError(f"--masks: expected a folder of masks or one mask for all photos, found no {masks}.")
        self._source, self._of_each = masks.name, masks.is_dir()

    @property
    def note(self) -> str:
        """What is ignored, in words."""
        masked = sum(bool(files) for files in self._files.values())
        return f"{self._source}: what is white in the masks of {masked} of {len(self._files)} photos guides no pose"

    def of(self, photo: Photo, size: Size) -> np.ndarray | None:
        """Where the photo at ``size`` (width, height, turned as it is) is ignored: H W bool; None if nowhere.

        A mask is of the pixels as stored, as everywhere, unless its shape fits only the photo as it is shown.
        """
        files = self._files[photo.name]
        if not files:
            return None
        masks = [read_mask(file, photo.name) for file in files]
        white, _ = white_pixels(masks, self._source)
        ignored = np.zeros((size[1], size[0]), bool)
        for mask, pixels in zip(masks, white, strict=True):
            if same_aspect(mask.size, photo.stored):
                pixels = turned(pixels, photo.turn)
            elif not same_aspect(mask.size, photo.size):
                raise CaptureError(
                    f"{mask.name}: expected a mask of {photo.name}'s shape, {size_text(photo.stored)}, got "
                    f"{size_text(mask.size)}; export the mask again from the photo."
                )
            ignored |= cv2.resize(pixels.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
        if ignored.all():
            raise CaptureError(
                f"{listing([mask.name for mask in masks])}: expected a mask that leaves some of {photo.name}, got a "
                "full one; white is ignored: if black and white are swapped, invert the masks."
            )
        return ignored if ignored.any() else None
