"""What a field sees inside masks, and photos with that in place of the object."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.fields.field import Field, PixelRender, render_pixels
from unscene.geometry.masks import feathered_composite
from unscene.scenes.scene import Scene
from unscene.training.events import Event, ItemDone, StageDone, StageStarted

FEATHER = 2  # pixels over which a render blends into the photo inside a mask


@dataclass(frozen=True)
class MaskedRenders:
    """The masked pixels of V views, row by row: color V of P 3, depth V of P. Whole images would be ten times that."""

    color: list[Tensor]
    depth: list[Tensor]


def render_masked(
    stage: str, field: Field, scene: Scene, views: Tensor, masks: Tensor
) -> Generator[Event, None, MaskedRenders]:
    """Render the masked pixels (V H W bool) of views."""
    started = time.monotonic()
    yield StageStarted(stage)
    renders = MaskedRenders([], [])
    for index, view in enumerate(views.tolist()):
        render = _render_hole(field, scene, view, masks[index])
        renders.color.append(render.color)
        renders.depth.append(render.depth)
        yield ItemDone(stage, index + 1, len(views))
    yield StageDone(stage, time.monotonic() - started)
    return renders


def rendered_inside(field: Field, scene: Scene, view: int, hole: Tensor) -> Tensor:
    """A view's photo with the field's render inside the hole (H W bool), H W 3."""
    image = scene.image(view)
    image[hole] = _render_hole(field, scene, view, hole).color
    return image


def paste_renders(scene: Scene, views: Tensor, colors: list[Tensor], masks: Tensor) -> Scene:
    """The scene with ``colors`` (V of P 3) inside the masks (V H W) of ``views`` and its photos outside."""

    def pasted(view: int, color: Tensor, mask: Tensor) -> Tensor:
        photo = scene.image(view)
        render = photo.clone()
        render[mask] = color
        return feathered_composite(photo, render, mask, FEATHER)

    return scene.with_images(views, map(pasted, views.tolist(), colors, masks))


def masks_only(views: Tensor, masks: Tensor) -> Tensor:
    """The masks (N H W bool) of ``views``, nothing for the rest."""
    chosen = torch.zeros_like(masks)
    chosen[views] = masks[views]
    return chosen


def _render_hole(field: Field, scene: Scene, view: int, hole: Tensor) -> PixelRender:
    rows, columns = hole.nonzero(as_tuple=True)
    return render_pixels(field, scene.cameras, view, torch.stack([columns, rows], -1) + 0.5)
