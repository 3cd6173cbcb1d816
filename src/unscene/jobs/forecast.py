"""What a large diffusion model will take of a processor, said before it starts, with what else there is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch

from unscene.jobs.remove_options import Settings
from unscene.methods import (
    InfusionConfig,
    Inpaint3dConfig,
    InpaintNerf360Config,
    MaldNerfConfig,
    NaiveConfig,
    NerfillerConfig,
    SpinNerfConfig,
)
from unscene.priors.diffusion.config import DiffusionConfig, GridPriorConfig
from unscene.scenes.scene import Scene
from unscene.stages.aligned_inpainting import batch_views
from unscene.stages.customization import CustomizationConfig
from unscene.stages.dataset_update import UpdateConfig, UpdatePlan
from unscene.stages.joint_inpainting import joint_level, joint_noise_bounds
from unscene.stages.view_choice import views_with_holes
from unscene.training.fit import FitConfig

TRAINING_PASSES = 2  # forward, and back through frozen weights, which costs the same; adapters are small


@dataclass(frozen=True)
class Work:
    """Images times steps of a sampler or of training. guided: with and without the prompt; aligned: with attention to
    a base view; side: of a training crop, None for whole photos; downscale: of those; grid: of which images are tiles,
    if they are; passes: through the network."""

    image_steps: int
    guided: bool = False
    aligned: bool = False
    side: int | None = None
    downscale: int = 1
    grid: GridPriorConfig | None = None
    passes: int = 1


def forecast(prior: Any, scene: Scene, diffusion: DiffusionConfig, work: Iterable[Work], instead: str) -> str | None:
    """Words about the work that lies before ``prior``; None unless it is a large latent model on a processor.

    diffusion: with its device settled. instead: what else there is, in words.
    """
    if diffusion.device != "cpu" or getattr(prior, "pipeline", None) is None:
        return None
    from unscene.priors.diffusion import cost, grid_prior

    unet = prior.pipeline.unet
    if (parameters := cost.parameter_count(unet)) <= cost.LARGE:
        return None
    parts, operations = [part for part in work if part.image_steps], 0
    for part in parts:
        whole = (scene.cameras.height // part.downscale, scene.cameras.width // part.downscale)
        size, count = (part.side, part.side) if part.side else whole, part.image_steps * part.passes
        if part.grid:
            tiles, size = part.grid.side**2, grid_prior.canvas_size(prior, *size, part.grid)
            count = math.ceil(count / tiles)
        operations += count * cost.image_step_operations(prior, *size, guided=part.guided, aligned=part.aligned)
    steps = sum(part.image_steps for part in parts)
    seconds = operations / cost.processor_speed(unet.dtype)
    return (
        f"'{prior.name}' ({parameters / 1e6:,.0f} M parameters) runs on the processor: up to {steps:,} images times "
        f"steps, {operations / 1e12:,.3g} tera-operations, which this processor needs {duration(seconds)} or more for; "
        f"to wait less: {_accelerator()}{instead}"
    )


def removal_work(prior: Any, scene: Scene, settings: Settings, *, taught: bool) -> list[Work]:
    """What a removal asks of its prior at most: less where other views have seen what a mask hides.

    taught: whether it will be taught the scene first, after which it has a prompt.
    """
    assert scene.masks is not None
    guided = prior.is_guided or (taught and prior.guidance != 1)
    steps = sampler_steps(prior, prior.strength)
    count = len(views_with_holes(scene.masks, scene.train))
    if isinstance(settings, NaiveConfig):
        return [Work(len(scene.train) * steps, guided)]
    if isinstance(settings, InpaintNerf360Config):
        return [Work(_most(count, settings.most_views) * steps, guided)]
    if isinstance(settings, InfusionConfig):
        return [Work(min(1, count) * steps, guided)]
    if isinstance(settings, Inpaint3dConfig):
        side = min(settings.window, scene.cameras.width, scene.cameras.height)
        return [Work(min(1, count) * (settings.distillation.steps or 0), guided, side=side)]
    if isinstance(settings, SpinNerfConfig):
        photos = Work(_most(count, settings.most_views) * steps, guided)
        disparities = replace(photos, downscale=settings.disparity.downscale)
        return [photos, disparities] if settings.disparity.inpaint else [photos]
    if isinstance(settings, MaldNerfConfig):
        views = _most(count, settings.most_views)
        return [Work(views * steps + _update_steps(prior, settings.update, settings.training, views), guided)]
    if isinstance(settings, NerfillerConfig):
        return [_joint_work(prior, settings, count)]
    alone = 0 if settings.base_picture is not None else 1 if settings.base_view is not None else settings.candidates
    voters = min(alone, count)
    views = _most(max(0, count - 1), settings.most_views)
    with_base = views + math.ceil(views / batch_views(scene, settings.views_at_once))  # the base view is in every batch
    aligned = settings.ila and settings.own_weight != 1
    return [Work(voters * steps, guided), Work(with_base * steps, guided, aligned)]


def customization_work(prior: Any, config: CustomizationConfig) -> Work:
    """What teaching a prior takes of its U-Net; nothing where only time is limited."""
    schedule = config.fit if prior.is_bundled else config.hub_fit
    side = config.model.crop or (96 if prior.is_bundled else prior.pipeline.unet.config.sample_size * prior.downscale)
    return Work((schedule.steps or 0) * config.model.batch, side=side, passes=TRAINING_PASSES)


def sampler_steps(prior: Any, strength: float) -> int:
    """How many steps of its schedule a prior runs."""
    return max(1, round(strength * prior.steps))


def _update_steps(prior: Any, update: UpdateConfig, training: FitConfig, views: int) -> int:
    """Images times steps of all of a dataset's updates."""
    total, plan, done, work = training.steps or 0, UpdatePlan.of(update, prior, views), 0, 0
    for step in range(1, total):
        if plan.is_due(step, step / total):
            count = plan.count(step, step / total, done)
            done += count
            work += count * sampler_steps(prior, plan.level(step, step / total))
    return work


def _joint_work(prior: Any, settings: NerfillerConfig, count: int) -> Work:
    """All of a run's joint updates."""
    from unscene.priors.diffusion import grid_prior

    update, total = settings.update, settings.training.steps or 0
    strongest, weakest = joint_noise_bounds(prior, update)
    levels = [joint_level(step / total, strongest, weakest) for step in range(0, total, update.every)]
    steps = sum(grid_prior.joint_steps(prior, level, update.grid) for level in levels) * update.grid.shuffles
    halves = 1 + (grid_prior.image_guidance(prior, update.grid) != 0) + (update.grid.text_guidance != 0)
    return Work(_most(count, update.views) * steps, grid=update.grid, passes=halves)


def _most(count: int, most: int | None) -> int:
    return count if most is None else min(count, most)


def _accelerator() -> str:
    if torch.cuda.is_available():
        return "--device cuda, "
    return "--device mps, " if torch.backends.mps.is_available() else ""


def duration(seconds: float) -> str:
    """In words: hours, minutes or seconds."""
    if seconds >= 5400:
        return f"{seconds / 3600:,.0f} hours" if seconds >= 36000 else f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{max(1, seconds):.0f} seconds"
