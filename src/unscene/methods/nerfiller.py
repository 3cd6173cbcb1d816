"""NeRFiller (Weber et al., CVPR 2024): completing scenes via generative 3D inpainting.

A field is fitted to what is known. Then views are drawn every U steps, their renders noised to a level s that falls
linearly from 1 to 0.4, and denoised together by the grid prior (`priors/diffusion/grid_prior.py`), all sampler steps
being spread over [0, s], with the guidance eps = e_img + 0 (e_text - e_img) + 1.5 (e_img - e_unc). The result is pasted
into the masks, and until the next update the field learns from these views alone what is behind,

    L = L_LPIPS + 0.1 L_rank

with the perceptual distance of small rendered and inpainted patches and, on those that touch the inpainting, a loss on
the order of their pixels' depths, where a depth network sees another (SparseNeRF).

What differs from the original is `NerfillerConfig.DIFFERENCES`; a report lists it too.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from unscene.fields.nerf import NerfConfig
from unscene.geometry.masks import VisibilityConfig
from unscene.geometry.randomness import sent
from unscene.losses.perceptual import Features, perceptual_distance
from unscene.losses.rays import depth_ranking
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.diffusion.config import DiffusionConfig, GridPriorConfig
from unscene.priors.inpainter import Inpainter, JointInpainter
from unscene.priors.prior_error import PriorError
from unscene.scenes.scene import Scene
from unscene.stages.joint_inpainting import (
    JointlyUpdatedDataset,
    JointUpdateConfig,
    check_joint_updates,
    joint_noise_bounds,
)
from unscene.stages.masked_rendering import paste_renders, render_masked
from unscene.stages.patches import Patch, PatchSampler
from unscene.stages.reconstruction import Shown
from unscene.stages.removal import Removal
from unscene.stages.splat_learner import Learner, SplatRemovalConfig, reconstruct_visible
from unscene.stages.view_choice import views_with_holes
from unscene.stages.visibility import look_behind
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note
from unscene.training.fit import Companion, FitConfig
from unscene.training.pixels import RegularizerConfig

STAGE = "training with jointly inpainted views"


@dataclass(frozen=True)
class NerfillerConfig:
    """NeRFiller's settings; "release" marks what its public code runs with, "ours" what no source gives."""

    nerf: NerfConfig = field(default_factory=lambda: NerfConfig(view_dependence=False))
    """The field, the same as In-N-Out's (ours; release: nerfacto)."""
    reconstruction: FitConfig = field(default_factory=lambda: FitConfig(steps=1100, final_learning_rate=3e-3))
    """Unmasked rays alone (release: 30,000 steps of nerfacto)."""
    training: FitConfig = field(
        default_factory=lambda: FitConfig(steps=450, learning_rate=7e-3, final_learning_rate=1e-3)
    )
    """With inpainted views (release: 30,001 steps)."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    """Weights of the histogram losses (release: nerfacto's)."""
    rays: int = 4096
    """Unmasked rays per step of `reconstruction` (release)."""
    known_rays: int = 1024
    """The same with inpainted views (ours; release: none)."""
    visibility: VisibilityConfig = field(default_factory=VisibilityConfig)
    """When a masked pixel counts as seen by other views."""
    patches: int = 4
    """Patches per step (release: 32)."""
    patch: int = 32
    """Pixels along a patch's sides (release)."""
    perceptual_weight: float = 1.0
    """Of the patches' perceptual distance (release)."""
    ranking_weight: float = 0.1
    """Of the order of depths (release), in units of the scene's radius (ours)."""
    ranking_from: float = 0.1
    """Share of the steps before the order of depths is looked at (release)."""
    update: JointUpdateConfig = field(default_factory=JointUpdateConfig)
    """How and when views are inpainted."""

    OF_RAYS: ClassVar[tuple[str, ...]] = ("known_rays",)
    """Settings that say how rays teach a radiance field; Gaussians have their own."""

    DIFFERENCES_OF_RAYS: ClassVar[tuple[str, ...]] = (
        "the field is a hash-grid NeRF with proposals of our own (release: nerfacto)",
    )
    """What a run with a radiance field does otherwise than the paper, whatever its settings."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = (
        "what the photos show is also learnt throughout, so patches are drawn around what is inpainted",
        "without a depth network the order of depths is that of the surface continued behind the object",
        "with a noise level below 1 the first views start from copies along that surface, since the field knows "
        "nothing there yet",
        "views larger than a tile are shrunk to it, whatever their shape, and any number of views fills the grids",
    )
    """What any run does otherwise than the paper or its release, whatever its settings."""

    @staticmethod
    def paper_diffusion() -> DiffusionConfig:
        """How the release samples."""
        return DiffusionConfig(steps=20, scheduler="DDIMScheduler")

    @classmethod
    def paper(cls) -> NerfillerConfig:
        """Every value that the paper or its public release states."""
        every_step = 0.01 ** (30_000 / 200_000)  # of Adam's 1e-2 -> 1e-4 over 200,000 steps
        grid = GridPriorConfig(side=2, shuffles=1, image_guidance=1.5, text_guidance=0.0)
        return cls(
            nerf=NerfConfig(),  # with view dependence, as nerfacto
            reconstruction=FitConfig(steps=30_000, final_learning_rate=1e-2 * every_step),
            training=FitConfig(
                steps=30_001, learning_rate=1e-2 * every_step, final_learning_rate=1e-2 * every_step**2, warmup_steps=0
            ),
            rays=4096,
            patches=32,
            patch=32,
            perceptual_weight=1.0,
            ranking_weight=0.1,
            ranking_from=3_000 / 30_001,
            update=JointUpdateConfig(every=1_000, views=40, strongest=1.0, weakest=0.4, grid=grid),
        )


def check_nerfiller(prior: Inpainter, config: NerfillerConfig) -> None:
    """Raise PriorError or MethodError for what cannot work, before anything is run or written."""
    if not isinstance(prior, JointInpainter):
        raise PriorError(f"nerfiller: expected a diffusion prior, got '{prior.name}'; choose --prior bundled.")
    check_joint_updates(config.update)
    joint_noise_bounds(prior, config.update)


def nerfiller(
    scene: Scene,
    prior: Inpainter,
    features: Features,
    config: NerfillerConfig,
    checkpoints: Checkpoints,
    *,
    fill: Literal["unseen", "mask"] = "unseen",
    estimate_depth: DepthEstimator | None = None,
    clean: bool = False,
    splats: SplatRemovalConfig | None = None,
) -> Generator[Event, None, Removal]:
    """Remove the masked object from a scene. Yields what happens, returns the field and the cleaned scene.

    prior: a diffusion model. features: the network that compares patches (release: LPIPS). fill: inpaint only what
    no view has seen, or the whole object mask as in the paper. estimate_depth: a depth network for the inpainted
    views (release: ZoeDepth). clean: drop density that no photo supports. splats: Gaussians in place of a radiance
    field, and how they learn. Raises ValueError without masks, PriorError if the prior cannot denoise jointly,
    MethodError for settings that cannot work.
    """
    if scene.masks is None:
        raise ValueError("nerfiller needs a scene with masks; pass masks to load_scene or use Scene.with_masks")
    check_nerfiller(prior, config)
    assert isinstance(prior, JointInpainter)
    train, masks = scene.train, scene.masks

    # What the photos show, and what none of them does.
    known = yield from reconstruct_visible(
        scene, config.nerf, config.regularizer, config.reconstruction, checkpoints, rays=config.rays, clean=clean,
        splats=splats,
    )  # fmt: skip
    behind, depths, region = yield from look_behind(known.field, scene, config.visibility, fill)
    if not region.any():
        return Removal(known.whole, behind, region)

    # Patches of views that are inpainted together, and again every U steps.
    known = yield from known.begin_behind(behind, region, depths, [], checkpoints)
    dataset = JointlyUpdatedDataset(
        known.field, behind, views_with_holes(region, train), region, depths, prior, estimate_depth, config.update,
        reach=config.patch, stage=STAGE,
    )  # fmt: skip
    training = JointlyInpaintedPatches(known, dataset, features, config)
    yield Note(training.remark)
    yield from known.learn(
        STAGE, training, config.training, checkpoints, known=config.known_rays,
        more=config.patches * training.patches.size**2, companion=training,
    )  # fmt: skip
    field = known.whole
    final = yield from render_masked("render the cleaned views", field, scene, train, masks[train])
    return Removal(field, paste_renders(scene, train, final.color, masks[train]), region)


class JointlyInpaintedPatches(Companion):
    """L_LPIPS and L_rank on patches of the views drawn at present, and the unmasked rays; as a companion of the fit it
    holds the inpainted views."""

    def __init__(
        self, known: Learner, dataset: JointlyUpdatedDataset, features: Features, config: NerfillerConfig
    ):  # fmt: skip
        super().__init__()
        self.known, self.dataset, self.features, self.config = known, dataset, features, config
        self.region = dataset.region.cpu()
        self.patches = PatchSampler(torch.tensor(dataset.views), self.region, config.patch)
        count, drawn = len(dataset.views), min(len(dataset.views), config.update.views or len(dataset.views))
        together = "on their own" if config.update.grid.side == 1 else "together"
        self.remark = (
            f"{drawn} of {count} views are drawn and inpainted {together} every {config.update.every} steps, from "
            f"noise of {dataset.strongest:g} of the schedule, falling to {dataset.weakest:g}"
        )

    def before_step(self, step: int, progress: float, generator: torch.Generator) -> Iterator[Event]:
        return self.dataset.before_step(step, progress, generator)

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        config, size, drawn = self.config, self.patches.size, self.dataset.drawn.nonzero()[:, 0]
        chosen = drawn[torch.randint(len(drawn), (config.patches,), generator=generator)].tolist()
        patches = [self.patches.draw_from(self.dataset.views[index], generator) for index in chosen]
        terms, render = self.known.terms_and_patches(step, generator, config.known_rays, patches)

        fake = render.color.view(-1, size, size, 3).permute(0, 3, 1, 2)
        shown = zip(chosen, patches, strict=True)
        real = torch.stack([self.dataset.image(index)[patch.window] for index, patch in shown]).to(fake) / 255
        distance = perceptual_distance(self.features, fake, real.permute(0, 3, 1, 2))
        terms["patch perceptual"] = config.perceptual_weight * distance  # L_LPIPS
        if progress >= config.ranking_from:
            ranking = self._ranking(render, chosen, patches, generator)
            terms["depth ranking"] = config.ranking_weight * ranking  # L_rank
        return terms

    def _ranking(self, render: Shown, chosen: list[int], patches: list[Patch], generator: torch.Generator) -> Tensor:
        """L_rank of random pairs of pixels of each patch that shows some of what was inpainted."""
        area = self.patches.size**2
        pairs, estimates = [], []
        for place, (index, patch) in enumerate(zip(chosen, patches, strict=True)):
            estimates.append(self.dataset.depth(index)[patch.window].flatten())
            if self.region[patch.view][patch.window].any():
                order = torch.randperm(area, generator=generator)[: area // 2 * 2]
                pairs.append(place * area + order.view(2, -1))
        if not pairs:
            return render.depth.sum() * 0
        first, second = sent(torch.cat(pairs, 1), render.depth.device)
        depth = render.depth / self.known.field.radius
        return depth_ranking(depth, torch.cat(estimates), first, second)
