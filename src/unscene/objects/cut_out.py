"""Finding the one object of a photo: by its alpha channel, by a box and GrabCut, or by a plain background."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from unscene.objects.masks import bounds, nearest_pieces, nearest_pixels, shrunk, without_pinholes
from unscene.objects.object_error import ObjectError
from unscene.objects.plain_background import cut_by_plain_background

SMALLEST_OBJECT = 24  # pixels on the longer side: below that there is nothing to learn from
ANOTHER_OBJECT = 0.15  # of the largest piece's area: from there on a piece is an object of its own
LOOSE_PART = 0.02  # of the largest piece's area: smaller pieces are specks, which are dropped

GRABCUT_SIZE = 512  # pixels on the longer side
GRABCUT_ROUNDS = 5
PINHOLE = 0.005  # of the object's area: smaller holes are glints that GrabCut took for background
LEAST_OF_BOX = 0.05  # of its area that the object fills
SMALLEST_BOX = 8  # pixels on each side


@dataclass(frozen=True)
class CutOut:
    """An object apart from its background.

    color: H W 3 uint8, where alpha is partial that of the object alone. alpha: H W float32 in [0, 1].
    notes: what was done, in words for the user.
    """

    color: np.ndarray
    alpha: np.ndarray
    notes: tuple[str, ...]


def cut_out(
    color: np.ndarray,
    alpha: np.ndarray | None,
    box: tuple[int, int, int, int] | None,
    label: str,
    *,
    photo_size: tuple[int, int],
    reduction: int = 1,
) -> CutOut:
    """The object of a photo, color H W 3 uint8, alpha H W uint8 or None; ``label`` names the photo in errors.

    An alpha channel that cuts something out comes first, then the box, then a plain background. box: x, y, width,
    height in pixels of the whole photo, of which photo_size (width, height) is the size, and ``reduction`` squared make
    one of color's. Raises ObjectError where none of them shows an object.
    """
    if alpha is not None and alpha.min() < 128:
        ignored = ("the box is not needed and was ignored",) if box else ()
        return CutOut(color, alpha.astype(np.float32) / 255, ("cut out by its alpha channel", *ignored))
    if box is not None:
        _check_box(box, photo_size, reduction, label)
        return _by_box(color, box, reduction, label)
    plain = cut_by_plain_background(color)
    if plain is None:
        raise ObjectError(
            f"{label}: expected an alpha channel or a plain background, by which the object can be told apart, but the "
            "photo is opaque and its border has several colours; cut the object out in any image editor and save it "
            "as a PNG with transparency, or pass --box X Y WIDTH HEIGHT, a rectangle around the object in pixels of "
            "the photo, in which GrabCut does it."
        )
    return CutOut(plain[0], plain[1], (f"cut out by a plain background of colour {plain[2]}",))


def keep_object(alpha: np.ndarray, *, largest: bool, label: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """``alpha`` (H W float32) with nothing but the object, and notes.

    A piece is a connected component of alpha > 0.5, together with the soft alpha that is nearest to it. Pieces are
    weighed against the largest: from 15 % of its area on they are objects of their own, and an error unless
    ``largest``; from 2 % on they are loose parts of it, and stay unless ``largest``; smaller ones are specks and go.
    Raises ObjectError also for an object that is empty or tiny.
    """
    solid = alpha > 0.5
    if not solid.any():
        raise ObjectError(
            f"{label}: expected an object, but nothing in the photo is more than half opaque once it is cut out; cut "
            "it out by hand in an image editor, or pass --box X Y WIDTH HEIGHT with an opaque photo."
        )
    piece = nearest_pieces(solid)
    areas = np.bincount(piece[solid])
    chief = int(areas.argmax())
    left, top, right, bottom = bounds(solid & (piece == chief))
    if max(right - left, bottom - top) < SMALLEST_OBJECT:
        raise ObjectError(
            f"{label}: expected an object of {SMALLEST_OBJECT} pixels at least on its longer side, got a tiny one of "
            f"{right - left} x {bottom - top}; use a photo of higher resolution, or one taken from nearer."
        )
    share = areas / areas[chief]
    objects = int((share >= ANOTHER_OBJECT).sum())
    if objects > 1 and not largest:
        raise ObjectError(
            f"{label}: expected one object, got {objects} that do not touch, the second with "
            f"{np.sort(share)[-2]:.0%} of the area of the largest; crop the photo to one of them, or pass --largest "
            "to keep the largest alone."
        )
    keep = np.arange(len(areas)) == chief if largest else share >= LOOSE_PART
    kept = np.where(keep[piece], alpha, np.float32(0))
    notes = (f"the largest of {objects} objects",) if objects > 1 else ()
    loose = int(keep.sum()) - 1
    if loose:
        notes += (f"with {loose} loose part{'s' if loose > 1 else ''} beside it",)
    if (kept[[0, -1]] > 0.5).any() or (kept[:, [0, -1]] > 0.5).any():
        notes += ("the object touches the photo's border: what is cut off stays cut off",)
    return kept, notes


def _by_box(color: np.ndarray, photo_box: tuple[int, int, int, int], reduction: int, label: str) -> CutOut:
    """GrabCut inside the box; what lies around it, up to half its size away, is the example of background."""
    height, width = color.shape[:2]
    x, y = (round(start / reduction) for start in photo_box[:2])
    box_width, box_height = (
        round((photo_box[axis] + photo_box[axis + 2]) / reduction) - (x, y)[axis] for axis in range(2)
    )
    described = "{2} x {3} pixels at ({0}, {1})".format(*photo_box)
    left, top = max(0, x - box_width // 2), max(0, y - box_height // 2)
    right, bottom = min(width, x + box_width + box_width // 2), min(height, y + box_height + box_height // 2)
    region = color[top:bottom, left:right]
    inside = _grabcut(region, (x - left, y - top, box_width, box_height))
    if inside.sum() < LEAST_OF_BOX * box_width * box_height:
        raise ObjectError(
            f"{label}: expected an object in the box of {described}, but GrabCut found nothing there that differs from "
            "what is around the box; draw the box close around the object, or cut it out in an image editor and save "
            "it as a PNG with transparency."
        )
    alpha = np.zeros(color.shape[:2], np.float32)
    alpha[top:bottom, left:right] = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.7)
    result = color.copy()
    result[top:bottom, left:right] = _inner_color(region, inside, 1 + round(_shrinking(region)))
    notes = (f"cut out by GrabCut inside {described}",)
    within = inside[y - top : y - top + box_height, x - left : x - left + box_width]
    if max(within[0].mean(), within[-1].mean(), within[:, 0].mean(), within[:, -1].mean()) > 0.25:
        notes += ("the object runs along the box's edge: draw the box wider if some of it is missing",)
    return CutOut(result, alpha, notes)


def _grabcut(color: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The foreground in the box (x, y, width, height), H W bool, found at 512 pixels and smoothed at full size."""
    shrink = _shrinking(color)
    height, width = (max(2, round(length / shrink)) for length in color.shape[:2])
    small = cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA)
    mask, models = np.zeros((height, width), np.uint8), (np.zeros((1, 65)), np.zeros((1, 65)))
    rectangle = [round(length / shrink) for length in box]
    cv2.setRNGSeed(0)  # its colour models start from random clusters
    cv2.grabCut(small, mask, rectangle, *models, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_RECT)
    found = without_pinholes((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD), PINHOLE)
    large = cv2.resize(found.astype(np.float32), color.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(large, (0, 0), 0.5 * shrink) > 0.5  # no stairs of the coarse mask's pixels


def _shrinking(color: np.ndarray) -> float:
    return max(1.0, max(color.shape[:2]) / GRABCUT_SIZE)


def _check_box(box: tuple[int, int, int, int], size: tuple[int, int], reduction: int, label: str) -> None:
    x, y, width, height = box
    smallest = SMALLEST_BOX * reduction
    if min(width, height) < smallest:
        problem = f"one of {width} x {height}"
    elif x < 0 or y < 0 or x + width > size[0] or y + height > size[1]:
        problem = f"columns {x} to {x + width} and rows {y} to {y + height}, partly or wholly outside"
    elif width * height > 0.98 * size[0] * size[1]:
        problem = "one that leaves nothing around it, where the background's colours are learnt"
    else:
        return
    raise ObjectError(
        f"{label}: expected a box of {smallest} x {smallest} pixels at least within the photo's {size[0]} x "
        f"{size[1]}, got {problem}; pass --box X Y WIDTH HEIGHT, left and top first, in pixels of the photo as viewers "
        "show it."
    )


def _inner_color(color: np.ndarray, mask: np.ndarray, reach: int) -> np.ndarray:
    """``color`` with the object's colours, from ``reach`` pixels inside of its edge, along the edge and beyond it."""
    inner = shrunk(mask, reach)
    if not inner.any():
        return color
    distance, nearest = nearest_pixels(inner)
    near = distance <= 2 * reach + 2  # thin parts, farther from any inner pixel, stay as they are
    return np.where(near[..., None], color.reshape(-1, 3)[nearest], color)
