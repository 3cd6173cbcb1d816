"""Taming a diffusion prior to the scene before a method uses it (MALD-NeRF, section 3.3), in the one fitting loop."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unscene.priors.diffusion.config import CustomizeConfig
from unscene.scenes.scene import Scene
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note
from unscene.training.fit import FitConfig, fit

if TYPE_CHECKING:  # both load diffusers, which takes seconds
    from unscene.priors.diffusion.customize import SceneCustomization
    from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter

STAGE = "customise the prior"


@dataclass(frozen=True)
class CustomizationConfig:
    """How a prior is taught the scene."""

    model: CustomizeConfig = field(default_factory=CustomizeConfig)
    """What is learnt, from what."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=125, learning_rate=3e-3, final_learning_rate=5e-4))
    """How long and how fast the bundled model learns."""
    hub_fit: FitConfig = field(
        default_factory=lambda: FitConfig(steps=400, learning_rate=3e-4, final_learning_rate=3e-5)
    )
    """The same for other checkpoints."""


def customize_prior(
    prior: LatentDiffusionInpainter, scene: Scene, config: CustomizationConfig, checkpoints: Checkpoints, *,
    strongest: float,
) -> Generator[Event, None, SceneCustomization]:  # fmt: skip
    """Teach ``prior``, in place, to inpaint the training views of a scene; nothing is learnt inside its masks.

    strongest: the strongest noise that it will be sampled from afterwards, as a share of its schedule.
    """
    from unscene.priors.diffusion.customize import SceneCustomization, draw_crops, draw_rectangles

    strongest = strongest if config.model.strongest is None else config.model.strongest
    weights = checkpoints.generator(f"{STAGE}: weights")
    customization = SceneCustomization(prior, config.model, weights, strongest=strongest)
    batch, side, views = config.model.batch, customization.crop, scene.train.tolist()

    def objective(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        photos, objects = draw_crops(
            lambda view: photo_and_object(scene, view), batch, views, side, config.model.smallest_scale, generator
        )
        holes = draw_rectangles(batch, side, side, generator)
        return {"inpainting": customization.loss(photos, objects, holes, generator)}

    schedule = config.fit if prior.is_bundled else config.hub_fit
    yield from fit(STAGE, customization.learnt, objective, schedule, checkpoints, rays_per_step=batch * side**2)
    count = sum(parameter.numel() for parameter in customization.learnt)
    kind = "bfloat16" if customization.in_bfloat16 else "float32"
    yield Note(
        f"prior '{prior.name}' customised to the scene: {count / 1e6:.2f} M weights, {len(views)} views, in {kind}"
    )
    return customization


def photo_and_object(scene: Scene, view: int) -> tuple[Tensor, Tensor]:
    """A view's photo, H W 3 in [0, 1], and the mask of the object in it, H W bool."""
    image = scene.image(view)
    nothing = torch.zeros(image.shape[:2], dtype=torch.bool, device=image.device)
    return image, nothing if scene.masks is None else scene.masks[view]
