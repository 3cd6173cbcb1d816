"""Depths that photos agree on before any field is fitted: what few photos need (ours).

A field that a dozen photos teach is free to paint each of them on a surface of its own. Where photos look alike when
laid on planes they have told where the surface is, as sparse points do in DS-NeRF (Deng et al. 2022), but nearly
everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.cameras import Cameras, nearest_alike
from unscene.geometry.plane_sweep import agreed, swept_depth
from unscene.scenes.scene import Scene
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, StageDone, StageStarted

STAGE = "depths that photos agree on"
COARSE, FINE = 40, 80  # pixels across, at which photos are compared to find the range of depths, and then depths
NEIGHBOURS = 4  # photos that each is compared with
NEAREST, FARTHEST = 0.25, 100.0  # depths that are looked for at first, of the distance to those
BEYOND, ROOM = 0.01, 0.1  # share of the depths found that a range leaves out at either end, by how much it is widened
FEWEST, MOST = 32, 128  # levels of depth, between which there is one for each pixel that photos move by
TOLERANCE, WITNESSES = 0.02, 2  # relative difference of depths that agree, and how many other photos have to


def photo_depths(scene: Scene, checkpoints: Checkpoints) -> Generator[Event, None, Tensor]:
    """z-depths of the training photos' unmasked pixels where two other photos agree, 0 elsewhere, T h w."""
    if product := checkpoints.product(STAGE, scene.device):
        return product["depths"]
    yield StageStarted(STAGE)
    started, photos = time.monotonic(), _Photos.of(scene, COARSE)
    nearest, farthest = 1 / (NEAREST * photos.apart), 1 / (FARTHEST * photos.apart)
    depths = yield from photos.depths(nearest, farthest, done=0)
    inverse = 1 / depths[photos.agreed(depths)]
    if len(inverse):
        photos = _Photos.of(scene, FINE)
        farthest, nearest = inverse.quantile(torch.tensor([BEYOND, 1 - BEYOND], device=inverse.device)).tolist()
        room = ROOM * (nearest - farthest)
        depths = yield from photos.depths(nearest + room, max(farthest - room, farthest / 2), done=len(depths))
    depths = depths.where(photos.agreed(depths), 0.0)
    checkpoints.save(STAGE, {"depths": depths}, finished=True)
    share = (depths > 0).sum() / photos.known.sum().clamp_min(1)
    yield Note(f"few photos: where they look alike tells the depth of {share:.0%} of their unmasked pixels")
    yield StageDone(STAGE, time.monotonic() - started)
    return depths


@dataclass(frozen=True)
class _Photos:
    """The training photos at some size. images: T 3 h w; known: T h w bool; others: those each is compared with;
    apart: their usual distance."""

    cameras: Cameras
    images: Tensor
    known: Tensor
    others: list[list[int]]
    apart: float

    @staticmethod
    def of(scene: Scene, width: int) -> _Photos:
        height = max(1, round(scene.cameras.height * width / scene.cameras.width))
        size, cameras, train = (height, width), scene.cameras[scene.train].resized(width, height), scene.train.tolist()
        images = [F.adaptive_avg_pool2d(scene.image(view).permute(2, 0, 1), size) for view in train]
        known = torch.ones(len(train), *size, dtype=torch.bool, device=scene.device)
        if scene.masks is not None:
            known = F.adaptive_max_pool2d(scene.masks[scene.train].float(), size) == 0
        others = nearest_alike(cameras, NEIGHBOURS)
        positions = cameras.positions
        distances = [(positions[few] - positions[view]).norm(dim=-1) for view, few in enumerate(others) if few]
        apart = float(torch.cat(distances).median()) if distances else 0.0
        return _Photos(cameras, torch.stack(images), known, others, apart)

    def depths(self, nearest: float, farthest: float, *, done: int) -> Generator[Event, None, Tensor]:
        """Those of all photos, T h w, between two inverse depths; done: photos of 2 T before them."""
        count = round(float(self.cameras.focal.mean()) * self.apart * (nearest - farthest))
        levels = torch.linspace(nearest, farthest, min(max(count, FEWEST), MOST), device=self.images.device)
        found = []
        for view, others in enumerate(self.others):
            depth = torch.full_like(self.images[view, 0], 1 / farthest)
            if others:
                depth = swept_depth(self.cameras, self.images, self.known, view, others, levels)
            found.append(depth)
            yield ItemDone(STAGE, done + view + 1, 2 * len(self.others))
        return torch.stack(found)

    def agreed(self, depths: Tensor) -> Tensor:
        """Where at least two other photos have the same, T h w bool."""
        return agreed(self.cameras, depths, self.known, tolerance=TOLERANCE, witnesses=WITNESSES)
