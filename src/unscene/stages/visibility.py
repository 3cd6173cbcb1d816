"""What lies behind the object, and which part of that no view has seen."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

from unscene.fields.field import Field, render_view
from unscene.geometry.masks import VisibilityConfig, tidy, unwitnessed, witnesses
from unscene.scenes.scene import Scene
from unscene.stages.masked_rendering import MaskedRenders, masks_only, paste_renders, render_masked
from unscene.training.events import Event, ItemDone, Note, StageDone, StageStarted

ALIKE = 0.1  # mean absolute difference of colours in [0, 1], up to which a surface looks as other photos show it


def look_behind(
    field: Field, scene: Scene, visibility: VisibilityConfig, fill: Literal["unseen", "mask"]
) -> Generator[Event, None, tuple[Scene, Tensor, Tensor]]:
    """What a field fitted to the unmasked rays knows behind the object.

    Returns the scene with renders inside its training masks, depth maps of the training views (T h w), and the region
    to inpaint (N H W bool): what no view has seen, or the whole masks.
    """
    assert scene.masks is not None
    train, masks = scene.train, scene.masks
    seen = yield from render_masked("look behind the object", field, scene, train, masks[train])
    behind = paste_renders(scene, train, seen.color, masks[train])
    depths = yield from render_depths(field, scene)
    region = masks_only(train, masks)
    if fill == "unseen":
        region = yield from find_unseen(scene, depths, seen, visibility)
        if not region.any():
            yield Note("other views have seen everything behind the object: nothing needs inpainting")
    return behind, depths, region


def render_depths(field: Field, scene: Scene) -> Generator[Event, None, Tensor]:
    """Depth maps of the training views at half their size, enough to tell whether a surface is the one seen: T h w."""
    stage = "depth maps"
    yield StageStarted(stage)
    started, depths = time.monotonic(), []
    half = scene.cameras[scene.train].resized(scene.cameras.width // 2, scene.cameras.height // 2)
    for index in range(len(half)):
        depths.append(render_view(field, half, index).depth)
        yield ItemDone(stage, index + 1, len(half))
    yield StageDone(stage, time.monotonic() - started)
    return torch.stack(depths)


def find_unseen(
    scene: Scene, depths: Tensor, behind: MaskedRenders, config: VisibilityConfig
) -> Generator[Event, None, Tensor]:
    """The part of each training view's mask that no view has seen, N H W bool; and in words, how sure the rest is.

    depths: T h w, of the training views without the object; behind: what the field shows in their masks.
    """
    assert scene.masks is not None
    stage = "find what no view has seen"
    yield StageStarted(stage)
    started = time.monotonic()
    cameras, masks = scene.cameras[scene.train], scene.masks[scene.train]
    images = [scene.images[view] for view in scene.train.tolist()]
    radius = max(1, round(scene.cameras.width / 300))
    unseen, counts, differences = torch.zeros_like(scene.masks), list[Tensor](), list[Tensor]()
    for index, view in enumerate(scene.train.tolist()):
        colors = behind.color[index].to(depths)
        found = witnesses(index, behind.depth[index], colors, images, masks, depths, cameras, config)
        unseen[view] = tidy(unwitnessed(found.count, masks[index], len(cameras), config), masks[index], radius)
        known = ~unseen[view][masks[index]] & (found.count > 0)
        counts.append(found.count[known])
        differences.append(found.difference[known])
        yield ItemDone(stage, index + 1, len(cameras))
    yield StageDone(stage, time.monotonic() - started)
    share = unseen[scene.train].sum() / masks.sum().clamp_min(1)
    sure, count = torch.cat(differences), torch.cat(counts)
    rest = ""
    if len(sure):
        rest = (
            f"; of the rest {(sure < ALIKE).float().mean():.0%} looks as the photos that see it do, "
            f"{int(count.median())} in the middle"
        )
    yield Note(f"{share:.0%} of the masked pixels were seen by no view and will be inpainted{rest}")
    return unseen
