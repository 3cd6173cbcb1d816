"""In-N-Out (Hu et al., NeurIPS 2024): lifting a 2D diffusion prior by aligning its latents across views.

Stage 1 fits the field to everything but the object and to one inpainted base view. Stage 2 inpaints the other views
with initial latents rendered from the base view's (ELA) and with attention to the base view (ILA). Stage 3 fits the
field to the views that agree best, by patches.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from unscene.fields.nerf import Nerf, NerfConfig
from unscene.geometry.masks import VisibilityConfig
from unscene.losses.perceptual import Features
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.scenes.scene import Scene
from unscene.stages.aligned_inpainting import inpaint_aligned
from unscene.stages.base_view import choose_base_view
from unscene.stages.independent_inpainting import InpaintedView, inpaint_view, inpaintable_views
from unscene.stages.masked_rendering import paste_renders, render_masked
from unscene.stages.patches import PatchConfig, PatchGame
from unscene.stages.reconstruction import UnmaskedReconstruction, reconstruct
from unscene.stages.removal import Removal
from unscene.stages.single_view_prior import SingleViewPrior
from unscene.stages.view_choice import hash_similarity, perceptual_hash, similar_views, spread, views_with_holes
from unscene.stages.visibility import look_behind
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
    """Rays of the base view's inpainted region per step (ours)."""
    known_rays: int = 768
    """Unmasked rays per step after that, when what they show is known (ours; paper: 4,096 in every step)."""
    visibility: VisibilityConfig = field(default_factory=VisibilityConfig)
    """When a masked pixel counts as seen by other views."""
    candidates: int = 5
    """Views that vote for the base view (paper)."""
    depth_weight: float = 0.5
    """Weight of the base view's depth in L_prior, on squared relative differences (ours; the paper's is 1, metric)."""
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
    patch: PatchConfig = field(default_factory=PatchConfig)
    """Stage 3's patch loss."""


def in_n_out(
    scene: Scene,
    prior: Inpainter,
    features: Features,
    config: InNOutConfig,
    checkpoints: Checkpoints,
    *,
    fill: Literal["unseen", "mask"] = "unseen",
    estimate_depth: DepthEstimator | None = None,
) -> Generator[Event, None, Removal]:
    """Remove the masked object from a scene. Yields what happens, returns the field and the cleaned scene.

    features: the network that compares patches. fill: inpaint only what no view has seen, or the whole object mask as
    in the paper. estimate_depth: a depth network for the base view (paper: Depth Anything). Raises ValueError
    if the scene has no masks.
    """
    if scene.masks is None:
        raise ValueError("in_n_out needs a scene with masks; pass masks to load_scene or use Scene.with_masks")
    train, masks = scene.train, scene.masks
    nerf = Nerf.around(scene.cameras[train], config.nerf, checkpoints.generator("field"))

    # Stage 1: the field from what is visible, then with one inpainted view.
    known = UnmaskedReconstruction(nerf, scene, config.regularizer, rays=config.rays)
    yield from reconstruct(known, config.reconstruction, checkpoints)
    behind, depths, region = yield from look_behind(nerf, scene, config.visibility, fill)
    if not region.any():
        return Removal(nerf, behind, region)
    base = yield from choose_base_view(
        nerf, behind, region, depths, prior, config.candidates, checkpoints, estimate_depth
    )
    pretraining = SingleViewPrior(
        known, base, region, rays=config.prior_rays, known_rays=config.known_rays, depth_weight=config.depth_weight,
        share_elsewhere=config.share_elsewhere,
    )  # fmt: skip
    yield from fit(
        "single-view prior", nerf, pretraining, config.prior, checkpoints,
        rays_per_step=pretraining.rays, native=nerf.is_native,
    )  # fmt: skip

    # Stage 2: the other views, aligned with the base view.
    filled, subset = behind.with_images(torch.tensor([base.view]), base.image[None]), torch.tensor([base.view])
    if isinstance(prior, LatentInpainter):
        views = spread(views_with_holes(region, train[train != base.view]), config.most_views)
        filled = yield from inpaint_aligned(
            nerf, behind, views, region, base, prior, checkpoints,
            ela=config.ela, ila=config.ila, own_weight=config.own_weight, views_at_once=config.views_at_once,
        )  # fmt: skip
        subset = torch.cat([subset, _agreeing_views(filled, views, base, region, config)])
        yield Note(f"stage 3 learns from {len(subset)} of {len(views) + 1} inpainted views")
    elif isinstance(prior, FilesInpainter):
        views = spread(inpaintable_views(prior, scene, views_with_holes(region, train)), config.most_views)
        generator = checkpoints.generator("files")
        made = (inpaint_view(prior, behind, view, region[view], generator) for view in views.tolist())
        filled = filled.with_images(views, made)
        subset = torch.cat([subset, views[views != base.view]])
        yield Note(f"stage 3 learns from {len(subset)} inpaintings as they are in '{prior.name}'")
    else:
        yield Note(f"prior '{prior.name}' has no latents to align: stage 3 learns from the base view alone")

    # Stage 3: everything together.
    if config.patch_loss:
        game = PatchGame(nerf, filled, subset, region, features, config.patch, checkpoints.generator("adversary"))

        def joint(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
            return pretraining(step, progress, generator) | game.losses(generator)

        rays = pretraining.rays + game.sampler.size**2
        yield from fit(
            "joint optimisation", nerf, joint, config.joint, checkpoints,
            rays_per_step=rays, native=nerf.is_native, companion=game,
        )  # fmt: skip
    final = yield from render_masked("render the cleaned views", nerf, scene, train, masks[train])
    return Removal(nerf, paste_renders(scene, train, final.color, masks[train]), region)


def _agreeing_views(filled: Scene, views: Tensor, base: InpaintedView, region: Tensor, config: InNOutConfig) -> Tensor:
    """The views that look most like the base view, from every group of viewpoints."""
    reference = perceptual_hash(base.image, region[base.view])
    similarity = [hash_similarity(perceptual_hash(filled.image(v), region[v]), reference) for v in views.tolist()]
    return similar_views(
        filled.cameras, views, base.view, torch.tensor(similarity), share=config.subset, groups=config.groups
    )
