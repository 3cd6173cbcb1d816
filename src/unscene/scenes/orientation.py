"""EXIF orientation, which is ignored: poses, intrinsics and masks belong to the pixels as they are stored."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageFile

TAG = 0x0112
THREADS = 4
_UNDO = {  # what Pillow did to a TIFF, undone
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, of an opened image that has not been decoded; 1 if it has none."""
    if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode the pixels to look for it
        return 1
    try:
        found = image.getexif().get(TAG, 1)
    except (IndexError, KeyError, OSError, SyntaxError, TypeError, ValueError, struct.error):  # a damaged EXIF block
        return 1
    return found if found in _UNDO else 1


def stored_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) as stored, of an opened image that has not been decoded."""
    turned = image.format == "TIFF" and orientation(image) >= 5
    return (image.size[1], image.size[0]) if turned else image.size


def as_stored(image: Image.Image) -> Image.Image:
    """An opened image with its pixels as stored: Pillow turns those of a TIFF while it decodes them."""
    found = orientation(image)
    if image.format != "TIFF" or found == 1:
        return image
    if isinstance(image, ImageFile.ImageFile):
        image.filename = ""  # to read the file, not to map it: Pillow maps one on its side by the width as shown
    return image.transpose(_UNDO[found])


def orientation_note(photos: Sequence[Path]) -> tuple[str, ...]:
    """A note on how many photos ask to be shown turned, if any do. Only headers are read."""
    with ThreadPoolExecutor(THREADS) as threads:
        turned = sum(threads.map(_is_turned, photos))
    if not turned:
        return ()
    return (
        f"EXIF orientation is ignored, as in COLMAP: {turned} of {len(photos)} photos ask to be shown turned; their "
        "poses and masks must belong to the pixels as stored",
    )


def _is_turned(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return orientation(image) != 1
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return False  # whoever decodes it will say so
