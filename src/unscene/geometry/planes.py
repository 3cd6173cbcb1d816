"""Planes in a camera's frame: fitting one to depth, and looking at it squarely."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras, pixel_centers

HYPOTHESES = 256
REFINEMENTS = 3


@dataclass(frozen=True)
class Plane:
    """All points X of the camera frame with normal . X = 1; normal: 3. A plane is linear in disparity."""

    normal: Tensor

    def disparity(self, image_plane: Tensor) -> Tensor:
        """1/depth where rays through image-plane positions (... 2, at z = 1) meet the plane; <= 0 where they do not."""
        return image_plane @ self.normal[:2] + self.normal[2]


def fit_plane(
    image_plane: Tensor, disparity: Tensor, tolerance: float, generator: torch.Generator
) -> tuple[Plane, Tensor]:
    """The plane that most points lie on, by random sample consensus, and who they are (P bool).

    image_plane: P 2; disparity: P; tolerance: largest relative difference in disparity. Raises ValueError with fewer
    than three points.
    """
    if len(disparity) < 3:
        raise ValueError(f"fit_plane needs at least three points, got {len(disparity)}")
    device = image_plane.device
    rows = torch.cat([image_plane, torch.ones_like(image_plane[:, :1])], 1).cpu().double()
    disparity = disparity.cpu().double()  # small systems in float64: not an accelerator's work
    sample = torch.randint(len(rows), (HYPOTHESES, 3), generator=generator)
    regular = torch.linalg.det(rows[sample]).abs() > 1e-9
    normals = torch.linalg.solve(rows[sample[regular]], disparity[sample[regular]][..., None])[..., 0]
    if len(normals) == 0:
        raise ValueError("fit_plane needs points that are not all on one line of the image")
    error = (rows @ normals.T - disparity[:, None]).abs() / disparity[:, None]
    support = (1 - (error / tolerance).square()).clamp_min(0).sum(0)  # MSAC: counted alone, a plane between two wins
    inliers = error[:, support.argmax()] < tolerance
    normal = normals[0]
    for _ in range(REFINEMENTS):
        normal = torch.linalg.lstsq(rows[inliers], disparity[inliers][:, None]).solution[:, 0]
        inliers = (rows @ normal - disparity).abs() / disparity < tolerance
        if inliers.sum() < 3:
            break
    return Plane(normal.float().to(device)), inliers.to(device)


@dataclass(frozen=True)
class PlaneView:
    """A square look at a plane seen by one camera.

    points: h w 3, each texel in the world; pixels: h w 2, where it lies in the photo; valid: h w, inside the photo and
    in front of the camera; texels: P 2, where chosen pixels of the photo lie in the texture.
    """

    points: Tensor
    pixels: Tensor
    valid: Tensor
    texels: Tensor


def look_squarely(cameras: Cameras, view: int, plane: Plane, chosen: Tensor, *, context: float, side: int) -> PlaneView:
    """Lay a square grid on the plane around the chosen pixels (H W bool) of a view.

    A texel is as large as a pixel at the middle of the chosen pixels; ``context`` times their extent is added on each
    side; the longer side is limited to ``side`` texels.
    """
    height, width = chosen.shape
    device = chosen.device
    xy = pixel_centers(width, height, device)[chosen]
    rays = cameras.image_plane(torch.full((len(xy),), view, device=device), xy)
    points = torch.cat([rays, torch.ones_like(rays[:, :1])], 1) / plane.disparity(rays)[:, None]
    origin, normal = points.mean(0), torch.nn.functional.normalize(plane.normal, dim=0)
    right = torch.tensor([1.0, 0.0, 0.0], device=device)
    across = torch.nn.functional.normalize(right - normal * (right @ normal), dim=0)
    axes = torch.stack([across, torch.linalg.cross(normal, across)])  # 2 3
    local = (points - origin) @ axes.T
    low, high = local.amin(0), local.amax(0)
    margin = context * (high - low).amax()
    low, high = low - margin, high + margin
    texel = torch.maximum(origin[2] / cameras.focal[view].mean(), (high - low).amax() / side)
    columns, rows = ((high - low) / texel).ceil().int().tolist()
    grid = low + pixel_centers(columns, rows, device) * texel
    surface = origin + grid @ axes
    T = cameras.T_world_camera[view]
    world = surface.reshape(-1, 3) @ T[:, :3].T + T[:, 3]
    pixels, depth = cameras.project(torch.full((len(world),), view, device=device), world)
    inside = (depth > 0) & (pixels > 0).all(-1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
    return PlaneView(
        world.view(rows, columns, 3), pixels.view(rows, columns, 2), inside.view(rows, columns), (local - low) / texel
    )
