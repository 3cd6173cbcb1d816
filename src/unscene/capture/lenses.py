"""The lens that took a photo, and the focal length to begin with, by the photo's EXIF."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

from PIL import Image

from unscene.scenes.orientation import stored_size

FILM_DIAGONAL = math.hypot(36, 24)  # mm; what FocalLengthIn35mmFilm is measured by (CIPA DCG-001)
UNKNOWN_FOCAL = 1.2  # of the longer side, where nothing is known: 45 degrees, as COLMAP begins
PLAUSIBLE = (0.2, 20.0)  # focal lengths of the longer side that are taken for one
MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0}  # of EXIF's units of resolution
EXIF_FOLDER = 0x8769
MAKE, MODEL, LENS_MODEL, ZOOM = 0x010F, 0x0110, 0xA434, 0xA404
FOCAL_LENGTH, FOCAL_LENGTH_35MM, PLANE_RESOLUTION, PLANE_UNIT, EXIF_WIDTH = 0x920A, 0xA405, 0xA20E, 0xA210, 0xA002


@dataclass(frozen=True)
class Lens:
    """Photos with equal ones share a camera.

    identity: what EXIF says of body, lens and zoom. sides: the photo's longer and shorter side in pixels, as cameras
    crop for some sizes. focal: in multiples of the longer side, None if EXIF does not tell.
    """

    identity: tuple[str, ...]
    sides: tuple[int, int]
    focal: float | None

    @property
    def first_focal(self) -> float:
        """The focal length to begin with, in multiples of the longer side."""
        return UNKNOWN_FOCAL if self.focal is None else self.focal

    def __str__(self) -> str:
        return " ".join(self.identity) or "an unknown lens"


def read_lens(image: Image.Image) -> Lens:
    """The lens of an opened photo; a damaged EXIF block counts as none."""
    width, height = stored_size(image)
    sides = (max(width, height), min(width, height))
    if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode the pixels to look for it
        return Lens((), sides, None)
    try:
        exif = image.getexif()
        tags = exif.get_ifd(EXIF_FOLDER)
        names = (exif.get(MAKE), exif.get(MODEL), tags.get(LENS_MODEL))
        numbers = (_positive(tags.get(FOCAL_LENGTH)), _positive(tags.get(FOCAL_LENGTH_35MM)), _positive(tags.get(ZOOM)))
        focal = _focal(tags, sides)
    except (AttributeError, IndexError, KeyError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return Lens((), sides, None)
    described = [str(name).strip("\0 ") for name in names if name]
    units = zip(("{:g} mm", "{:g} mm of 35", "zoom {:g}"), numbers, strict=True)
    return Lens((*described, *(text.format(value) for text, value in units if value)), sides, focal)


def _focal(tags: Any, sides: tuple[int, int]) -> float | None:
    """In multiples of the longer side: by the equivalent of 35 mm film, else by the sensor's resolution."""
    longer, shorter = sides
    if equivalent := _positive(tags.get(FOCAL_LENGTH_35MM)):
        focal = equivalent / FILM_DIAGONAL * math.hypot(1, shorter / longer)
    else:
        length, resolution = _positive(tags.get(FOCAL_LENGTH)), _positive(tags.get(PLANE_RESOLUTION))
        unit, taken_at = MILLIMETRES.get(tags.get(PLANE_UNIT, 2)), _positive(tags.get(EXIF_WIDTH))
        if not (length and resolution and unit):
            return None
        focal = length * resolution / unit / (taken_at or longer)
    return focal if PLAUSIBLE[0] <= focal <= PLAUSIBLE[1] else None


def _positive(value: Any) -> float | None:
    number = float(value) if value is not None else 0.0
    return number if math.isfinite(number) and number > 0 else None  # EXIF's 0 is "unknown"
