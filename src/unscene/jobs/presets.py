"""Presets of both jobs: the papers' values, and in what a run departs from them."""

from __future__ import annotations

import dataclasses
from typing import Any

from unscene.jobs.deviations import Deviation, Preset, deviations
from unscene.jobs.orbit_options import OrbitMethod, OrbitOptions
from unscene.jobs.remove_options import MethodName, RemoveOptions


def removal_preset(preset: Preset, method: MethodName) -> RemoveOptions:
    """What a preset asks for if nothing else is said: `laptop`, what serves two cores and the bundled model best, or
    `paper`, every value that a method's paper or its release states."""
    if preset == "laptop":
        return RemoveOptions(method=method)
    options = RemoveOptions(
        preset="paper", method=method, prior="sd-2", depth="depth-anything-v2", perceptual="lpips-vgg", fill="mask",
        mask_margin=0,
    )  # fmt: skip
    settings = options.settings
    own: dict[str, Any] = {method.replace("-", "_"): settings.paper()}
    if method == "spin-nerf":  # which inpaints disparities, and dilates masks by 5 x 5 pixels five times
        own |= {"depth": "field", "mask_margin": 10}
    return dataclasses.replace(options, diffusion=settings.paper_diffusion(), **own)


def removal_deviations(options: RemoveOptions) -> list[Deviation]:
    """Every setting of a removal that is not its paper's, in the order of the options."""
    paper = removal_preset("paper", options.method)
    shared = ("depth", "perceptual", "fill", "mask_margin", "effort")
    sampling = ("prompt", "negative_prompt", "guidance", "strength", "steps", "scheduler")
    pairs: list[tuple[str, Any, Any]] = [("prior", options.chosen_prior, paper.chosen_prior)]
    pairs += [(name, getattr(options, name), getattr(paper, name)) for name in shared]
    pairs += [(f"diffusion.{n}", getattr(options.diffusion, n), getattr(paper.diffusion, n)) for n in sampling]
    pairs.append((options.method, options.settings, paper.settings))
    if options.customizes:
        pairs.append(("customization", options.customization, paper.customization))
    return deviations(pairs)


def orbit_preset(preset: Preset, method: OrbitMethod) -> OrbitOptions:
    """The same for novel views of one photo."""
    if preset == "laptop":
        return OrbitOptions(method=method)
    options = OrbitOptions(preset="paper", method=method)
    own: dict[str, Any] = {method.replace("-", "_"): options.settings.paper()}
    if method == "invs":
        own |= {"depth": "zoedepth", "contamination": 0.3, "turn": "independent"}
    return dataclasses.replace(options, **own)


def orbit_deviations(options: OrbitOptions) -> list[Deviation]:
    """Every setting of an orbit that is not its paper's."""
    paper = orbit_preset("paper", options.method)
    names = ("weights", "depth", "contamination", "turn") if options.method == "invs" else ()
    pairs: list[tuple[str, Any, Any]] = [(name, getattr(options, name), getattr(paper, name)) for name in names]
    return deviations([*pairs, (options.method, options.settings, paper.settings)])
