"""A photo of one object, cut out and framed as a square that keeps its pinhole camera."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from unscene.objects.cut_out import cut_out, keep_object
from unscene.objects.masks import bounds, nearest_pixels
from unscene.objects.object_error import ObjectError

SMALLEST_PHOTO = 32  # pixels on the longer side
LARGEST_WORKED_ON = 2560  # pixels on the longer side: results are smaller, and cutting out holds many copies
FILM_WIDTH = 36.0  # mm
EXIF_FOLDER, EXIF_FOCAL_LENGTH_35MM = 0x8769, 0xA405


@dataclass(frozen=True)
class ObjectPhoto:
    """A square photo of one object, cut out.

    color: S S 3 float32 in [0, 1], not multiplied with alpha, white where alpha is 0. alpha: S S float32 in [0, 1].
    depth: S S float32, z-depth in the depth file's units, 0 where unknown or outside of the object, or None.
    focal: in pixels of the square. principal: x, y in pixels of the square, of which the upper left one covers [0, 1):
    off its centre where the object was off the photo's. notes: what was done, in words for the user.
    """

    color: Tensor
    alpha: Tensor
    depth: Tensor | None
    focal: float
    principal: tuple[float, float]
    notes: tuple[str, ...] = ()


def read_object_photo(
    path: Path,
    *,
    size: int,
    field_of_view: float,
    depth: Path | None = None,
    box: tuple[int, int, int, int] | None = None,
    largest: bool = False,
    margin: float = 0.15,
) -> ObjectPhoto:
    """The object of a photo, ``size`` pixels wide and high, upright as its EXIF orientation says.

    field_of_view: of the longer side of the whole photo, degrees. depth: a greyscale image of the photo's size with 16
    bits or floats, z-depth in any unit; 0 or no number is unknown. box: x, y, width, height in pixels of the
    photo around the object, for photos with neither an alpha channel nor a plain background. largest: of several
    objects take the largest. margin: what stays free on each side, as a share of the square's side. Photos of more than
    2560 pixels on the longer side are reduced by a whole number first. Raises ObjectError.
    """
    _check_camera(path, field_of_view, margin)
    pixels, opacity, (width, height) = _read_pixels(path)
    reduction = _reduction((width, height))
    found = cut_out(pixels, opacity, box, str(path), photo_size=(width, height), reduction=reduction)
    alpha, notes = keep_object(found.alpha, largest=largest, label=str(path))
    solid = alpha > 0.5
    square = _square_around(bounds(solid), margin)
    color, small_alpha = _resampled(found.color, alpha, square, size)
    distances, more = None, ()
    if depth is not None:
        metric = _read_depth(depth, (width, height))
        known = solid & (metric > 0)
        if not known.any():
            raise ObjectError(
                f"{depth}: expected the object's depth, but it is 0 or no number wherever {path} shows the object; "
                "check that both files show the same view, or go without the depth."
            )
        distances = torch.from_numpy(np.where(small_alpha >= 0.5, _nearest_depth(metric, known, square, size), 0))
        share = known.sum() / solid.sum()
        more = (f"depth is known for {share:.0%} of the object",) if share < 0.98 else ()
    left, top, side = square
    zoom = size / (side * reduction)
    return ObjectPhoto(
        torch.from_numpy(color),
        torch.from_numpy(small_alpha),
        distances,
        focal=zoom * 0.5 * max(width, height) / math.tan(math.radians(field_of_view) / 2),
        principal=((width / 2 - left * reduction) * zoom, (height / 2 - top * reduction) * zoom),
        notes=(*found.notes, *notes, *more),
    )


def exif_field_of_view(path: Path) -> float | None:
    """Degrees of the longer side by the photo's FocalLengthIn35mmFilm, taken as of 36 mm, or None if it has none.

    Raises ObjectError for a file that is no image.
    """
    focal_length = _decoded(path, "a photo").getexif().get_ifd(EXIF_FOLDER).get(EXIF_FOCAL_LENGTH_35MM)
    if not isinstance(focal_length, int) or focal_length <= 0:  # 0 is EXIF's "unknown"
        return None
    return math.degrees(2 * math.atan(0.5 * FILM_WIDTH / focal_length))


def _check_camera(path: Path, field_of_view: float, margin: float) -> None:
    if not 0 < field_of_view < 180:
        raise ObjectError(
            f"{path}: expected a field of view between 0 and 180 degrees, got {field_of_view:g}; a phone's main camera "
            "has about 65, a portrait lens 30."
        )
    if not 0 <= margin < 0.5:
        raise ObjectError(
            f"{path}: expected a margin from 0 to below 0.5 of the square's side, got {margin:g}; 0.15 is usual."
        )


def _decoded(path: Path, what: str) -> Image.Image:
    """The image of a file, upright; ``what`` says in errors what it was meant to be."""
    if not path.is_file():
        raise ObjectError(f"{path}: expected {what}, but there is no such file; check its name and folder.")
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise ObjectError(
            f"{path}: expected {what}, but it is no image that can be read here; save it as PNG or JPEG."
        ) from error
    except Image.DecompressionBombError as error:
        raise ObjectError(
            f"{path}: expected {what} of {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} million pixels at most, but its "
            "header announces more; scale it down."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise ObjectError(
            f"{path}: expected {what}, but the file is truncated or damaged ({error}); copy it again."
        ) from error


def _reduction(size: tuple[int, int]) -> int:
    """By how much a photo of this width and height is reduced: a whole number, which keeps its geometry exact."""
    return math.ceil(max(size) / LARGEST_WORKED_ON)


def _read_pixels(path: Path) -> tuple[np.ndarray, np.ndarray | None, tuple[int, int]]:
    """The reduced photo, H W 3 uint8, if the file has one its alpha channel, H W uint8, and its width and height before
    that."""
    image = _decoded(path, "a photo of an object")
    if max(image.size) < SMALLEST_PHOTO:
        raise ObjectError(
            f"{path}: expected a photo of {SMALLEST_PHOTO} pixels at least on its longer side, got {image.size[0]} x "
            f"{image.size[1]}; use the photo itself, not its thumbnail."
        )
    if image.mode == "F":
        raise ObjectError(
            f"{path}: expected a photo with 8 or 16 bits, got one channel of floats; save it as PNG or JPEG."
        )
    if image.mode.startswith("I"):  # 16-bit grey, which PIL would clip at 255
        image = Image.fromarray((np.asarray(image).astype(np.float32) / 257).round().clip(0, 255).astype(np.uint8))
    size, mode = image.size, "RGBA" if image.has_transparency_data else "RGB"
    pixels = np.array(image.convert(mode).reduce(_reduction(size)))  # PIL weighs colours by their alpha
    return np.ascontiguousarray(pixels[..., :3]), pixels[..., 3] if mode == "RGBA" else None, size


def _read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    """H W float32 in the file's units, 0 where unknown; of a photo that is reduced each block's middle pixel."""
    image = _decoded(path, "a depth image")
    if image.mode != "F" and not image.mode.startswith("I"):
        raise ObjectError(
            f"{path}: expected depth as a greyscale image with 16 bits or floats (PNG, TIFF), got one of mode "
            f"{image.mode}; export depth itself, not a picture of it."
        )
    if image.size != size:
        raise ObjectError(
            f"{path}: expected depth of the photo's size, {size[0]} x {size[1]} upright, got {image.size[0]} x "
            f"{image.size[1]}; render or resize it, by the nearest pixel, to the photo's size."
        )
    step = _reduction(size)
    columns, rows = (np.minimum(np.arange(step // 2, length + step // 2, step), length - 1) for length in size)
    depth = np.asarray(image)[rows[:, None], columns].astype(np.float32)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def _square_around(box: tuple[int, int, int, int], margin: float) -> tuple[int, int, int]:
    """(left, top, side) of a square around (left, top, right, bottom), in whole pixels, perhaps beyond the photo."""
    left, top, right, bottom = box
    side = math.ceil(max(right - left, bottom - top) / (1 - 2 * margin))
    return (left + right - side) // 2, (top + bottom - side) // 2, side


def _resampled(
    color: np.ndarray, alpha: np.ndarray, square: tuple[int, int, int], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The square at ``size``, S S 3 and S S float32, premultiplied on the way so that no background mixes in."""
    left, top, side = square
    height, width = alpha.shape
    x, y = slice(max(left, 0), min(left + side, width)), slice(max(top, 0), min(top + side, height))
    within = slice(y.start - top, y.stop - top), slice(x.start - left, x.stop - left)
    premultiplied = np.zeros((side, side, 4), np.float32)
    premultiplied[(*within, 3)] = alpha[y, x]
    premultiplied[(*within, slice(3))] = color[y, x] * (alpha[y, x, None] / 255)
    way = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    small = cv2.resize(premultiplied, (size, size), interpolation=way)
    opacity = np.where(small[..., 3] < 1 / 512, 0, small[..., 3]).clip(0, 1)  # below half a step of 8 bits: none
    straight = small[..., :3] / np.maximum(opacity, 1 / 512)[..., None]
    return np.where(opacity[..., None] > 0, straight.clip(0, 1), np.float32(1)), opacity


def _nearest_depth(depth: np.ndarray, known: np.ndarray, square: tuple[int, int, int], size: int) -> np.ndarray:
    """Depth at the centres of the square's pixels, S S float32: that of the nearest known pixel of the object within
    one pixel of the square, so that the edge's depth is the object's, and never a mean of two surfaces; else 0."""
    left, top, side = square
    distance, nearest = nearest_pixels(known)
    steps = (np.arange(size) + 0.5) * side / size
    rows = (steps + top).astype(np.int64).clip(0, depth.shape[0] - 1)[:, None]
    columns = (steps + left).astype(np.int64).clip(0, depth.shape[1] - 1)[None]
    near = distance[rows, columns] <= max(1.5, side / size)
    return np.where(near, depth.reshape(-1)[nearest[rows, columns]], np.float32(0))
