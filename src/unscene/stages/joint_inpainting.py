"""Dataset update with views that are inpainted together: every U steps some are drawn, noised as the field renders
them, less and less, and denoised jointly (NeRFiller, Weber et al., CVPR 2024, section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unscene.fields.field import Field
from unscene.files import to_uint8
from unscene.geometry.masks import dilate
from unscene.priors.classical import ExemplarInpainter
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.diffusion.config import GridPriorConfig
from unscene.priors.inpainter import JointInpainter, LatentInpainter
from unscene.ranges import check_ranges
from unscene.scenes.scene import Scene
from unscene.stages.dataset_update import exemplary_views
from unscene.stages.independent_inpainting import continued_surface
from unscene.stages.masked_rendering import rendered_inside
from unscene.stages.method_error import MethodError
from unscene.stages.region_values import RegionValues
from unscene.stages.surface_fill import Surface, fill_surface
from unscene.training.events import Event, Note, ViewUpdated


@dataclass(frozen=True)
class JointUpdateConfig:
    """When views are inpainted again, which, and from how much noise."""

    every: int = 150
    """U, steps between two updates, of which the first comes before the first step (release: 1,000)."""
    views: int | None = 12
    """Views drawn anew for each update, the only ones that teach the field until the next (release: 40); None: all."""
    strongest: float | None = None
    """Noise of the first update, as a share of the schedule (release: 1, noise alone). None: three times the prior's
    own strength, at most 1."""
    weakest: float | None = None
    """Noise at the end (release: 0.4). None: the prior's own strength, at most 0.4."""
    grid: GridPriorConfig = field(default_factory=GridPriorConfig)
    """How they are denoised together."""


def joint_noise_bounds(prior: LatentInpainter, config: JointUpdateConfig) -> tuple[float, float]:
    """Strongest and weakest noise as shares of the schedule. Raises MethodError for noise that does not fall."""
    strongest = min(1.0, 3 * prior.strength) if config.strongest is None else config.strongest
    weakest = min(0.4, prior.strength) if config.weakest is None else config.weakest
    if not 0 < weakest <= strongest <= 1:
        raise MethodError(
            f"nerfiller: expected noise that falls, 0 < weakest <= strongest <= 1, got {weakest:g} and {strongest:g}; "
            "change --nerfiller.update.weakest or --nerfiller.update.strongest."
        )
    return strongest, weakest


def joint_level(progress: float, strongest: float, weakest: float) -> float:
    """The noise of an update, as a share of the schedule: it falls linearly."""
    return strongest - (strongest - weakest) * min(max(progress, 0.0), 1.0)


def check_joint_updates(config: JointUpdateConfig) -> None:
    """Raise MethodError for updates that cannot be made."""
    grid, guidance = config.grid, (-100, 100)
    ranges: dict[str, tuple[float | None, float, float]] = {
        "every": (config.every, 1, 1e9), "views": (config.views, 1, 1e6), "grid.side": (grid.side, 1, 16),
        "grid.shuffles": (grid.shuffles, 1, 1000), "grid.tile": (grid.tile, 8, 1e5),
        "grid.steps": (grid.steps, 1, 1000),
        "grid.image-guidance": (grid.image_guidance, *guidance), "grid.text-guidance": (grid.text_guidance, *guidance),
    }  # fmt: skip
    check_ranges({f"nerfiller.update.{name}": given for name, given in ranges.items()}, MethodError)


class JointlyUpdatedDataset(nn.Module):
    """Inpaintings of those views (of V) that are drawn at present, and depths of them of which the order counts; a
    module, so that they are saved with what learns from them.

    scene: photos with what is known behind the object; region: N H W bool, what to inpaint; depths: T h w, of the
    training views; reach: pixels around the region in which depths are asked for.
    """

    drawn: Tensor
    updates: Tensor

    def __init__(
        self, field: Field, scene: Scene, views: Tensor, region: Tensor, depths: Tensor, prior: JointInpainter,
        estimate_depth: DepthEstimator | None, config: JointUpdateConfig, *, reach: int, stage: str,
    ):  # fmt: skip
        super().__init__()
        self._field, self.scene, self.views, self.region, self.known = (field,), scene, views.tolist(), region, depths
        self.prior, self.estimate_depth, self.config, self.stage = prior, estimate_depth, config, stage
        self.strongest, self.weakest = joint_noise_bounds(prior, config)
        holes = region[views]
        self.around = torch.cat([dilate(hole[None], reach) for hole in holes])
        device = scene.cameras.focal.device
        self.colors = RegionValues(holes, torch.zeros(int(holes.sum()), 3, dtype=torch.uint8, device=device))
        self.depths = RegionValues(self.around, torch.zeros(int(self.around.sum()), device=device))
        self.register_buffer("drawn", torch.zeros(len(views), dtype=torch.bool))  # on the host, where patches are drawn
        self.register_buffer("updates", torch.zeros(len(views), dtype=torch.long))

    def image(self, index: int) -> Tensor:
        """The photo of a view with its present inpainting, H W 3 uint8."""
        return self.colors.on(self.scene.images[self.views[index]], index)

    def depth(self, index: int) -> Tensor:
        """Depths in and around a view's inpainting that are true in their order, H W; nought elsewhere."""
        return self.depths.on(torch.zeros(self.region.shape[1:], device=self.depths.values.device), index)

    def before_step(self, step: int, progress: float, generator: torch.Generator) -> Iterator[Event]:
        """Every U steps, draw views and inpaint them together."""
        if step % self.config.every:
            return
        level, count = joint_level(progress, self.strongest, self.weakest), len(self.views)
        drawn = torch.randperm(count, generator=generator)[: self.config.views].sort().values.tolist()
        surfaces = self._surfaces(drawn, step, level, generator)
        starts = [self._start(index, step, surfaces, generator) for index in drawn] if level < 1 else None
        views = torch.tensor([self.views[index] for index in drawn])
        photos = torch.stack([self.scene.image(view) for view in views.tolist()])
        filled = self.prior.inpaint_jointly(
            photos, self.region[views], start=None if starts is None else torch.stack(starts), level=level,
            grid=self.config.grid, generator=generator,
        )  # fmt: skip
        self.drawn.zero_()[drawn] = True
        remark = ""
        for index, new in zip(drawn, filled, strict=True):
            if self.estimate_depth is not None:
                estimate = self.estimate_depth(new)
                depth = -estimate.values if estimate.relative_disparity else estimate.values
                remark = f"depth behind the object: {estimate.name}"
            elif index in surfaces:
                depth, remark = surfaces[index].depth, surfaces[index].describe()
            else:
                depth = None  # as it was
            yield self._replace(index, step, level, new, depth)
        if step == 0:
            yield Note(f"{remark}; only its order is learnt")

    def _surfaces(self, drawn: list[int], step: int, level: float, generator: torch.Generator) -> dict[int, Surface]:
        """What lies behind the holes of drawn views by the field around them, where starts or depths need it still."""
        needed = [index for index in drawn if self.estimate_depth is None and not self.updates[index]]
        if step == 0 and level < 1:
            needed = drawn
        return {
            index: continued_surface(self._field[0], self.scene, view, self.region[view], generator)
            for index, view in ((index, self.views[index]) for index in needed)
        }

    def _start(self, index: int, step: int, surfaces: dict[int, Surface], generator: torch.Generator) -> Tensor:
        """What is noised: the field's render; copies along the surface, H W 3, before it has learnt anything."""
        view = self.views[index]
        if step > 0:
            return rendered_inside(self._field[0], self.scene, view, self.region[view])
        exemplar = ExemplarInpainter(self.prior.guide)
        return fill_surface(self.scene, view, self.region, self.known, surfaces[index], exemplar, generator)

    def _replace(self, index: int, step: int, level: float, new: Tensor, depth: Tensor | None) -> ViewUpdated:
        view = self.views[index]
        colors = new[self.region[view]]
        before = self.colors.replace(index, to_uint8(colors)).float() / 255
        change = (colors - before).abs().mean().item() if self.updates[index] else None
        if depth is not None:
            self.depths.replace(index, depth[self.around[index]])
        self.updates[index] += 1
        name, exemplary = self.scene.names[view], index in exemplary_views(len(self.views))
        return ViewUpdated(self.stage, step, name, int(self.updates[index]) - 1, level, change, new, exemplary)
