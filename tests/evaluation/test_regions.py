"""Boxes, masking and patches on pictures in which every pixel tells where it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unscene.evaluation.regions import (
    LEAST_SIDE,
    boundary_patches,
    clean_patches,
    patch_side,
    region_picture,
    region_pixels,
    wide_box,
)


def places(height: int, width: int) -> Tensor:
    """Row and column of each pixel, as colours."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, torch.ones_like(rows)], -1).float()


def rectangle(height: int, width: int, rows: slice, columns: slice) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


def test_the_box_is_wider_by_a_tenth_and_stays_in_the_image() -> None:
    mask = rectangle(200, 300, slice(50, 150), slice(5, 205))
    assert wide_box(mask) == (slice(40, 160), slice(0, 225))
    assert wide_box(mask, 0) == (slice(50, 150), slice(5, 205))
    assert region_pixels(mask, "image").all() and torch.equal(region_pixels(mask, "mask"), mask)
    assert torch.equal(region_pixels(mask, "box"), rectangle(200, 300, slice(40, 160), slice(0, 225)))


def test_a_network_is_shown_the_box_or_the_mask_on_black() -> None:
    image, mask = places(200, 300) + 1, rectangle(200, 300, slice(50, 150), slice(50, 250))
    mask[60, 60] = False
    assert region_picture(image, mask, "image").shape == (1, 3, 200, 300)
    assert region_picture(image, None, "image").shape == (1, 3, 200, 300)
    box = region_picture(image, mask, "box")
    assert box.shape == (1, 3, 120, 240)
    assert box[0, :, 0, 0].tolist() == [41, 31, 2] and box[0, :, -1, -1].tolist() == [160, 270, 2]
    masked = region_picture(image, mask, "mask")
    kept = mask[wide_box(mask)]
    assert torch.equal(masked[0, :, kept], box[0, :, kept]) and (masked[0, :, ~kept] == 0).all()


@pytest.mark.parametrize("shape", [(20, 33), (33, 20), (64, 20)])
def test_what_is_too_small_for_a_network_is_enlarged_evenly(shape: tuple[int, int]) -> None:
    picture = region_picture(places(*shape), None, "image")
    assert min(picture.shape[-2:]) == LEAST_SIDE
    assert picture.shape[-1] / picture.shape[-2] == pytest.approx(shape[1] / shape[0], rel=0.02)


def test_patches_lie_along_the_boundary() -> None:
    mask = rectangle(100, 120, slice(30, 70), slice(40, 90))
    assert patch_side([mask]) == 16  # a quarter of 50 is less
    patches = boundary_patches(places(100, 120), mask, 16)
    assert patches.shape == (8, 3, 16, 16)
    middles = patches[:, :2, 8, 8]
    on_edge = [r in (30, 69) or c in (40, 89) for r, c in middles.tolist()]
    assert all(on_edge) and len(set(map(tuple, middles.tolist()))) == 8
    assert len({(r > 50, c > 65) for r, c in middles.tolist()}) == 4  # on all sides


def test_where_a_mask_ends_with_the_image_there_is_no_boundary() -> None:
    """A mask that reaches the edge on three sides has only one."""
    mask = rectangle(80, 100, slice(0, 80), slice(0, 40))
    patches = boundary_patches(places(80, 100), mask, 20)
    assert (patches[:, 1, 0, 10] == 39).all() and len(patches) == 8
    assert patches[:, 0].min() == 0 and patches[:, 0].max() == 79  # those at the ends are moved inwards
    assert len(boundary_patches(places(80, 100), torch.ones(80, 100, dtype=torch.bool), 20)) == 0
    assert len(boundary_patches(places(80, 100), torch.zeros(80, 100, dtype=torch.bool), 20)) == 0


def test_clean_patches_show_nothing_of_the_mask() -> None:
    image = places(90, 90)
    mask = rectangle(90, 90, slice(20, 60), slice(20, 60))
    image[mask] = -1
    patches = clean_patches(image, mask, 20)
    assert patches.shape == (8, 3, 20, 20) and patches.min() >= 0
    assert len({tuple(p[:2, 0, 0].tolist()) for p in patches}) == 8
    assert all(len(set(patches[:, axis, 0, 0].tolist())) > 3 for axis in (0, 1))  # not in one row or column
    assert torch.equal(patches, clean_patches(image, mask, 20))
    assert clean_patches(image, ~mask, 60).shape == (0, 3, 60, 60)  # none fits
    assert len(clean_patches(image, rectangle(90, 90, slice(0, 90), slice(20, 90)), 20)) == 8
