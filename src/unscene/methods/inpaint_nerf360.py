"""InpaintNeRF360 (Wang et al., 2023; later InNeRF360): a latent diffusion model inpaints every view on its own, and a
perceptual loss and depth keep a field from averaging what they disagree about.

A field learns the unmasked rays. Every view is inpainted, and the depth behind its object estimated from the inpainting
and aligned to the field's. Then the field learns

    L = L_rec + lambda_depth L_depth + lambda_perceptual L_perceptual

with L_rec the colours of unmasked rays, L_depth the distance of rendered and estimated disparities of masked rays, and
L_perceptual that of rendered and inpainted patches. Other than in SPIn-NeRF patches move surfaces too, no disparity is
inpainted, and no view's colours are learnt pixel by pixel.

What differs from the original, whose release has no training, is `InpaintNerf360Config.DIFFERENCES`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from unscene.fields.nerf import NerfConfig
from unscene.geometry.masks import VisibilityConfig
from unscene.losses.perceptual import Features
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.dataset_update import inpaint_every_view
from unscene.stages.independent_inpainting import inpaintable_views
from unscene.stages.inpainted_views import InpaintedViewsConfig, InpaintedViewsLoss, with_fills
from unscene.stages.masked_rendering import masks_only, paste_renders, render_masked
from unscene.stages.removal import Removal
from unscene.stages.splat_learner import SplatRemovalConfig, reconstruct_visible
from unscene.stages.splat_planting import surfaces_of
from unscene.stages.view_choice import spread, views_with_holes
from unscene.stages.visibility import look_behind
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note
from unscene.training.fit import FitConfig
from unscene.training.pixels import RegularizerConfig


@dataclass(frozen=True)
class InpaintNerf360Config:
    """InpaintNeRF360's settings. All are ours: no source gives a value."""

    nerf: NerfConfig = field(default_factory=lambda: NerfConfig(view_dependence=False))
    """The field, the same as In-N-Out's."""
    reconstruction: FitConfig = field(
        default_factory=lambda: FitConfig(steps=1000, learning_rate=2e-2, final_learning_rate=3e-3)
    )
    """Unmasked rays alone."""
    rays: int = 2304
    """Rays per step of that."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=800))
    """With the inpainted views."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    """Weights of the histogram losses."""
    visibility: VisibilityConfig = field(default_factory=VisibilityConfig)
    """When a masked pixel counts as seen by other views."""
    loss: InpaintedViewsConfig = field(
        default_factory=lambda: InpaintedViewsConfig(rays=1024, perceptual_from=0.0, patches_move_surfaces=True)
    )
    """The terms of L."""
    most_views: int | None = 24
    """Views to inpaint at most, spread over all of them; None: all (paper)."""

    OF_RAYS: ClassVar[tuple[str, ...]] = ("loss.rays", "loss.masked_rays")
    """Settings that say how rays teach a radiance field; Gaussians have their own."""

    DIFFERENCES_OF_RAYS: ClassVar[tuple[str, ...]] = ()
    """What a run with a radiance field does otherwise than the paper, whatever its settings."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = (
        "masks come with the scene (paper: a text finds the object, and depth makes its masks agree)",
        "field, weights, patches, rates and lengths of fits are ours: neither paper nor release states any",
        "errors are squared with --preset paper: the paper's own are not known",
        "Depth Anything V2 is the depth network, aligned to the field: the paper names none",
        "no diffusion prior looks at cubes of density (second version)",
    )
    """What any run does otherwise than the paper, whatever its settings."""

    @staticmethod
    def paper_diffusion() -> DiffusionConfig:
        """How the paper samples: nothing is said."""
        return DiffusionConfig()

    @classmethod
    def paper(cls) -> InpaintNerf360Config:
        """What is known of the original: all views, squared errors."""
        loss = InpaintedViewsConfig(
            rays=4096, pixel_error="squared", perceptual_from=0.0, patches_move_surfaces=True,
        )  # fmt: skip
        return cls(regularizer=RegularizerConfig(hash_decay=0), loss=loss, most_views=None)


def inpaint_nerf360(
    scene: Scene,
    prior: Inpainter,
    features: Features,
    config: InpaintNerf360Config,
    checkpoints: Checkpoints,
    *,
    fill: Literal["unseen", "mask"] = "unseen",
    estimate_depth: DepthEstimator | None = None,
    clean: bool = False,
    splats: SplatRemovalConfig | None = None,
) -> Generator[Event, None, Removal]:
    """Remove the masked object from a scene. Yields what happens, returns the field and the cleaned scene.

    prior: a latent diffusion model in the paper, any other will do. features: the network that compares patches.
    fill: inpaint only what no view has seen, or the whole object mask as in the paper. estimate_depth: a depth
    network for the inpainted views. clean: drop density that no photo supports. splats: Gaussians in place of a
    radiance field, and how they learn. Raises ValueError if the scene has
    no masks.
    """
    if scene.masks is None:
        raise ValueError("inpaint_nerf360 needs a scene with masks; pass masks to load_scene or use Scene.with_masks")
    train, masks = scene.train, scene.masks

    # What the photos show.
    known = yield from reconstruct_visible(
        scene, config.nerf, config.regularizer, config.reconstruction, checkpoints, rays=config.rays,
        error=config.loss.pixel_error, clean=clean, splats=splats,
    )  # fmt: skip
    behind, depths, region = yield from look_behind(known.field, scene, config.visibility, fill)
    if not region.any():
        return Removal(known.whole, behind, region)

    # Every view on its own, and the depth of what was put there.
    hidden = inpaintable_views(prior, scene, views_with_holes(region, train))
    views = spread(hidden, config.most_views)
    if len(views) < len(hidden):
        yield Note(f"{len(views)} of {len(hidden)} views are inpainted, spread over all (--inpaint-nerf360.most-views)")
    colors, behind_depths = yield from inpaint_every_view(
        known.field, behind, views, region, depths, prior, estimate_depth, checkpoints
    )
    wanted = surfaces_of(behind, views, region, colors, behind_depths)
    known = yield from known.begin_behind(behind, region, depths, wanted, checkpoints)

    # The field learns what patches of them look like, and where they are.
    filled = masks_only(views, region)
    loss = InpaintedViewsLoss(
        known, with_fills(behind, filled, colors), views, filled, 1 / behind_depths, features, config.loss
    )
    yield from known.learn(
        "perceptual optimisation", loss, config.fit, checkpoints, known=config.loss.rays, more=loss.inpainted_rays
    )
    field = known.whole
    final = yield from render_masked("render the cleaned views", field, scene, train, masks[train])
    return Removal(field, paste_renders(scene, train, final.color, masks[train]), region)
