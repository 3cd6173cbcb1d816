"""What can be asked of `unscene remove`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Literal

import torch

from unscene.jobs.deviations import Preset
from unscene.methods import (
    InfusionConfig,
    InNOutConfig,
    Inpaint3dConfig,
    InpaintNerf360Config,
    MaldNerfConfig,
    NaiveConfig,
    NerfillerConfig,
    SpinNerfConfig,
    SplatRemovalConfig,
)
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.stages.customization import CustomizationConfig

PatchFeatures = Literal["oriented-energies", "lpips-vgg", "lpips-alex"]
Settings = (
    InNOutConfig | InfusionConfig | Inpaint3dConfig | InpaintNerf360Config | MaldNerfConfig | NaiveConfig
    | NerfillerConfig | SpinNerfConfig
)  # fmt: skip
MethodName = Literal[
    "in-n-out", "infusion", "inpaint-nerf360", "inpaint3d", "mald-nerf", "naive", "nerfiller", "spin-nerf"
]
FieldName = Literal["nerf", "splats"]

NEED_LATENTS = ("inpaint3d", "mald-nerf", "nerfiller")  # methods that only diffusion models can serve
BY_DIFFUSION = ("inpaint-nerf360", *NEED_LATENTS)  # methods whose papers inpaint by latent diffusion alone


@dataclass(frozen=True)
class RemoveOptions:
    """Take the masked object out of a scene."""

    method: MethodName = "in-n-out"
    """The paper to follow."""
    field: FieldName | None = None
    """What the scene becomes: a radiance field, or Gaussian splats. None: splats for in-n-out in the laptop preset on a
    processor, unless --clean or settings about rays ask for a radiance field; else nerf."""
    splats: SplatRemovalConfig = dataclasses.field(default_factory=SplatRemovalConfig)
    """The splats, also those that are given."""
    preset: Preset = "laptop"
    """What all other options are if they are not given: laptop, what serves two cores and the bundled model best, or
    paper, every value that the method's paper or release states, for a GPU and Stable Diffusion's weights. The report
    lists what departs from the paper."""
    prior: str | None = None
    """What fills images. guided-exemplar copies along surfaces and to where the small diffusion model expects it;
    bundled lets that model go over the copies; others as `unscene priors` lists them, a checkpoint's folder or file, a
    hub id, lama:FILE, files:DIR. None: bundled for mald-nerf, nerfiller and inpaint3d, which need a diffusion
    model, and for inpaint-nerf360, else guided-exemplar."""
    depth: str = "field"
    """Depth behind the object: field completes the field's own; depth-anything-v2, zoedepth or a network's folder."""
    diffusion: DiffusionConfig = dataclasses.field(default_factory=DiffusionConfig)
    """Settings of a diffusion prior."""
    customize: bool = False
    """Teach a diffusion prior the scene first (MALD-NeRF's per-scene customisation)."""
    customization: CustomizationConfig = dataclasses.field(default_factory=CustomizationConfig)
    """How it is taught."""
    perceptual: PatchFeatures = "oriented-energies"
    """What the methods compare patches by: oriented-energies needs no weights; lpips-vgg and lpips-alex are LPIPS's
    published ones. The metric that judges a run has other features."""
    perceptual_weights: Path | None = None
    """Folder of LPIPS's weights, where they are not in torch's cache."""
    fill: Literal["unseen", "mask"] = "unseen"
    """Inpaint only what no view has seen, or the whole object mask as the papers do."""
    mask_margin: int = 2
    """Pixels by which masks grow before anything else: masks tend to miss the object's rim."""
    clean: bool = False
    """Drop haze and floaters: density that no photo supports, as all photos look through it or past it. The report
    shows the views in which most goes."""
    grow_shadow: bool = False
    """Let masks grow over what darkens around the object's foot. A field of the scene with its object is fitted for
    that first; the report shows what will go before anything is removed."""
    seed: int = 0
    """Of all random numbers."""
    device: str = "auto"
    """Where to compute: auto (CUDA where it works, else the processor), cpu, cuda, cuda:N or mps."""
    effort: float = 1.0
    """Multiplies the steps of every fit: 0.1 for a first look, 3 for patience or a fast machine."""
    video_frames: int = 48
    """Frames of the orbit video; 0 writes none."""
    in_n_out: InNOutConfig = dataclasses.field(default_factory=InNOutConfig)
    """Settings of In-N-Out."""
    infusion: InfusionConfig = dataclasses.field(default_factory=InfusionConfig)
    """Settings of InFusion."""
    inpaint3d: Inpaint3dConfig = dataclasses.field(default_factory=Inpaint3dConfig)
    """Settings of Inpaint3D."""
    inpaint_nerf360: InpaintNerf360Config = dataclasses.field(default_factory=InpaintNerf360Config)
    """Settings of InpaintNeRF360."""
    mald_nerf: MaldNerfConfig = dataclasses.field(default_factory=MaldNerfConfig)
    """Settings of MALD-NeRF."""
    naive: NaiveConfig = dataclasses.field(default_factory=NaiveConfig)
    """Settings of the naive baseline."""
    nerfiller: NerfillerConfig = dataclasses.field(default_factory=NerfillerConfig)
    """Settings of NeRFiller."""
    spin_nerf: SpinNerfConfig = dataclasses.field(default_factory=SpinNerfConfig)
    """Settings of SPIn-NeRF."""

    @property
    def chosen_prior(self) -> str:
        """The prior asked for, or the one that suits the method."""
        return self.prior or ("bundled" if self.method in BY_DIFFUSION else "guided-exemplar")

    def chosen_field(self, device: torch.device) -> FieldName:
        """The field asked for, or the one that suits method, preset, settings and device. On two cores splats give the
        better picture in the same time; no graphics card has drawn ours yet."""
        if self.field is not None:
            return self.field
        suits = self.method == "in-n-out" and self.preset == "laptop" and device.type == "cpu"
        return "splats" if suits and not self.clean and not self.settings_of_rays else "nerf"

    @property
    def settings_of_rays(self) -> list[str]:
        """Those options of the method that say how rays teach a radiance field, and otherwise than its preset."""
        config = self.settings
        usual = config.paper() if self.preset == "paper" else type(config)()
        changed = (name for name in config.OF_RAYS if attrgetter(name)(config) != attrgetter(name)(usual))
        return [f"--{self.method}.{name}".replace("_", "-") for name in changed]

    @property
    def customizes(self) -> bool:
        """Whether the prior is taught the scene first: MALD-NeRF does so unless told not to, or given one that was."""
        untaught = self.diffusion.customization is None
        return self.customize or (self.method == "mald-nerf" and self.mald_nerf.customize and untaught)

    @property
    def settings(self) -> Settings:
        """The chosen method's."""
        return getattr(self, self.method.replace("-", "_"))
