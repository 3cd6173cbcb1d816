"""RadianceField: the contract between rays and what is seen along them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras, Rays


@dataclass(frozen=True)
class Histogram:
    """Weights along rays. edges: R S+1 normalised distances in [0, 1]; weights: R S, summing to at most 1."""

    edges: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Render:
    """What R rays see.

    color: R 3 in [0, 1]; distance: R, expected distance in world units; opacity: R.
    distances: R S, middles of the samples in world units; weights: R S, their share of the colour.
    histogram: the same weights over normalised distance; proposals: the coarse histograms that placed the samples.
    """

    color: Tensor
    distance: Tensor
    opacity: Tensor
    distances: Tensor
    weights: Tensor
    histogram: Histogram
    proposals: tuple[Histogram, ...]


class RadianceField(Protocol):
    """A scene's colour and density."""

    def render(self, rays: Rays, *, jitter: Tensor | None = None) -> Render:
        """Render world-space rays; ``jitter`` (R, in [0, 1)) shifts the samples, None puts them in the middle."""
        ...


@dataclass(frozen=True)
class ImageRender:
    """One rendered view. color: H W 3 in [0, 1]; depth: H W, z-depth in world units; opacity: H W."""

    color: Tensor
    depth: Tensor
    opacity: Tensor


@torch.no_grad()
def render_view(field: RadianceField, cameras: Cameras, view: int, *, rays_at_once: int = 8192) -> ImageRender:
    """Render a whole view in slices, so that memory does not grow with the image."""
    rays = cameras.image_rays(view)
    color = torch.empty(len(rays), 3, device=rays.origins.device)
    depth, opacity = torch.empty_like(color[:, 0]), torch.empty_like(color[:, 0])
    for first in range(0, len(rays), rays_at_once):
        part = slice(first, first + rays_at_once)
        render = field.render(rays[part])
        color[part], opacity[part] = render.color, render.opacity
        depth[part] = render.distance * rays.depth_per_distance[part]
    shape = (cameras.height, cameras.width)
    return ImageRender(color.view(*shape, 3), depth.view(shape), opacity.view(shape))
