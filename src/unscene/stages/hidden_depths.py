"""Depths behind the hidden parts of views, each view's on its own: along its surface, or as a network has them."""

from __future__ import annotations

import time
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.fields.field import Field
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.independent_inpainting import estimated_depth, inpaint_view
from unscene.stages.surface_fill import Surface, continue_surface
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, StageDone, StageStarted


def complete_depths(
    field: Field, scene: Scene, views: Tensor, region: Tensor, depths: Tensor, prior: Inpainter,
    estimate_depth: DepthEstimator | None, checkpoints: Checkpoints,
) -> Generator[Event, None, Tensor]:  # fmt: skip
    """z-depths of the region's pixels (N H W bool, P pixels in the views) of views (V), view by view and row by row: P.

    depths: T h w, of the training views, at any resolution, that of their surfaces. A network, if there is one, looks
    at each view as the prior inpaints it.
    """
    stage = "depths behind the object"
    if product := checkpoints.product(stage, scene.device):
        return product["depths"]
    yield StageStarted(stage)
    started, generator, completed, remark = time.monotonic(), checkpoints.generator(stage), [], ""
    maps = dict(zip(scene.train.tolist(), depths, strict=True))
    for index, view in enumerate(views.tolist()):
        hole = region[view]
        if estimate_depth is not None:
            image = inpaint_view(prior, scene, view, hole, generator)
            depth, remark = estimated_depth(field, scene, view, hole, image, estimate_depth)
        else:
            surface = continue_at_size(scene, view, hole, maps[view], generator)
            disparity = F.interpolate(1 / surface.depth[None, None], hole.shape, mode="bilinear")  # linear on planes
            depth, remark = 1 / disparity[0, 0], surface.describe()
        completed.append(depth[hole])
        yield ItemDone(stage, index + 1, len(views))
    product = {"depths": torch.cat(completed)}
    checkpoints.save(stage, product, finished=True)
    yield Note(remark)
    yield StageDone(stage, time.monotonic() - started)
    return product["depths"]


def continue_at_size(scene: Scene, view: int, hole: Tensor, depth: Tensor, generator: torch.Generator) -> Surface:
    """`continue_surface` of a view at the size of its depth map (h w); hole: H W bool."""
    height, width = depth.shape
    cameras = scene.cameras.resized(width, height)
    touched = F.adaptive_max_pool2d(hole[None].float(), (height, width))[0] > 0
    return continue_surface(cameras, view, depth, touched, generator)
