"""What a field sees inside masks, and photos with that in place of the object."""

from __future__ import annotations

import time
from collections.abc import Generator

import torch
from torch import Tensor

from unscene.fields.field import PixelRender, RadianceField, render_pixels
from unscene.geometry.masks import feathered_composite
from unscene.scenes.scene import Scene
from unscene.training.events import Event, ItemDone, StageDone, StageStarted

FEATHER = 2  # pixels over which a render blends into the photo inside a mask


def render_masked(
    stage: str, field: RadianceField, scene: Scene, views: Tensor, masks: Tensor
) -> Generator[Event, None, PixelRender]:
    """Render the masked pixels (V H W bool) of views: V H W, zero outside the masks."""
    started = time.monotonic()
    yield StageStarted(stage)
    color, depth, opacity = torch.zeros(*masks.shape, 3), torch.zeros(masks.shape), torch.zeros(masks.shape)
    for index, view in enumerate(views.tolist()):
        rows, columns = masks[index].nonzero(as_tuple=True)
        render = render_pixels(field, scene.cameras, view, torch.stack([columns, rows], -1) + 0.5)
        color[index, rows, columns] = render.color
        depth[index, rows, columns] = render.depth
        opacity[index, rows, columns] = render.opacity
        yield ItemDone(stage, index + 1, len(views))
    yield StageDone(stage, time.monotonic() - started)
    return PixelRender(color, depth, opacity)


def rendered_inside(field: RadianceField, scene: Scene, view: int, hole: Tensor) -> Tensor:
    """A view's photo with the field's render inside the hole (H W bool), H W 3."""
    rows, columns = hole.nonzero(as_tuple=True)
    image = scene.image(view)
    image[rows, columns] = render_pixels(field, scene.cameras, view, torch.stack([columns, rows], -1) + 0.5).color
    return image


def paste_renders(scene: Scene, views: Tensor, renders: Tensor, masks: Tensor) -> Scene:
    """The scene with renders (V H W 3) inside the masks (V H W) of ``views`` and its photos outside."""
    pasted = [
        feathered_composite(scene.image(view), render, mask, FEATHER)
        for view, render, mask in zip(views.tolist(), renders, masks, strict=True)
    ]
    return scene.with_images(views, torch.stack(pasted))


def masks_only(views: Tensor, masks: Tensor) -> Tensor:
    """The masks (N H W bool) of ``views``, nothing for the rest."""
    chosen = torch.zeros_like(masks)
    chosen[views] = masks[views]
    return chosen
