"""Photos and the disparities behind their objects, inpainted view by view (SPIn-NeRF, RGB priors and depth priors)."""

from __future__ import annotations

import time
from collections.abc import Generator

import torch
from torch import Tensor

from unscene.fields.field import render_view
from unscene.fields.nerf import Nerf
from unscene.files import to_uint8
from unscene.priors.depth.completion import DepthEstimator, complete_disparity
from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.independent_inpainting import estimated_depth, inpaint_view
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Picture, StageDone, StageStarted

NEAREST = 0.99  # quantile of a view's known disparities that is white in the picture that a prior inpaints
SHOWN = 5  # the view whose inpaintings are kept as pictures, counted from the last


def inpaint_with_disparities(
    nerf: Nerf, scene: Scene, views: Tensor, region: Tensor, prior: Inpainter, checkpoints: Checkpoints,
    estimate_depth: DepthEstimator | None, *, asks_prior: bool,
) -> Generator[Event, None, tuple[Tensor, Tensor]]:  # fmt: skip
    """Inpaint the region (N H W bool, P pixels) of views (V), each on its own.

    nerf: knows the scene with its object. Returns the region's pixels, view by view and row by row: colours P 3 uint8
    and disparities P, one over the z-depth in world units: a depth network's if there is one, else what the prior makes
    of a picture of the view's disparities, else (asks_prior off, or a prior that only knows its files) a smooth
    continuation.
    """
    stage = "inpaint photos and disparities"
    if product := checkpoints.product(stage, scene.device):
        return product["colors"], product["disparities"]
    yield StageStarted(stage)
    started, generator = time.monotonic(), checkpoints.generator(stage)
    asks_prior = asks_prior and not isinstance(prior, FilesInpainter)
    remark = f"disparities behind the object: inpainted by '{prior.name}', as photos are"
    if not asks_prior:
        remark = "disparities behind the object: continued smoothly"
    colors, disparities = [], []
    for index, view in enumerate(views.tolist()):
        hole = region[view]
        image = inpaint_view(prior, scene, view, hole, generator)
        if estimate_depth is not None:
            depth, remark = estimated_depth(nerf, scene, view, hole, image, estimate_depth)
            disparity = 1 / depth
        else:
            depth = render_view(nerf, scene.cameras, view).depth
            disparity = inpaint_disparity(prior, depth, hole, generator) if asks_prior else _continued(depth, hole)
        colors.append(to_uint8(image[hole]))
        disparities.append(disparity[hole])
        yield ItemDone(stage, index + 1, len(views))
        if index == max(0, len(views) - SHOWN):
            yield Picture("inpainted", image, scene.names[view])
            yield Picture("disparity", _as_picture(disparity, disparity.max()), scene.names[view])
    product = {"colors": torch.cat(colors), "disparities": torch.cat(disparities)}
    checkpoints.save(stage, product, finished=True)
    yield Note(remark)
    yield StageDone(stage, time.monotonic() - started)
    return product["colors"], product["disparities"]


def inpaint_disparity(prior: Inpainter, depth: Tensor, hole: Tensor, generator: torch.Generator) -> Tensor:
    """A view's disparities with those inside the hole (H W bool) as the prior fills them, H W; depth: H W.

    The prior sees a grey picture, white where it is nearest. What is nearer still than nearly everything, specks in the
    air, is white too, so as not to darken the rest.
    """
    disparity = 1 / depth.clamp_min(torch.finfo(depth.dtype).tiny)
    known = disparity[~hole]
    white = known.kthvalue(max(1, round(NEAREST * len(known)))).values
    picture = torch.where(hole[..., None], 0, _as_picture(disparity, white))  # nothing of the object gets to the prior
    filled = prior.inpaint(picture[None], hole[None], generator=generator)[0]
    return torch.where(hole, filled.mean(-1) * white, disparity)


def _continued(depth: Tensor, hole: Tensor) -> Tensor:
    return 1 / complete_disparity(depth, hole)


def _as_picture(disparity: Tensor, white: Tensor) -> Tensor:
    """Grey, H W 3."""
    return (disparity / white).clamp(0, 1)[..., None].expand(-1, -1, 3).contiguous()
