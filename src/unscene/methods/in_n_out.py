"""In-N-Out (Hu et al., NeurIPS 2024): lifting a 2D diffusion prior by aligning its latents across views.

Stage 1 fits the field to everything but the object and to one inpainted base view. Stage 2 inpaints the other views
with initial latents rendered from the base view's (ELA) and with attention to the base view (ILA). Stage 3 fits the
field to the views that agree best, by patches.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from unscene.fields.field import Field
from unscene.fields.nerf import Nerf, NerfConfig
from unscene.geometry.masks import VisibilityConfig
from unscene.losses.perceptual import Features
from unscene.losses.rays import PixelError
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.scenes.scene import Scene
from unscene.stages.aligned_inpainting import inpaint_aligned
from unscene.stages.base_view import choose_base_view
from unscene.stages.base_view_by_hand import ByHand, read_by_hand
from unscene.stages.base_views import BaseViews, add_base_views
from unscene.stages.hidden_surfaces import complete_surfaces
from unscene.stages.independent_inpainting import InpaintedView, inpaint_view, inpaintable_views
from unscene.stages.masked_rendering import paste_renders, render_masked
from unscene.stages.patches import PatchConfig, PatchGame
from unscene.stages.reconstruction import UnmaskedReconstruction, reconstruct
from unscene.stages.removal import Removal
from unscene.stages.single_view_prior import DepthError, SingleViewPrior
from unscene.stages.view_choice import hash_similarity, perceptual_hash, similar_views, spread, views_with_holes
from unscene.stages.visibility import look_behind
from unscene.training.adversary import AdversaryConfig
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note
from unscene.training.fit import FitConfig, fit
from unscene.training.pixels import RegularizerConfig


@dataclass(frozen=True)
class InNOutConfig:
    """In-N-Out's settings; "paper" marks the published value, "ours" what no source gives."""

    nerf: NerfConfig = field(default_factory=lambda: NerfConfig(view_dependence=False))
    """The field. The paper switches view dependence off for stability."""
    reconstruction: FitConfig = field(default_factory=lambda: FitConfig(steps=1100, final_learning_rate=3e-3))
    """Stage 1, unmasked rays only. Paper: 10,000 steps for all of stage 1."""
    prior: FitConfig = field(default_factory=lambda: FitConfig(steps=400, learning_rate=1e-2, final_learning_rate=3e-3))
    """Stage 1, with the base view's inpainting and depth."""
    joint: FitConfig = field(default_factory=lambda: FitConfig(steps=460, learning_rate=7e-3, final_learning_rate=1e-3))
    """Stage 3. Paper: 5,000 steps."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    """Weights of the histogram losses."""
    rays: int = 4096
    """Unmasked rays per step of `reconstruction` (paper)."""
    prior_rays: int = 3072
    """Rays of the base view's inpainted region per step (ours; release: 65,536, a patch of 256 pixels a side)."""
    known_rays: int = 768
    """Unmasked rays per step after that, when what they show is known (ours; paper: 4,096 in every step)."""
    pixel_error: PixelError = "charbonnier"
    """Of colours along rays (ours; paper: squared)."""
    restart: bool = False
    """Draw the field's weights anew before each stage that follows the first (release)."""
    visibility: VisibilityConfig = field(default_factory=VisibilityConfig)
    """When a masked pixel counts as seen by other views."""
    candidates: int = 5
    """Views that vote for the base view (paper)."""
    candidate_spacing: int = 1
    """Every so manieth of the views nearest the centre is a candidate (release: 3)."""
    base_strength: float | None = None
    """Share of the noise schedule run on the candidates; None: what is run on all views (release: 1, from noise)."""
    base_view: str | None = None
    """Name or number (from 0) of the photo to be the base view; None: the candidates vote."""
    base_picture: Path | None = None
    """The user's own picture of that view, of the photo's shape: what it shows there takes the inpainting's place."""
    base_seed: int = 0
    """Of the base view's random numbers alone: another one, another inpainting; 0: the run's own."""
    base_views: int = 4
    """Base views at most: further ones inpaint what the first does not look at well (ours; paper: 1)."""
    prior_weight: float = 0.75
    """Weight of L_prior (ours; paper: 1)."""
    depth_error: DepthError = "relative"
    """Of the base view's depth in L_prior: smooth relative (ours), or DS-NeRF's likelihood (paper's appendix)."""
    depth_weight: float = 0.5
    """Weight of that in L_prior (ours; release: 0.01)."""
    joint_prior_rays: int = 1536
    """The base views' rays per step in stage 3, beside patches (ours; release: as before). As many as before do no
    better."""
    joint_depth_weight: float = 0.5
    """Weight of their depth in L_prior in stage 3 (ours; release: 0.1)."""
    share_elsewhere: float = 0.5
    """Share of the base view's inpainted points looked at from other views, if they hide them too (ours; paper: 0)."""
    ela: bool = True
    """Explicit initial latent alignment; off: independent noise per view."""
    ila: bool = True
    """Implicit intermediate latent alignment; off: plain self-attention."""
    own_weight: float = 0.2
    """lambda_a, the weight of a view's own attention (paper)."""
    most_views: int | None = None
    """Views to inpaint in stage 2 at most, spread over all of them; None: all (paper)."""
    views_at_once: int = 4
    """Views denoised in one batch with the base view (ours)."""
    subset: float = 0.5
    """Share of each viewpoint group kept for stage 3 (paper)."""
    groups: tuple[int, int, int] = (2, 2, 3)
    """Viewpoint groups along the base camera's x, y and z (paper)."""
    patch_loss: bool = True
    """Stage 3; off: the field stays as stage 1 left it (the ablation without L_patch)."""
    patch: PatchConfig = field(default_factory=lambda: PatchConfig(weight=0.3))
    """Stage 3's patch loss. Its weight is ours: beside Charbonnier's errors, whose gradients are some fifteen times
    those of the paper's squared ones, the paper's 0.01 does nothing."""
    alternate: int = 1
    """Every so manieth step of stage 3 learns from the base view, all others from patches; 1: every step from both
    (paper; release: 10)."""

    OF_RAYS: ClassVar[tuple[str, ...]] = (
        "prior", "joint", "prior_rays", "joint_prior_rays", "known_rays", "restart", "prior_weight", "depth_error",
        "depth_weight", "joint_depth_weight", "share_elsewhere", "alternate",
    )  # fmt: skip
    """Settings that say how rays teach a radiance field; Gaussians have their own."""

    DIFFERENCES_OF_RAYS: ClassVar[tuple[str, ...]] = (
        "the field is a hash-grid NeRF with proposals of our own (paper: nerfacto)",
    )
    """What a run with a radiance field does otherwise than the paper, whatever its settings."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = (
        "ELA keeps the carried noise white, and gives fresh noise to what the base view does not see (paper: eq. 6 "
        "alone; release: a splat by depth)",
        "the base view is denoised again in every batch of stage 2 (paper; release: finished and noised again)",
        "the base view's rays are drawn from its mask (paper), not from a patch of it (release)",
        "steps with the base view alone do not train the discriminator (release: on real patches)",
        "depth is Depth Anything V2's, aligned in disparity (release: V1's, aligned in depth, and smoothed by a "
        "bilateral solver)",
        "votes and views are chosen by OpenCV's perceptual hash (release: votes by the package imagehash, views by "
        "LPIPS)",
        "prompts are the user's, --diffusion.prompt (release: written by hand for every scene)",
    )
    """What any run does otherwise than the paper or its release, whatever its settings."""

    @staticmethod
    def paper_diffusion() -> DiffusionConfig:
        """How the release samples: Stable Diffusion 2's inpainter, 20 steps of its own PNDM, guidance 7.5; views but
        the base view from 0.9 of the noise over the field's render."""
        return DiffusionConfig(guidance=7.5, strength=0.9, steps=20, scheduler="PNDMScheduler")

    @classmethod
    def paper(cls) -> InNOutConfig:
        """What the paper states, else what its release does; where neither says anything, ours."""
        steady = 1e-2 * 1e-2 ** (5_000 / 200_000)  # Adam's 1e-2 falls to 1e-4 over 200,000 steps
        stage = FitConfig(steps=5_000, final_learning_rate=steady)  # 10,000 for both of stage 1, 5,000 for stage 3
        return cls(
            nerf=NerfConfig(view_dependence=False),
            reconstruction=stage, prior=stage, joint=stage,
            regularizer=RegularizerConfig(interlevel=1.0, distortion=0.0, hash_decay=0.0),
            rays=4096, prior_rays=256**2, joint_prior_rays=256**2, known_rays=4096,
            pixel_error="squared", restart=True,
            candidates=5, candidate_spacing=3, base_strength=1.0, base_views=1,
            prior_weight=1.0, depth_error="likelihood", depth_weight=0.01, joint_depth_weight=0.1, share_elsewhere=0.0,
            ela=True, ila=True, own_weight=0.2, most_views=None, subset=0.5, groups=(2, 2, 3),
            patch=PatchConfig(size=256, weight=0.01, adversary=AdversaryConfig(
                gradient_penalty=0.2, penalty_every=1, learning_rate=1e-3, tiles=4,
            )),
            alternate=10,
        )  # fmt: skip


def check_in_n_out(scene: Scene, config: InNOutConfig) -> ByHand | None:
    """The base view that the user chose, if they did. Raises MethodError or SceneError for what cannot be, before
    anything is run or written."""
    return read_by_hand(scene, config.base_view, config.base_picture)


def in_n_out(
    scene: Scene,
    prior: Inpainter,
    features: Features,
    config: InNOutConfig,
    checkpoints: Checkpoints,
    *,
    fill: Literal["unseen", "mask"] = "unseen",
    estimate_depth: DepthEstimator | None = None,
    clean: bool = False,
) -> Generator[Event, None, Removal]:
    """Remove the masked object from a scene. Yields what happens, returns the field and the cleaned scene.

    features: the network that compares patches. fill: inpaint only what no view has seen, or the whole object mask
    as in the paper. estimate_depth: a depth network for the base view (paper: Depth Anything). clean: drop density
    that no photo supports. Raises ValueError if the scene has no masks, MethodError or SceneError for a base view
    that cannot be.
    """
    if scene.masks is None:
        raise ValueError("in_n_out needs a scene with masks; pass masks to load_scene or use Scene.with_masks")
    by_hand = check_in_n_out(scene, config)
    train, masks = scene.train, scene.masks
    nerf = Nerf.around(scene.cameras[train], config.nerf, checkpoints.generator("field"))

    # Stage 1: the field from what is visible, then with one inpainted view.
    known = UnmaskedReconstruction(nerf, scene, config.regularizer, rays=config.rays, error=config.pixel_error)
    yield from reconstruct(known, config.reconstruction, checkpoints, clean=clean)
    behind, depths, region = yield from look_behind(nerf, scene, config.visibility, fill)
    if not region.any():
        return Removal(nerf, behind, region)
    bases, surfaces = yield from inpaint_base_views(
        nerf, behind, region, depths, prior, config, checkpoints, by_hand, estimate_depth
    )  # fmt: skip
    pretraining, joint_pretraining = (
        SingleViewPrior(
            known, bases.views, region, surfaces, rays=rays, known_rays=config.known_rays,
            weight=config.prior_weight, depth_error=config.depth_error, depth_weight=weight,
            share_elsewhere=config.share_elsewhere,
        )
        for rays, weight in (
            (config.prior_rays, config.depth_weight), (config.joint_prior_rays, config.joint_depth_weight)
        )
    )  # fmt: skip
    if config.restart:
        nerf.start_anew(checkpoints.generator("field of the single-view prior"))
    yield from fit(
        "single-view prior", nerf, pretraining, config.prior, checkpoints,
        rays_per_step=pretraining.rays, native=nerf.is_native,
    )  # fmt: skip

    # Stage 2: the other views, aligned with the base views.
    filled, subset = yield from inpaint_other_views(nerf, behind, region, bases, prior, config, checkpoints)

    # Stage 3: everything together.
    if config.patch_loss:
        game = PatchGame(nerf, filled, subset, region, features, config.patch, checkpoints.generator("adversary"))

        def joint(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
            if config.alternate == 1:
                return joint_pretraining(step, progress, generator) | game.losses(generator)
            if step % config.alternate == 0:
                return joint_pretraining(step, progress, generator)
            return known(step, progress, generator) | game.losses(generator)

        if config.restart:
            nerf.start_anew(checkpoints.generator("field of the joint optimisation"))
        rays = joint_pretraining.rays + game.sampler.size**2
        yield from fit(
            "joint optimisation", nerf, joint, config.joint, checkpoints,
            rays_per_step=rays, native=nerf.is_native, companion=game,
        )  # fmt: skip
    final = yield from render_masked("render the cleaned views", nerf, scene, train, masks[train])
    return Removal(nerf, paste_renders(scene, train, final.color, masks[train]), region)


def inpaint_base_views(
    field: Field, behind: Scene, region: Tensor, depths: Tensor, prior: Inpainter, config: InNOutConfig,
    checkpoints: Checkpoints, by_hand: ByHand | None, estimate_depth: DepthEstimator | None,
) -> Generator[Event, None, tuple[BaseViews, Tensor]]:  # fmt: skip
    """Stage 1's inpainting: the base views, and the surfaces behind the holes of all views, see `complete_surfaces`.

    behind, depths, region: what `look_behind` tells of the field.
    """
    base = yield from choose_base_view(
        field, behind, region, depths, prior, checkpoints, estimate_depth,
        candidates=config.candidates, spacing=config.candidate_spacing, strength=config.base_strength,
        by_hand=by_hand, seed=config.base_seed,
    )  # fmt: skip
    surfaces = yield from complete_surfaces(behind, region, depths, checkpoints)
    bases = yield from add_base_views(
        field, behind, region, depths, surfaces, base, prior, checkpoints, most=config.base_views,
        strength=config.base_strength,
    )  # fmt: skip
    return bases, surfaces


def inpaint_other_views(
    field: Field, behind: Scene, region: Tensor, bases: BaseViews, prior: Inpainter, config: InNOutConfig,
    checkpoints: Checkpoints,
) -> Generator[Event, None, tuple[Scene, Tensor]]:  # fmt: skip
    """Stage 2: the other views, aligned with the base views, each with the one that sees most of what it hides.

    Returns the scene with all inpainted views, and those of them that stage 3 learns from.
    """
    assert behind.masks is not None
    train, masks = behind.train, behind.masks
    subset = torch.tensor([base.view for base in bases.views])
    filled = behind.with_images(subset, torch.stack([base.image for base in bases.views]))
    if isinstance(prior, LatentInpainter):
        others = views_with_holes(region, train[~torch.isin(train, subset)])
        views = spread(others, config.most_views)
        for index, leader in enumerate(bases.views):
            led = views[bases.leaders[views] == index]
            aligned = yield from inpaint_aligned(
                field, behind, led, region, leader, prior, checkpoints,
                ela=config.ela, ila=config.ila, own_weight=config.own_weight, views_at_once=config.views_at_once,
            )  # fmt: skip
            filled = filled.with_images(led, aligned.images[led])
            subset = torch.cat([subset, _agreeing_views(filled, led, leader, masks, config)])
        yield Note(f"stage 3 learns from {len(subset)} of {len(views) + len(bases.views)} inpainted views")
    elif isinstance(prior, FilesInpainter):
        views = spread(inpaintable_views(prior, behind, views_with_holes(region, train)), config.most_views)
        views = views[~torch.isin(views, subset)]
        generator = checkpoints.generator("files")
        made = (inpaint_view(prior, behind, view, region[view], generator) for view in views.tolist())
        filled = filled.with_images(views, made)
        subset = torch.cat([subset, views])
        yield Note(f"stage 3 learns from {len(subset)} inpaintings as they are in '{prior.name}'")
    else:
        yield Note(f"prior '{prior.name}' has no latents to align: stage 3 learns from the base views alone")
    return filled, subset


def _agreeing_views(filled: Scene, views: Tensor, base: InpaintedView, masks: Tensor, config: InNOutConfig) -> Tensor:
    """The views that look most like the base view inside the object's masks, from every group of viewpoints."""
    reference = perceptual_hash(base.image, masks[base.view])
    similarity = [hash_similarity(perceptual_hash(filled.image(v), masks[v]), reference) for v in views.tolist()]
    return similar_views(
        filled.cameras, views, base.view, torch.tensor(similarity), share=config.subset, groups=config.groups
    )
