"""Cameras: intrinsics, distortion and poses of N views, and the rays between pixels and points.

Conventions of the whole package: OpenCV axes (x right, y down, z forward); ``T_world_camera`` maps camera to
world; pixel (column 0, row 0) covers [0, 1) x [0, 1), so its centre is (0.5, 0.5); ``distance`` runs along the unit
ray, ``depth`` along the camera's z axis.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unscene.geometry.lenses import distort, undistort

FACING = 0.5  # cosine to the optical axis above which a camera looks at a point
ALL_AROUND = 0.3  # length of the mean of level viewing directions below which cameras stand all around
MOST = 0.9  # share of cameras that say where all look; a stray photo does not


@dataclass(frozen=True)
class Rays:
    """Rays in world space.

    origins: R 3; directions: R 3, unit length; depth_per_distance: R, the cosine between ray and optical axis.
    """

    origins: Tensor
    directions: Tensor
    depth_per_distance: Tensor

    def __len__(self) -> int:
        return self.origins.shape[0]

    @staticmethod
    def joined(parts: list[Rays]) -> Rays:
        """All rays of several bundles, one after the other."""
        return Rays(
            torch.cat([part.origins for part in parts]),
            torch.cat([part.directions for part in parts]),
            torch.cat([part.depth_per_distance for part in parts]),
        )

    def __getitem__(self, index: slice | Tensor) -> Rays:
        return Rays(self.origins[index], self.directions[index], self.depth_per_distance[index])


@dataclass(frozen=True)
class Cameras:
    """N pinhole cameras with OpenCV radial-tangential distortion, one image size for all.

    T_world_camera: N 3 4; focal: N 2 and principal: N 2, in pixels; distortion: N 5 (k1, k2, p1, p2, k3).
    """

    T_world_camera: Tensor
    focal: Tensor
    principal: Tensor
    distortion: Tensor
    width: int
    height: int
    bends_rays: bool = field(init=False, repr=False, compare=False)
    """Whether any lens distorts, known without waiting for an accelerator. Looked up where the lenses are in the host's
    memory, carried along by `to`, indexing and resizing, else taken for granted: right in any case, only slower."""

    def __post_init__(self):
        bends = bool(self.distortion.any()) if self.distortion.device.type == "cpu" else True
        object.__setattr__(self, "bends_rays", bends)

    def _with_known_lenses(self, **changes: Any) -> Cameras:
        """A copy whose lenses are these or some of these."""
        copy = dataclasses.replace(self, **changes)
        object.__setattr__(copy, "bends_rays", self.bends_rays)
        return copy

    def __len__(self) -> int:
        return self.T_world_camera.shape[0]

    def __getitem__(self, index: Tensor | slice | list[int]) -> Cameras:
        return self._with_known_lenses(
            T_world_camera=self.T_world_camera[index],
            focal=self.focal[index],
            principal=self.principal[index],
            distortion=self.distortion[index],
        )

    @property
    def positions(self) -> Tensor:
        """Camera centres, N 3."""
        return self.T_world_camera[:, :, 3]

    @property
    def forward(self) -> Tensor:
        """Unit viewing directions, N 3."""
        return self.T_world_camera[:, :, 2]

    def to(self, device: torch.device | str) -> Cameras:
        return self._with_known_lenses(
            T_world_camera=self.T_world_camera.to(device),
            focal=self.focal.to(device),
            principal=self.principal.to(device),
            distortion=self.distortion.to(device),
        )

    def resized(self, width: int, height: int) -> Cameras:
        """The same cameras with images of another resolution."""
        across, down = width / self.width, height / self.height

        def scaled(pixels: Tensor) -> Tensor:
            return torch.stack([pixels[:, 0] * across, pixels[:, 1] * down], -1)  # nothing is sent to a device

        return self._with_known_lenses(
            focal=scaled(self.focal), principal=scaled(self.principal), width=width, height=height
        )

    def followed_by(self, others: Cameras) -> Cameras:
        """These cameras and then others of the same image size."""
        return dataclasses.replace(
            self,
            T_world_camera=torch.cat([self.T_world_camera, others.T_world_camera]),
            focal=torch.cat([self.focal, others.focal]),
            principal=torch.cat([self.principal, others.principal]),
            distortion=torch.cat([self.distortion, others.distortion]),
        )

    def padded(self, width: int, height: int) -> Cameras:
        """The same cameras with pixels appended at the right and the bottom."""
        return self._with_known_lenses(width=width, height=height)

    def rays(self, view: Tensor, xy: Tensor) -> Rays:
        """Rays through pixel positions ``xy`` (R 2, in pixels) of cameras ``view`` (R)."""
        return self._to_world(self.image_plane(view, xy), self.T_world_camera[view])

    def posed_rays(self, view: Tensor, xy: Tensor, T_world_camera: Tensor) -> Rays:
        """Like `rays`, with other poses (R 3 4) in place of the cameras' own, differentiable in them."""
        return self._to_world(self.image_plane(view, xy), T_world_camera)

    def image_rays(self, view: int) -> Rays:
        """All rays of one view, row by row: height * width of them."""
        xy = pixel_centers(self.width, self.height, self.focal.device).reshape(-1, 2)
        return self.rays(torch.full((len(xy),), view, device=xy.device), xy)

    def project(self, view: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points (P 3) into cameras ``view`` (P): pixel positions P 2 and z-depth P.

        Positions of points behind the camera (depth <= 0) mean nothing.
        """
        T = self.T_world_camera[view]
        local = torch.einsum("pij,pi->pj", T[:, :, :3], points - T[:, :, 3])
        depth = local[:, 2]
        plane = local[:, :2] / torch.where(depth.abs() < 1e-9, torch.full_like(depth, 1e-9), depth)[:, None]
        if self.bends_rays:
            plane = distort(plane, self.distortion[view])
        return plane * self.focal[view] + self.principal[view], depth

    def frames(self, xy: Tensor, depth: Tensor) -> Tensor:
        """Whether projected points (positions ... 2, z-depths ...) lie before the camera and within its picture."""
        return (depth > 0) & (xy >= 0).all(-1) & (xy[..., 0] < self.width) & (xy[..., 1] < self.height)

    def image_plane(self, view: Tensor, xy: Tensor) -> Tensor:
        """Undistorted positions (x, y) at z = 1 in the camera frame of pixels xy (P 2) of cameras ``view`` (P), P 2."""
        plane = (xy - self.principal[view]) / self.focal[view]
        return undistort(plane, self.distortion[view]) if self.bends_rays else plane

    @staticmethod
    def _to_world(plane: Tensor, T_world_camera: Tensor) -> Rays:
        depth_per_distance = (plane.square().sum(-1) + 1).rsqrt()
        local = torch.cat([plane, torch.ones_like(plane[:, :1])], -1) * depth_per_distance[:, None]
        directions = (T_world_camera[:, :, :3] @ local[:, :, None])[..., 0]
        return Rays(T_world_camera[:, :, 3].expand_as(directions), directions, depth_per_distance)


def pixel_centers(width: int, height: int, device: torch.device | str = "cpu") -> Tensor:
    """Positions of all pixel centres, height width 2, as (x, y)."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y], -1) + 0.5


def look_at(positions: Tensor, target: Tensor, up: Tensor) -> Tensor:
    """Poses N 3 4 at ``positions`` (N 3), looking at ``target`` (3 or N 3), with ``up`` (3) upwards in the image."""
    forward = torch.nn.functional.normalize(target - positions, dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up.expand_as(forward)), dim=-1)
    down = torch.linalg.cross(forward, right)
    return torch.stack([right, down, forward, positions], -1)


def focus_point(cameras: Cameras) -> Tensor:
    """The point nearest to all optical axes in the least-squares sense, 3; behind the cameras if their axes diverge."""
    forward, position = cameras.forward.double(), cameras.positions.double()
    identity = torch.eye(3, dtype=torch.float64, device=forward.device)
    projector = identity - forward[:, :, None] * forward[:, None, :]
    # A weak pull towards "one camera spread ahead of the centre" keeps parallel axes solvable.
    spread = (position - position.mean(0)).norm(dim=-1).mean().clamp_min(1e-6)
    prior = position.mean(0) + forward.mean(0) * 4 * spread
    A = projector.sum(0) + 1e-3 * len(cameras) * identity
    b = (projector @ position[:, :, None]).sum(0)[:, 0] + 1e-3 * len(cameras) * prior
    return torch.linalg.solve(A, b).float()


def look_at_one_point(cameras: Cameras, point: Tensor) -> bool:
    """Whether their `focus_point` is what nearly all cameras look at, ahead of them and near their optical axes. Where
    axes diverge it lies behind them; how far it is says nothing: a ring of cameras stands as far from it as apart."""
    toward = torch.nn.functional.normalize(point - cameras.positions, dim=-1)
    facing = (toward * cameras.forward).sum(-1) > FACING
    return bool(facing.float().mean() >= MOST)


def stand_all_around(cameras: Cameras) -> bool:
    """Whether cameras look in all level directions alike, as those of a walk around something do."""
    up = torch.nn.functional.normalize(-cameras.T_world_camera[:, :, 1].mean(0), dim=0)
    sideways = cameras.forward.mean(0) - (cameras.forward.mean(0) @ up) * up
    return bool(sideways.norm() < ALL_AROUND)


def nearest_alike(cameras: Cameras, count: int) -> list[list[int]]:
    """Of each camera, the up to so many nearest others that look the same way, the nearest first."""
    apart = torch.cdist(cameras.positions, cameras.positions)
    alike = cameras.forward @ cameras.forward.T > 0
    apart = apart.where(alike, torch.inf).fill_diagonal_(torch.inf)
    ordered = apart.topk(min(count, len(cameras) - 1), largest=False)
    return [row[found].tolist() for row, found in zip(ordered.indices, ordered.values.isfinite(), strict=True)]


def orbit_path(cameras: Cameras, frames: int) -> Cameras:
    """A smooth closed path near the given cameras, looking at what they look at: an ellipse in their mean plane, which
    is level where they stand all around it.

    Cameras whose axes diverge (a forward-facing capture) look at no one point: then at one well ahead of all.
    """
    positions, center = cameras.positions, cameras.positions.mean(0)
    up = torch.nn.functional.normalize(-cameras.T_world_camera[:, :, 1].mean(0), dim=0)
    target, spread = focus_point(cameras), (positions - center).norm(dim=-1).mean()
    if not look_at_one_point(cameras, target):
        target = center + torch.nn.functional.normalize(cameras.forward.mean(0), dim=0) * 4 * spread
    if stand_all_around(cameras):
        right = torch.linalg.cross(up, torch.eye(3, device=up.device)[up.abs().argmin()])
        forward = -up  # from above: the ellipse is level
    else:
        forward = torch.nn.functional.normalize(target - center, dim=0)
        right = torch.linalg.cross(forward, up)
    right = torch.nn.functional.normalize(right, dim=0)
    true_up = torch.linalg.cross(right, forward)
    extent = torch.stack([(positions - center) @ right, (positions - center) @ true_up]).std(1)
    phase = torch.arange(frames, dtype=torch.float32, device=center.device) * (2 * torch.pi / frames)
    path = center + 1.2 * extent[0] * phase.cos()[:, None] * right + 1.2 * extent[1] * phase.sin()[:, None] * true_up
    first = cameras[torch.zeros(frames, dtype=torch.long)]
    return dataclasses.replace(
        first, T_world_camera=look_at(path, target, up), distortion=torch.zeros_like(first.distortion)
    )
