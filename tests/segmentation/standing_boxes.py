"""Two boxes on a floor, each with a shadow at its foot, traced exactly."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras, Rays, look_at
from unscene.scenes.scene import Scene

HALF, CENTRES = 0.25, (-0.7, 0.7)  # half a side, and where along x; the floor is y = 0, up is negative
REACH, DARK = 0.15, 0.6  # of the shadow beyond a box, and what light it leaves
VIEWS, WIDTH, HEIGHT = 8, 96, 72


@dataclass(frozen=True)
class Standing:
    """scene: photos with the masks of both boxes; depths: N H W, z-depths; shadows: N H W bool."""

    scene: Scene
    depths: np.ndarray
    shadows: np.ndarray


@functools.cache
def standing_boxes(darkened: bool = True) -> Standing:
    angle = torch.linspace(-0.6, 0.6, VIEWS)
    positions = torch.stack([3 * angle.sin(), torch.full_like(angle, -1.6), -3 * angle.cos()], -1)
    cameras = Cameras(
        look_at(positions, torch.tensor([0.0, -0.1, 0.0]), torch.tensor([0.0, -1.0, 0.0])),
        torch.full((VIEWS, 2), 1.1 * WIDTH), torch.tensor([[WIDTH / 2, HEIGHT / 2]]).repeat(VIEWS, 1),
        torch.zeros(VIEWS, 5), WIDTH, HEIGHT,
    )  # fmt: skip
    parts = [_traced(cameras, view, darkened) for view in range(VIEWS)]
    photos, masks, depths, shadows = (torch.stack(part) for part in zip(*parts, strict=True))
    scene = Scene(
        name="boxes", cameras=cameras, images=photos, names=tuple(f"{view:03}.png" for view in range(VIEWS)),
        train=torch.arange(VIEWS), test=torch.arange(0), masks=masks,
    )  # fmt: skip
    return Standing(scene, depths.numpy(), shadows.numpy())


def _traced(cameras: Cameras, view: int, darkened: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Photo H W 3 uint8, masks, z-depth and shadow, H W each, of one view."""
    rays = cameras.image_rays(view)
    floor = torch.where(rays.directions[:, 1] > 1e-3, -rays.origins[:, 1] / rays.directions[:, 1], 50.0).clamp_max(50)
    box = torch.stack([_distance_to_box(rays, x) for x in CENTRES]).amin(0)
    on_floor = rays.origins + rays.directions * floor[:, None]
    beside = [torch.maximum((on_floor[:, 0] - x).abs(), on_floor[:, 2].abs()) < HALF + REACH for x in CENTRES]
    shadow = torch.stack(beside).any(0) & (box > floor)
    light = torch.where(shadow, DARK, 1.0) if darkened else torch.ones_like(floor)
    wood = torch.tensor([0.7, 0.55, 0.4]) * (1 + 0.05 * torch.sin(9 * on_floor[:, :1])) * light[:, None]
    color = torch.where((box < floor)[:, None], torch.tensor([0.2, 0.3, 0.7]), wood)
    depth = torch.minimum(box, floor) * rays.depth_per_distance
    shape = (cameras.height, cameras.width)
    photo = (color * 255).round().to(torch.uint8).view(*shape, 3)
    return photo, (box < floor).view(shape), depth.view(shape), shadow.view(shape)


def _distance_to_box(rays: Rays, x: float) -> Tensor:
    centre = torch.tensor([x, -HALF, 0.0])
    slope = torch.where(rays.directions.abs() < 1e-9, 1e-9, rays.directions)
    sides = torch.stack([(side * HALF - (rays.origins - centre)) / slope for side in (-1, 1)])
    enter, leave = sides.amin(0).amax(-1), sides.amax(0).amin(-1)
    return torch.where((enter < leave) & (enter > 0), enter, torch.inf)
