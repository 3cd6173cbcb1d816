"""The surfaces behind the holes of all views, small: how far away what each hides is, and who looks at it well."""

from __future__ import annotations

import time
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import sees, surface_points
from unscene.scenes.scene import Scene
from unscene.stages.hidden_depths import continue_at_size
from unscene.stages.view_choice import views_with_holes
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, StageDone, StageStarted

LONGER_SIDE = 96  # pixels of the small views
SAME = 0.06  # relative difference of depth within a surface, completed in two views
WELL = 3.0  # times what a pixel of the best view covers of a surface, up to which another looks at it well


def complete_surfaces(
    scene: Scene, region: Tensor, depths: Tensor, checkpoints: Checkpoints
) -> Generator[Event, None, Tensor]:
    """z-depths of the training views, completed behind their regions (N H W bool), N h w with a longer side of
    `LONGER_SIDE` pixels; infinite for views where nothing is hidden. depths: T h w, of the training views."""
    stage = "surfaces behind the object"
    yield StageStarted(stage)
    started, generator = time.monotonic(), checkpoints.generator(stage)
    width, height = small_size(scene.cameras)
    surfaces = torch.full((len(scene), height, width), torch.inf, device=depths.device)
    views = views_with_holes(region, scene.train)
    maps = dict(zip(scene.train.tolist(), F.interpolate(depths[None], (height, width))[0], strict=True))
    for index, view in enumerate(views.tolist()):
        surfaces[view] = continue_at_size(scene, view, region[view], maps[view], generator).depth
        yield ItemDone(stage, index + 1, len(views))
    yield StageDone(stage, time.monotonic() - started)
    return surfaces


def small_size(cameras: Cameras) -> tuple[int, int]:
    """Width and height of the small views."""
    scale = min(1.0, LONGER_SIDE / max(cameras.width, cameras.height))
    return max(1, round(cameras.width * scale)), max(1, round(cameras.height * scale))


def who_looks_well(cameras: Cameras, views: Tensor, lookers: Tensor, region: Tensor, surfaces: Tensor) -> Tensor:
    """Which of L views (``lookers``) look well at each point that ``views`` (V) hide: P L bool, the points of the first
    view first.

    region: N H W bool and surfaces: N h w of all views. A view looks at a point of another's hole if it hides the same
    surface there, and well if a pixel of it covers at most `WELL` times as much of that as one of the best looker.
    """
    small = cameras.resized(surfaces.shape[2], surfaces.shape[1])
    points, normals = list[Tensor](), list[Tensor]()
    for view in views.tolist():
        surface, hole = surface_points(small, view, surfaces[view]), _small(region[view], surfaces)
        across, down = (torch.gradient(surface, dim=dim)[0] for dim in (1, 0))
        normals.append(F.normalize(torch.linalg.cross(across, down), dim=-1)[hole])
        points.append(surface[hole])
    points, normals = torch.cat(points), torch.cat(normals)
    covered = points.new_full((len(points), len(lookers)), torch.inf)
    for index, looker in enumerate(lookers.tolist()):
        away = points - small.positions[looker]
        facing = (F.normalize(away, dim=-1) * normals).sum(-1).abs().clamp_min(1e-3)
        looks = sees(small, looker, points, ~_small(region[looker], surfaces), surfaces[looker], SAME)
        covered[looks, index] = ((away @ small.forward[looker]).square() / facing)[looks]
    return covered <= WELL * covered.amin(1, keepdim=True).clamp_max(torch.finfo(covered.dtype).max)


def _small(mask: Tensor, surfaces: Tensor) -> Tensor:
    """A mask (H W bool) at the size of the surfaces, set wherever any of it is."""
    return F.adaptive_max_pool2d(mask[None].float(), surfaces.shape[1:])[0] > 0
