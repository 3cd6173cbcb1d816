"""Looking at the base view's points from other views."""

import pytest
import torch

from tests.box_scene import BoxScene, box_scene
from unscene.geometry.masks import surface_points
from unscene.stages.base_view import mean_fill
from unscene.stages.independent_inpainting import InpaintedView
from unscene.stages.single_view_prior import look_from


@pytest.fixture(scope="module")
def room() -> BoxScene:
    return box_scene()


def test_points_are_looked_at_where_a_view_hides_them_too(room: BoxScene) -> None:
    cameras, region = room.scene.cameras, room.scene.masks
    assert region is not None
    points = surface_points(cameras, 3, room.depth[3])[region[3]]
    asked = torch.arange(len(points)) % len(room.scene)
    base = torch.full_like(asked, 3)
    view, xy, depth = look_from(cameras, points, asked, base, region, room.depth)
    column, row = xy.floor().long().unbind(-1)
    moved = view != base
    assert moved.float().mean() > 0.2 and (view[moved] == asked[moved]).all()
    assert region[view, row, column][moved].all()
    rays = cameras.rays(view, xy)
    seen = rays.origins + rays.directions * (depth / rays.depth_per_distance)[:, None]
    torch.testing.assert_close(seen, points, atol=1e-4, rtol=1e-4)
    # the walls of the room have one colour per place: what the other view really shows there is the same point's
    there = room.truth[view, row, column].float() - room.truth[3][region[3]].float()
    assert there[moved].abs().median() < 16


def test_points_outside_every_hole_or_image_are_left_to_the_base_view(room: BoxScene) -> None:
    cameras = room.scene.cameras
    region = torch.zeros(len(room.scene), cameras.height, cameras.width, dtype=torch.bool)
    far = torch.tensor([[0.0, 0.0, -50.0], [1e9, 0.0, 1.0], [0.0, 0.1, 1.0]])
    base = torch.full((3,), 2)
    view, _, _ = look_from(cameras, far, torch.tensor([0, 5, 7]), base, region, room.depth)
    assert torch.equal(view, base)


def test_candidates_are_averaged_where_they_invented_the_same_surface(room: BoxScene) -> None:
    """Each candidate shows the true wall, one lighter and one darker by the same: their mean is the wall."""
    scene, region = room.scene, room.scene.masks
    assert region is not None
    truth = room.truth.float() / 255

    def candidate(view: int, error: float) -> InpaintedView:
        return InpaintedView(view, truth[view] + error, truth[view], torch.zeros(0), room.depth[view], region[view])

    views = [candidate(3, 0.1), candidate(4, -0.1)]
    mean = mean_fill(scene.cameras, views[0], views, region)
    both, alone = region[3] & (mean - truth[3]).abs().lt(0.05).all(-1), region[3] & ~mean.isnan().any(-1)
    assert alone.float().sum() == region[3].sum()  # the view itself is one of them
    assert both.sum() > 0.4 * region[3].sum()  # the other hides most of the same wall
    elsewhere = mean[~region[3]].isnan().all(-1)
    assert elsewhere.float().mean() > 0.8  # nobody invented anything there but for the rim seen at a slant
    assert mean_fill(scene.cameras, views[0], views[1:], torch.zeros_like(region)).isnan().all()


def test_what_lies_outside_a_candidates_frame_was_not_invented_by_it() -> None:
    """The hole touches the photo's border; a view that looks elsewhere does not smear its border over it."""
    room = box_scene()
    cameras, shape = room.scene.cameras, room.scene.images.shape[1:3]
    region = torch.ones(len(room.scene), *shape, dtype=torch.bool)
    images = room.truth.float() / 255
    first, last = (
        InpaintedView(
            v, images[v], images[v], torch.zeros(0), room.depth[v], torch.ones_like(room.depth[v], dtype=torch.bool)
        )
        for v in (0, 7)
    )
    mean = mean_fill(cameras, first, [last], region)
    xy, _ = cameras.project(
        torch.full((shape[0] * shape[1],), 7), surface_points(cameras, 0, room.depth[0]).view(-1, 3)
    )
    inside = ((xy >= 0) & (xy < torch.tensor([shape[1], shape[0]]))).all(-1).view(shape)
    assert 0.1 < inside.float().mean() < 0.95
    assert torch.equal(~mean.isnan().any(-1), inside)
