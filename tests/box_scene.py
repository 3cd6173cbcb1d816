"""A room with a box in it, traced exactly: photos, masks, and what is really behind the box."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from unscene.files import write_png
from unscene.geometry.cameras import Cameras, Rays, look_at
from unscene.scenes.scene import Scene
from unscene.scenes.transforms import write_transforms

ROOM, ROOM_CENTER = torch.tensor([2.0, 1.5, 3.0]), torch.tensor([0.0, 0.0, 1.0])  # half sides, middle
BOX, BOX_CENTER = torch.tensor([0.4, 0.4, 0.4]), torch.tensor([0.0, 0.2, 1.0])


@dataclass(frozen=True)
class BoxScene:
    """scene: photos with the box, and its masks. truth: N H W 3 uint8 and depth: N H W z-depth, without the box."""

    scene: Scene
    truth: Tensor
    depth: Tensor


def box_scene(views: int = 8, width: int = 48, height: int = 36, *, test_views: int = 0) -> BoxScene:
    """Cameras on an arc inside the room, all of which see the box; the last ``test_views`` of them are for testing."""
    angle = torch.linspace(-0.5, 0.5, views)
    positions = torch.stack([2.6 * angle.sin(), 0.3 * (7 * angle).sin(), 1 - 2.6 * angle.cos()], -1)
    cameras = Cameras(
        look_at(positions, torch.tensor([0.0, 0.1, 1.0]), torch.tensor([0.0, -1.0, 0.0])),
        torch.full((views, 2), 0.8 * width),
        torch.tensor([[width / 2, height / 2]]).repeat(views, 1),
        torch.zeros(views, 5),
        width,
        height,
    )
    shape = (height, width)
    photos, masks, truth, depth = [], [], [], []
    for view in range(views):
        rays = cameras.image_rays(view)
        wall, box = _distance_to_room(rays), _distance_to_box(rays)
        behind, front = _wall_color(_along(rays, wall)), _box_color(_along(rays, box.clamp_max(100)))
        hit = box < wall
        photos.append(torch.where(hit[:, None], front, behind).view(*shape, 3))
        masks.append(hit.view(shape))
        truth.append(behind.view(*shape, 3))
        depth.append((wall * rays.depth_per_distance).view(shape))
    index = torch.arange(views)
    scene = Scene(
        name="room",
        cameras=cameras,
        images=_to_uint8(torch.stack(photos)),
        names=tuple(f"{view:03}.png" for view in range(views)),
        train=index[: views - test_views],
        test=index[views - test_views :],
        masks=torch.stack(masks),
    )
    return BoxScene(scene, _to_uint8(torch.stack(truth)), torch.stack(depth))


def write_capture(folder: Path, scene: Scene) -> Path:
    """The scene as a folder that `load_scene` reads: transforms.json, images/ and masks/ (white = remove)."""
    write_transforms(folder, scene.with_masks(None))
    if scene.masks is not None:
        for name, mask in zip(scene.names, scene.masks, strict=True):
            write_png(folder / "masks" / name, mask.to(torch.uint8).mul(255).numpy())
    return folder


def moved(scene: Scene, rotation: Tensor, translation: Tensor, scale: float) -> Scene:
    """The same photos in another world: points p become scale * rotation p + translation."""
    T = scene.cameras.T_world_camera
    turned = torch.cat([rotation @ T[:, :, :3], scale * rotation @ T[:, :, 3:] + translation[:, None]], -1)
    return replace(scene, cameras=replace(scene.cameras, T_world_camera=turned))


def _distance_to_room(rays: Rays) -> Tensor:
    """From inside: the nearest wall ahead."""
    ahead = ROOM - (rays.origins - ROOM_CENTER) * rays.directions.sign()
    return (ahead / rays.directions.abs().clamp_min(1e-9)).amin(-1)


def _distance_to_box(rays: Rays) -> Tensor:
    """Infinite for rays that miss it."""
    slope = torch.where(rays.directions.abs() < 1e-9, 1e-9, rays.directions)
    sides = torch.stack([(side * BOX - (rays.origins - BOX_CENTER)) / slope for side in (-1, 1)])
    enter, leave = sides.amin(0).amax(-1), sides.amax(0).amin(-1)
    return torch.where((enter < leave) & (enter > 0), enter, torch.inf)


def _along(rays: Rays, distance: Tensor) -> Tensor:
    return rays.origins + rays.directions * distance[:, None]


def _wall_color(points: Tensor) -> Tensor:
    """Soft waves of 2 to 3 units, different in every channel."""
    x, y, z = points.unbind(-1)
    return 0.5 + 0.4 * torch.stack([torch.sin(2.5 * x + y), torch.sin(3 * y + z), torch.sin(2 * z - 2 * x)], -1)


def _box_color(points: Tensor) -> Tensor:
    """Dark red, a little darker from side to side."""
    shade = 0.6 + 0.2 * torch.sin(5 * points.sum(-1, keepdim=True))
    return shade * torch.tensor([1.0, 0.15, 0.1])


def _to_uint8(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)
