"""Continuing the surface behind an object: what lies on one plane is copied along that plane, seen squarely.

Exemplar filling copies pieces of a photo. Perspective makes every copied piece wrong, and pieces of other things that
stand around get copied too. On the rectified plane around the hole, copies are what they should be, only the plane
itself is copied, and what other views see of it, behind and beside whatever stands on it, can be copied as well. Ours;
no paper's.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras, pixel_centers
from unscene.geometry.masks import dilate, erode, sees
from unscene.geometry.planes import Plane, PlaneView, fit_plane, look_squarely
from unscene.priors.classical import ExemplarInpainter
from unscene.priors.depth.completion import complete_disparity
from unscene.priors.exemplar.offset_completion import complete_by_offsets
from unscene.priors.exemplar.patch_completion import CompletionConfig
from unscene.priors.exemplar.patch_matching import NothingToCopyError
from unscene.scenes.scene import Scene

TOLERANCE = 0.04  # relative difference in disparity up to which a point lies on the plane
FEWEST = 0.33  # share of the hole's surroundings that must lie on the plane
FEWEST_AROUND = 50  # pixels of them, to tell a plane
CONTEXT = 1.0  # surroundings to copy from, on each side, as a share of the hole's extent on the plane
LARGEST_SIDE = 300  # texels along the rectified plane
FEWEST_PIXELS = 16  # of the hole on the plane, below which looking at it squarely is not worth it
RIM = 2  # pixels along the border of what lies on the plane that may show something else
OTHER_VIEWS = 24  # asked, the nearest first, for what a view does not see of the plane, however many views there are
FARTHEST = 3.0  # depth, as a multiple of the median's, beyond which a plane is too oblique to be looked at


@dataclass(frozen=True)
class Surface:
    """What continues behind the hole of a view. depth: H W, completed; plane: the dominant plane or None;
    on_plane: H W bool, the part of the hole on it; support: H W bool, the visible pixels on it."""

    depth: Tensor
    plane: Plane | None
    on_plane: Tensor
    support: Tensor

    @property
    def is_filled_squarely(self) -> bool:
        """Whether enough of the hole lies on the plane to look at that squarely."""
        return self.plane is not None and int(self.on_plane.sum()) >= FEWEST_PIXELS

    def describe(self) -> str:
        """In words, for the run's record."""
        if self.plane is None:
            return "depth behind the object: the field's own, completed in disparity (no depth network, no plane found)"
        return "depth behind the object: the plane around it, the rest completed in disparity (no depth network)"


@dataclass(frozen=True)
class Surroundings:
    """What is around the hole of a view. ring: H W bool, the pixels that were asked; image_plane: H W 2, positions
    at z = 1; plane: the one that enough of the ring lies on, or None."""

    ring: Tensor
    image_plane: Tensor
    plane: Plane | None


def look_around(cameras: Cameras, view: int, depth: Tensor, hole: Tensor, generator: torch.Generator) -> Surroundings:
    """The plane around the hole (H W bool) of a view's z-depth (H W), if there is one."""
    reach = max(6, round(0.25 * float(hole.sum()) ** 0.5))
    ring = dilate(hole[None], reach)[0] & ~_unreliable(hole)
    grid = pixel_centers(cameras.width, cameras.height, hole.device).reshape(-1, 2)
    image_plane = cameras.image_plane(torch.full((len(grid),), view, device=hole.device), grid).view(*hole.shape, 2)
    if ring.sum() < FEWEST_AROUND:
        return Surroundings(ring, image_plane, None)
    plane, inliers = fit_plane(image_plane[ring], 1 / depth[ring].clamp_min(1e-6), TOLERANCE, generator)
    return Surroundings(ring, image_plane, plane if inliers.float().mean() >= FEWEST else None)


def continue_surface(cameras: Cameras, view: int, depth: Tensor, hole: Tensor, generator: torch.Generator) -> Surface:
    """Complete a view's z-depth (H W) inside the hole (H W bool): on the plane around it if there is one."""
    around, unreliable = look_around(cameras, view, depth, hole, generator), _unreliable(hole)
    plane, ring = around.plane, around.ring
    if plane is None:
        nothing = torch.zeros_like(hole)
        return Surface(complete_disparity(depth, unreliable), None, nothing, nothing)
    disparity = plane.disparity(around.image_plane)
    near_enough = disparity * (1 / disparity[ring].clamp_min(1e-9)).median() > 1 / FARTHEST
    support = ((1 / depth.clamp_min(1e-6) - disparity).abs() < TOLERANCE * disparity) & ~unreliable & near_enough
    # Harmonic interpolation of "on the plane or not" parts the hole where either is as near as the other.
    membership = 1 / complete_disparity(1 / torch.where(support, 2.0, 1.0), unreliable | ~(ring | support))
    on_plane = hole & (membership > 1.5) & near_enough
    completed = complete_disparity(torch.where(on_plane, 1 / disparity.clamp_min(1e-6), depth), unreliable & ~on_plane)
    return Surface(completed, plane, on_plane, support)


def _unreliable(hole: Tensor) -> Tensor:
    return dilate(hole[None], 2)[0]  # the field's depth frays at the border of what it was shown


def fill_surface(
    scene: Scene, view: int, region: Tensor, depths: Tensor, surface: Surface, exemplar: ExemplarInpainter,
    generator: torch.Generator, *, expected: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Fill a view's region (of N H W bool): its part on the plane along the plane, the rest as it appears. H W 3.

    What the view does not see of the plane but others do is copied from too. depths: T h w, of the training views.
    expected: H W 3, what is expected on the plane, NaN where nothing is; see `complete_by_offsets`.
    """
    image, left = scene.image(view), region[view]
    if surface.plane is not None and surface.is_filled_squarely:
        square = look_squarely(scene.cameras, view, surface.plane, surface.on_plane, context=CONTEXT, side=LARGEST_SIDE)
        texture, known = _texture_of_all_views(scene, view, region, depths, surface, square)
        hole = sample_image(dilate(surface.on_plane[None], 1)[0][..., None].float(), square.pixels)[..., 0] > 0.01
        hole &= square.valid
        rim = CompletionConfig().size // 2  # patches over the hole's rim then need no ignored pixel
        hole = dilate(hole[None], rim)[0] & ~known
        expected_texture = None if expected is None else _sample_where_known(expected, square.pixels)
        try:
            filled = _completed_by_offsets(texture, hole, known, expected_texture)
            image[surface.on_plane] = sample_image(filled, square.texels[None])[0]
            left = left & ~surface.on_plane
        except NothingToCopyError:
            warnings.warn("no view shows enough of the plane to copy from: it is filled as it appears", stacklevel=2)
    return exemplar.inpaint(image[None], left[None], generator=generator)[0] if left.any() else image


def _texture_of_all_views(
    scene: Scene, view: int, region: Tensor, depths: Tensor, surface: Surface, square: PlaneView
) -> tuple[Tensor, Tensor]:
    """The plane's colours (h w 3), from ``view`` where it shows them, else from the nearest view that does; and where
    any view shows them (h w bool)."""
    cameras, points = scene.cameras, square.points.reshape(-1, 3)
    texture = sample_image(scene.image(view), square.pixels)
    support = erode(surface.support[None], RIM)[0].float()  # the rims of other things must not be copied along
    known = square.valid & (sample_image(support[..., None], square.pixels)[..., 0] > 0.99)
    nearest = (cameras.positions[scene.train] - cameras.positions[view]).norm(dim=-1).argsort()
    for index in nearest[: OTHER_VIEWS + 1].tolist():
        other = int(scene.train[index])
        if other == view:
            continue
        invented = dilate(region[other][None], 1)[0]
        shown = sees(cameras, other, points, invented, depths[index], TOLERANCE).view(known.shape)
        shown = erode(shown[None], 1)[0] & ~known
        if shown.any():
            pixels, _ = cameras.project(torch.full((len(points),), other, device=points.device), points)
            colors = sample_image(scene.image(other), pixels.view(*known.shape, 2))
            texture, known = torch.where(shown[..., None], colors, texture), known | shown
    return texture, known


def sample_image(image: Tensor, xy: Tensor) -> Tensor:
    """Bicubic values of an image (H W C) at positions (h w 2, pixel centres at .5), h w C, in [0, 1]."""
    positions = (xy.nan_to_num(-1) - 0.5).clamp(-2, 32000).cpu().numpy().astype(np.float32)
    values = cv2.remap(
        np.ascontiguousarray(image.cpu().numpy()), positions[..., 0], positions[..., 1], cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return torch.from_numpy(values.reshape(*positions.shape[:2], image.shape[-1])).clamp(0, 1).to(image.device)


def _completed_by_offsets(texture: Tensor, hole: Tensor, known: Tensor, expected: Tensor | None) -> Tensor:
    """`complete_by_offsets`, which cuts graphs on the processor, for tensors of any device."""
    on_host = (texture.cpu(), hole.cpu(), known.cpu())
    return complete_by_offsets(*on_host, expected=None if expected is None else expected.cpu()).to(texture.device)


def _sample_where_known(image: Tensor, xy: Tensor) -> Tensor:
    """The same of an image that may hold NaN, which stays NaN."""
    known = ~image.isnan().any(-1, keepdim=True)
    values = sample_image(image.nan_to_num(0), xy)
    return torch.where(sample_image(known.float(), xy) > 0.99, values, torch.nan)
