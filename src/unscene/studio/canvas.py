"""A photo on the page: as large as the window allows, its aspect kept, with the object tinted and the clicks marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch

from unscene.evaluation.mask_report import overlay

GROUND = 24  # grey around the photo
WANTED, UNWANTED = (40, 220, 90), (250, 60, 60)  # RGB of the marks of clicks

Mark = tuple[float, float, bool]
"""x and y as shares of the photo's width and height, and whether the object was clicked."""


def drawn(
    photo: np.ndarray, masks: Mapping[str, np.ndarray], marks: Sequence[Mark], width: int, height: int
) -> np.ndarray:  # fmt: skip
    """A photo (H W 3 uint8) in the middle of a canvas of width x height pixels, uint8. masks: of objects by their
    names, H W bool each, to be tinted."""
    if masks:
        photo = overlay(torch.from_numpy(photo), {name: torch.from_numpy(mask) for name, mask in masks.items()}).numpy()
    left, top, shown_width, shown_height = placement(photo.shape[1] / photo.shape[0], width, height)
    smaller = shown_width < photo.shape[1]
    size = (shown_width, shown_height)
    shown = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    for x, y, wanted in marks:
        place = (round(x * shown_width), round(y * shown_height))
        cv2.circle(shown, place, 7, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(shown, place, 5, WANTED if wanted else UNWANTED, -1, cv2.LINE_AA)
    canvas = np.full((height, width, 3), GROUND, np.uint8)
    canvas[top : top + shown_height, left : left + shown_width] = shown
    return canvas


def placement(aspect: float, width: int, height: int) -> tuple[int, int, int, int]:
    """Where a photo of an aspect (width over height) stands on a canvas: left, top, width and height in pixels."""
    zoom = min(width / aspect, float(height))
    shown_width, shown_height = max(1, min(width, round(zoom * aspect))), max(1, min(height, round(zoom)))
    return (width - shown_width) // 2, (height - shown_height) // 2, shown_width, shown_height


def in_photo(x: float, y: float, photo_aspect: float, canvas_aspect: float) -> tuple[float, float]:
    """A place on the canvas, in shares of its size, in shares of the photo's; beyond 0 and 1 outside of it."""
    across, down = (min(1.0, photo_aspect / canvas_aspect), min(1.0, canvas_aspect / photo_aspect))
    return 0.5 + (x - 0.5) / across, 0.5 + (y - 0.5) / down
