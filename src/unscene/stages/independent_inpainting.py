"""One view inpainted on its own: along the surface behind the object, by its pixels, or by its name where the
inpaintings were made elsewhere."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.fields.field import Field, render_view
from unscene.geometry.cameras import Cameras
from unscene.priors.classical import ExemplarInpainter
from unscene.priors.depth.completion import DepthEstimator, complete_with_estimate
from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.priors.prior_error import PriorError
from unscene.scenes.scene import Scene
from unscene.stages.surface_fill import Surface, continue_surface, fill_surface


@dataclass(frozen=True)
class InpaintedView:
    """A view p: its index, its inpainted image I~_p (H W 3), what it is to be inpainted from again beside other views
    (H W 3: the fill it was made from, or itself if from noise alone), its initial latent z_p^T (C h w; empty if the
    prior has none), its completed depth D~_p (H W), and what was inpainted of it (H W bool)."""

    view: int
    image: Tensor
    start: Tensor
    noise: Tensor
    depth: Tensor
    hole: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All of it, for a checkpoint."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return parts | {"view": torch.tensor(self.view)}

    @staticmethod
    def of_tensors(tensors: dict[str, Tensor]) -> InpaintedView:
        """What `tensors` told."""
        return InpaintedView(**{**tensors, "view": int(tensors["view"])})  # pyright: ignore[reportArgumentType]


def inpaint_alone(
    field: Field, scene: Scene, view: int, region: Tensor, depths: Tensor, prior: Inpainter, generator: torch.Generator,
    *, expected: Tensor | None = None, strength: float | None = None,
) -> tuple[InpaintedView, Surface]:  # fmt: skip
    """Inpaint one view's region (of N H W bool); without looking at how others are inpainted unless that is expected.

    Priors that copy or start from copies do so along the surface that continues behind the hole, and nearer to what is
    expected there (H W 3). strength: share of a latent prior's noise schedule, its own if None; at 1 nothing is copied.
    """
    surface = continued_surface(field, scene, view, region[view], generator)
    filled = inpaint_along(
        scene, view, region, depths, surface, prior, generator, expected=expected, strength=strength
    )  # fmt: skip
    return filled, surface


def inpaint_along(
    scene: Scene, view: int, region: Tensor, depths: Tensor, surface: Surface, prior: Inpainter,
    generator: torch.Generator, *, expected: Tensor | None = None, strength: float | None = None,
) -> InpaintedView:  # fmt: skip
    """`inpaint_alone` where it is known what surface continues behind the hole."""
    image, hole = scene.image(view), region[view]
    if isinstance(prior, ExemplarInpainter):
        filled = fill_surface(scene, view, region, depths, surface, prior, generator, expected=expected)
        return InpaintedView(view, filled, filled, image.new_zeros(0), surface.depth, hole)
    if not isinstance(prior, LatentInpainter):
        filled = inpaint_view(prior, scene, view, hole, generator)
        return InpaintedView(view, filled, filled, image.new_zeros(0), surface.depth, hole)
    strength, start = prior.strength if strength is None else strength, None
    if strength < 1:
        exemplar = ExemplarInpainter(prior.guide)
        start = fill_surface(scene, view, region, depths, surface, exemplar, generator, expected=expected)
    noise = initial_noise(prior, scene.cameras, generator)
    filled = prior.inpaint_latent(
        image[None], hole[None], noise=noise[None], start=None if start is None else start[None], strength=strength,
        steps=prior.steps,
    )[0]  # fmt: skip
    return InpaintedView(view, filled, filled if start is None else start, noise, surface.depth, hole)


def initial_noise(prior: LatentInpainter, cameras: Cameras, generator: torch.Generator) -> Tensor:
    """z^T, the initial latent of a view, C h w."""
    size = prior.latent_size(cameras.height, cameras.width)
    return torch.randn(prior.latent_channels, *size, generator=generator).to(cameras.focal)


def who_filled(prior: Inpainter, surface: Surface, hole: Tensor, strength: float | None = None) -> str:
    """In words, what `inpaint_alone` made the picture in a hole (H W bool) with; arguments as there."""
    if not isinstance(prior, LatentInpainter | ExemplarInpainter):
        return prior.name
    strength = getattr(prior, "strength", 0.0) if strength is None else strength
    if strength == 1:
        return f"{prior.name}, from noise"
    copies = prior.name if isinstance(prior, ExemplarInpainter) else ExemplarInpainter(prior.guide).name
    if surface.is_filled_squarely:
        share = float(surface.on_plane.sum() / hole.sum().clamp_min(1))
        planes = "the plane" if len(surface.planes) == 1 else f"{len(surface.planes)} planes"
        rest = "" if share > 0.995 else f", {copies}"
        copies = f"surface completion (ours) on {planes}, {share:.0%} of it{rest}"
    return copies if isinstance(prior, ExemplarInpainter) else f"{copies}; redone by {prior.name} at {strength:g}"


def continued_surface(field: Field, scene: Scene, view: int, hole: Tensor, generator: torch.Generator) -> Surface:
    """What lies behind a view's hole (H W bool), by the field's depth around it."""
    return continue_surface(scene.cameras, view, render_view(field, scene.cameras, view).depth, hole, generator)


def estimated_depth(
    field: Field, scene: Scene, view: int, hole: Tensor, image: Tensor, estimate_depth: DepthEstimator
) -> tuple[Tensor, str]:
    """A network's depth of a view's inpainting inside its hole, aligned to the field's outside, H W; and in words."""
    estimate = estimate_depth(image)
    depth = complete_with_estimate(render_view(field, scene.cameras, view).depth, hole, estimate)
    return depth, f"depth behind the object: {estimate.name}, aligned"


def inpaint_view(prior: Inpainter, scene: Scene, view: int, hole: Tensor, generator: torch.Generator) -> Tensor:
    """A view's photo with its hole (H W bool) filled, H W 3."""
    image = scene.image(view)
    if isinstance(prior, FilesInpainter):
        return prior.inpaint_named([scene.names[view]], image[None], hole[None])[0]
    return prior.inpaint(image[None], hole[None], generator=generator)[0]


def inpaintable_views(prior: Inpainter, scene: Scene, views: Tensor) -> Tensor:
    """Those of ``views`` that the prior can inpaint: all, or those whose inpaintings there are."""
    if not isinstance(prior, FilesInpainter):
        return views
    prior.check_names(list(scene.names))
    known = torch.tensor([prior.has(scene.names[view]) for view in views.tolist()], dtype=torch.bool)
    if not known.any():
        raise PriorError(f"{prior.name}: expected images named like the scene's photos ({scene.names[0]}), found none.")
    return views[known]
