"""Votes for the base view, and the subset of views that agree with it."""

from __future__ import annotations

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


def test_the_image_between_the_others_wins() -> None:
    blends = [torch.lerp(picture(0), picture(1), share) for share in (0.0, 0.45, 0.5, 1.0)]
    assert most_central(blends, [box_mask()] * 4) in (1, 2)


def test_nearest_to_the_centre_come_first() -> None:
    positions = torch.tensor([[9.0, 0, 0], [0, 0, 0], [-9.0, 0, 0], [100.0, 0, 0], [1.5, 0, 0]])
    views = torch.tensor([0, 1, 2, 4])  # the far camera is not asked
    assert views_nearest_center(cameras_at(positions), views, 2).tolist() == [1, 4]
    assert len(views_nearest_center(cameras_at(positions), views, 10)) == 4


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


def test_every_group_keeps_at_least_one() -> None:
    cameras, views = grid_of_views(), torch.arange(48)
    kept = similar_views(cameras, views, 0, torch.rand(48), share=0.01, groups=(2, 2, 3))
    assert sorted(cells_of(cameras, kept).tolist()) == list(range(12))


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
