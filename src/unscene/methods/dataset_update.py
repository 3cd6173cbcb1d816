"""Iterative dataset update: inpainted training views that are inpainted again from what the field has learnt by then.

The protocol is that of Instruct-NeRF2NeRF (Haque et al. 2023); the noise that MALD-NeRF adds to a render before it is
inpainted falls over the run, so that first colours and then details agree across views (MALD-NeRF, section 3.4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unscene.fields.field import RadianceField, render_pixels
from unscene.priors.inpainter import LatentInpainter
from unscene.scenes.scene import Scene
from unscene.training.events import Event, ViewUpdated

DepthCompletion = Callable[[int, Tensor], Tensor]
"""(view, its inpainting H W 3) -> z-depth H W, completed behind the object."""

SHOWN = 3  # views whose updates are kept as pictures


@dataclass(frozen=True)
class UpdateConfig:
    """When views are inpainted again, and from how much noise. Values: ours, no source gives them."""

    every: int = 10
    """U, iterations between two updates."""
    views_at_once: int = 1
    """Views that one update replaces, in turn."""
    strongest: float | None = None
    """t_max, the first updates' timestep as a share of the noise schedule; None: three times the prior's own strength,
    at most 0.9."""
    weakest: float | None = None
    """t_min, the last updates'; None: half the prior's own strength, at most 0.2."""


def noise_level(progress: float, strongest: float, weakest: float) -> float:
    """t = t_max - (t_max - t_min) sqrt(k / K) after k of K iterations."""
    return strongest - (strongest - weakest) * min(max(progress, 0.0), 1.0) ** 0.5


class InpaintedViews(nn.Module):
    """Inpaintings of training views and the depths behind them; a module, so that they are saved with what learns.

    scene: photos to inpaint; views: V, whose region (N H W bool) is not empty; complete_depth: asked
    about the first inpainting of a view, and about all others if depth_follows_images.
    """

    images: Tensor
    depths: Tensor
    updates: Tensor

    def __init__(
        self, field: RadianceField, scene: Scene, views: Tensor, region: Tensor, prior: LatentInpainter,
        complete_depth: DepthCompletion, config: UpdateConfig, *, strongest: float, weakest: float,
        depth_follows_images: bool, stage: str,
    ):  # fmt: skip
        super().__init__()
        self._field, self.scene, self.views, self.region = (field,), scene, views.tolist(), region
        self.prior, self.complete_depth, self.config, self.stage = prior, complete_depth, config, stage
        self.strongest, self.weakest, self.depth_follows_images = strongest, weakest, depth_follows_images
        self.shown = set(torch.linspace(0, len(views) - 1, SHOWN).round().long().tolist())
        height, width = region.shape[1:]
        self.register_buffer("images", torch.zeros(len(views), height, width, 3, dtype=torch.uint8))
        self.register_buffer("depths", torch.ones(len(views), height, width))
        self.register_buffer("updates", torch.zeros(len(views), dtype=torch.long))

    def before_step(self, step: int, progress: float, generator: torch.Generator) -> Iterator[Event]:
        """Inpaint every view on its own at first; every U iterations after that, the next ones again."""
        if step == 0 and not self.updates.any():
            for index in range(len(self.views)):
                yield self._replace(index, step, 1.0, generator)
        elif step > 0 and step % self.config.every == 0:
            turn = (step // self.config.every - 1) * self.config.views_at_once
            for offset in range(min(self.config.views_at_once, len(self.views))):
                strength = noise_level(progress, self.strongest, self.weakest)
                yield self._replace((turn + offset) % len(self.views), step, strength, generator)

    def _replace(self, index: int, step: int, strength: float, generator: torch.Generator) -> ViewUpdated:
        view, update = self.views[index], int(self.updates[index])
        hole, photo = self.region[view], self.scene.image(view)
        if update == 0:  # the field knows nothing of what is hidden yet
            new = self.prior.inpaint(photo[None], hole[None], generator=generator)[0]
        else:
            new = self._from_render(view, photo, hole, strength, generator)
        old = self.images[index].float() / 255
        change = (new - old)[hole].abs().mean().item() if update else None
        self.images[index] = (new * 255).round().to(torch.uint8)
        if update == 0 or self.depth_follows_images:
            self.depths[index] = self.complete_depth(view, new)
        self.updates[index] += 1
        shown = new if index in self.shown else None
        return ViewUpdated(self.stage, step, self.scene.names[view], update, strength, change, shown)

    def _from_render(
        self, view: int, photo: Tensor, hole: Tensor, strength: float, generator: torch.Generator
    ) -> Tensor:
        """Partial DDIM: noise the field's render to a timestep and denoise it from there, H W 3."""
        rows, columns = hole.nonzero(as_tuple=True)
        start = photo.clone()
        pixels = torch.stack([columns, rows], -1) + 0.5
        start[rows, columns] = render_pixels(self._field[0], self.scene.cameras, view, pixels).color
        size = self.prior.latent_size(*hole.shape)
        noise = torch.randn(1, self.prior.latent_channels, *size, generator=generator)
        return self.prior.inpaint_latent(
            photo[None], hole[None], noise=noise, start=start[None], strength=strength, steps=self.prior.steps
        )[0]
