"""Views between photos, against a room whose surfaces are known."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from tests.box_scene import _along, _distance_to_room, _wall_color, box_scene
from unscene.fields.field import PixelRender, ViewField
from unscene.geometry.cameras import Cameras
from unscene.scenes.scene import Scene
from unscene.stages.views_between import SHARES, cameras_between, with_views_between
from unscene.training.pixels import unmasked_training_pixels

ALL = box_scene(views=16, width=48, height=36).scene
SCENE = dataclasses.replace(ALL.subset(torch.arange(4)), train=torch.arange(3), test=torch.tensor([3]))
"""Four photos that stand close together."""


class Room(ViewField):
    """The room without the box, drawn exactly."""

    def draw(self, cameras: Cameras, view: int) -> PixelRender:
        rays = cameras.image_rays(view)
        distance = _distance_to_room(rays)
        shape = (cameras.height, cameras.width)
        return PixelRender(
            _wall_color(_along(rays, distance)).view(*shape, 3), (distance * rays.depth_per_distance).view(shape)
        )


def joined() -> tuple[Scene, Tensor]:
    events = with_views_between(SCENE, Room(), unmasked_training_pixels(SCENE))
    while True:
        try:
            next(events)
        except StopIteration as finished:
            return finished.value


def test_cameras_stand_between_neighbours_that_look_the_same_way() -> None:
    scene = ALL
    own = scene.cameras[scene.train]
    between = cameras_between(own)
    turns = between.T_world_camera[:, :, :3]
    assert torch.allclose(turns @ turns.transpose(1, 2), torch.eye(3).expand_as(turns), atol=1e-5)
    assert (torch.linalg.det(turns) > 0).all()
    pairs = len(between) // len(SHARES)
    assert pairs == 15 + 14 + 6  # next ones, next but one, and farther ones of those at the ends
    first, second = own.positions[0], own.positions[1]
    assert torch.allclose(between.positions[0], first + (second - first) / 3, atol=1e-6)
    assert (between.forward[0] @ own.forward[0]) > (own.forward[0] @ own.forward[1])
    back = own.T_world_camera.clone()
    back[2, :, [0, 2]] *= -1  # looks away from what the others look at
    apart = cameras_between(Cameras(back, own.focal, own.principal, own.distortion, own.width, own.height))
    assert len(apart) and (apart.forward @ own.forward[2] > 0).all()  # none on the way to that one
    assert len(cameras_between(own[[0]])) == 0


def test_all_is_known_of_them_but_what_all_photos_hide_behind_the_object() -> None:
    scene, photos = SCENE, len(SCENE)
    whole, known = joined()
    assert len(whole) == len(known) == len(whole.images) == len(whole.names) > photos and whole.masks is None
    assert torch.equal(known[:photos], unmasked_training_pixels(scene)) and torch.equal(whole.test, scene.test)
    assert whole.train.tolist() == [*scene.train.tolist(), *range(photos, len(whole))]
    further = known[photos:]
    assert 0.8 < further.float().mean() < 1  # the box hides a little in all of them
    rays = whole.cameras.image_rays(photos)
    truth = _wall_color(_along(rays, _distance_to_room(rays))).view(*whole.images.shape[1:])
    assert (whole.image(photos) - truth).abs().max() < 0.01


def test_a_scene_without_masks_is_known_everywhere() -> None:
    scene = SCENE.with_masks(None)
    known = torch.ones(scene.images.shape[:3], dtype=torch.bool)
    events = with_views_between(scene, Room(), known)
    try:
        while True:
            next(events)
    except StopIteration as finished:
        assert finished.value[1].all()
