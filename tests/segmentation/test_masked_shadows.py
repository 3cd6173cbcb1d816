"""Shadows of masked objects, in photos of boxes on a floor."""

from __future__ import annotations

import numpy as np

from tests.segmentation.seen_box import overlap
from tests.segmentation.standing_boxes import standing_boxes
from unscene.segmentation.masked_shadows import masked_shadows
from unscene.segmentation.session import Session
from unscene.segmentation.surfaces import Surfaces


def found(masks: np.ndarray | None = None, *, darkened: bool = True) -> np.ndarray:
    boxes = standing_boxes(darkened)
    assert boxes.scene.masks is not None
    session = Session(Surfaces.of(boxes.scene, boxes.depths))
    return masked_shadows(session, boxes.scene.masks.numpy() if masks is None else masks)


def test_the_shadows_of_all_masked_objects_are_found() -> None:
    assert overlap(found(), standing_boxes().shadows) > 0.7


def test_where_nothing_darkens_nothing_is_found() -> None:
    assert not found(darkened=False).any()


def test_shadows_that_masks_have_already_are_not_found_again() -> None:
    boxes = standing_boxes()
    assert boxes.scene.masks is not None
    again = found(boxes.scene.masks.numpy() | boxes.shadows)
    assert again.sum() < 0.01 * boxes.shadows.sum()


def test_an_object_that_is_not_masked_keeps_its_shadow() -> None:
    boxes = standing_boxes()
    assert boxes.scene.masks is not None
    points = Surfaces.of(boxes.scene, boxes.depths).points
    left = points[..., 0] < 0
    alone = found(boxes.scene.masks.numpy() & left)
    assert overlap(alone, boxes.shadows & left) > 0.7
    assert not (alone & ~left).any()


def test_what_one_mask_alone_shows_keeps_no_other_from_its_shadow() -> None:
    boxes = standing_boxes()
    assert boxes.scene.masks is not None
    masks = boxes.scene.masks.numpy().copy()
    masks[0, 45:] = True  # larger than the boxes, and in no other photo
    assert overlap(found(masks)[1:], boxes.shadows[1:]) > 0.7


def test_black_masks_have_no_shadow() -> None:
    assert not found(np.zeros_like(standing_boxes().shadows)).any()
