"""Gaussians learn what fills a hole: inpainted views with their depths, and the photos around it, by windows."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unscene.fields.field import Window
from unscene.fields.splat_raster import rasterise
from unscene.fields.splats import Shot, Splats, TracedGaussians
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import bounding_box
from unscene.losses.structural_similarity import structural_dissimilarity
from unscene.scenes.scene import Scene
from unscene.stages.independent_inpainting import InpaintedView
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event
from unscene.training.fit import Companion, FitConfig, Objective, fit
from unscene.training.splats import SplatLossConfig, splat_rates, where_known

MARGIN = 0.08  # of a view's longer side, around its mask, that a window shows besides


@dataclass(frozen=True)
class SplatFillingConfig:
    """How Gaussians learn what fills the hole."""

    loss: SplatLossConfig = field(default_factory=SplatLossConfig)
    """Weights of colours and structure."""
    weight: float = 0.7
    """Of the inpainted views, beside the photos."""
    depth_weight: float = 0.5
    """Of their depths."""
    opacity_weight: float = 0.2
    """Of the light that holes let through."""
    exact_weight: float = 500.0
    """Of the mean squared difference where a given splat has to show what it showed: the few pixels that are far off
    count most in that."""


class SplatFilling:
    """L_rec + L_prior on windows around the masks: what is known around them, and inside them the inpainted views with
    their depths. Each step looks at one view, and at one inpainted view if there is any.

    scene: images to learn where they are known (N H W bool); masks: N H W bool, what windows are put around; region:
    N H W bool, what has to be opaque; exact: N H W bool, where squared differences count, too.
    """

    def __init__(
        self, splats: Splats, scene: Scene, known: Tensor, masks: Tensor, region: Tensor,
        bases: Sequence[InpaintedView], config: SplatFillingConfig, exact: Tensor | None = None,
    ):  # fmt: skip
        self.splats, self.scene, self.known, self.region = splats, scene, known, region
        self.bases, self.config, self.exact = bases, config, exact
        self.views = [view for view in scene.train.tolist() if masks[view].any()]
        self.windows = {view: window_around(masks[view], scene.cameras) for view in self.views}
        self.shots = {view: Shot.of(scene.cameras, view, window) for view, window in self.windows.items()}

    @property
    def pixels(self) -> int:
        """That a step looks at, about."""
        area = sum(window.width * window.height for window in self.windows.values()) // len(self.windows)
        return area * (2 if self.bases else 1)

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        view = self.views[int(torch.randint(len(self.views), (), generator=generator))]
        terms = self._known_terms(view)
        if self.bases:
            terms |= self._prior_terms(self.bases[step % len(self.bases)])
        return terms

    def _known_terms(self, view: int) -> dict[str, Tensor]:
        shot, part = self.shots[view], slices(self.windows[view])
        render = rasterise(self.splats.gaussians, shot.camera)
        image, truth = where_known(shot.bent(render.image), self.scene.image(view)[part], self.known[view][part])
        terms = {"reconstruction": self._difference(image, truth)}
        if self.exact is not None:
            squared = (image - truth).square() * self.exact[view][part][..., None]
            terms["exact"] = self.config.exact_weight * squared.mean()
        if self.region[view].any():
            light = shot.bent(render.transmittance[..., None])[..., 0]
            terms["opacity"] = self.config.opacity_weight * (light * self.region[view][part]).mean()
        return terms

    def _prior_terms(self, base: InpaintedView) -> dict[str, Tensor]:
        shown, part = self.splats.shown(self.shots[base.view]), slices(self.windows[base.view])
        terms = {"prior colour": self.config.weight * self._difference(shown.color, base.image[part])}
        off, hole = (shown.depth / base.depth[part] - 1).abs().clamp_max(1), base.hole[part]
        weight = self.config.weight * self.config.depth_weight
        return terms | {"prior depth": weight * torch.where(hole, off, 0).mean()}

    def _difference(self, image: Tensor, truth: Tensor) -> Tensor:
        share = self.config.loss.structure
        return (1 - share) * (image - truth).abs().mean() + share * structural_dissimilarity(image, truth)


def window_around(mask: Tensor, cameras: Cameras) -> Window:
    """The window of a view that shows a mask (H W bool) and what is around it."""
    top, left, bottom, right = bounding_box(mask)
    margin = round(MARGIN * max(cameras.width, cameras.height))
    left, top = max(0, left - margin), max(0, top - margin)
    right, bottom = min(cameras.width, right + margin), min(cameras.height, bottom + margin)
    return Window(left, top, right - left, bottom - top)


def slices(window: Window) -> tuple[slice, slice]:
    """Rows and columns of a window."""
    return slice(window.top, window.top + window.height), slice(window.left, window.left + window.width)


def learn(
    stage: str, splats: Splats, objective: Objective, config: FitConfig, checkpoints: Checkpoints, *, pixels: int,
    companion: Companion | None = None,
) -> Generator[Event, None, None]:  # fmt: skip
    """`fit` of Gaussians, each of their numbers at its own rate."""
    yield from fit(
        stage, splats, objective, config, checkpoints, rays_per_step=pixels, companion=companion,
        native=splats.is_native, rates=splat_rates(splats),
    )  # fmt: skip


def learnt_among(traced: TracedGaussians, learns: Tensor, splats: Splats) -> TracedGaussians:
    """What `Splats.around` made of them, some of which have learnt (N bool), traced again: those come first."""
    return TracedGaussians(splats.still, torch.cat([traced.rows[learns], traced.rows[~learns]]))
