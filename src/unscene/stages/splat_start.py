"""Where the Gaussians of a fit begin: at the median depths of a radiance field, or at a capture's sparse points."""

from __future__ import annotations

import torch
from scipy.spatial import KDTree
from torch import Tensor

from unscene.fields.field import RadianceField, render_pixels
from unscene.fields.splats import UNUSED
from unscene.geometry.cameras import pixel_centers
from unscene.geometry.gaussians import Gaussians, harmonics_of, opacity_logits_of
from unscene.geometry.masks import pixel_points
from unscene.scenes.scene import Scene

OPACITY = 0.5  # of a Gaussian at the start
SPREAD = 0.6  # its standard deviation, in distances between neighbours
PLAIN = 0.5  # chance of a pixel without any contrast, beside one of mean contrast


@torch.no_grad()
def gaussians_at_depths(
    field: RadianceField, scene: Scene, count: int, degree: int, generator: torch.Generator,
    known: Tensor | None = None,
) -> Gaussians:  # fmt: skip
    """``count`` Gaussians, one for each of as many pixels of the training views, where the field's ray is half stopped.

    Pixels are drawn by their contrast; where they are drawn densely Gaussians are small. known: N H W bool, the pixels
    to draw from, by default all; a view has no more Gaussians than such pixels.
    """
    cameras, views = scene.cameras, scene.train.tolist()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for index, view in enumerate(views):
        share = count * (index + 1) // len(views) - count * index // len(views)
        image = scene.image(view)
        chance = contrast(image) + PLAIN * contrast(image).mean() + 1e-6
        chance = (chance if known is None else chance * known[view]).flatten()
        if (amount := min(share, int(chance.count_nonzero()))) == 0:
            continue  # all of this photo is masked
        pixels = torch.multinomial(chance.cpu(), amount, generator=generator).to(chance.device)
        xy = pixel_centers(cameras.width, cameras.height, chance.device).view(-1, 2)[pixels]
        depth = render_pixels(field, cameras, view, xy).depth
        density = chance[pixels] / chance.sum() * amount * len(views)  # Gaussians a pixel there, of all views
        size = depth / cameras.focal[view, 0] / density.sqrt() * SPREAD
        parts.append((pixel_points(cameras, view, xy, depth), image.view(-1, 3)[pixels], size))
    points, colors, sizes = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return round_gaussians(points, colors, sizes, degree)


def gaussians_at_points(points: Tensor, colors: Tensor, degree: int) -> Gaussians:
    """A Gaussian at each point, P 3, of colours P 3 in [0, 1], as large as it is to its three nearest neighbours."""
    found, _ = KDTree(points.cpu().numpy()).query(points.cpu().numpy(), k=min(4, len(points)))
    distances = torch.from_numpy(found.reshape(len(points), -1)[:, 1:]).float().to(points.device)
    sizes = distances.mean(1) if distances.shape[1] else torch.ones_like(points[:, 0])
    return round_gaussians(points, colors, sizes.clamp_min(1e-7) * SPREAD, degree)


def round_gaussians(points: Tensor, colors: Tensor, sizes: Tensor, degree: int) -> Gaussians:
    """Gaussians without directions: P 3, P 3, standard deviations P."""
    count = len(points)
    quaternions = points.new_tensor([1.0, 0, 0, 0]).repeat(count, 1)
    logits = opacity_logits_of(points.new_full((count,), OPACITY))
    logs = sizes.log()[:, None].repeat(1, 3)
    return Gaussians(points, logs, quaternions, logits, harmonics_of(colors)).with_degree(degree)


def with_room(gaussians: Gaussians, most: int) -> Gaussians:
    """The same with as many unused ones behind as make it ``most``, where it is fewer."""
    missing = most - len(gaussians)
    if missing <= 0:
        return gaussians
    unused = gaussians[torch.zeros(missing, dtype=torch.long)]
    unused.opacity_logits.fill_(UNUSED)
    return Gaussians.joined([gaussians, unused])


def contrast(image: Tensor) -> Tensor:
    """Absolute differences to the left and upper neighbours' grey, H W, of an image H W 3."""
    grey = image.mean(-1)
    found = torch.zeros_like(grey)
    found[:, 1:] += (grey[:, 1:] - grey[:, :-1]).abs()
    found[1:] += (grey[1:] - grey[:-1]).abs()
    return found
