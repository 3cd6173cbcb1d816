"""Which part of a render is in no photo's view, against a room whose surfaces are known."""

from __future__ import annotations

import torch

from tests.box_scene import _distance_to_room, box_scene
from unscene.evaluation.outside_photos import find_outside
from unscene.fields.field import PixelRender, ViewField
from unscene.geometry.cameras import Cameras, look_at
from unscene.geometry.masks import Photos, surface_points
from unscene.training.events import Note, Picture

TRACED = box_scene(views=4, width=48, height=36)


class Room(ViewField):
    """The room without the box, drawn exactly."""

    def draw(self, cameras: Cameras, view: int) -> PixelRender:
        rays = cameras.image_rays(view)
        depth = (_distance_to_room(rays) * rays.depth_per_distance).view(cameras.height, cameras.width)
        return PixelRender(torch.full((*depth.shape, 3), 0.5), depth)


def turned_round(view: int) -> Cameras:
    """A view's camera that looks the other way."""
    cameras = TRACED.scene.cameras[[view]]
    pose = look_at(cameras.positions, cameras.positions - cameras.forward, torch.tensor([0.0, -1.0, 0.0]))
    return Cameras(pose, cameras.focal, cameras.principal, cameras.distortion, cameras.width, cameras.height)


def test_what_photos_show_is_not_outside_and_what_is_behind_the_camera_is() -> None:
    cameras = {"same": TRACED.scene.cameras[[1]], "back": turned_round(1)}
    events = find_outside(Room(), TRACED.scene, {kind: (camera, [kind]) for kind, camera in cameras.items()})
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as finished:
            shares = finished.value
            break
    assert shares == {"same": 0.0, "back": 1.0}
    assert [event.view for event in seen if isinstance(event, Picture)] == ["back"]
    (picture,) = (event.image for event in seen if isinstance(event, Picture))
    assert (picture[..., 0] > picture[..., 2]).all(), "red"
    (told,) = (event.text for event in seen if isinstance(event, Note))
    assert "0.0% of same" in told and "100.0% of back" in told


def test_what_the_object_hides_in_all_photos_is_not_outside_but_behind_it() -> None:
    close = box_scene(views=16, width=48, height=36)
    scene, depth = close.scene.subset(torch.arange(3)), close.depth[:3]
    assert scene.masks is not None
    points = surface_points(scene.cameras, 0, depth[0])
    outside, hidden = Photos(scene.cameras, depth, scene.masks).place(points)
    assert not outside.any()
    row, column = (~scene.masks[0]).nonzero()[0]
    assert not hidden[row, column], "seen in the open"
    known = scene.masks[0] & ~hidden
    for part, is_seen in ((hidden, False), (known, True)):
        assert part.any()
        xys = [scene.cameras.project(torch.full((int(part.sum()),), other), points[part])[0].long() for other in (1, 2)]
        open_ = [
            ~scene.masks[other][xy[:, 1].clamp(0, 35), xy[:, 0].clamp(0, 47)]
            for other, xy in zip((1, 2), xys, strict=True)
        ]
        assert (torch.stack(open_).any(0) == is_seen).float().mean() > 0.98


def test_what_stands_before_a_point_hides_it() -> None:
    scene = TRACED.scene
    nearer = Photos(scene.cameras, TRACED.depth * 0.5, None)
    outside, _ = nearer.place(surface_points(scene.cameras, 0, TRACED.depth[0]))
    assert outside.all()
