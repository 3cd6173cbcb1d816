"""Gaussians of a scene: a radiance field says where surfaces are, Gaussians begin there and learn the photos."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from unscene.fields.nerf import Nerf, NerfConfig
from unscene.fields.splats import Splats
from unscene.geometry.gaussians import Gaussians
from unscene.scenes.scene import Scene
from unscene.stages.splat_start import gaussians_at_depths, gaussians_at_points, with_room
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note
from unscene.training.fit import FitConfig, fit
from unscene.training.photo_depths import depth_term_of_few
from unscene.training.pixels import PixelReconstruction, PixelSampler, RegularizerConfig, training_pixels
from unscene.training.splats import SplatGrowth, SplatGrowthConfig, SplatLossConfig, SplatReconstruction, splat_rates

ENOUGH_POINTS = 1 / 3  # of the Gaussians wanted at the start, for sparse points to be where they begin
RAYS = 2304
RADIANCE_RATE = 2e-2  # step size of the radiance field


@dataclass(frozen=True)
class SplatConfig:
    """How many Gaussians, where they begin, and how they learn. Defaults are tuned for 252x189 photos on two cores."""

    count: int = 40_000
    """Gaussians at the start, where they begin at depths."""
    most: int = 50_000
    """Gaussians at the end."""
    degree: int = 0
    """Of the spherical harmonics, 0 to 3: how much colours may depend on the direction."""
    start: Literal["auto", "depth", "points"] = "auto"
    """Where they begin: at a short radiance field's median depths, at the capture's sparse points, or (auto) at the
    points if there are a third as many as `count`, else at the depths."""
    depth_share: float = 0.25
    """Share of the fit's time or steps that the radiance field gets."""
    learning_rate: float = 8e-2
    """Adam's step size at the start; means, opacities and the rest have their own multiples."""
    final_learning_rate: float = 4e-3
    """The same at the end."""
    loss: SplatLossConfig = field(default_factory=SplatLossConfig)
    """Weights of the loss's terms."""
    growth: SplatGrowthConfig = field(default_factory=SplatGrowthConfig)
    """When Gaussians are added."""


def fit_splats(
    scene: Scene, config: SplatConfig, nerf: NerfConfig, fitting: FitConfig, regularizer: RegularizerConfig,
    checkpoints: Checkpoints,
) -> Generator[Event, None, Splats]:  # fmt: skip
    """Fit Gaussians to the scene's training photos within ``fitting``'s time or steps, the radiance field included."""
    whole = fitting.scaled(1.0)
    points = _points(scene, config)
    if points is None:
        start = yield from _at_depths(scene, config, nerf, fitting, regularizer, checkpoints)
        whole = fitting.scaled(1 - config.depth_share)
    else:
        yield Note(f"Gaussians begin at {len(points):,} sparse points")
        start = points
    return (yield from learn_photos(scene, start, config, whole, checkpoints))


def distilled_splats(
    field: Nerf, scene: Scene, config: SplatConfig, fitting: FitConfig, checkpoints: Checkpoints
) -> Generator[Event, None, Splats]:
    """Gaussians that look like a radiance field: they begin at its depths and learn ``scene``, its own renders."""
    count, generator = min(config.count, config.most), checkpoints.generator("splat start")
    start = gaussians_at_depths(field, scene, count, config.degree, generator)
    return (yield from learn_photos(scene, start, config, fitting, checkpoints))


def learn_photos(
    scene: Scene, start: Gaussians, config: SplatConfig, fitting: FitConfig, checkpoints: Checkpoints,
    known: Tensor | None = None,
) -> Generator[Event, None, Splats]:  # fmt: skip
    """Gaussians from a start that learn the scene's training photos, one whole photo a step, or what is known of it (N
    H W bool)."""
    splats = Splats.around(scene.cameras[scene.train], with_room(start, config.most))
    schedule = _schedule(fitting, config.learning_rate, config.final_learning_rate)
    pixels = scene.cameras.width * scene.cameras.height
    objective, growth = SplatReconstruction(splats, scene, config.loss, known), SplatGrowth(splats, config.growth)
    yield from fit(
        "splats", splats, objective, schedule, checkpoints, rays_per_step=pixels, companion=growth,
        native=splats.is_native, rates=splat_rates(splats),
    )  # fmt: skip
    used = splats.used
    yield Note(f"{len(used):,} Gaussians of degree {used.degree}")
    return Splats(used, center=splats.center, radius=splats.radius)


def _points(scene: Scene, config: SplatConfig) -> Gaussians | None:
    """Gaussians at the scene's sparse points, if they are to begin there."""
    enough = scene.points is not None and len(scene.points) >= ENOUGH_POINTS * config.count
    if scene.points is None or config.start == "depth" or (config.start == "auto" and not enough):
        return None
    colors = scene.point_colors
    shades = torch.full((len(scene.points), 3), 0.5) if colors is None else colors.float() / 255
    chosen = slice(None)
    if len(scene.points) > config.most:
        chosen = torch.arange(config.most) * len(scene.points) // config.most
    place = {"device": scene.device, "dtype": torch.float32}
    return gaussians_at_points(scene.points[chosen].to(**place), shades[chosen].to(**place), config.degree)


def _at_depths(
    scene: Scene, config: SplatConfig, nerf: NerfConfig, fitting: FitConfig, regularizer: RegularizerConfig,
    checkpoints: Checkpoints,
) -> Generator[Event, None, Gaussians]:  # fmt: skip
    radiance = Nerf.around(scene.cameras[scene.train], nerf, checkpoints.generator("field"))
    pixels = PixelSampler(scene, training_pixels(scene))
    told = yield from depth_term_of_few(scene.with_masks(None), checkpoints)
    objective = PixelReconstruction(radiance, scene.cameras, pixels, regularizer, rays=RAYS, depth_term=told)
    schedule = _schedule(fitting.scaled(config.depth_share), RADIANCE_RATE, RADIANCE_RATE / 20)
    yield from fit("depth", radiance, objective, schedule, checkpoints, rays_per_step=RAYS, native=radiance.is_native)
    return gaussians_at_depths(
        radiance, scene, min(config.count, config.most), config.degree, checkpoints.generator("splat start")
    )


def _schedule(fitting: FitConfig, first: float, last: float) -> FitConfig:
    return FitConfig(
        steps=fitting.steps, seconds=fitting.seconds, learning_rate=first, final_learning_rate=last,
        warmup_steps=fitting.warmup_steps, checkpoint_seconds=fitting.checkpoint_seconds,
    )  # fmt: skip
