"""Photos and the disparities behind their objects, inpainted view by view (SPIn-NeRF, RGB priors and depth priors)."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unscene.fields.field import Field, render_view
from unscene.files import to_uint8
from unscene.geometry.cameras import Cameras
from unscene.priors.depth.completion import DepthEstimator, complete_disparity
from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.independent_inpainting import estimated_depth, inpaint_alone, inpaint_view, who_filled
from unscene.stages.masked_rendering import masks_only
from unscene.stages.surface_fill import look_around
from unscene.stages.visibility import render_depths
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Picture, Provenance, StageDone, StageStarted, ViewInpainted

DARKEST, BRIGHTEST = 0.01, 0.99  # quantiles of a view's known disparities that are black and white to a prior
LEAST_CONTRAST = 0.1  # between the two, as a share of the median disparity: a bare wall's noise stays faint
SHOWN = 5  # the view whose inpaintings are kept as pictures, counted from the last


@dataclass(frozen=True)
class DisparityConfig:
    """How disparities behind an object are found where no depth network tells them."""

    inpaint: bool = True
    """Let the prior inpaint pictures of them, as it does photos (paper); off: continue them smoothly."""
    downscale: int = 2
    """Pixels of a photo along one of such a picture (ours: surfaces are smoother than what is painted on them, and a
    diffusion prior takes a sixth of the time; release: 1)."""
    level: bool = True
    """Take the plane around the object away before the prior sees them: it goes on with what is level better than with
    a slope (ours; release: off)."""

    def describe(self, prior: Inpainter) -> str:
        """In words, for the run's record."""
        if not self.asks(prior):
            return "disparities behind the object: continued smoothly"
        size = "as large as the photos" if self.downscale == 1 else f"of 1/{self.downscale} of the photos' size"
        level = ", above the plane around it where there is one" if self.level else ""
        return f"disparities behind the object: inpainted by '{prior.name}' in pictures {size}{level}"

    def asks(self, prior: Inpainter) -> bool:
        """Whether the prior inpaints them; one that only knows its files cannot."""
        return self.inpaint and not isinstance(prior, FilesInpainter)


def inpaint_with_disparities(
    field: Field, scene: Scene, views: Tensor, prior: Inpainter, checkpoints: Checkpoints,
    estimate_depth: DepthEstimator | None, config: DisparityConfig, *, along_surface: bool,
) -> Generator[Event, None, tuple[Tensor, Tensor]]:  # fmt: skip
    """Inpaint the masks of views (V), P pixels, each on its own.

    field: knows the scene with its object. along_surface: photos, as far as a prior copies, see `inpaint_alone`.
    Returns the masks' pixels, view by view and row by row: colours P 3 uint8 and disparities P, one over the z-depth in
    world units: a depth network's if there is one, else what the prior makes of a picture of the view's disparities,
    else a smooth continuation.
    """
    assert scene.masks is not None
    stage = "inpaint photos and disparities"
    if product := checkpoints.product(stage, scene.device):
        return product["colors"], product["disparities"]
    region = masks_only(scene.train, scene.masks)
    depths = (yield from render_depths(field, scene)) if along_surface else None
    yield StageStarted(stage)
    started, generator = time.monotonic(), checkpoints.generator(stage)
    colors, disparities, remark, picture = [], [], config.describe(prior), f"{prior.name}, each by itself"
    for index, view in enumerate(views.tolist()):
        hole = region[view]
        if depths is None:
            image = inpaint_view(prior, scene, view, hole, generator)
        else:
            inpainted, surface = inpaint_alone(field, scene, view, region, depths, prior, generator)
            image, picture = inpainted.image, who_filled(prior, surface, hole)
        if estimate_depth is not None:
            depth, remark = estimated_depth(field, scene, view, hole, image, estimate_depth)
            disparity = 1 / depth
        elif config.asks(prior):
            disparity = _inpainted(field, scene.cameras, view, hole, prior, generator, config)
        else:
            disparity = 1 / complete_disparity(render_view(field, scene.cameras, view).depth, hole)
        colors.append(to_uint8(image[hole]))
        disparities.append(disparity[hole])
        yield ViewInpainted(scene.names[view], image)
        yield ItemDone(stage, index + 1, len(views))
        if index == max(0, len(views) - SHOWN):
            yield Picture("inpainted", image, scene.names[view])
            yield Picture("disparity", _grey(disparity / disparity.max()), scene.names[view])
    product = {"colors": torch.cat(colors), "disparities": torch.cat(disparities)}
    checkpoints.save(stage, product, finished=True)
    yield Note(remark)
    yield Provenance(f"the pictures, {scene.names[int(views[-1])]}'s for one: {picture}")
    yield StageDone(stage, time.monotonic() - started)
    return product["colors"], product["disparities"]


def _inpainted(
    field: Field, cameras: Cameras, view: int, hole: Tensor, prior: Inpainter, generator: torch.Generator,
    config: DisparityConfig,
) -> Tensor:  # fmt: skip
    """The disparities of a view, H W, with what the prior puts into its hole."""
    small = cameras.resized(*(max(1, side // config.downscale) for side in (cameras.width, cameras.height)))
    depth = render_view(field, small, view).depth
    covered = F.adaptive_max_pool2d(hole[None].float(), depth.shape)[0] > 0
    slope = torch.zeros_like(depth)
    if config.level:
        around = look_around(small, view, depth, covered, generator)
        slope = around.planes[0].disparity(around.image_plane) if around.planes else slope
    filled = inpaint_disparity(prior, depth, covered, slope, generator)
    return F.interpolate(filled[None, None], hole.shape, mode="bilinear")[0, 0]


def inpaint_disparity(
    prior: Inpainter, depth: Tensor, hole: Tensor, slope: Tensor, generator: torch.Generator
) -> Tensor:  # fmt: skip
    """A view's disparities with those inside the hole (H W bool) as the prior fills them, H W; depth: H W.

    The prior sees a grey picture of how far they are above the slope (H W), white where they are nearest. What is
    nearer or farther still than nearly everything, as specks in the air, takes no part of the contrast.
    """
    disparity = 1 / depth.clamp_min(torch.finfo(depth.dtype).tiny)
    above = disparity - slope
    known = above[~hole]
    black, white = (
        known.kthvalue(min(max(1, round(share * len(known))), len(known))).values for share in (DARKEST, BRIGHTEST)
    )
    contrast = (white - black).clamp_min(LEAST_CONTRAST * disparity[~hole].median())
    picture = torch.where(hole[..., None], 0, _grey((above - black) / contrast))  # nothing of the object is shown
    filled = prior.inpaint(picture[None], hole[None], generator=generator)[0].mean(-1) * contrast + black + slope
    return torch.where(hole, filled.clamp_min(disparity[~hole].min()), disparity)


def _grey(values: Tensor) -> Tensor:
    """A picture of values (H W) between nought and one, H W 3."""
    return values.clamp(0, 1)[..., None].expand(-1, -1, 3).contiguous()
