"""Inpainting many views alike: ELA and ILA, the two latent alignments of In-N-Out (sections 3.2 and 3.3)."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor

from unscene.fields.field import Field, RadianceField, ViewField
from unscene.files import to_uint8
from unscene.geometry.cameras import Cameras, Rays
from unscene.geometry.masks import in_frame, surface_points
from unscene.geometry.randomness import sent
from unscene.geometry.warped_noise import NoiseCorrespondence, carry_noise, corresponding_cells
from unscene.memory import release_freed_memory
from unscene.priors.inpainter import LatentInpainter
from unscene.scenes.scene import Scene
from unscene.stages.independent_inpainting import InpaintedView
from unscene.stages.masked_rendering import rendered_inside
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Picture, StageDone, StageStarted, ViewInpainted

PREVIEWS = 6
HIDDEN = 0.05  # share of its distance by which something must stand before a surface to hide it; fields are not exact
PIXELS_ON_A_PROCESSOR = (
    1_000_000  # at once, beside the base view's: there a larger batch takes memory and saves no time
)


def inpaint_aligned(
    field: Field, scene: Scene, views: Tensor, region: Tensor, base: InpaintedView, prior: LatentInpainter,
    checkpoints: Checkpoints, *, ela: bool, ila: bool, own_weight: float, views_at_once: int,
) -> Generator[Event, None, Scene]:  # fmt: skip
    """Inpaint ``region`` (N H W bool) of ``views`` with the base view in every batch; returns the scene so filled."""
    stage, part = "aligned inpainting", f"aligned inpainting with {scene.names[base.view]}"
    filled = scene.with_images(torch.tensor([base.view]), base.image[None])
    if len(views) == 0:
        return filled
    if product := checkpoints.product(part):
        return filled.with_images(views, product["images"])
    yield StageStarted(stage)
    started, generator = time.monotonic(), checkpoints.generator(part)
    images, at_once = [], batch_views(scene, views_at_once)
    for batch in views.split(at_once):
        members = torch.cat([torch.tensor([base.view]), batch])
        starts, noises = [base.start], [base.noise]
        for view in batch.tolist():
            starts.append(rendered_inside(field, scene, view, region[view]))
            noises.append(
                aligned_noise(field, scene.cameras, view, base.view, base.noise, prior.downscale, generator)
                if ela
                else sent(torch.randn(base.noise.shape, generator=generator), base.noise.device)
            )
        photos = torch.stack([scene.image(view) for view in members.tolist()])
        inpainted = prior.inpaint_latent(
            photos, region[members], noise=torch.stack(noises), start=torch.stack(starts), strength=prior.strength,
            steps=prior.steps, base=0 if ila else None, own_weight=own_weight,
        )  # fmt: skip
        images.append(to_uint8(inpainted[1:]))
        release_freed_memory()
        for view, image in zip(batch.tolist(), inpainted[1:], strict=True):
            yield ViewInpainted(scene.names[view], image)
        done = sum(len(part) for part in images)
        yield ItemDone(stage, done, len(views))
        if done % max(1, len(views) // PREVIEWS) < at_once:
            yield Picture("aligned", images[-1][0], scene.names[batch[0]])
    aligned = torch.cat(images)
    checkpoints.save(part, {"images": aligned}, finished=True)
    yield StageDone(stage, time.monotonic() - started)
    return filled.with_images(views, aligned)


def batch_views(scene: Scene, most: int) -> int:
    """Views that are denoised in one batch with the base view, at most so many."""
    if scene.device.type != "cpu":
        return most
    return max(1, min(most, PIXELS_ON_A_PROCESSOR // (scene.cameras.width * scene.cameras.height)))


@torch.no_grad()
def aligned_noise(
    field: Field, cameras: Cameras, view: int, base_view: int, noise: Tensor, downscale: int,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """ELA (eq. 6): the base view's initial latent (C h w) seen through the field from another view, C h w.

    downscale: pixels per latent cell. Unit variance and independence are kept exactly, see `carry_noise`. What
    something hides from the base view, as what it does not look at, gets fresh noise.
    """
    _, height, width = noise.shape
    latent = cameras.padded(width * downscale, height * downscale).resized(width, height)
    if isinstance(field, ViewField):
        correspondence = cells_of_parts(field, latent, view, base_view)
    else:
        correspondence = cells_of_samples(field, latent, view, base_view)
    return carry_noise(noise, correspondence, generator).view_as(noise)


def cells_of_samples(field: RadianceField, latent: Cameras, view: int, base_view: int) -> NoiseCorrespondence:
    """Which cells of a base view's latent the cells of another view look at through a radiance field: those that most
    of a ray's weight falls into."""
    rays = latent.image_rays(view)
    render = field.render(rays)
    points = rays.origins[:, None] + rays.directions[:, None] * render.distances[..., None]
    correspondence = corresponding_cells(points, render.weights, latent[base_view : base_view + 1])
    surface = rays.origins + rays.directions * render.distance[:, None]
    in_sight = is_in_sight(field, latent.positions[base_view], surface)
    return replace(correspondence, coverage=correspondence.coverage * in_sight)


def cells_of_parts(field: ViewField, latent: Cameras, view: int, base_view: int) -> NoiseCorrespondence:
    """The same through what is drawn of parts, as Gaussians: the cell of the surface at the median depth. Coverage is
    composited with the weights of the colours: a part counts as far as the base view sees it."""
    points = surface_points(latent, view, field.draw(latent, view).depth).view(-1, 3)
    surface, parts = (in_frame(latent, base_view, positions) for positions in (points, field.positions))
    depth = field.draw(latent, base_view).depth.flatten()
    in_sight = parts.inside & (parts.depth * (1 - HIDDEN) < depth[parts.pixel])
    coverage = field.composite(latent, view, in_sight.float()[:, None]).flatten().clamp(0, 1)
    return NoiseCorrespondence(surface.pixel, coverage * surface.inside)


def is_in_sight(field: RadianceField, position: Tensor, points: Tensor) -> Tensor:
    """Whether nothing stands between a position (3) and points (P 3) on surfaces of the field, P bool."""
    offset = points - position
    distance = offset.norm(dim=-1).clamp_min(1e-9)
    rays = Rays(position.expand_as(points), offset / distance[:, None], torch.ones_like(distance))
    return field.render(rays).distance > (1 - HIDDEN) * distance
