"""Teaching a diffusion prior a scene."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unscene.device import choose_device, field_device
from unscene.jobs.forecast import customization_work, forecast
from unscene.jobs.running import check_customizable, customized, drain, place, start, with_grown_masks
from unscene.priors.choose import load_prior
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.inpainter import LatentInpainter
from unscene.scenes.scene import Scene
from unscene.stages.customization import CustomizationConfig
from unscene.stages.dataset_update import UpdateConfig, noise_bounds
from unscene.training.events import Note, Watch, ignore


@dataclass(frozen=True)
class CustomizeOptions:
    """Teach a diffusion prior a scene."""

    prior: str = "bundled"
    """Diffusion prior to teach, see `unscene priors`."""
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    """How it is loaded."""
    customization: CustomizationConfig = field(default_factory=CustomizationConfig)
    """How it is taught."""
    mask_margin: int = 2
    """Pixels by which masks grow first, as in `remove`."""
    seed: int = 0
    """Of all random numbers."""
    device: str = "auto"
    """Where to compute: auto (CUDA where it works, else the processor), cpu, cuda, cuda:N or mps."""


def customize(scene: Scene, out: Path | str, options: CustomizeOptions = CustomizeOptions(), *, resume: bool = False,
              watch: Watch = ignore, source: dict[str, Any] | None = None) -> Path:  # fmt: skip
    """Teach a diffusion prior a scene; returns the folder with LoRA and scene token, ``out/customization``."""
    device = choose_device(options.device)
    diffusion = place(options.diffusion, device)
    model = load_prior(options.prior, diffusion)
    check_customizable(model, options.diffusion)
    assert isinstance(model, LatentInpainter)
    record = {"job": "customize", "scene": scene.name, "source": source or {}, "prior": model.name, "options": options}
    folder, watch = start(Path(out), record, scene, device, resume=resume, watch=watch)
    masked = with_grown_masks(scene.to(field_device(device)), options.mask_margin)
    work = [customization_work(model, options.customization)]
    instead = "--prior bundled, or fewer steps with --customization.hub-fit.steps"
    if warning := forecast(model, masked, diffusion, work, instead):
        watch(Note(warning))
    strongest = max(model.strength, noise_bounds(model, UpdateConfig())[0])  # whatever method it is taught for
    checkpoints = folder.checkpoints(options.seed)
    teaching = customized(model, masked, options.customization, checkpoints, folder, strongest=strongest)
    drain(teaching, watch, ways=["start anew with a smaller --customization.model.batch"])
    return folder.path / "customization"
