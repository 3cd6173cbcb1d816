"""Iterative dataset update: inpainted training views that are inpainted again from what the field has learnt by then.

The protocol is that of Instruct-NeRF2NeRF (Haque et al. 2023); the noise that MALD-NeRF adds to a render before it is
inpainted falls over the run, so that first colours and then details agree across views (MALD-NeRF, section 3.4).
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unscene.fields.field import Field
from unscene.files import to_uint8
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.ranges import check_ranges
from unscene.scenes.scene import Scene
from unscene.stages.independent_inpainting import estimated_depth, inpaint_alone, who_filled
from unscene.stages.masked_rendering import rendered_inside
from unscene.stages.method_error import MethodError
from unscene.stages.region_values import RegionValues
from unscene.stages.view_choice import spread
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Provenance, StageDone, StageStarted, ViewUpdated

EXEMPLARY = 3  # views whose updates are worth keeping as pictures


@dataclass(frozen=True)
class UpdateConfig:
    """When views are inpainted again, and from how much noise. Values: ours, no source gives them."""

    every: int = 10
    """U, iterations between two updates."""
    first: float = 0.4
    """Share of the run before the first update: what a field renders that has hardly seen the first inpaintings spoils
    them, unless nearly all of it is noised away as a large model can (paper: 0)."""
    rounds: int = 2
    """Times that every view is inpainted again, at least; an update replaces as many views, in turn, as that takes, but
    no view twice."""
    strongest: float | None = None
    """t_max, the first update's timestep as a share of the noise schedule; None: three times the prior's own strength,
    at most 0.9."""
    weakest: float | None = None
    """t_min, the last updates'; None: half the prior's own strength, at most 0.2."""


def noise_bounds(prior: LatentInpainter, config: UpdateConfig) -> tuple[float, float]:
    """t_max and t_min as shares of the schedule. Raises MethodError for noise that does not fall."""
    strongest = min(0.9, 3 * prior.strength) if config.strongest is None else config.strongest
    weakest = min(0.2, prior.strength / 2) if config.weakest is None else config.weakest
    if not 0 < weakest <= strongest <= 1:
        raise MethodError(
            f"mald-nerf: expected noise that falls, 0 < weakest <= strongest <= 1, got {weakest:g} and {strongest:g}; "
            "change --mald-nerf.update.weakest or --mald-nerf.update.strongest."
        )
    return strongest, weakest


def noise_level(progress: float, strongest: float, weakest: float) -> float:
    """t = t_max - (t_max - t_min) sqrt(k / K) after k of K iterations."""
    return strongest - (strongest - weakest) * min(max(progress, 0.0), 1.0) ** 0.5


def check_updates(config: UpdateConfig) -> None:
    """Raise MethodError for updates that cannot be made."""
    ranges = {"every": (config.every, 1, 1e9), "rounds": (config.rounds, 0, 1e6), "first": (config.first, 0, 0.999)}
    check_ranges({f"mald-nerf.update.{name}": given for name, given in ranges.items()}, MethodError)


@dataclass(frozen=True)
class UpdatePlan:
    """What the updates of a run do. strongest, weakest: t_max and t_min; sampler_steps: of the whole schedule, between
    which the sampler knows no levels; views: how many are kept up to date."""

    config: UpdateConfig
    strongest: float
    weakest: float
    sampler_steps: int
    views: int

    @classmethod
    def of(cls, config: UpdateConfig, prior: LatentInpainter, views: int) -> UpdatePlan:
        """The plan for a prior. Raises MethodError for noise that does not fall."""
        return cls(config, *noise_bounds(prior, config), prior.steps, views)

    def is_due(self, step: int, progress: float) -> bool:
        """Whether views are replaced before a step."""
        return progress >= self.config.first and step > 0 and step % self.config.every == 0

    def level(self, step: int, progress: float) -> float:
        """The noise of an update, as a share of the schedule: that of k / K, counted from the first update on."""
        every, steps = self.config.every, round(step / progress)
        begun = max(1, math.ceil(self.config.first * steps / every)) * every
        exact = noise_level((step - begun) / max(1, steps - begun), self.strongest, self.weakest)
        return max(1, round(exact * self.sampler_steps)) / self.sampler_steps

    def count(self, step: int, progress: float, done: int) -> int:
        """How many views an update replaces when ``done`` have been, so that all rounds are made by the end."""
        last = round(step / progress) - 1
        updates_left = (last - step) // self.config.every + 1
        return min(self.views, max(1, math.ceil((self.config.rounds * self.views - done) / updates_left)))


def inpaint_every_view(
    field: Field, scene: Scene, views: Tensor, region: Tensor, depths: Tensor, prior: Inpainter,
    estimate_depth: DepthEstimator | None, checkpoints: Checkpoints,
) -> Generator[Event, None, tuple[Tensor, Tensor]]:  # fmt: skip
    """The first inpaintings of views (V), each on its own, since the field knows nothing of what is hidden yet.

    region: N H W bool, what to inpaint, P pixels in all views; depths: T h w, of the training views. Returns the
    pixels' colours, P 3 uint8, view by view, and depths behind the object, P: a network's if there is one, else along
    the surface.
    """
    stage = "inpaint every view"
    if product := checkpoints.product(stage, scene.device):
        return product["colors"], product["depths"]
    yield StageStarted(stage)
    started, generator = time.monotonic(), checkpoints.generator(stage)
    colors, completed, remark, picture = [], [], "", ""
    strength = prior.strength if isinstance(prior, LatentInpainter) else 1.0
    for index, view in enumerate(views.tolist()):
        inpainted, surface = inpaint_alone(field, scene, view, region, depths, prior, generator)
        depth, remark = inpainted.depth, surface.describe()
        picture = who_filled(prior, surface, region[view])
        if estimate_depth is not None:
            depth, remark = estimated_depth(field, scene, view, region[view], inpainted.image, estimate_depth)
        colors.append(to_uint8(inpainted.image[region[view]]))
        completed.append(depth[region[view]])
        yield ItemDone(stage, index + 1, len(views))
        exemplary = index in exemplary_views(len(views))
        yield ViewUpdated(stage, 0, scene.names[view], 0, strength, None, inpainted.image, exemplary)
    product = {"colors": torch.cat(colors), "depths": torch.cat(completed)}
    checkpoints.save(stage, product, finished=True)
    yield Note(remark)
    yield Provenance(f"the first pictures, {scene.names[int(views[-1])]}'s for one: {picture}")
    yield StageDone(stage, time.monotonic() - started)
    return product["colors"], product["depths"]


class UpdatedDataset(nn.Module):
    """Inpaintings of views (V) and the depths behind them, which change; a module, so that they are saved with what
    learns from them.

    colors: P 3 uint8 and depths: P to begin with, of what is inpainted; scene: the photos; region: N H W bool.
    """

    updates: Tensor

    def __init__(
        self, field: Field, scene: Scene, views: Tensor, region: Tensor, colors: Tensor, depths: Tensor,
        prior: LatentInpainter, estimate_depth: DepthEstimator | None, config: UpdateConfig, *, stage: str,
    ):  # fmt: skip
        super().__init__()
        self._field, self.scene, self.views, self.region = (field,), scene, views.tolist(), region
        self.prior, self.estimate_depth, self.stage = prior, estimate_depth, stage
        self.plan = UpdatePlan.of(config, prior, len(views))
        self.colors, self.depths = RegionValues(region[views], colors), RegionValues(region[views], depths)
        self.register_buffer("updates", torch.zeros(len(views), dtype=torch.long))

    def image(self, index: int) -> Tensor:
        """The photo of a view with its present inpainting, H W 3 uint8."""
        return self.colors.on(self.scene.images[self.views[index]], index)

    def depth(self, index: int) -> Tensor:
        """The depth behind a view's inpainting, H W; nought elsewhere."""
        return self.depths.on(torch.zeros(self.region.shape[1:], device=self.depths.values.device), index)

    def before_step(self, step: int, progress: float, generator: torch.Generator) -> Iterator[Event]:
        """Every U iterations, inpaint the next views again."""
        if not self.plan.is_due(step, progress):
            return
        turn, level = int(self.updates.sum()), self.plan.level(step, progress)
        for offset in range(self.plan.count(step, progress, turn)):
            yield self._replace((turn + offset) % len(self.views), step, level, generator)

    def _replace(self, index: int, step: int, timestep: float, generator: torch.Generator) -> ViewUpdated:
        """Partial DDIM: noise the field's render of a view to a timestep and denoise it from there."""
        view = self.views[index]
        hole, photo = self.region[view], self.scene.image(view)
        start = rendered_inside(self._field[0], self.scene, view, hole)
        size = self.prior.latent_size(*hole.shape)
        noise = torch.randn(1, self.prior.latent_channels, *size, generator=generator).to(photo)
        new = self.prior.inpaint_latent(
            photo[None], hole[None], noise=noise, start=start[None], strength=timestep, steps=self.prior.steps
        )[0]
        before = self.colors.replace(index, to_uint8(new[hole]))
        change = (new[hole] - before.float() / 255).abs().mean().item()
        if self.estimate_depth is not None:
            depth, _ = estimated_depth(self._field[0], self.scene, view, hole, new, self.estimate_depth)
            self.depths.replace(index, depth[hole])
        self.updates[index] += 1
        name, exemplary = self.scene.names[view], index in exemplary_views(len(self.views))
        return ViewUpdated(self.stage, step, name, int(self.updates[index]), timestep, change, new, exemplary)


def exemplary_views(count: int) -> set[int]:
    """Which of so many views are worth showing."""
    return set(spread(torch.arange(count), EXEMPLARY).tolist())
