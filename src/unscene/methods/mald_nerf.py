"""MALD-NeRF (Lin et al., ECCV 2024): taming a latent diffusion model for inpainting radiance fields.

The prior is taught the scene (`customization`). Then every iteration has three steps: reconstruction of what the photos
show, inpainting of what they do not, by an adversary that sees rendered and inpainted patches with everything outside
the mask black, and the adversary's own. The inpaintings are made again while it learns, from the field's renders.
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
from unscene.losses.rays import relative_depth
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.priors.prior_error import PriorError
from unscene.scenes.scene import Scene
from unscene.stages.dataset_update import (
    UpdateConfig,
    UpdatedDataset,
    check_updates,
    inpaint_every_view,
    noise_bounds,
)
from unscene.stages.masked_rendering import paste_renders, render_masked
from unscene.stages.method_error import MethodError
from unscene.stages.patches import Patch, PatchSampler
from unscene.stages.removal import Removal
from unscene.stages.splat_learner import Learner, SplatRemovalConfig, reconstruct_visible
from unscene.stages.splat_planting import surfaces_of
from unscene.stages.view_choice import spread, views_with_holes
from unscene.stages.visibility import look_behind
from unscene.training.adversary import Adversary, AdversaryConfig, Health
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, GameHealth, Note
from unscene.training.fit import MOST_ROLLBACKS, Companion, DivergedError, FitConfig
from unscene.training.pixels import RegularizerConfig

STAGE = "masked adversarial training"
REPORT_STEPS = 10  # between two reports of the game's health
PINNED = 0.98  # running accuracy from which on the adversary cannot lose, or 1 - PINNED below which it cannot win
MEMORY = 0.98  # of the running accuracy: about the last fifty steps


@dataclass(frozen=True)
class MaldNerfConfig:
    """MALD-NeRF's settings; "paper" marks a published value, "ours" what no source gives."""

    nerf: NerfConfig = field(default_factory=lambda: NerfConfig(view_dependence=False))
    """The field, the same as In-N-Out's (ours; paper: ZipNeRF's)."""
    customize: bool = True
    """Teach the prior the scene first; off: the ablation without customisation."""
    reconstruction: FitConfig = field(default_factory=lambda: FitConfig(steps=1100, final_learning_rate=3e-3))
    """Unmasked rays alone, before anything is inpainted (ours): tells what is hidden from all views."""
    training: FitConfig = field(
        default_factory=lambda: FitConfig(steps=800, learning_rate=5e-3, final_learning_rate=5e-4)
    )
    """The three steps (ours)."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    """Weights of interlevel, distortion and hash-decay losses (ours)."""
    rays: int = 4096
    """Unmasked rays per step (ours)."""
    known_rays: int = 1024
    """The same while inpainting, when what they show is known (ours)."""
    visibility: VisibilityConfig = field(default_factory=VisibilityConfig)
    """When a masked pixel counts as seen by other views."""
    patch: int = 64
    """Pixels along a patch's sides (ours)."""
    masked: bool = True
    """Black out everything outside the mask in the patches; off: the adversary sees the seam."""
    adversarial: bool = True
    """Learn the inpainted region from the adversary: L_adv and feature matching."""
    pixel_loss: Literal["none", "l1", "perceptual"] = "none"
    """Compare rendered and inpainted patches directly as well (paper: none; the others are its ablations)."""
    adversarial_weight: float = 0.01
    """lambda_adv (ours)."""
    feature_weight: float = 1.0
    """lambda_fm (ours)."""
    pixel_weight: float = 0.3
    """Weight of the pixel loss, if any (ours)."""
    depth_weight: float = 0.05
    """Weight of the depth behind the object, on relative differences (ours)."""
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    """How the discriminator learns; lambda_GP (ours)."""
    patience: int = 200
    """Steps that the discriminator may win or lose all in a row before the run goes back (ours)."""
    update: UpdateConfig = field(default_factory=UpdateConfig)
    """When the inpaintings are made again."""
    most_views: int | None = 40
    """Views to inpaint at most, spread over all of them, so that long captures take no longer than short ones (ours);
    None: all (paper)."""

    OF_RAYS: ClassVar[tuple[str, ...]] = ("known_rays",)
    """Settings that say how rays teach a radiance field; Gaussians have their own."""

    DIFFERENCES_OF_RAYS: ClassVar[tuple[str, ...]] = ("the field is ours (paper: ZipNeRF's)",)
    """What a run with a radiance field does otherwise than the paper, whatever its settings."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = (
        "steps, rates, rays and weights are ours: the paper gives none",
        "Depth Anything V2 is the depth network, aligned to the field: the paper names none",
    )
    """What any run does otherwise than the paper, whatever its settings."""

    @staticmethod
    def paper_diffusion() -> DiffusionConfig:
        """How the paper samples: DDIM; it states neither guidance nor steps."""
        return DiffusionConfig()

    @classmethod
    def paper(cls) -> MaldNerfConfig:
        """What the paper states, which is little: losses, the law by which noise falls, all views. The discriminator is
        that of In-N-Out's release and t runs as in MVIP-NeRF, in place of values that nobody published."""
        return cls(
            known_rays=4096, patch=256, masked=True, adversarial=True, pixel_loss="none",
            adversary=AdversaryConfig(gradient_penalty=0.2, penalty_every=1, learning_rate=1e-3, tiles=4),
            update=UpdateConfig(first=0.0, strongest=0.98, weakest=0.02), most_views=None,
        )  # fmt: skip


def check_mald_nerf(prior: Inpainter, config: MaldNerfConfig) -> None:
    """Raise PriorError or MethodError for what cannot work, before anything is run or written."""
    if not isinstance(prior, LatentInpainter):
        raise PriorError(f"mald-nerf: expected a diffusion prior, got '{prior.name}'; choose --prior bundled.")
    if not config.adversarial and config.pixel_loss == "none":
        raise MethodError(
            "mald-nerf: expected something to teach what is hidden, got neither adversary nor pixel loss; leave out "
            "--mald-nerf.no-adversarial, or add --mald-nerf.pixel-loss perceptual."
        )
    check_updates(config.update)
    noise_bounds(prior, config.update)


def mald_nerf(
    scene: Scene,
    prior: Inpainter,
    features: Features,
    config: MaldNerfConfig,
    checkpoints: Checkpoints,
    *,
    fill: Literal["unseen", "mask"] = "unseen",
    estimate_depth: DepthEstimator | None = None,
    clean: bool = False,
    splats: SplatRemovalConfig | None = None,
) -> Generator[Event, None, Removal]:
    """Remove the masked object from a scene. Yields what happens, returns the field and the cleaned scene.

    prior: a diffusion model, best customised to the scene. features: the network of the ablation with a perceptual
    loss. fill: inpaint only what no view has seen, or the whole object mask as in the paper. estimate_depth: a
    depth network for the inpainted views. clean: drop density that no photo supports. splats: Gaussians in place of a
    radiance field, and how they learn. Raises ValueError without
    masks, PriorError if the prior has no latents, MethodError for settings that cannot work, DivergedError if the
    game cannot be saved.
    """
    if scene.masks is None:
        raise ValueError("mald_nerf needs a scene with masks; pass masks to load_scene or use Scene.with_masks")
    check_mald_nerf(prior, config)
    assert isinstance(prior, LatentInpainter)
    train, masks = scene.train, scene.masks

    # What the photos show, and what none of them does.
    known = yield from reconstruct_visible(
        scene, config.nerf, config.regularizer, config.reconstruction, checkpoints, rays=config.rays, clean=clean,
        splats=splats,
    )  # fmt: skip
    behind, depths, region = yield from look_behind(known.field, scene, config.visibility, fill)
    if not region.any():
        return Removal(known.whole, behind, region)

    # Reconstruction, inpainting, discriminator; and new inpaintings every U iterations.
    hidden = views_with_holes(region, train)
    views = spread(hidden, config.most_views)
    if len(views) < len(hidden):
        yield Note(f"{len(views)} of {len(hidden)} views are inpainted, spread over all (--mald-nerf.most-views)")
    colors, completed = yield from inpaint_every_view(
        known.field, behind, views, region, depths, prior, estimate_depth, checkpoints
    )
    wanted = surfaces_of(behind, views, region, colors, completed)
    known = yield from known.begin_behind(behind, region, depths, wanted, checkpoints)
    dataset = UpdatedDataset(
        known.field, behind, views, region, colors, completed, prior, estimate_depth, config.update, stage=STAGE
    )  # fmt: skip
    training = MaskedAdversarialTraining(known, dataset, features, config, checkpoints.generator("adversary"))
    yield Note(training.remark)
    yield from known.learn(
        STAGE, training, config.training, checkpoints, known=config.known_rays, more=training.patches.size**2,
        companion=training,
    )  # fmt: skip
    field = known.whole
    final = yield from render_masked("render the cleaned views", field, scene, train, masks[train])
    return Removal(field, paste_renders(scene, train, final.color, masks[train]), region)


class MaskedAdversarialTraining(Companion):
    """The objective of an iteration; as a companion of the fit it holds the discriminator and the inpainted views.

    Reconstruction and inpainting are rendered in one launch and share one step of Adam, which is that of their sum; the
    discriminator has its own optimiser.
    """

    running_accuracy: Tensor
    pinned_steps: Tensor
    unreported: Tensor

    def __init__(
        self, known: Learner, dataset: UpdatedDataset, features: Features, config: MaldNerfConfig,
        generator: torch.Generator,
    ):  # fmt: skip
        super().__init__()
        self.known, self.dataset, self.features, self.config = known, dataset, features, config
        self.region = dataset.region.cpu()
        self.patches = PatchSampler(torch.tensor(dataset.views), self.region, config.patch)
        self.adversary = Adversary(self.patches.size, config.adversary, generator)
        self.index = {view: index for index, view in enumerate(dataset.views)}
        self.register_buffer("running_accuracy", torch.tensor(0.5))
        self.register_buffer("pinned_steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("unreported", torch.zeros(3))  # sums of accuracy, gradient norm and penalty
        self.tolerant = self.told = False  # of a pinned discriminator
        self.to(known.scene.device)  # weights are drawn on the host
        self.remark = (
            f"{len(dataset.views)} views are inpainted again {config.update.rounds} times in turn, an update every "
            f"{config.update.every} steps, from noise of {dataset.plan.strongest:g} down to {dataset.plan.weakest:g} "
            "of the schedule"
        )

    def before_step(self, step: int, progress: float, generator: torch.Generator) -> Iterator[Event]:
        yield from self.dataset.before_step(step, progress, generator)
        if self.config.adversarial and step > 0 and step % REPORT_STEPS == 0:
            yield GameHealth(STAGE, step, *(self.unreported / REPORT_STEPS).tolist())
            self.unreported.zero_()
            if self.tolerant and not self.told and int(self.pinned_steps) >= self.config.patience:
                self.told = True
                yield Note(f"{self._pinned()}; nothing tried has changed that, the run goes on")

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        patch, hole = self._draw(generator)
        index, device, size = self.index[patch.view], self.known.scene.cameras.focal.device, patch.size
        # What the patch shows is known on the host, and with it how many rays there are.
        shown = hole if self.config.masked else torch.ones_like(hole)
        where, inside = shown.flatten().nonzero()[:, 0], hole[shown].nonzero()[:, 0]
        count, where, inside = len(where), sent(where, device), sent(inside, device)
        rays = self.config.known_rays
        terms, render = self.known.terms_and_patches(step, generator, rays, [patch], where)  # reconstruction: L_r

        visible = sent(shown, device)
        real = (self.dataset.image(index)[patch.window].float() / 255 * visible[..., None]).permute(2, 0, 1)[None]
        fake = torch.zeros_like(real).view(3, -1).index_copy(1, where, render.color.T).view(1, 3, size, size)
        if self.config.adversarial:
            self._watch(step, self.adversary.train_on(real, fake))  # discriminator: L_D
            adversarial, matching = self.adversary.judge_with_features(fake, real)
            terms["adversarial"] = self.config.adversarial_weight * adversarial  # inpainting: L_m
            terms["feature matching"] = self.config.feature_weight * matching
        if self.config.pixel_loss == "l1":
            terms["patch L1"] = self.config.pixel_weight * (fake - real).abs().sum() / (3 * count)
        elif self.config.pixel_loss == "perceptual":
            terms["patch perceptual"] = self.config.pixel_weight * perceptual_distance(self.features, fake, real)
        depth = self.dataset.depth(index)[patch.window].flatten()[where][inside]  # outside there is none
        terms["depth"] = self.config.depth_weight * relative_depth(render.depth[inside], depth).mean()
        return terms

    def _draw(self, generator: torch.Generator) -> tuple[Patch, Tensor]:
        """A patch that shows some of what was inpainted, and where (p p bool, on the host)."""
        while True:
            patch = self.patches.draw(generator)
            hole = self.region[patch.view][patch.window]
            if hole.any():  # the box around what was inpainted also has corners without any
                return patch, hole

    def is_healthy(self) -> bool:
        return self.tolerant or int(self.pinned_steps) == 0

    def calm(self, rollbacks: int) -> None:
        """Halve the discriminator's step size; after the last rollback only a loss that is no number ends the run."""
        self.adversary.rate = 0.5**rollbacks
        self.tolerant = rollbacks >= MOST_ROLLBACKS

    def _watch(self, step: int, health: Health) -> None:
        self.unreported += torch.stack([health.accuracy, health.gradient_norm, health.gradient_penalty])
        self.running_accuracy.mul_(MEMORY).add_(health.accuracy, alpha=1 - MEMORY)
        pinned = (self.running_accuracy <= 1 - PINNED) | (self.running_accuracy >= PINNED)
        self.pinned_steps.copy_((self.pinned_steps + 1) * pinned)
        if self.pinned_steps.device.type != "cpu" and step % REPORT_STEPS:
            return  # to look would be to wait
        if int(self.pinned_steps) >= self.config.patience and not self.tolerant:
            raise DivergedError(f"{self._pinned()} (step {step})")

    def _pinned(self) -> str:
        outcome = "right" if self.running_accuracy > 0.5 else "wrong"
        return (
            f"the discriminator of '{STAGE}' has been {outcome} about nearly every patch for {self.pinned_steps} steps"
        )
