"""What all removal methods start from: a field fitted to everything but the object."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from unscene.fields.field import Render
from unscene.fields.nerf import Nerf
from unscene.geometry.cameras import Rays, stand_all_around
from unscene.geometry.randomness import integers, uniform
from unscene.losses.rays import PixelError, pixel_error
from unscene.scenes.scene import Scene
from unscene.stages.cleaning import drop_unsupported
from unscene.stages.patches import Patch, positions_of
from unscene.stages.splat_planting import Wanted
from unscene.training.captured_steps import CapturableObjective, Kind
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note
from unscene.training.fit import Companion, FitConfig, Objective, fit
from unscene.training.photo_depths import DepthTerm, are_few, depth_term_of_few
from unscene.training.pixels import (
    PixelBatch,
    PixelSampler,
    RegularizerConfig,
    hash_decay_term,
    histogram_terms,
    reconstruction_kind,
    unmasked_training_pixels,
)

STAGE = "reconstruction"
NEAR, NEAR_SHARE = 2.5, 0.3  # radii at which rays end, during this share of the steps
COARSEST, COARSE_SHARE = 2, 0.55  # levels that learn at first, and the share of the steps until all do


class Shown(NamedTuple):
    """Pixels as a field shows them, differentiable. color: P 3; depth: P, mean z-depth in world units."""

    color: Tensor
    depth: Tensor


class UnmaskedReconstruction(CapturableObjective):
    """L_rec: the colours of unmasked rays.

    Further objectives learn it along, and look at more: at patches, or at hidden pixels, as many as suit rays.
    """

    def __init__(
        self, nerf: Nerf, scene: Scene, regularizer: RegularizerConfig, *, rays: int,
        error: PixelError = "charbonnier",
    ):  # fmt: skip
        self.nerf, self.scene, self.regularizer, self.rays = nerf, scene, regularizer, rays
        self.error: PixelError = error
        self.known = PixelSampler(scene, unmasked_training_pixels(scene))

    @property
    def field(self) -> Nerf:
        """What learns."""
        return self.nerf

    def kind(self, step: int) -> Kind | None:
        return reconstruction_kind(step, self.regularizer) if self.known.is_on_device else None

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        return self.terms_and_render(step, generator, self.rays, None)[0]

    def terms_and_render(
        self, step: int, generator: torch.Generator, count: int, more: Rays | None
    ) -> tuple[dict[str, Tensor], Render]:
        """The terms of one step on ``count`` unmasked rays, and a render of ``more`` rays, which take part in what
        shapes histograms: one large launch costs less than two."""
        terms, _, render = self._terms_and_all(step, generator, count, more)
        return terms, render[count:]

    def terms_and_known(
        self, step: int, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], PixelBatch, Tensor]:  # fmt: skip
        """The terms of one step, the pixels it looks at, and their mean z-depths, R."""
        terms, batch, render = self._terms_and_all(step, generator, self.rays, None)
        return terms, batch, render.distance * self.scene.cameras.rays(batch.view, batch.xy).depth_per_distance

    def _terms_and_all(
        self, step: int, generator: torch.Generator, count: int, more: Rays | None
    ) -> tuple[dict[str, Tensor], PixelBatch, Render]:
        batch = self.known.sample(count, generator)
        known = self.scene.cameras.rays(batch.view, batch.xy)
        rays = known if more is None else Rays.joined([known, more])
        render = self.nerf.render(rays, jitter=uniform(len(rays), generator, rays.origins.device))
        terms = {"reconstruction": pixel_error(self.error, render[:count].color, batch.color)}
        terms |= histogram_terms(render, step, self.regularizer)
        return terms | hash_decay_term(self.nerf, step, self.regularizer), batch, render

    def terms_and_patches(
        self, step: int, generator: torch.Generator, count: int, patches: Sequence[Patch], where: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Shown]:
        """The terms of one step on ``count`` unmasked rays, and what patches show: all of their pixels, one patch after
        the other and row by row, or those of them at ``where``."""
        views, xy = positions_of(patches, self.scene.cameras.focal.device)
        if where is not None:
            views, xy = views[where], xy[where]
        return self._terms_and_shown(step, generator, count, self.scene.cameras.rays(views, xy))

    def terms_and_hidden(
        self, step: int, generator: torch.Generator, count: int, hidden: PixelSampler, hidden_count: int
    ) -> tuple[dict[str, Tensor], Shown, Tensor]:
        """The same, and ``hidden_count`` pixels of others; which of those they are."""
        places = integers(len(hidden), hidden_count, generator, hidden.index.device)
        batch = hidden.at(places)
        rays = self.scene.cameras.rays(batch.view, batch.xy)
        return *self._terms_and_shown(step, generator, count, rays), places

    def colors_of_hidden(
        self, hidden: PixelSampler, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Colours of pixels, C 3, from which geometry does not learn; which they are, C."""
        places = integers(len(hidden), count, generator, hidden.index.device)
        batch = hidden.at(places)
        rays, jitter = self.scene.cameras.rays(batch.view, batch.xy), uniform(count, generator, batch.xy.device)
        return self.nerf.render(rays, jitter=jitter, learns_geometry=False).color, places

    def _terms_and_shown(
        self, step: int, generator: torch.Generator, count: int, rays: Rays
    ) -> tuple[dict[str, Tensor], Shown]:
        terms, render = self.terms_and_render(step, generator, count, rays)
        return terms, Shown(render.color, render.distance * rays.depth_per_distance)

    def begin_behind(
        self, scene: Scene, region: Tensor, depths: Tensor, wanted: Sequence[Wanted], checkpoints: Checkpoints
    ) -> Generator[Event, None, UnmaskedReconstruction]:
        """Ready to learn what is behind the object: a radiance field is, wherever that is."""
        yield from ()
        return self

    def learn(
        self, stage: str, objective: Objective, config: FitConfig, checkpoints: Checkpoints, *, known: int, more: int,
        companion: Companion | None = None,
    ) -> Generator[Event, None, None]:  # fmt: skip
        """Fit the field to an objective that looks at ``known`` unmasked rays a step and at ``more`` others."""
        yield from fit(
            stage, self.nerf, objective, config, checkpoints, rays_per_step=known + more, native=self.nerf.is_native,
            companion=companion,
        )  # fmt: skip

    @property
    def whole(self) -> Nerf:
        """The field with all that it has learnt."""
        return self.nerf


class AnnealedReconstruction(CapturableObjective):
    """A reconstruction whose rays end early during its first steps (RegNeRF, Niemeyer et al. 2022, section 3.5, anneals
    the sampled space too), whose grid learns from coarse to fine (FreeNeRF, Yang et al. 2023, section 3.2, unmasks
    frequencies), and which is told depths where photos agree on them: a field otherwise paints photos that share little
    on shells of their own that no other photo sees."""

    def __init__(
        self, reconstruction: UnmaskedReconstruction, *, near_steps: int, coarse_steps: int,
        depth_term: DepthTerm | None = None,
    ):  # fmt: skip
        self.reconstruction, self.near_steps, self.coarse_steps = reconstruction, near_steps, coarse_steps
        self.depth_term = depth_term

    def kind(self, step: int) -> Kind | None:
        kind = self.reconstruction.kind(step)
        return None if kind is None else (kind, step < self.near_steps, self.learning_levels(step))

    def learning_levels(self, step: int) -> int:
        """How many of the grid's levels learn at a step."""
        levels = len(self.reconstruction.nerf.grid.levels)
        if step >= self.coarse_steps:
            return levels
        return min(levels, int(COARSEST + (levels - COARSEST) * step / self.coarse_steps))

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        nerf = self.reconstruction.nerf
        near = nerf.looking_no_farther(NEAR) if step < self.near_steps else nullcontext()
        with near, nerf.grid.learning(self.learning_levels(step)):
            if self.depth_term is None:
                return self.reconstruction(step, progress, generator)
            terms, batch, found = self.reconstruction.terms_and_known(step, generator)
            return terms | {"depth": self.depth_term(batch, found)}


def reconstruct(
    known: UnmaskedReconstruction, config: FitConfig, checkpoints: Checkpoints, *, clean: bool = False
) -> Generator[Event, None, None]:
    """Fit the field to what is not masked; of captures all around to what is near first, and of few photos to what is
    coarse, too, and to the depths that they agree on. clean: drop what none of them supports."""
    nerf, objective, train = known.nerf, known, known.scene.train
    few, around = are_few(known.scene), stand_all_around(known.scene.cameras[train])
    if few or around:
        steps = config.steps or 0  # of a fit that ends after some time nobody knows how many
        near, coarse = round(NEAR_SHARE * steps), round(COARSE_SHARE * steps) if few else 0
        learns = checkpoints.product(STAGE) is None
        term = (yield from depth_term_of_few(known.scene, checkpoints)) if learns else None
        objective = AnnealedReconstruction(known, near_steps=near, coarse_steps=coarse, depth_term=term)
        why = "few photos" if few else "photos from all around"
        finer = f", and for {coarse} the field learns from coarse to fine" if few else ""
        if steps:
            yield Note(f"{why}: for {near} steps rays end after {NEAR:g} times the cameras' farthest distance{finer}")
    yield from fit(
        STAGE, nerf, objective, config, checkpoints, rays_per_step=known.rays, native=nerf.is_native
    )  # fmt: skip
    if clean:
        yield from drop_unsupported(nerf, known.scene, checkpoints)
