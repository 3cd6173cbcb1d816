"""Cameras around an object at the origin, z up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras, look_at

STEEPEST = 89.9  # degrees: straight from above "up" means nothing


@dataclass(frozen=True)
class RelativePose:
    """Where a novel view is taken from, relative to the photo's camera: degrees to the right around the object, degrees
    upwards, and the distance from the object's centre as a multiple of the photo's."""

    azimuth: float
    elevation: float = 0.0
    distance: float = 1.0


def turntable(frames: int) -> list[RelativePose]:
    """Once around the object, from the photo's own place on."""
    return [RelativePose(360 * frame / frames) for frame in range(frames)]


def object_cameras(azimuth: Tensor, elevation: Tensor, distance: Tensor, *, field_of_view: float, size: int) -> Cameras:
    """N square cameras that look at the origin.

    azimuth, elevation: degrees, N; azimuth counterclockwise seen from above, elevation above the horizon; distance: of
    the cameras from the origin, N; field_of_view: degrees; size: pixels.
    """
    around, up = torch.deg2rad(azimuth.float()), torch.deg2rad(elevation.float().clamp(-STEEPEST, STEEPEST))
    towards = torch.stack([around.cos() * up.cos(), around.sin() * up.cos(), up.sin()], -1)
    count = len(towards)
    return Cameras(
        T_world_camera=look_at(towards * distance[:, None].float(), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])),
        focal=torch.full((count, 2), focal_length(field_of_view, size)),
        principal=torch.full((count, 2), size / 2),
        distortion=torch.zeros(count, 5),
        width=size,
        height=size,
    )


def focal_length(field_of_view: float, size: int) -> float:
    """In pixels, of a lens that shows ``field_of_view`` degrees across ``size`` pixels."""
    return size / 2 / math.tan(math.radians(field_of_view) / 2)


def object_poses(cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Azimuth and elevation in degrees and distance, N each, of cameras around the origin."""
    position = cameras.positions
    distance = position.norm(dim=-1)
    azimuth = torch.rad2deg(torch.atan2(position[:, 1], position[:, 0]))
    return azimuth, torch.rad2deg(torch.asin((position[:, 2] / distance).clamp(-1, 1))), distance


def pose_between(source: Cameras, target: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """How far one set of cameras is from another around the origin: azimuth, elevation in degrees, distance, N each."""
    first, second = object_poses(source), object_poses(target)
    return second[0] - first[0], second[1] - first[1], second[2] - first[2]


def rotation_angle(first: Cameras, second: Cameras) -> float:
    """Degrees between the directions from the origin to two cameras."""
    a, b = (torch.nn.functional.normalize(camera.positions[0], dim=0) for camera in (first, second))
    return math.degrees(math.acos(max(-1.0, min(1.0, float(a @ b)))))


def rotation_angles(cameras: Cameras, view: int) -> Tensor:
    """Degrees between the directions from the origin to one of some cameras and to each of them, N."""
    towards = torch.nn.functional.normalize(cameras.positions, dim=-1)
    return torch.rad2deg((towards @ towards[view]).clamp(-1, 1).acos())


def pose_numbers(azimuth: Tensor, elevation: Tensor, distance: Tensor) -> Tensor:
    """The pose as Zero-1-to-3 takes it, N 4: polar angle, sine and cosine of the azimuth, distance.

    All relative to the source camera, N each: azimuth in degrees, counterclockwise seen from above (the camera moves to
    its right); elevation in degrees upwards; distance as a difference, in units of the object's radius (published
    models: of its longest side).
    """
    polar, turn = torch.deg2rad(-elevation), torch.deg2rad(azimuth)
    return torch.stack([polar, turn.sin(), turn.cos(), distance], -1)
