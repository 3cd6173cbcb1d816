"""New Gaussians: on the surfaces that views want, once, and not where it is known that nothing is."""

from __future__ import annotations

import pytest
import torch

from tests.box_scene import BoxScene
from tests.splat_room import wall_gaussians
from unscene.fields.splats import Splats, TracedGaussians
from unscene.stages.splat_planting import KnownSpace, Wanted, lacking, mend, plant

pytestmark = pytest.mark.usefixtures("one_thread")


def emptied(room: BoxScene) -> TracedGaussians:
    """The walls without what lies behind the box in the middle view."""
    walls, scene = wall_gaussians(room), room.scene
    assert scene.masks is not None
    xy, _ = scene.cameras.project(torch.full((len(walls),), 4), walls.means)
    column, row = xy.long().unbind(-1)
    inside = (column >= 0) & (row >= 0) & (column < 48) & (row < 36)
    hidden = inside & scene.masks[4][row * inside, column * inside]
    return TracedGaussians.of_file(walls)[~hidden]


def wanted(room: BoxScene, view: int, depth: float = 1.0) -> Wanted:
    assert room.scene.masks is not None
    return Wanted(view, room.scene.masks[view], room.truth[view].float() / 255, room.depth[view] * depth)


def test_a_hole_is_closed_where_its_surface_is_and_only_once(room: BoxScene) -> None:
    hollow, cameras = emptied(room), room.scene.cameras
    surface = wanted(room, 4)
    hole = lacking(hollow.gaussians, cameras, 4, surface.where, surface.depth)
    assert hole.sum() > 40
    closed = plant(hollow, cameras, [surface])
    assert len(closed) == len(hollow) + int(hole.sum()) and (closed.rows[len(hollow) :] == -1).all()
    assert torch.equal(closed.rows[: len(hollow)], hollow.rows)
    new = closed.gaussians[len(hollow) :]
    xy, depth = cameras.project(torch.full((len(new),), 4), new.means)
    torch.testing.assert_close(depth, room.depth[4][hole])
    torch.testing.assert_close(xy, hole.nonzero().flip(-1) + 0.5, atol=1e-3, rtol=0)
    shown = Splats.around(cameras, closed.gaussians).draw(cameras, 4)
    assert (shown.color - surface.colors)[hole].abs().mean() < 0.08
    again = plant(closed, cameras, [surface])
    assert len(again) - len(closed) < 0.1 * int(hole.sum())


def test_what_lies_far_behind_a_surface_does_not_close_it(room: BoxScene) -> None:
    walls, cameras = TracedGaussians.of_file(wall_gaussians(room)), room.scene.cameras
    assert len(plant(walls, cameras, [wanted(room, 4)])) == len(walls)
    nearer = plant(walls, cameras, [wanted(room, 4, 0.8)])
    assert len(nearer) == len(walls) + int(wanted(room, 4).where.sum())


def test_nothing_is_put_where_views_look_through(room: BoxScene) -> None:
    """A surface right before a camera would stand before what the other views see."""
    scene = room.scene
    assert scene.masks is not None
    hollow, space = emptied(room), KnownSpace(scene.cameras, ~scene.masks, room.depth)
    behind = plant(hollow, scene.cameras, [wanted(room, 4)], space)
    assert len(behind) > len(hollow) + 40
    before = plant(hollow, scene.cameras, [wanted(room, 4, 0.15)], space)
    assert len(before) == len(hollow)


def test_what_nobody_wanted_is_mended_in_the_colours_around_it(room: BoxScene) -> None:
    scene = room.scene
    assert scene.masks is not None
    hollow, space = emptied(room), KnownSpace(scene.cameras, ~scene.masks, room.depth)
    mended = mend(hollow, scene.cameras, torch.tensor([4]), scene.masks, room.depth, space)
    assert lacking(hollow.gaussians, scene.cameras, 4, scene.masks[4]).sum() > 40
    assert not lacking(mended.gaussians, scene.cameras, 4, scene.masks[4]).any()
    before, after = (Splats.around(scene.cameras, each.gaussians) for each in (hollow, mended))
    wrong, better = (
        (field.draw(scene.cameras, 4).color - room.truth[4].float() / 255)[scene.masks[4]].abs().mean()
        for field in (before, after)
    )
    assert better < 0.5 * wrong
