"""In-N-Out on Gaussians: its base views, its alignment of latents and its losses, taught by views and windows.

The object's hole is empty where Gaussians have learnt the photos around it, or where those of a given splat were taken
out. New ones begin at the surface behind it, which the base views tell: with Gaussians geometry decides.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

from unscene.fields.nerf import Nerf
from unscene.fields.splats import Splats
from unscene.geometry.gaussians import Gaussians
from unscene.losses.perceptual import Features
from unscene.methods.in_n_out import InNOutConfig, check_in_n_out, inpaint_base_views, inpaint_other_views
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.masked_rendering import paste_renders, render_masked
from unscene.stages.patches import PatchGame
from unscene.stages.reconstruction import UnmaskedReconstruction, reconstruct
from unscene.stages.removal import Removal
from unscene.stages.splat_filling import SplatFilling, learn, learnt_among
from unscene.stages.splat_learner import SplatRemovalConfig, begin_at_surfaces, visible_gaussians
from unscene.stages.splat_planting import Wanted
from unscene.stages.splat_surroundings import settle, take_out
from unscene.stages.visibility import look_behind
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event


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
        nerf = Nerf.around(around, config.nerf, checkpoints.generator("field"))
        rays = UnmaskedReconstruction(nerf, scene, config.regularizer, rays=config.rays, error=config.pixel_error)
        yield from reconstruct(rays, config.reconstruction, checkpoints)
        traced = yield from visible_gaussians(nerf, scene, splats, checkpoints)
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
    wanted = [Wanted(base.view, base.hole, base.image, base.depth) for base in bases.views]
    planted, learns = yield from begin_at_surfaces(traced, behind, region, depths, wanted, surfaces)
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
