"""Masks in images: growing, boxes, seamless compositing, and what no view has seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.cameras import Cameras, pixel_centers

HIDDEN = 0.1  # of a point's depth, by which something else has to be nearer to hide it: depths err by less


def dilate(masks: Tensor, radius: int) -> Tensor:
    """Masks (N H W bool) grown by ``radius`` pixels in the maximum norm."""
    size, planes = 2 * radius + 1, masks[:, None].float()
    columns = F.max_pool2d(planes, (size, 1), stride=1, padding=(radius, 0))  # one axis, then the other: size x cheaper
    return F.max_pool2d(columns, (1, size), stride=1, padding=(0, radius))[:, 0] > 0


def erode(masks: Tensor, radius: int) -> Tensor:
    """Masks (N H W bool) shrunk by ``radius`` pixels."""
    return ~dilate(~masks, radius)


def bounding_box(mask: Tensor) -> tuple[int, int, int, int]:
    """Smallest box (top, left, bottom, right; ends exclusive) around a mask (H W bool) that is not empty."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    if len(rows) == 0:
        raise ValueError("bounding_box needs a mask with at least one pixel set")
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def feathered_composite(image: Tensor, fill: Tensor, mask: Tensor, radius: int) -> Tensor:
    """``fill`` inside the mask, ``image`` outside it, blended over ``radius`` pixels inside the mask's border.

    image, fill: H W 3; mask: H W bool. Pixels outside the mask stay exactly as they are.
    """
    rings = [erode(mask[None], step)[0].float() for step in range(radius + 1)]
    alpha = torch.stack(rings).mean(0)
    return image + alpha[..., None] * (fill - image)


def over_background(color: Tensor, alpha: Tensor, background: float = 1.0) -> Tensor:
    """Straight colours ... 3 with their alpha ..., over a grey: white by default."""
    return color * alpha[..., None] + background * (1 - alpha[..., None])


@dataclass(frozen=True)
class VisibilityConfig:
    """When a masked pixel counts as seen by the other views."""

    views: int = 2
    """Other views that must see the surface point outside their mask."""
    depth_tolerance: float = 0.03
    """Largest relative difference between the point's depth in a view and that view's own depth map."""
    observers: int = 24
    """Views asked per pixel, spread over all of them, so that cost stays linear in the number of views."""


@dataclass(frozen=True)
class Witnesses:
    """Who else shows a view's masked surface, P pixels row by row. count: P, other views that see it outside their
    masks; difference: P, mean absolute difference of their colours there from the given ones, nan where nobody sees."""

    count: Tensor
    difference: Tensor


def witnesses(
    view: int, depth: Tensor, colors: Tensor, images: Sequence[Tensor], masks: Tensor, depths: Tensor,
    cameras: Cameras, config: VisibilityConfig,
) -> Witnesses:  # fmt: skip
    """The views that see the surface of a view's masked pixels, as ``depth`` (P, z-depth without the object, row by
    row) has it.

    view: index; colors: P 3 in [0, 1], what the surface should look like; images: N of H W 3 uint8; masks: N H W bool
    and depths: N h w, of any resolution, of all views.
    """
    count, difference = (torch.zeros(len(depth), device=depth.device) for _ in range(2))
    for other, points, seen in _observations(view, depth, masks, depths, cameras, config):
        place = in_frame(cameras, other, points[seen]).pixel.to(images[other].device)
        shown = images[other].flatten(0, 1)[place].to(colors) / 255
        count += seen
        difference[seen] += (shown - colors[seen]).abs().mean(-1)
    return Witnesses(count.long(), difference / count.where(count > 0, torch.nan))


def unseen_by_all(
    view: int, depth: Tensor, masks: Tensor, depths: Tensor, cameras: Cameras, config: VisibilityConfig
) -> Tensor:
    """The part of a view's mask whose surface (as ``depth`` has it) too few views see, H W bool.

    Arguments as of `witnesses`.
    """
    count = torch.zeros(len(depth), dtype=torch.long, device=depth.device)
    for _, _, seen in _observations(view, depth, masks, depths, cameras, config):
        count += seen
    return unwitnessed(count, masks[view], len(cameras), config)


def unwitnessed(count: Tensor, mask: Tensor, views: int, config: VisibilityConfig) -> Tensor:
    """The part of a mask (H W bool) that too few of so many views see, H W bool. count: P, who see its pixels."""
    unseen = torch.zeros_like(mask)
    unseen[mask] = count < max(min(config.views, views - 1), 1)
    return unseen


def _observations(
    view: int, depth: Tensor, masks: Tensor, depths: Tensor, cameras: Cameras, config: VisibilityConfig
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Other views that are asked, a view's masked surface points, P 3, and whether that one sees them, P bool."""
    rows, columns = masks[view].nonzero(as_tuple=True)
    points = pixel_points(cameras, view, torch.stack([columns, rows], -1) + 0.5, depth)
    others = torch.tensor([i for i in range(len(cameras)) if i != view])
    picked = torch.linspace(0, len(others) - 1, min(config.observers, len(others))).round().long()
    for other in others[picked].tolist():
        yield other, points, sees(cameras, other, points, masks[other], depths[other], config.depth_tolerance)


def tidy(mask: Tensor, within: Tensor, radius: int) -> Tensor:
    """Drop specks thinner than ``radius`` pixels, close gaps, add a margin as wide; stay ``within`` (H W bool)."""
    opened = dilate(erode(mask[None], max(radius // 2, 1)), max(radius // 2, 1))
    closed = erode(dilate(opened, 2 * radius), radius)
    return closed[0] & within


def surface_points(cameras: Cameras, view: int, depth: Tensor) -> Tensor:
    """World points of a view's pixels at their z-depths (H W), H W 3."""
    xy = pixel_centers(cameras.width, cameras.height, depth.device).view(-1, 2)
    return pixel_points(cameras, view, xy, depth.flatten()).view(*depth.shape, 3)


def pixel_points(cameras: Cameras, view: int, xy: Tensor, depth: Tensor) -> Tensor:
    """World points at the z-depths (P) of a view's pixel positions (P 2), P 3."""
    rays = cameras.rays(torch.full((len(xy),), view, device=xy.device), xy)
    return rays.origins + rays.directions * (depth / rays.depth_per_distance)[:, None]


def sees(cameras: Cameras, view: int, points: Tensor, mask: Tensor, depth: Tensor, tolerance: float) -> Tensor:
    """Whether a view sees world points (P 3) outside its mask (H W bool), at its own z-depth (h w), P bool."""
    xy, z = cameras.project(torch.full((len(points),), view, device=points.device), points)
    agrees = (_at(depth, xy, cameras) - z).abs() < tolerance * z
    return cameras.frames(xy, z) & ~_at(mask, xy, cameras) & agrees


def looks_at(
    cameras: Cameras, view: int, points: Tensor, mask: Tensor | None, depth: Tensor, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Whether world points (P 3) lie in a view with nothing before them at its own z-depth (h w), and whether in its
    mask (H W bool, if it has one), P bool each. tolerance: of a point's depth, by which what hides it is nearer."""
    xy, z = cameras.project(torch.full((len(points),), view, device=points.device), points)
    open_ = cameras.frames(xy, z) & (_at(depth, xy, cameras) > z * (1 - tolerance))
    return open_, open_ & _at(mask, xy, cameras) if mask is not None else torch.zeros_like(open_)


@dataclass(frozen=True)
class Photos:
    """What the training photos look at. cameras: T; depths: T h w, z-depths without the object; masks: T H W bool."""

    cameras: Cameras
    depths: Tensor
    masks: Tensor | None

    def place(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Whether points (... 3) lie in no photo's view, and whether only in masked parts of some, ... bool each."""
        flat = points.reshape(-1, 3)
        looked_at, seen = (torch.zeros(len(flat), dtype=torch.bool, device=flat.device) for _ in range(2))
        for view in range(len(self.cameras)):
            inside, masked = looks_at(
                self.cameras, view, flat, None if self.masks is None else self.masks[view], self.depths[view], HIDDEN
            )
            looked_at |= inside
            seen |= inside & ~masked
        return ~looked_at.view(points.shape[:-1]), (looked_at & ~seen).view(points.shape[:-1])


@dataclass(frozen=True)
class InFrame:
    """Where points (P) lie in a view. inside: P bool, whether it has them in its frame; pixel: P, which of its pixels,
    counted row by row, 0 for the others; depth: P, z-depth."""

    inside: Tensor
    pixel: Tensor
    depth: Tensor


def in_frame(cameras: Cameras, view: int, points: Tensor) -> InFrame:
    """The pixels of a view that world points (P 3) fall into, hidden or not."""
    xy, depth = cameras.project(torch.full((len(points),), view, device=points.device), points)
    column, row = xy.nan_to_num(-1).floor().clamp(-1, 2**24).long().unbind(-1)
    inside = cameras.frames(xy, depth)
    return InFrame(inside, (row * cameras.width + column) * inside, depth)


def _at(image: Tensor, xy: Tensor, cameras: Cameras) -> Tensor:
    """Nearest values of an image (h w, of any resolution) at positions (P 2) in the cameras' pixels, P."""
    height, width = image.shape
    x = (xy[:, 0].nan_to_num() * (width / cameras.width)).clamp(0, width - 1).long()
    y = (xy[:, 1].nan_to_num() * (height / cameras.height)).clamp(0, height - 1).long()
    return image[y, x]
