"""In-N-Out on Gaussians: its base views, its alignment of latents and its losses, taught by views and windows.

The object's hole is empty where Gaussians have learnt the photos around it, or where those of a given splat were taken
out. New ones begin at the surface behind it, which the base views tell: with Gaussians geometry decides.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from unscene.fields.nerf import Nerf
from unscene.fields.splats import Splats, TracedGaussians
from unscene.geometry.gaussians import Gaussians
from unscene.losses.perceptual import Features
from unscene.methods.in_n_out import InNOutConfig, check_in_n_out, inpaint_base_views, inpaint_other_views
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.base_view_by_hand import ByHand
from unscene.stages.masked_rendering import paste_renders, render_masked
from unscene.stages.method_error import MethodError
from unscene.stages.patches import PatchGame
from unscene.stages.reconstruction import UnmaskedReconstruction, are_few, reconstruct
from unscene.stages.removal import Removal
from unscene.stages.splat_filling import SplatFilling, SplatFillingConfig, learn, learnt_among
from unscene.stages.splat_planting import KnownSpace, Wanted, mend, plant
from unscene.stages.splat_reconstruction import SplatConfig, learn_photos
from unscene.stages.splat_start import gaussians_at_depths
from unscene.stages.splat_surroundings import at_the_hole, settle, take_out
from unscene.stages.view_choice import views_with_holes
from unscene.stages.views_between import with_views_between
from unscene.stages.visibility import look_behind
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note
from unscene.training.fit import FitConfig
from unscene.training.pixels import unmasked_training_pixels

OF_RAYS = (
    "prior", "joint", "prior_rays", "joint_prior_rays", "known_rays", "restart", "prior_weight", "depth_error",
    "depth_weight", "joint_depth_weight", "share_elsewhere", "alternate",
)  # fmt: skip
"""Settings of In-N-Out that say how rays teach a radiance field, beyond stage 1's reconstruction."""


@dataclass(frozen=True)
class SplatRemovalConfig:
    """In-N-Out's settings where the field is made of Gaussians; those that are not about rays are In-N-Out's own."""

    gaussians: SplatConfig = field(default_factory=SplatConfig)
    """How many there are, and how they learn photos."""
    photos: FitConfig = field(
        default_factory=lambda: FitConfig(steps=700, learning_rate=8e-2, final_learning_rate=8e-3)
    )
    """Stage 1: the photos around the masks, from the depths of In-N-Out's reconstruction on."""
    surroundings: FitConfig = field(
        default_factory=lambda: FitConfig(steps=300, learning_rate=2e-2, final_learning_rate=1e-3)
    )
    """Of a given splat: what the object's Gaussians showed beside it."""
    filling: SplatFillingConfig = field(default_factory=SplatFillingConfig)
    """How the inpainted views are learnt."""
    prior: FitConfig = field(default_factory=lambda: FitConfig(steps=300, learning_rate=2e-2, final_learning_rate=5e-3))
    """Stage 1, with the base views."""
    joint: FitConfig = field(default_factory=lambda: FitConfig(steps=300, learning_rate=8e-3, final_learning_rate=1e-3))
    """Stage 3."""
    settling: FitConfig = field(
        default_factory=lambda: FitConfig(steps=700, learning_rate=1.6e-2, final_learning_rate=5e-4)
    )
    """Of a given splat, at the end: what it showed outside the masks."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = (
        "the field is Gaussian splats, which learn views or windows of them, not scattered rays (paper: nerfacto)",
        "new Gaussians are put on the surfaces behind the object, which the base views' depths tell",
        "Gaussians that have learnt the photos stay as they are while the hole is filled, but for those at its border",
    )
    """What a run on Gaussians does otherwise than the paper besides."""


def settings_of_rays(config: InNOutConfig) -> list[str]:
    """The names of settings that are not the usual ones and say how rays teach a radiance field."""
    usual = InNOutConfig()
    return [name for name in OF_RAYS if getattr(config, name) != getattr(usual, name)]


def check_in_n_out_splats(scene: Scene, config: InNOutConfig) -> ByHand | None:
    """`check_in_n_out`, and whether the settings can be those of Gaussians; raises MethodError for settings of rays."""
    if changed := settings_of_rays(config):
        options = ", ".join(f"--in-n-out.{name.replace('_', '-')}" for name in changed)
        raise MethodError(
            f"{options}: expected a radiance field, whose rays these are about; leave them out, or --field splats and "
            "--splat. Gaussians have settings of their own, --splats.*."
        )
    return check_in_n_out(scene, config)


def in_n_out_splats(
    scene: Scene, prior: Inpainter, features: Features, config: InNOutConfig, splats: SplatRemovalConfig,
    checkpoints: Checkpoints, *, fill: Literal["unseen", "mask"] = "unseen",
    estimate_depth: DepthEstimator | None = None, given: Gaussians | None = None, object_masks: Tensor | None = None,
) -> Generator[Event, None, Removal]:  # fmt: skip
    """Remove the masked object from a scene, or from a splat. Yields what happens, returns the field and the scene.

    given: the splat to take the object out of, which the scene's images then are renders of; object_masks: N H W bool,
    the masks without their margin. The rest as in `in_n_out`, and of its settings those that are not about rays.
    """
    if scene.masks is None:
        raise ValueError("in_n_out_splats needs a scene with masks; use Scene.with_masks")
    by_hand = check_in_n_out(scene, config)
    train, masks, around = scene.train, scene.masks, scene.cameras[scene.train]

    # Stage 1: Gaussians of what is visible, then with inpainted views.
    if given is None:
        traced = yield from _visible(scene, config, splats, checkpoints)
    else:
        chosen = masks if object_masks is None else object_masks
        traced = yield from take_out(given, scene, chosen, splats.filling, splats.surroundings, checkpoints)
    seen = Splats.around(around, traced.gaussians)
    behind, depths, region = yield from look_behind(seen, scene, config.visibility, fill)
    if not region.any():
        return Removal(seen, behind, region, traced.rows)
    bases, surfaces = yield from inpaint_base_views(
        seen, behind, region, depths, prior, config, checkpoints, by_hand, estimate_depth
    )  # fmt: skip
    cleared, border = at_the_hole(traced, scene, region)
    space = KnownSpace(around, ~masks[train], depths)
    wanted = (Wanted(base.view, base.hole, base.image, base.depth) for base in bases.views)
    planted = plant(cleared, scene.cameras, wanted, space)
    planted = mend(planted, scene.cameras, views_with_holes(region, train), region, surfaces, space)
    learns = torch.cat([border, border.new_ones(len(planted) - len(cleared))])
    yield Note(f"{len(planted) - len(cleared):,} new Gaussians begin at the surfaces behind the object")
    field = Splats.around(around, planted.gaussians, learns)
    filling = SplatFilling(field, behind, ~masks, masks, region, bases.views, splats.filling)
    yield from learn("single-view prior", field, filling, splats.prior, checkpoints, pixels=filling.pixels)

    # Stage 2: the other views, aligned with the base views.
    filled, subset = yield from inpaint_other_views(field, behind, region, bases, prior, config, checkpoints)

    # Stage 3: everything together.
    if config.patch_loss:
        game = PatchGame(field, filled, subset, region, features, config.patch, checkpoints.generator("adversary"))

        def joint(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
            return filling(step, progress, generator) | game.losses(generator)

        pixels = filling.pixels + game.sampler.size**2
        yield from learn(
            "joint optimisation", field, joint, splats.joint, checkpoints, pixels=pixels, companion=game
        )  # fmt: skip
    done = learnt_among(planted, learns, field)
    if given is not None:
        learnt = torch.arange(len(done), device=learns.device) < learns.sum()
        done = yield from settle(done, learnt, scene, splats.filling, splats.settling, checkpoints)
    final = yield from render_masked("render the cleaned views", field, scene, train, masks[train])
    cleaned = paste_renders(scene, train, final.color, masks[train])
    return Removal(Splats.around(around, done.gaussians), cleaned, region, done.rows)


def _visible(
    scene: Scene, config: InNOutConfig, splats: SplatRemovalConfig, checkpoints: Checkpoints
) -> Generator[Event, None, TracedGaussians]:
    """Gaussians that have learnt the unmasked pixels, from the depths of In-N-Out's reconstruction on."""
    known, photos = unmasked_training_pixels(scene), len(scene)
    nerf = Nerf.around(scene.cameras[scene.train], config.nerf, checkpoints.generator("field"))
    rays = UnmaskedReconstruction(nerf, scene, config.regularizer, rays=config.rays, error=config.pixel_error)
    yield from reconstruct(rays, config.reconstruction, checkpoints)
    count, generator = min(splats.gaussians.count, splats.gaussians.most), checkpoints.generator("splat start")
    start = gaussians_at_depths(nerf, scene, count, splats.gaussians.degree, generator, known)
    if are_few(scene):
        scene, known = yield from with_views_between(scene, nerf, known)
        more = len(scene) - photos
        yield Note(f"few photos: Gaussians learn {more} views between them, too, as the radiance field has them")
    learnt = yield from learn_photos(scene, start, splats.gaussians, splats.photos, checkpoints, known)
    return TracedGaussians(learnt.still, torch.full((len(learnt.still),), -1))
