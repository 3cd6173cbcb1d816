"""Inpaint3D (Prabhu et al. 2023): a 2D inpainter that sees one masked image at a time teaches a field by its score.

A field is fitted to everything but the object. Then every step reconstructs what the photos show, and pulls what is
hidden towards what the inpainter would make of it: a render is encoded and noised to a level t that falls as
t_max - (t_max - t_min) sqrt(k / K), and inside the mask the field follows

    (1 - abar_t) (e_cfg(z_t; t, photo outside the mask, mask) - e) dz / dx;

depth behind the object is compared beside it. No view is inpainted, no pose is told to the inpainter.

Its authors released no code and the paper gives neither weights, levels, guidance nor steps; `paper` takes those of
MVIP-NeRF (Chen et al. 2024), which distils the same kind of inpainter. What differs from both is
`Inpaint3dConfig.DIFFERENCES`; a report lists it too.
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
from unscene.priors.inpainter import Inpainter, ScoreModel
from unscene.priors.prior_error import PriorError
from unscene.ranges import check_ranges
from unscene.scenes.scene import Scene
from unscene.stages.hidden_depths import complete_depths
from unscene.stages.masked_rendering import paste_renders, render_masked
from unscene.stages.method_error import MethodError
from unscene.stages.removal import Removal
from unscene.stages.score_distillation import ScoreDistillation
from unscene.stages.splat_learner import SplatRemovalConfig, reconstruct_visible
from unscene.stages.view_choice import spread, views_with_holes
from unscene.stages.visibility import look_behind
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note
from unscene.training.fit import FitConfig
from unscene.training.pixels import RegularizerConfig


@dataclass(frozen=True)
class Inpaint3dConfig:
    """Inpaint3D's settings; no source gives them: "MVIP" marks those of MVIP-NeRF's release, all others are ours."""

    nerf: NerfConfig = field(default_factory=lambda: NerfConfig(view_dependence=False))
    """The field, the same as In-N-Out's."""
    reconstruction: FitConfig = field(default_factory=lambda: FitConfig(steps=1100, final_learning_rate=3e-3))
    """Unmasked rays alone."""
    distillation: FitConfig = field(
        default_factory=lambda: FitConfig(steps=400, learning_rate=5e-3, final_learning_rate=1e-3)
    )
    """With score distillation. MVIP: 10,000 steps."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    """Weights of the histogram losses."""
    rays: int = 4096
    """Unmasked rays per step of `reconstruction`. MVIP: 1,024."""
    known_rays: int = 1024
    """The same while distilling (MVIP)."""
    visibility: VisibilityConfig = field(default_factory=VisibilityConfig)
    """When a masked pixel counts as seen by other views."""
    window: int = 128
    """Pixels along the sides of what the inpainter is shown in a step: what it was trained at."""
    strongest: float = 0.98
    """t_max, the noise of the first step, as a share of the schedule (MVIP)."""
    weakest: float = 0.02
    """t_min, that of the last. MVIP: .301, as its run ends half-way down to .02."""
    weight: float = 3e-3
    """Of the gradient, summed over a window's pixels (ours; MVIP: 1e-4)."""
    depth_weight: float = 0.05
    """Of depth behind the object, on relative differences. MVIP: 0.1, on disparities."""
    most_views: int | None = 40
    """Views that teach what is hidden at most, spread over all of them; None: all (MVIP)."""

    OF_RAYS: ClassVar[tuple[str, ...]] = ("known_rays",)
    """Settings that say how rays teach a radiance field; Gaussians have their own."""

    DIFFERENCES_OF_RAYS: ClassVar[tuple[str, ...]] = ()
    """What a run with a radiance field does otherwise than the paper, whatever its settings."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = (
        "outside the mask the photo stands for the render, of which only masked pixels are looked at",
        "the inpainter is shown a window around the hole, not the whole view",
        "normals are not distilled, as MVIP-NeRF does",
        "depth is that of each view's completed surface, or a network's of each view as the prior inpaints it, on "
        "relative differences",
    )
    """What any run does otherwise than Inpaint3D and MVIP-NeRF, whatever its settings."""

    @staticmethod
    def paper_diffusion() -> DiffusionConfig:
        """How MVIP-NeRF asks its inpainter."""
        return DiffusionConfig(guidance=7.5)

    @classmethod
    def paper(cls) -> Inpaint3dConfig:
        """MVIP-NeRF's values, for a model of Stable Diffusion's size; what it does not say stays ours."""
        return cls(
            reconstruction=FitConfig(steps=10_000, learning_rate=3e-3, final_learning_rate=3e-3),
            distillation=FitConfig(steps=10_000, learning_rate=3e-3, final_learning_rate=3e-3),
            rays=1024, known_rays=1024,
            window=512,  # Stable Diffusion's own
            strongest=0.98, weakest=0.98 - 0.96 * 0.5**0.5,  # 980 - 960 sqrt(k / 20,000) over 10,000 steps
            weight=1e-4, depth_weight=0.1, most_views=None,
        )  # fmt: skip


def check_inpaint3d(prior: Inpainter, config: Inpaint3dConfig, *, offload: str = "none") -> None:
    """Raise PriorError or MethodError for what cannot work, before anything is run or written.

    offload: what of the model is kept in main memory between uses, from where no gradient finds its weights.
    """
    if not isinstance(prior, ScoreModel):
        raise PriorError(f"inpaint3d: expected a diffusion prior, got '{prior.name}'; choose --prior bundled.")
    if offload != "none":
        raise PriorError(
            "inpaint3d: expected the whole model on its device, as gradients pass through its encoder; leave out "
            "--diffusion.offload."
        )
    check_ranges({"inpaint3d.window": (config.window, 16, 1e5)}, MethodError)
    if not 0 < config.weakest <= config.strongest <= 1:
        raise MethodError(
            f"inpaint3d: expected noise that falls, 0 < weakest <= strongest <= 1, got {config.weakest:g} and "
            f"{config.strongest:g}; change --inpaint3d.weakest or --inpaint3d.strongest."
        )


def inpaint3d(
    scene: Scene,
    prior: Inpainter,
    features: Features,
    config: Inpaint3dConfig,
    checkpoints: Checkpoints,
    *,
    fill: Literal["unseen", "mask"] = "unseen",
    estimate_depth: DepthEstimator | None = None,
    clean: bool = False,
    splats: SplatRemovalConfig | None = None,
) -> Generator[Event, None, Removal]:
    """Remove the masked object from a scene. Yields what happens, returns the field and the cleaned scene.

    prior: a diffusion model. features: unused, since no image is compared. fill: distil only what no view has seen,
    or the whole object mask as in the paper. estimate_depth: a depth network. clean: drop density that no photo
    supports. splats: Gaussians in place of a radiance field, and how they learn. Raises ValueError without masks,
    PriorError if the prior is no diffusion model, MethodError for settings that cannot work.
    """
    if scene.masks is None:
        raise ValueError("inpaint3d needs a scene with masks; pass masks to load_scene or use Scene.with_masks")
    check_inpaint3d(prior, config)
    assert isinstance(prior, ScoreModel)
    train, masks = scene.train, scene.masks

    # What the photos show, and what none of them does.
    known = yield from reconstruct_visible(
        scene, config.nerf, config.regularizer, config.reconstruction, checkpoints, rays=config.rays, clean=clean,
        splats=splats,
    )  # fmt: skip
    behind, depths, region = yield from look_behind(known.field, scene, config.visibility, fill)
    if not region.any():
        return Removal(known.whole, behind, region)
    hidden = views_with_holes(region, train)
    views = spread(hidden, config.most_views)
    if len(views) < len(hidden):
        yield Note(
            f"{len(views)} of {len(hidden)} views teach what is hidden, spread over all (--inpaint3d.most-views)"
        )
    hidden_depths = yield from complete_depths(
        known.field, behind, views, region, depths, prior, estimate_depth, checkpoints
    )  # fmt: skip
    known = yield from known.begin_behind(behind, region, depths, [], checkpoints)

    # Score distillation.
    distillation = ScoreDistillation(
        known, behind, views, region, hidden_depths, prior, window=config.window, known_rays=config.known_rays,
        strongest=config.strongest, weakest=config.weakest, weight=config.weight, depth_weight=config.depth_weight,
    )  # fmt: skip
    yield from known.learn(
        "score distillation", distillation, config.distillation, checkpoints, known=config.known_rays,
        more=distillation.hidden_pixels,
    )  # fmt: skip
    field = known.whole
    final = yield from render_masked("render the cleaned views", field, scene, train, masks[train])
    return Removal(field, paste_renders(scene, train, final.color, masks[train]), region)
