"""What a removal will take, of time and of a device's memory, and what takes less."""

from __future__ import annotations

from typing import Any

from unscene.jobs.forecast import customization_work, forecast, removal_work
from unscene.jobs.remove_options import NEED_LATENTS, RemoveOptions
from unscene.jobs.running import OFFLOAD, SMALLER_SCALE
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.scenes.scene import Scene
from unscene.stages.customization import CustomizationConfig
from unscene.stages.dataset_update import noise_bounds
from unscene.stages.joint_inpainting import joint_noise_bounds


def forecast_removal(
    prior: Inpainter, scene: Scene, options: RemoveOptions, diffusion: DiffusionConfig, config: Any,
    taught: CustomizationConfig,
) -> str | None:  # fmt: skip
    """How long a large model will take on a processor, and what else there is."""
    if not isinstance(prior, LatentInpainter):
        return None
    teaching = [customization_work(prior, taught)] if options.customizes else []
    work = [*teaching, *removal_work(prior, scene, config, taught=options.customizes)]
    copies = "" if options.method in NEED_LATENTS else "--prior guided-exemplar, "  # which has no latents
    fewer = {
        "naive": "fewer views with --holdout",
        "nerfiller": "fewer views with --nerfiller.update.views",
        "infusion": "fewer steps with --diffusion.steps",
        "inpaint3d": "fewer steps with --inpaint3d.distillation.steps",
    }.get(options.method, f"fewer views with --{options.method}.most-views")
    return forecast(prior, scene, diffusion, work, f"--prior bundled, {copies}or {fewer}")


def ways_to_fit(prior: Inpainter, options: RemoveOptions, source: dict[str, Any]) -> list[str]:
    """What takes less of a device's memory, of what this run can do."""
    latent, ways = isinstance(prior, LatentInpainter), list[str]()
    if options.method == "inpaint3d":
        ways.append("start anew with a smaller --inpaint3d.window")
    elif latent and not options.customizes and options.diffusion.offload == "none":
        ways.append(OFFLOAD)
    if options.customizes:
        ways.append("start anew with a smaller --customization.model.batch")
    if latent and options.method == "in-n-out" and options.in_n_out.views_at_once > 1:
        ways.append("start anew with fewer --in-n-out.views-at-once")
    if "scale" in source:
        ways.append(SMALLER_SCALE)
    return ways


def strongest_noise(prior: Any, options: RemoveOptions) -> float:
    """That the method will start its prior's sampler from, as a share of the schedule."""
    if options.method == "mald-nerf":
        return max(prior.strength, noise_bounds(prior, options.mald_nerf.update)[0])
    if options.method == "inpaint3d":
        return options.inpaint3d.strongest
    if options.method == "nerfiller":
        return max(prior.strength, joint_noise_bounds(prior, options.nerfiller.update)[0])
    return prior.strength
