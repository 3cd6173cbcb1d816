"""Continuing the surfaces behind an object: what lies on a plane is copied along that plane, seen squarely.

Exemplar filling copies pieces of a photo. Perspective makes every copied piece wrong, and pieces of other things that
stand around get copied too. On the rectified plane around the hole, copies are what they should be, only the plane
itself is copied, and what other views see of it, behind and beside whatever stands on it, can be copied as well. Ours;
no paper's.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras, pixel_centers
from unscene.geometry.masks import dilate, erode, sees, surface_points
from unscene.geometry.planes import Plane, PlaneView, fit_plane, look_squarely
from unscene.priors.classical import ExemplarInpainter
from unscene.priors.depth.completion import complete_disparity
from unscene.priors.exemplar.offset_completion import OffsetConfig, complete_by_offsets
from unscene.priors.exemplar.patch_completion import CompletionConfig
from unscene.priors.exemplar.patch_matching import NothingToCopyError
from unscene.scenes.scene import Scene

TOLERANCE = 0.04  # relative difference in disparity up to which a point lies on the plane
FEWEST = 0.33  # share of the hole's surroundings, or of what is left of them, that must lie on a plane
FEWEST_OF_ALL = 0.12  # of all of them, that a further plane must have
FEWEST_AROUND = 50  # pixels of them, to tell a plane
MOST_PLANES = 3  # floor and two walls
AGREEING = 0.9  # of the visible pixels, with the rule of which plane is seen
CONTEXT = 1.0  # surroundings to copy from, on each side, as a share of the hole's extent on the plane
LARGEST_SIDE = 300  # texels along the rectified plane
FEWEST_PIXELS = 16  # of the hole on the plane, below which looking at it squarely is not worth it
RIM = 2  # pixels along the border of what lies on the plane that may show something else
APART = 6  # pixels between parts of a hole that are looked at one by one
OTHER_VIEWS = 24  # asked, the nearest first, for what a view does not see of the plane, however many views there are
FARTHEST = 3.0  # depth, as a multiple of the median's, beyond which a plane is too oblique to be looked at


@dataclass(frozen=True)
class SurfacePlane:
    """A plane that continues behind the hole of a view. on_plane: H W bool, the part of the hole on it; support: H W
    bool, the visible pixels on it."""

    plane: Plane
    on_plane: Tensor
    support: Tensor

    @property
    def is_filled_squarely(self) -> bool:
        """Whether enough of the hole lies on the plane to look at that squarely."""
        return int(self.on_plane.sum()) >= FEWEST_PIXELS


@dataclass(frozen=True)
class Surface:
    """What continues behind the hole of a view. depth: H W, completed; planes: those that most of what is around the
    hole lies on, as a floor and a wall, none if there is no such plane."""

    depth: Tensor
    planes: tuple[SurfacePlane, ...]

    @property
    def on_plane(self) -> Tensor:
        """The part of the hole that lies on planes, H W bool."""
        nothing = torch.zeros_like(self.depth, dtype=torch.bool)
        return torch.stack([nothing, *(part.on_plane for part in self.planes)]).any(0)

    @property
    def is_filled_squarely(self) -> bool:
        """Whether enough of the hole lies on any of the planes to look at that squarely."""
        return any(part.is_filled_squarely for part in self.planes)

    def describe(self) -> str:
        """In words, for the run's record."""
        if not self.planes:
            return "depth behind the object: the field's own, completed in disparity (no depth network, no plane found)"
        planes = "the plane" if len(self.planes) == 1 else f"the {len(self.planes)} planes"
        return f"depth behind the object: {planes} around it, the rest completed in disparity (no depth network)"


@dataclass(frozen=True)
class Surroundings:
    """What is around the hole of a view. ring: H W bool, the pixels that were asked; image_plane: H W 2, positions
    at z = 1; planes: those that enough of the ring lies on, most first."""

    ring: Tensor
    image_plane: Tensor
    planes: tuple[Plane, ...]


def look_around(cameras: Cameras, view: int, depth: Tensor, hole: Tensor, generator: torch.Generator) -> Surroundings:
    """The planes around the hole (H W bool) of a view's z-depth (H W): the one that most of it lies on, then what most
    of the rest lies on."""
    reach = max(6, round(0.25 * float(hole.sum()) ** 0.5))
    ring = dilate(hole[None], reach)[0] & ~_unreliable(hole)
    grid = pixel_centers(cameras.width, cameras.height, hole.device).reshape(-1, 2)
    image_plane = cameras.image_plane(torch.full((len(grid),), view, device=hole.device), grid).view(*hole.shape, 2)
    left, planes = ring.clone(), list[Plane]()
    while len(planes) < MOST_PLANES and left.sum() >= max(FEWEST_AROUND, FEWEST_OF_ALL * ring.sum()):
        plane, inliers = fit_plane(image_plane[left], 1 / depth[left].clamp_min(1e-6), TOLERANCE, generator)
        if inliers.float().mean() < FEWEST or inliers.sum() < FEWEST_OF_ALL * ring.sum():
            break
        planes.append(plane)
        left[left.clone()] = ~inliers
    return Surroundings(ring, image_plane, tuple(planes))


def continue_surface(cameras: Cameras, view: int, depth: Tensor, hole: Tensor, generator: torch.Generator) -> Surface:
    """Complete a view's z-depth (H W) inside the hole (H W bool): on the planes around it if there are any."""
    around, unreliable = look_around(cameras, view, depth, hole, generator), _unreliable(hole)
    if not around.planes:
        return Surface(complete_disparity(depth, unreliable), ())
    disparities = torch.stack([plane.disparity(around.image_plane) for plane in around.planes])
    typical = torch.stack([disparity[around.ring].median() for disparity in disparities]).clamp_min(1e-9)
    near_enough = disparities / typical[:, None, None] > 1 / FARTHEST
    supports = ((1 / depth.clamp_min(1e-6) - disparities).abs() < TOLERANCE * disparities) & ~unreliable & near_enough
    supports &= supports.cumsum(0) == 1  # where planes meet, the first one's
    members = _memberships(disparities, supports, unreliable, around.ring) & hole & near_enough
    completed = depth
    for disparity, member in zip(disparities, members, strict=True):
        completed = torch.where(member, 1 / disparity.clamp_min(1e-6), completed)
    completed = complete_disparity(completed, unreliable & ~members.any(0))
    parts = zip(around.planes, members, supports, strict=True)
    return Surface(completed, tuple(SurfacePlane(plane, member, support) for plane, member, support in parts))


def _memberships(disparities: Tensor, supports: Tensor, unreliable: Tensor, ring: Tensor) -> Tensor:
    """Which of K planes each pixel of a hole lies on, K H W bool; on none where other things are nearer.

    Harmonic interpolation of "on a plane or not" parts the hole where either is as near as the other. Planes that
    share it meet in a line: inside a room the nearest is what is seen, of a body's faces the farthest; what is visible
    around the hole tells which. Where neither holds, as at a table's edge, interpolation parts them too.
    """
    asked = unreliable | ~(ring | supports.any(0))
    shares = torch.stack([1 / complete_disparity(1 / torch.where(on, 2.0, 1.0), asked) for on in supports]) - 1
    order = torch.arange(len(supports), device=supports.device)[:, None, None]
    chosen = shares.argmax(0)
    for rule in (disparities.argmax(0), torch.where(disparities > 0, disparities, torch.inf).argmin(0)):
        if ((rule == order) & supports).sum() > AGREEING * supports.sum():
            chosen = rule
            break
    return (chosen == order) & (shares.sum(0) > 0.5)


def _unreliable(hole: Tensor) -> Tensor:
    return dilate(hole[None], 2)[0]  # the field's depth frays at the border of what it was shown


def fill_surface(
    scene: Scene, view: int, region: Tensor, depths: Tensor, surface: Surface, exemplar: ExemplarInpainter,
    generator: torch.Generator, *, expected: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Fill a view's region (of N H W bool): its part on planes along each of them, the rest as it appears. H W 3.

    What the view does not see of a plane but others do is copied from too. depths: T h w, of the training views.
    expected: H W 3, what is expected on the plane, NaN where nothing is; see `complete_by_offsets`.
    """
    image, left = scene.image(view), region[view]
    points = surface_points(scene.cameras, view, surface.depth)
    for part in sorted(surface.planes, key=lambda part: -int(part.on_plane.sum())):
        if not part.is_filled_squarely:
            continue
        colors, seen = _seen_by_others(scene, view, region, depths, points, part.on_plane)
        image, left = torch.where(seen[..., None], colors, image), left & ~seen
        for piece in _pieces(part.on_plane & dilate((part.on_plane & ~seen)[None], 1)[0]):
            try:
                image[piece] = _filled_squarely(
                    scene, view, region, depths, replace(part, on_plane=piece), exemplar.along_surfaces, expected
                )  # fmt: skip
                left = left & ~piece
            except NothingToCopyError:
                warnings.warn("no view shows enough of a plane to copy from: it is filled as it appears", stacklevel=2)
    return exemplar.inpaint(image[None], left[None], generator=generator)[0] if left.any() else image


def _filled_squarely(
    scene: Scene, view: int, region: Tensor, depths: Tensor, part: SurfacePlane, config: OffsetConfig,
    expected: Tensor | None,
) -> Tensor:  # fmt: skip
    """The colours of a view's pixels on a plane, P 3. Raises NothingToCopyError where too little of it is visible."""
    square = look_squarely(scene.cameras, view, part.plane, part.on_plane, context=CONTEXT, side=LARGEST_SIDE)
    texture, known = _texture_of_all_views(scene, view, region, depths, part.support, square)
    hole = sample_image(dilate(part.on_plane[None], 1)[0][..., None].float(), square.pixels)[..., 0] > 0.01
    hole &= square.valid
    rim = CompletionConfig().size // 2  # patches over the hole's rim then need no ignored pixel
    hole = dilate(hole[None], rim)[0] & ~known
    expected_texture = None if expected is None else _sample_where_known(expected, square.pixels)
    filled = _completed_by_offsets(texture, hole, known, config, expected_texture)
    return sample_image(filled, square.texels[None])[0]


def _pieces(mask: Tensor) -> list[Tensor]:
    """The parts of a mask (H W bool) that lie apart, each H W bool, the largest first, without the smallest: looked at
    together, a far one costs a near one its resolution."""
    joined = dilate(mask[None], APART // 2)[0].cpu().numpy().astype(np.uint8)
    count, labels = cv2.connectedComponents(joined)
    parts = [mask & torch.from_numpy(labels == label).to(mask.device) for label in range(1, count)]
    return sorted((part for part in parts if part.sum() >= FEWEST_PIXELS), key=lambda part: -int(part.sum()))


def _texture_of_all_views(
    scene: Scene, view: int, region: Tensor, depths: Tensor, support: Tensor, square: PlaneView
) -> tuple[Tensor, Tensor]:
    """The plane's colours (h w 3), from ``view`` where it shows them, else from the nearest view that does; and where
    any view shows them (h w bool)."""
    support = erode(support[None], RIM)[0].float()  # the rims of other things must not be copied along
    own = square.valid & (sample_image(support[..., None], square.pixels)[..., 0] > 0.99)
    colors, seen = _seen_by_others(scene, view, region, depths, square.points, ~own)
    return torch.where(own[..., None], sample_image(scene.image(view), square.pixels), colors), own | seen


def _seen_by_others(
    scene: Scene, view: int, region: Tensor, depths: Tensor, points: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """Colours (h w 3) of points on a surface (h w 3) from the view nearest to ``view`` that sees them, and whether one
    does (h w bool), where that is ``wanted`` (h w bool)."""
    cameras, asked, nowhere = scene.cameras, points[wanted], ~wanted
    colors, known = torch.zeros_like(points), torch.zeros_like(wanted)
    nearest = (cameras.positions[scene.train] - cameras.positions[view]).norm(dim=-1).argsort()
    for index in nearest[: OTHER_VIEWS + 1].tolist():
        other = int(scene.train[index])
        if other == view:
            continue
        shown = wanted.clone()
        shown[wanted] = sees(cameras, other, asked, dilate(region[other][None], 1)[0], depths[index], TOLERANCE)
        shown = erode((shown | nowhere)[None], 1)[0] & wanted & ~known
        if shown.any():
            there = points[shown]
            pixels, _ = cameras.project(torch.full((len(there),), other, device=there.device), there)
            colors[shown] = sample_image(scene.image(other), pixels[None])[0]
            known |= shown
            if known.sum() == len(asked):
                break
    return colors, known


def sample_image(image: Tensor, xy: Tensor) -> Tensor:
    """Bicubic values of an image (H W C) at positions (h w 2, pixel centres at .5), h w C, in [0, 1]."""
    positions = (xy.nan_to_num(-1) - 0.5).clamp(-2, 32000).cpu().numpy().astype(np.float32)
    values = cv2.remap(
        np.ascontiguousarray(image.cpu().numpy()), positions[..., 0], positions[..., 1], cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return torch.from_numpy(values.reshape(*positions.shape[:2], image.shape[-1])).clamp(0, 1).to(image.device)


def _completed_by_offsets(
    texture: Tensor, hole: Tensor, known: Tensor, config: OffsetConfig, expected: Tensor | None
) -> Tensor:
    """`complete_by_offsets`, which cuts graphs on the processor, for tensors of any device."""
    on_host = (texture.cpu(), hole.cpu(), known.cpu())
    expected = None if expected is None else expected.cpu()
    return complete_by_offsets(*on_host, config, expected=expected).to(texture.device)


def _sample_where_known(image: Tensor, xy: Tensor) -> Tensor:
    """The same of an image that may hold NaN, which stays NaN."""
    known = ~image.isnan().any(-1, keepdim=True)
    values = sample_image(image.nan_to_num(0), xy)
    return torch.where(sample_image(known.float(), xy) > 0.99, values, torch.nan)
