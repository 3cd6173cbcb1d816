"""What jobs share: starting a run, passing its events on, masks with a margin, a prior that is taught the scene."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import torch

from unscene.device import choose_device, device_name, explain_failure, field_device, peak_device_memory_gb
from unscene.file_names import view_files
from unscene.geometry.masks import dilate
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.priors.prior_error import PriorError
from unscene.results.run import keep_cameras
from unscene.scenes.scene import Scene
from unscene.stages.customization import CustomizationConfig, customize_prior
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note, StageStarted, Watch
from unscene.training.run import RunFolder

# ways to take less of a device's memory, for `drain`
SMALLER_SCALE = "start anew with a larger --scale (2 takes a quarter of the pixels)"
OFFLOAD = "with --resume and --diffusion.offload model, which keeps networks in main memory until they are needed"


def start(
    out: Path, record: dict[str, Any], scene: Scene, device: torch.device, *, resume: bool, watch: Watch
) -> tuple[RunFolder, Watch]:
    """The run folder of a job, and ``watch`` that logs there too; what the scene's reader had to say comes first."""
    folder = RunFolder.create(out, record | {"device": device_name(device)}, resume=resume)
    folder.view_files = view_files(scene.names)
    keep_cameras(folder, scene)
    watch = folder.logging(watch)
    for note in scene.notes:
        watch(Note(note))
    watch(Note(f"computing on {device_name(device)}"))
    if field_device(device) != device:
        watch(Note(f"the field's kernels know no {device.type}: it computes on the processor, models on {device}"))
    return folder, watch


def drain(
    events: Generator[Event, None, Any], watch: Watch, *, resumable: bool = True, ways: Sequence[str] = ()
) -> Any:
    """Pass all events on; returns what the generator returned. Raises DeviceError for a device that is too small or
    went away, naming the stage, --resume if the command knows it, and the other ``ways`` that `explain_failure` tells
    of."""
    doing = "the first stage"
    while True:
        try:
            event = next(events)
        except StopIteration as finished:
            return finished.value
        except RuntimeError as error:
            if (explained := explain_failure(error, doing, resumable=resumable, ways=ways)) is None:
                raise
            raise explained from error
        if isinstance(event, StageStarted):
            doing = f"'{event.stage}'"
        watch(event)


def place(diffusion: DiffusionConfig, device: torch.device) -> DiffusionConfig:
    """A diffusion model's settings with device and precision settled. Raises DeviceError for one that is not there."""
    if diffusion.device:
        device = choose_device(diffusion.device, "--diffusion.device")
        diffusion = dataclasses.replace(diffusion, device=str(device))
    return diffusion.on(str(device))


def device_facts(device: torch.device) -> dict[str, float]:
    """What a finished job has taken of its device, for its metrics."""
    peak = peak_device_memory_gb(device)
    return {} if peak is None else {"peak_device_memory_gb": round(peak, 3)}


def with_grown_masks(scene: Scene, margin: int) -> Scene:
    """The scene with masks grown by ``margin`` pixels, since masks tend to miss an object's rim."""
    if scene.masks is None or not margin:
        return scene
    return scene.with_masks(torch.cat([dilate(mask[None], margin) for mask in scene.masks]))  # as floats one by one


def check_customizable(prior: Inpainter, diffusion: DiffusionConfig) -> LatentInpainter:
    """The prior, if it can be taught a scene, else a PriorError."""
    if diffusion.offload != "none":
        raise PriorError(
            "customize: expected the whole model on its device; leave out --diffusion.offload, or, with mald-nerf, add "
            "--mald-nerf.no-customize."
        )
    if not isinstance(prior, LatentInpainter):
        raise PriorError(f"customize: expected a diffusion prior, got '{prior.name}'; choose --prior bundled.")
    return prior


def customized(
    prior: Any, scene: Scene, config: CustomizationConfig, checkpoints: Checkpoints, folder: RunFolder, *,
    strongest: float,
) -> Generator[Event, None, Inpainter]:  # fmt: skip
    """The prior once it knows the scene; what it has learnt is kept in the run folder. See `customize_prior`."""
    customization = yield from customize_prior(prior, scene, config, checkpoints, strongest=strongest)
    if not (folder.path / "customization").exists():
        customization.save(folder.path / "customization")
    return customization.finish()
