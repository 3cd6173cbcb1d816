"""Votes for the base view, and the subset of views that agree with it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.stages.view_choice import (
    hash_similarity,
    most_central,
    perceptual_hash,
    similar_views,
    views_nearest_center,
)


def picture(seed: int) -> Tensor:
    """A smooth random picture, 64 64 3."""
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic")[0].permute(1, 2, 0).clamp(0, 1)


def box_mask() -> Tensor:
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[10:50, 8:60] = True
    return mask


def cameras_at(positions: Tensor) -> Cameras:
    count = len(positions)
    T = torch.eye(4)[:3].expand(count, 3, 4).clone()
    T[:, :, 3] = positions
    return Cameras(T, torch.ones(count, 2), torch.ones(count, 2), torch.zeros(count, 5), 2, 2)


def test_the_hash_forgives_noise_and_tells_pictures_apart() -> None:
    mask = box_mask()
    original, other = perceptual_hash(picture(0), mask), perceptual_hash(picture(1), mask)
    noise = 0.02 * torch.randn(64, 64, 3, generator=torch.Generator().manual_seed(2))
    noisy = perceptual_hash(picture(0) + noise, mask)
    assert hash_similarity(original, original) == 1
    assert hash_similarity(original, noisy) > 0.9
    assert hash_similarity(original, other) < 0.75


def test_the_hash_sees_the_masks_box_only() -> None:
    mask = box_mask()
    elsewhere = torch.where(mask[..., None], picture(0), picture(1))
    assert hash_similarity(perceptual_hash(picture(0), mask), perceptual_hash(elsewhere, mask)) == 1


def test_similarity_counts_equal_bits() -> None:
    hashes = perceptual_hash(picture(0), box_mask())
    flipped = hashes.copy()
    flipped.flat[0] ^= 0b10000001
    assert hash_similarity(hashes, flipped) == 62 / 64
    assert hash_similarity(hashes, ~hashes) == 0


@pytest.mark.parametrize("odd", range(4))
def test_votes_throw_out_the_odd_one(odd: int) -> None:
    generator = torch.Generator().manual_seed(3)
    images = [picture(0) + 0.05 * torch.randn(64, 64, 3, generator=generator) for _ in range(4)]
    images[odd] = picture(7)
    assert most_central(images, [box_mask()] * 4) != odd


def test_what_stands_around_the_mask_does_not_vote() -> None:
    mask = box_mask()
    rows, columns = mask.nonzero().unbind(-1)
    mask[rows.min(), columns.min() + 1 :] = False  # its box has corners that it does not cover
    image = picture(0)
    other = torch.where(mask[..., None], image, picture(1))
    assert (perceptual_hash(image, mask) == perceptual_hash(other, mask)).all()


def test_the_image_between_the_others_wins() -> None:
    blends = [torch.lerp(picture(0), picture(1), share) for share in (0.0, 0.45, 0.5, 1.0)]
    assert most_central(blends, [box_mask()] * 4) in (1, 2)


def test_nearest_to_the_centre_come_first() -> None:
    positions = torch.tensor([[9.0, 0, 0], [0, 0, 0], [-9.0, 0, 0], [100.0, 0, 0], [1.5, 0, 0]])
    views = torch.tensor([0, 1, 2, 4])  # the far camera is not asked
    assert views_nearest_center(cameras_at(positions), views, 2).tolist() == [1, 4]
    assert len(views_nearest_center(cameras_at(positions), views, 10)) == 4


def test_candidates_may_be_spaced_as_far_as_views_allow() -> None:
    cameras, views = cameras_at(torch.arange(13.0)[:, None] * torch.tensor([1.0, 0, 0])), torch.arange(13)
    order = views_nearest_center(cameras, views, 13).tolist()
    assert views_nearest_center(cameras, views, 5, 3).tolist() == order[::3]
    assert (
        views_nearest_center(cameras, views[:7], 4, 3).tolist()
        == views_nearest_center(cameras, views[:7], 7)[::2].tolist()
    )
    assert len(views_nearest_center(cameras, views[:3], 5, 3)) == 3


def grid_of_views() -> Cameras:
    """48 cameras on a 4 x 4 x 3 grid, in random order."""
    axes = (torch.arange(4.0), torch.arange(4.0), torch.arange(3.0))
    positions = torch.cartesian_prod(*axes)
    shuffle = torch.randperm(48, generator=torch.Generator().manual_seed(4))
    # equal coordinates have no order along an axis: break ties
    return cameras_at(positions[shuffle] + 0.01 * torch.rand(48, 3, generator=torch.Generator().manual_seed(5)))


def cells_of(cameras: Cameras, views: Tensor) -> Tensor:
    """Which of the 2 x 2 x 3 boxes each camera of the grid stands in."""
    x, y, z = cameras.positions[views].floor().long().unbind(-1)
    return (x // 2) * 6 + (y // 2) * 3 + z


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 1.0])
def test_every_group_keeps_its_share_of_the_most_similar(share: float) -> None:
    cameras, views = grid_of_views(), torch.arange(48)
    similarity = torch.rand(48, generator=torch.Generator().manual_seed(6))
    kept = similar_views(cameras, views, 0, similarity, share=share, groups=(2, 2, 3))
    cell = cells_of(cameras, views)
    wanted = [
        view for view in range(48) if (similarity[cell == cell[view]] > similarity[view]).sum() < round(4 * share)
    ]
    assert kept.tolist() == wanted


@pytest.mark.parametrize("count", [1, 2, 5, 7, 12, 13, 20, 48])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.7, 1.0])
def test_few_views_are_kept_in_their_share_too(count: int, share: float) -> None:
    """Of 12 views in as many groups half are kept, not one of each group."""
    positions = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
    cameras, views = cameras_at(positions), torch.arange(count)
    similarity = torch.rand(count, generator=torch.Generator().manual_seed(6))
    kept = similar_views(cameras, views, 0, similarity, share=share, groups=(2, 2, 3))
    assert len(kept) == max(1, math.floor(share * count + 0.5))
    rank = (positions - positions[0]).argsort(0).argsort(0)
    cell = (rank * torch.tensor([2, 2, 3]) // count) @ torch.tensor([6, 3, 1])
    for group in cell.unique():
        members = (cell == group).nonzero()[:, 0]
        chosen = similarity[[v for v in members.tolist() if v in kept.tolist()]]
        others = similarity[[v for v in members.tolist() if v not in kept.tolist()]]
        assert math.floor(share * len(members)) <= len(chosen) <= math.ceil(share * len(members))
        assert not (len(chosen) and len(others)) or chosen.min() >= others.max()


def test_where_not_every_group_can_keep_one_the_most_similar_views_are_kept() -> None:
    cameras, views = grid_of_views(), torch.arange(48)
    one_each = torch.tensor([int((cells_of(cameras, views) == group).nonzero()[0]) for group in range(12)])
    similarity = torch.linspace(0, 1, 12)
    kept = similar_views(cameras, one_each, 0, similarity, share=0.25, groups=(2, 2, 3))
    assert set(kept.tolist()) == set(one_each[-3:].tolist())


def test_the_hash_is_opencvs_of_blue_green_and_red() -> None:
    """OpenCV takes the first channel for blue: as grey, a red shape on blue is bright, one on swapped channels dark."""
    image = torch.zeros(64, 64, 3)
    image[..., 2] = 0.5
    image[16:40, 10:30] = torch.tensor([0.5, 0.0, 0.0])
    mask = torch.ones(64, 64, dtype=torch.bool)
    grey = (image @ torch.tensor([0.299, 0.587, 0.114]))[..., None].expand(-1, -1, 3)
    assert hash_similarity(perceptual_hash(image, mask), perceptual_hash(grey, mask)) > 0.9


def test_groups_follow_the_base_cameras_axes() -> None:
    cameras = grid_of_views()
    turned = cameras.T_world_camera.clone()
    turned[0, :, :3] = torch.tensor(
        [[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]
    )  # base camera's x, y, z are the world's y, z, x
    similarity = torch.rand(48, generator=torch.Generator().manual_seed(7))
    straight = similar_views(cameras, torch.arange(48), 0, similarity, share=0.5, groups=(2, 2, 3))
    rotated = Cameras(turned, *(torch.ones(48, n) for n in (2, 2, 5)), 2, 2)
    permuted = similar_views(rotated, torch.arange(48), 0, similarity, share=0.5, groups=(2, 3, 2))
    assert torch.equal(straight, permuted)


def test_only_the_given_views_are_kept() -> None:
    views = torch.arange(3, 48, 2)
    kept = similar_views(grid_of_views(), views, 0, torch.rand(len(views)), share=0.5, groups=(2, 2, 3))
    assert set(kept.tolist()) <= set(views.tolist())
