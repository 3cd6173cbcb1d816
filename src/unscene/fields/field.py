"""What fields are asked: radiance fields ray by ray, others view by view, and both for what a view shows.

Stages that look at a scene, at its colours and median depths, ask `render_view` and `render_pixels`, of whatever field.
What teaches a field asks it in its own way: `RadianceField.render` of scattered rays, `ViewField.show` of windows.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras, Rays, pixel_centers
from unscene.threads import torch_on_one_thread

RAYS_AT_ONCE = {"cpu": 8192}


@dataclass(frozen=True)
class Histogram:
    """Weights along rays. edges: R S+1 normalised distances in [0, 1]; weights: R S, summing to at most 1."""

    edges: Tensor
    weights: Tensor

    def __getitem__(self, rays: slice) -> Histogram:
        return Histogram(self.edges[rays], self.weights[rays])


@dataclass(frozen=True)
class Render:
    """What R rays see.

    color: R 3 in [0, 1]; distance: R, expected distance in world units.
    distances: R S, middles of the samples in world units; weights: R S, their share of the colour.
    histogram: the same weights over normalised distance; proposals: the coarse histograms that placed the samples.
    """

    color: Tensor
    distance: Tensor
    distances: Tensor
    weights: Tensor
    histogram: Histogram
    proposals: tuple[Histogram, ...]

    @property
    def median_distance(self) -> Tensor:
        """R, the sample in front of which half of a ray's weight lies, in world units. The mean of a ray that passes an
        outline or a little haze lies between two surfaces, where nothing is; the median is on one of them."""
        mass = self.weights.cumsum(-1)
        middle = (mass < mass[:, -1:] / 2).sum(-1, keepdim=True).clamp_max(mass.shape[1] - 1)
        return self.distances.gather(1, middle)[:, 0]

    def __getitem__(self, rays: slice) -> Render:
        """A part of the rays: what was rendered together need not be judged together."""
        return Render(
            self.color[rays],
            self.distance[rays],
            self.distances[rays],
            self.weights[rays],
            self.histogram[rays],
            tuple(proposal[rays] for proposal in self.proposals),
        )


class RadianceField(Protocol):
    """A scene's colour and density."""

    @property
    def is_native(self) -> bool:
        """Whether rendering is native functions' work, which share the processor's threads out among themselves."""
        ...

    def render(self, rays: Rays, *, jitter: Tensor | None = None) -> Render:
        """Render world-space rays; ``jitter`` (R, in [0, 1)) shifts the samples, None puts them in the middle."""
        ...


@dataclass(frozen=True)
class PixelRender:
    """Rendered pixels of one view. color: ... 3 in [0, 1]; depth: ..., median z-depth in world units.

    The leading shape is H W for a whole view, P for chosen pixels. Where Gaussians show nothing, depth is infinite.
    """

    color: Tensor
    depth: Tensor


@dataclass(frozen=True)
class WindowRender:
    """A window of a view, differentiable in a field's parameters. color: H W 3, never negative, not held below 1;
    depth: H W, mean z-depth in world units of what stops light; transmittance: H W, the light that nothing stops."""

    color: Tensor
    depth: Tensor
    transmittance: Tensor


class Window(NamedTuple):
    """A part of a view, in pixels."""

    left: int
    top: int
    width: int
    height: int


@runtime_checkable
class ViewField(Protocol):
    """What is drawn view by view, where a radiance field is asked ray by ray."""

    def draw(self, cameras: Cameras, view: int) -> PixelRender:
        """A whole view."""
        ...

    @property
    def positions(self) -> Tensor:
        """Where in the world each of the N parts is that it is drawn of, N 3."""
        ...

    def composite(self, cameras: Cameras, view: int, quantity: Tensor) -> Tensor:
        """A quantity of each part (N C) composited over a whole view with the weights of its colours, H W C."""
        ...

    def show(self, cameras: Cameras, view: int, window: Window, *, learns_geometry: bool = True) -> WindowRender:
        """A window of a view; without ``learns_geometry`` only what gives its parts their colours has gradients."""
        ...


Field = RadianceField | ViewField
"""What stages that look at a scene take."""


@torch.no_grad()
def render_pixels(
    field: Field, cameras: Cameras, view: int, xy: Tensor, *, rays_at_once: int | None = None
) -> PixelRender:
    """Render pixel positions ``xy`` (P 2) of one view, in slices, so that memory does not grow with the image.

    rays_at_once: by default what stays in a processor's caches, or what keeps another device busy. Of what is drawn
    view by view it is the pixels that the positions lie in.
    """
    if isinstance(field, ViewField):
        whole, (column, row) = field.draw(cameras, view), xy.long().unbind(-1)
        column, row = column.clamp(0, cameras.width - 1), row.clamp(0, cameras.height - 1)
        return PixelRender(whole.color[row, column], whole.depth[row, column])
    rays_at_once = rays_at_once or RAYS_AT_ONCE.get(xy.device.type, 65536)
    color = torch.empty(len(xy), 3, device=xy.device)
    depth = torch.empty_like(color[:, 0])
    with torch_on_one_thread() if field.is_native else nullcontext():
        for first in range(0, len(xy), rays_at_once):
            part = slice(first, first + rays_at_once)
            rays = cameras.rays(torch.full((len(xy[part]),), view, device=xy.device), xy[part])
            render = field.render(rays)
            color[part] = render.color
            depth[part] = render.median_distance * rays.depth_per_distance
    return PixelRender(color, depth)


def render_view(field: Field, cameras: Cameras, view: int, *, rays_at_once: int | None = None) -> PixelRender:
    """Render a whole view."""
    if isinstance(field, ViewField):
        return field.draw(cameras, view)
    xy = pixel_centers(cameras.width, cameras.height, cameras.focal.device).reshape(-1, 2)
    flat = render_pixels(field, cameras, view, xy, rays_at_once=rays_at_once)
    shape = (cameras.height, cameras.width)
    return PixelRender(flat.color.view(*shape, 3), flat.depth.view(shape))
