"""Mask operations against brute force, and visibility on a scene whose hidden part is computable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.box_scene import BoxScene
from unscene.geometry.cameras import Cameras, pixel_centers
from unscene.geometry.masks import (
    VisibilityConfig,
    Witnesses,
    bounding_box,
    dilate,
    erode,
    feathered_composite,
    pixel_points,
    sees,
    surface_points,
    tidy,
    unseen_by_all,
    unwitnessed,
    witnesses,
)


def random_masks(share: float) -> Tensor:
    return torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(0)) < share


def slow_morphology(mask: Tensor, radius: int, every: bool) -> Tensor:
    """True where any (or every) pixel of the window that lies in the image is set."""
    result = torch.zeros_like(mask)
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            window = mask[max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1]
            result[row, column] = window.all() if every else window.any()
    return result


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_dilate_and_erode_match_brute_force(radius: int) -> None:
    sparse, dense = random_masks(0.05), random_masks(0.9)
    assert torch.equal(dilate(sparse, radius), torch.stack([slow_morphology(m, radius, every=False) for m in sparse]))
    assert torch.equal(erode(dense, radius), torch.stack([slow_morphology(m, radius, every=True) for m in dense]))


def test_bounding_box_is_tight() -> None:
    mask = torch.zeros(10, 12, dtype=torch.bool)
    mask[3, 7] = mask[6, 2] = True
    assert bounding_box(mask) == (3, 2, 7, 8)


def test_bounding_box_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        bounding_box(torch.zeros(4, 4, dtype=torch.bool))


def composite_of(mask: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image, fill and their composite."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(*mask.shape, 3, generator=generator) * 0.4
    fill = torch.rand(*mask.shape, 3, generator=generator) * 0.4 + 0.6
    return image, fill, feathered_composite(image, fill, mask, radius)


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_composite_keeps_the_outside_exactly_and_fills_the_core(radius: int) -> None:
    mask = torch.zeros(20, 24, dtype=torch.bool)
    mask[4:18, 5:24] = True  # reaches the image border on one side
    image, fill, composite = composite_of(mask, radius)
    assert torch.equal(composite[~mask], image[~mask])
    core = erode(mask[None], radius)[0]
    torch.testing.assert_close(composite[core], fill[core], atol=1e-6, rtol=0)


def test_composite_blends_monotonically_towards_the_core() -> None:
    mask = torch.zeros(20, 24, dtype=torch.bool)
    mask[:, 8:] = True
    image, fill, composite = composite_of(mask, 3)
    share = ((composite - image) / (fill - image)).mean((0, 2))
    assert (share[:8] == 0).all() and share[8] > 0 and (share[8:11].diff() > 0).all()
    torch.testing.assert_close(share[11:], torch.ones(13))


def test_composite_replaces_thin_parts_and_corners_too() -> None:
    mask = torch.zeros(20, 24, dtype=torch.bool)
    mask[3, 2:20] = True  # a wire, one pixel wide
    mask[8:16, 8:16] = True  # a box, with convex corners
    image, _, composite = composite_of(mask, 2)
    assert (composite[mask] > image[mask]).all()


def test_tidy_drops_specks_closes_gaps_and_stays_within() -> None:
    within = torch.zeros(40, 40, dtype=torch.bool)
    within[2:38, 2:38] = True
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[5, 5] = True  # a speck
    mask[12:28, 12:28] = True
    mask[18:20, 18:20] = False  # a gap
    tidied = tidy(mask, within, 2)
    wanted = torch.zeros(40, 40, dtype=torch.bool)
    wanted[10:30, 10:30] = True
    assert torch.equal(tidied, wanted)
    assert not tidy(mask, within & ~wanted, 2).any()


# A wall at z = 4 behind a square pillar front at z = 2, seen by a row of cameras along x that look along z.
WALL, FRONT, HALF_WIDTH, FOCAL, SIZE = 4.0, 2.0, 0.5, 60.0, 48


def row_of_cameras(positions: list[float]) -> Cameras:
    T = torch.eye(4)[:3].expand(len(positions), 3, 4).clone()
    T[:, 0, 3] = torch.tensor(positions)
    count = len(positions)
    return Cameras(
        T, torch.full((count, 2), FOCAL), torch.full((count, 2), SIZE / 2), torch.zeros(count, 5), SIZE, SIZE
    )


def pillar_masks(cameras: Cameras) -> Tensor:
    """N H W: where the square of half width 0.5 at depth 2 covers the wall."""
    offset = (pixel_centers(SIZE, SIZE) - SIZE / 2) / FOCAL * FRONT
    x = offset[None, ..., 0] + cameras.positions[:, 0, None, None]
    return (x.abs() < HALF_WIDTH) & (offset[None, ..., 1].abs() < HALF_WIDTH)


def sightlines_through(cameras: Cameras, view: int) -> Tensor:
    """H W: how many other cameras see the wall point of a pixel, past the pillar and inside their image."""
    plane = (pixel_centers(SIZE, SIZE) - SIZE / 2) / FOCAL
    point = plane * WALL + torch.stack([cameras.positions[view, 0], torch.tensor(0.0)])
    count = torch.zeros(SIZE, SIZE, dtype=torch.long)
    for other in range(len(cameras)):
        if other == view:
            continue
        camera_x = cameras.positions[other, 0]
        at_front_x = (camera_x + (point[..., 0] - camera_x) * FRONT / WALL).abs()
        hidden = (at_front_x < HALF_WIDTH) & ((point[..., 1] * FRONT / WALL).abs() < HALF_WIDTH)
        in_image = ((point[..., 0] - camera_x).abs() < SIZE / 2 / FOCAL * WALL) & (
            point[..., 1].abs() < SIZE / 2 / FOCAL * WALL
        )
        count += in_image & ~hidden
    return count


@pytest.mark.parametrize("views", [1, 3])
def test_unseen_is_what_the_pillar_hides_from_all_cameras(views: int) -> None:
    cameras = row_of_cameras([-0.6, -0.45, -0.3, -0.15, 0.0, 0.15, 0.3, 0.45, 0.6])
    masks = pillar_masks(cameras)
    depths = torch.full(masks.shape, WALL)
    unseen = unseen_by_all(4, depths[4][masks[4]], masks, depths, cameras, VisibilityConfig(views=views))
    expected = masks[4] & (sightlines_through(cameras, 4) < views)
    assert expected.any() and (masks[4] & ~expected).any()
    # A wall point falls between pixel centres of another view: its mask is right to within one pixel.
    assert not (unseen & ~dilate(expected[None], 1)[0]).any()
    assert not (erode(expected[None], 1)[0] & ~unseen).any()


def test_a_surface_the_other_views_disagree_about_counts_as_unseen() -> None:
    cameras = row_of_cameras([-1.2, 0.0, 1.2])
    masks = pillar_masks(cameras)
    depths = torch.full(masks.shape, WALL)
    config = VisibilityConfig(views=1)
    some = unseen_by_all(1, depths[1][masks[1]], masks, depths, cameras, config)
    nearer = unseen_by_all(1, 0.9 * depths[1][masks[1]], masks, depths, cameras, config)
    assert some.sum() < masks[1].sum() and torch.equal(nearer, masks[1])


def test_fewer_views_than_asked_for_still_hide_or_show() -> None:
    pair = row_of_cameras([0.0, 1.2])
    masks, depths = pillar_masks(pair), torch.full((2, SIZE, SIZE), WALL)
    unseen = unseen_by_all(0, depths[0][masks[0]], masks, depths, pair, VisibilityConfig(views=3))
    assert 0 < unseen.sum() < masks[0].sum()
    alone = unseen_by_all(0, depths[0][masks[0]], masks[:1], depths[:1], pair[[0]], VisibilityConfig(views=3))
    assert torch.equal(alone, masks[0])  # nobody else could have seen it


def test_a_view_without_mask_has_nothing_unseen() -> None:
    cameras = row_of_cameras([0.0, 0.5])
    masks, depths = pillar_masks(cameras), torch.full((2, SIZE, SIZE), WALL)
    masks[0] = False
    assert not unseen_by_all(0, depths[0][masks[0]], masks, depths, cameras, VisibilityConfig()).any()


def test_surface_points_lie_at_their_depth() -> None:
    cameras = row_of_cameras([0.3, 1.0])
    depth = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(0)) + 1
    points = surface_points(cameras, 1, depth).view(-1, 3)
    xy, z = cameras.project(torch.ones(len(points), dtype=torch.long), points)
    torch.testing.assert_close(z.view_as(depth), depth)
    torch.testing.assert_close(xy.view(SIZE, SIZE, 2), pixel_centers(SIZE, SIZE), atol=1e-3, rtol=0)


def test_witnesses_are_counted_and_their_colours_compared(room: BoxScene) -> None:
    """The wall behind the box: what it really looks like is what others show, another colour is not."""
    scene, masks = room.scene, room.scene.masks
    assert masks is not None
    depths, config, view = room.depth, VisibilityConfig(), 3

    def found(colors: torch.Tensor) -> Witnesses:
        mask = masks[view]
        images = list(scene.images)
        return witnesses(view, depths[view][mask], colors, images, masks, depths, scene.cameras, config)

    true = room.truth[view][masks[view]].float() / 255
    right, wrong = found(true), found(1 - true)
    seen = right.count > 0
    assert seen.float().mean() > 0.2 and torch.equal(right.count, wrong.count)
    assert torch.equal(right.difference.isfinite(), seen)
    assert right.difference[seen].median() < 0.05 < 0.1 < wrong.difference[seen].median()
    slow, difference = torch.zeros_like(right.count), torch.zeros_like(right.difference)
    points = pixel_points(scene.cameras, view, masks[view].nonzero().flip(-1) + 0.5, depths[view][masks[view]])
    for other in range(len(scene)):
        if other != view:
            shown = sees(scene.cameras, other, points, masks[other], depths[other], config.depth_tolerance)
            slow += shown
            for place in shown.nonzero()[:, 0].tolist():
                xy, _ = scene.cameras.project(torch.tensor([other]), points[[place]])
                column, row = (int(value) for value in xy[0])
                photo = scene.images[other][row, column].float() / 255
                difference[place] += (photo - true[place]).abs().mean()
    assert torch.equal(right.count, slow)
    assert torch.allclose(right.difference[seen], (difference / slow)[seen], atol=1e-5)
    hidden = unwitnessed(right.count, masks[view], len(scene), config)
    assert torch.equal(hidden, unseen_by_all(view, depths[view][masks[view]], masks, depths, scene.cameras, config))
