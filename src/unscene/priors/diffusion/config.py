"""Settings of a diffusion prior, apart from the code that loads one, which takes seconds to import."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

BUNDLED_NAME = "bundled-diffusion"
Precision = Literal["float32", "float16", "bfloat16"]

FAMILIES: dict[str, tuple[str, ...]] = {  # hub ids in the order in which they are tried: some have been withdrawn
    "sd-1.5": (
        "stable-diffusion-v1-5/stable-diffusion-inpainting",
        "benjamin-paine/stable-diffusion-v1-5-inpainting",
        "runwayml/stable-diffusion-inpainting",
    ),
    "sd-2": ("sd2-community/stable-diffusion-2-inpainting", "stabilityai/stable-diffusion-2-inpainting"),
    "sdxl": ("diffusers/stable-diffusion-xl-1.0-inpainting-0.1",),
}


@dataclass(frozen=True)
class DiffusionConfig:
    """How a diffusion prior is loaded and run."""

    prompt: str | None = None
    """Describes the scene without the object. None: nothing for the bundled model and what In-N-Out's release ends all
    of its prompts with, "photorealistic 8k", for others; a description of the scene before that helps them."""
    negative_prompt: str = ""
    """Describes what should not appear."""
    guidance: float | None = None
    """Classifier-free guidance scale; without prompts, or at 1, its half of the work is left out. None: 1 for the
    bundled model, else 7.5."""
    strength: float | None = None
    """Share of the noise schedule run on top of the start image. None: 0.1 for the bundled model, else 0.9."""
    steps: int = 20
    """Sampler steps of the whole schedule."""
    scheduler: str = "DDIMScheduler"
    """Any scheduler class of diffusers; it takes over the checkpoint's noise schedule."""
    device: str | None = None
    """Where the model runs: cpu, cuda, cuda:N, mps. None: where everything else does, --device."""
    precision: Precision | None = None
    """Of the weights and the network's arithmetic; the sampler always computes in float32. None: float16 on CUDA, else
    float32."""
    attention_slicing: bool = False
    """One attention head at a time: less memory where the fused attention kernel is missing."""
    offload: Literal["none", "model", "sequential"] = "none"
    """Keep parts of the model in main memory until they are needed: whole networks, or layer by layer."""
    single_file_config: Path | None = None
    """Diffusers folder with the configuration of a single-file checkpoint; by default the family's is fetched."""
    customization: Path | None = None
    """Folder of a per-scene customisation (`unscene customize`) to put on top."""

    def on(self, device: str) -> DiffusionConfig:
        """The same with device and precision settled, ``device`` if no other was asked for."""
        device = self.device or device
        fitting: Precision = "float16" if device.startswith("cuda") else "float32"
        return dataclasses.replace(self, device=device, precision=self.precision or fitting)


@dataclass(frozen=True)
class GridPriorConfig:
    """How views are denoised together (NeRFiller, section 4.1)."""

    side: int = 2
    """Views along a canvas's sides (paper); 1: every view on its own, the ablation without the grid prior."""
    shuffles: int = 1
    """M, arrangements of the views whose predictions are averaged in each step (release: 1 while training)."""
    tile: int | None = None
    """Pixels along the longer side of a view in a canvas, if it is larger. None: as many as make a canvas of the size
    that a hub's model was trained at (release: 256 of 512), 160 for the bundled model."""
    steps: int | None = None
    """Sampler steps, all of them below the noise that views start from. None: the prior's own number (release: 20), and
    with the bundled model those of them that lie there."""
    image_guidance: float | None = None
    """Weight of what the surroundings of the hole change in a prediction. None: 1.5 (release); 0 for the bundled model,
    which has never seen a picture without surroundings."""
    text_guidance: float = 0.0
    """Weight of what the prompt changes in a prediction (release: 0, so that the prompt has no effect)."""


@dataclass(frozen=True)
class CustomizeConfig:
    """Per-scene customisation. No source gives these values: all are ours."""

    rank: int = 32
    """Of the LoRA matrices."""
    batch: int = 4
    """Crops per step."""
    crop: int | None = None
    """Side of the crops, pixels. None: 96 for the bundled model, else what the model was trained at, 512 or 1024."""
    smallest_scale: float = 0.5
    """Photos are shrunk to between this share and the whole of their size before they are cropped."""
    known_weight: float = 0.2
    """Weight of the denoising error outside the hole, where the hole has 1 and the object mask 0."""
    strongest: float | None = None
    """Strongest noise that is taught, as a share of the schedule; levels are drawn evenly below it. None: the strongest
    that the method's sampler starts from."""
    mixed_precision: bool = True
    """Networks in bfloat16 where they may be and the device is quick at it; the weights that learn stay in float32."""
