"""Presets of a removal: the papers' values, and in what a run departs from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from unscene.jobs.remove_options import MethodName, Preset, RemoveOptions


@dataclasses.dataclass(frozen=True)
class Deviation:
    """A setting that is not the paper's. option: its name on the command line; here, paper: the values, in words."""

    option: str
    here: str
    paper: str


def preset_options(preset: Preset, method: MethodName) -> RemoveOptions:
    """What a preset asks for if nothing else is said: `laptop`, what serves two cores and the bundled model best, or
    `paper`, every value that a method's paper or its release states."""
    if preset == "laptop":
        return RemoveOptions(method=method)
    options = RemoveOptions(
        preset="paper", method=method, prior="sd-2", depth="depth-anything-v2", perceptual="lpips-vgg", fill="mask",
        mask_margin=0,
    )  # fmt: skip
    settings = options.settings
    own = {method.replace("-", "_"): settings.paper()}
    return dataclasses.replace(options, diffusion=settings.paper_diffusion(), **own)


def deviations(options: RemoveOptions) -> list[Deviation]:
    """Every setting of a run that is not its paper's, in the order of the options."""
    paper = preset_options("paper", options.method)
    shared = ("depth", "perceptual", "fill", "mask_margin", "effort")
    pairs: list[tuple[str, Any, Any]] = [("prior", options.chosen_prior, paper.chosen_prior)]
    pairs += [(name, getattr(options, name), getattr(paper, name)) for name in shared]
    sampling = ("prompt", "negative_prompt", "guidance", "strength", "steps", "scheduler")
    pairs += [(f"diffusion.{n}", getattr(options.diffusion, n), getattr(paper.diffusion, n)) for n in sampling]
    pairs += _leaves(options.method, options.settings, paper.settings)
    if options.customizes:
        pairs += _leaves("customization", options.customization, paper.customization)
    return [
        Deviation(name.replace("_", "-"), _in_words(here), _in_words(there))
        for name, here, there in pairs
        if here != there
    ]


def _leaves(name: str, here: Any, there: Any) -> list[tuple[str, Any, Any]]:
    """(name, here, there) of two settings of one class, down to plain values."""
    if not dataclasses.is_dataclass(here):
        return [(name, here, there)]
    pairs = []
    for field in dataclasses.fields(here):
        pairs += _leaves(f"{name}.{field.name}", getattr(here, field.name), getattr(there, field.name))
    return pairs


def _in_words(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if isinstance(value, Path) or value != "" else "none"
