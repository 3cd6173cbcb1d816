"""What every removal method returns, and the parts they share."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.fields.field import RadianceField, render_view
from unscene.fields.nerf import Nerf
from unscene.geometry.masks import feathered_composite
from unscene.scenes.scene import Scene
from unscene.training.events import Event, ItemDone, StageDone, StageStarted

FEATHER = 2  # pixels over which a render blends into the photo inside a mask


@dataclass(frozen=True)
class Removal:
    """A scene without its object. field: the radiance field; scene: the input with the object gone from its training
    images; filled: N H W bool, where content was invented rather than seen."""

    field: Nerf
    scene: Scene
    filled: Tensor


@dataclass(frozen=True)
class Renders:
    """Renders of chosen views. color: V H W 3 uint8; depth: V H W z-depth in world units."""

    color: Tensor
    depth: Tensor


def render_views(stage: str, field: RadianceField, scene: Scene, views: Tensor) -> Generator[Event, None, Renders]:
    """Render views of the scene's own cameras, reporting each."""
    import time

    started = time.monotonic()
    yield StageStarted(stage)
    size = (len(views), scene.cameras.height, scene.cameras.width)
    color, depth = torch.empty(*size, 3, dtype=torch.uint8), torch.empty(size)
    for index, view in enumerate(views.tolist()):
        render = render_view(field, scene.cameras, view)
        color[index] = (render.color.clamp(0, 1) * 255).round().to(torch.uint8)
        depth[index] = render.depth
        yield ItemDone(stage, index + 1, len(views))
    yield StageDone(stage, time.monotonic() - started)
    return Renders(color, depth)


def paste_renders(scene: Scene, views: Tensor, renders: Tensor, masks: Tensor) -> Scene:
    """The scene with renders (V H W 3 uint8) inside the masks (V H W) of ``views`` and its photos outside."""
    pasted = [
        feathered_composite(scene.image(view), render.float() / 255, mask, FEATHER)
        for view, render, mask in zip(views.tolist(), renders, masks, strict=True)
    ]
    return scene.with_images(views, torch.stack(pasted))
