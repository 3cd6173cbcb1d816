"""Agreement of neighbouring views."""

import math

import pytest
import torch

from tests.box_scene import BoxScene
from unscene.evaluation.consistency import view_consistency
from unscene.evaluation.figures import Views, figure
from unscene.evaluation.measures import CONSISTENCY


@pytest.fixture(scope="module")
def parts(room: BoxScene):
    assert room.scene.masks is not None
    return room.scene.cameras, [image.float() / 255 for image in room.truth], list(room.depth), room.scene.masks


def test_true_images_agree_and_disagreement_is_measured_exactly(parts) -> None:
    cameras, images, depths, masks = parts
    true = view_consistency(cameras, images, depths, masks)
    assert 0 < true < 0.02  # resampling
    flat = [torch.full_like(image, 0.4) for image in images]
    assert view_consistency(cameras, flat, depths, masks) == pytest.approx(0, abs=1e-6)
    flickering = [image + 0.1 * (index % 2) for index, image in enumerate(flat)]
    assert view_consistency(cameras, flickering, depths, masks) == pytest.approx(0.1, abs=1e-5)


def test_a_shift_along_the_wall_is_worse_than_none(parts) -> None:
    cameras, images, depths, masks = parts
    shifted = [torch.roll(image, 3 * (index % 2), dims=1) for index, image in enumerate(images)]
    assert view_consistency(cameras, shifted, depths, masks) > 2 * view_consistency(cameras, images, depths, masks)


def test_what_another_surface_hides_and_what_lies_outside_the_masks_does_not_count(parts) -> None:
    cameras, images, depths, masks = parts
    outside = [torch.where(mask[..., None], image, torch.rand(())) for image, mask in zip(images, masks, strict=True)]
    assert view_consistency(cameras, outside, depths, masks) < 0.03  # borders are interpolated
    nothing = torch.zeros_like(masks)
    assert math.isnan(view_consistency(cameras, images, depths, nothing))
    blocked = [depths[0], depths[1] / 2]  # every point of one view lies behind what the next one shows
    assert math.isnan(view_consistency(cameras, images[:2], blocked, masks[:2]))


def test_as_a_metric_it_knows_regions_and_needs_cameras_and_depths(parts) -> None:
    cameras, images, depths, masks = parts
    views = Views(images, masks=list(masks), cameras=cameras, depths=depths)
    mask, whole = (figure(CONSISTENCY, views, region) for region in ("mask", "image"))
    assert mask is not None and mask.value == view_consistency(cameras, images, depths, masks)
    assert whole is not None and whole.value == view_consistency(cameras, images, depths, torch.ones_like(masks))
    assert figure(CONSISTENCY, Views(images, masks=list(masks), cameras=cameras), "mask") is None
    assert figure(CONSISTENCY, Views(images[:1], cameras=cameras[:1], depths=depths[:1]), "image") is None
    few = [torch.zeros_like(mask) for mask in masks]
    few[0][0, 0] = few[1][0, 0] = True  # too little to compare: no figure, and not a number that is none
    assert figure(CONSISTENCY, Views(images, masks=few, cameras=cameras, depths=depths), "mask") is None
