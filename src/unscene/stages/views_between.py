"""Views between photos as a radiance field shows them: what Gaussians learn besides where few photos look.

Gaussians that only have to look right from a dozen places are needles and crumbs from everywhere else, as nothing holds
them there. A radiance field that learnt the same photos from near to far and from coarse to fine has no such freedom.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator

import torch
from torch import Tensor

from unscene.fields.field import Field, render_view
from unscene.geometry.cameras import Cameras, nearest_alike
from unscene.geometry.masks import Photos, surface_points
from unscene.scenes.scene import Scene
from unscene.training.events import Event, ItemDone, StageDone, StageStarted

NEIGHBOURS = 4  # photos that each is joined with
SHARES = (1 / 3, 2 / 3)  # of the way to them


def with_views_between(scene: Scene, field: Field, known: Tensor) -> Generator[Event, None, tuple[Scene, Tensor]]:
    """The scene with the field's renders between its training photos as further ones, and what is known of all: V H W
    bool. known: N H W bool, of the scene's own views.

    Where a render shows what lies behind the object for all photos, nothing is known of it.
    """
    started = time.monotonic()
    yield StageStarted("views between")
    own = scene.cameras[scene.train]
    cameras = cameras_between(own)
    depths = torch.stack([render_view(field, own, view).depth for view in range(len(own))])
    photos = Photos(own, depths, None if scene.masks is None else scene.masks[scene.train])
    images, told = list[Tensor](), list[Tensor]()
    for view in range(len(cameras)):
        render = render_view(field, cameras, view)
        _, hidden = photos.place(surface_points(cameras, view, render.depth))
        images.append(render.color)
        told.append(~hidden)
        yield ItemDone("views between", view + 1, len(cameras))
    yield StageDone("views between", time.monotonic() - started)
    return scene.with_further_training(cameras, images), torch.cat([known, *(mask[None] for mask in told)])


def cameras_between(cameras: Cameras) -> Cameras:
    """Cameras at `SHARES` of the way from each to its nearest `NEIGHBOURS` that look the same way, each pair once."""
    nearest = nearest_alike(cameras, NEIGHBOURS)
    pairs = sorted({(min(i, j), max(i, j)) for i, row in enumerate(nearest) for j in row})
    first, second = torch.tensor(pairs, dtype=torch.long, device=cameras.focal.device).view(-1, 2).T
    poses = [(1 - share) * cameras.T_world_camera[first] + share * cameras.T_world_camera[second] for share in SHARES]
    mixed = torch.cat(poses)
    left, _, right = torch.linalg.svd(mixed[:, :, :3])  # the nearest rotation to a mean of two
    mixed = torch.cat([left @ right, mixed[:, :, 3:]], -1)
    return dataclasses.replace(cameras[first.repeat(len(SHARES))], T_world_camera=mixed)
