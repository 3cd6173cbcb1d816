"""Depths that photos agree on before any field is fitted: what few photos need (ours).

A field that a dozen photos teach is free to paint each of them on a surface of its own. Where photos look alike when
laid on planes they have told where the surface is, as sparse points do in DS-NeRF (Deng et al. 2022), but nearly
everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.cameras import Cameras, nearest_alike
from unscene.geometry.membranes import membrane
from unscene.geometry.plane_sweep import agreed, swept_depth
from unscene.losses.rays import relative_depth
from unscene.scenes.scene import Scene
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, StageDone, StageStarted
from unscene.training.pixels import PixelBatch

STAGE = "depths that photos agree on"
FEW = 20  # photos, up to which depth is hardly told by their colours alone
AGREED_WEIGHT, NEARER_WEIGHT = 0.2, 1.0  # of depths that photos agree on, and of what is nearer than guessed ones
GUESS = 0.25  # natural logarithm of how much nearer than guessed a surface may be
COARSE, FINE = 40, 80  # pixels across at most, at which photos are compared for the range of depths, then for depths
NEIGHBOURS = 4  # photos that each is compared with
NEAREST, FARTHEST = 0.25, 100.0  # depths that are looked for at first, of the distance to those
BEYOND, ROOM = 0.01, 0.1  # share of the depths found that a range leaves out at either end, by how much it is widened
FEWEST, MOST = 32, 128  # levels of depth, between which there is one for each pixel that photos move by
ALIKE = 0.6  # correlation of windows, less what their colours differ by, from which on a depth counts
TOLERANCE, WITNESSES = 0.02, 1  # relative difference of depths that agree, and how many further photos have to


@dataclass(frozen=True)
class PhotoDepths:
    """What photos tell of their depths. depths: T h w, z-depths; agreed: T h w bool, where photos look alike and
    another one has the same; around those they are continued smoothly, which is a guess."""

    depths: Tensor
    agreed: Tensor


class DepthTerm:
    """How far a field's depths are from what photos tell of them."""

    def __init__(self, told: PhotoDepths, scene: Scene):
        self.told, self.width, self.height = told, scene.cameras.width, scene.cameras.height
        self.row = torch.zeros(len(scene), dtype=torch.long, device=scene.device)
        self.row[scene.train] = torch.arange(len(scene.train), device=scene.device)

    def __call__(self, batch: PixelBatch, found: Tensor) -> Tensor:
        """Mean over a batch's pixels, whose mean z-depths are ``found`` (R): where photos agree of any difference,
        elsewhere of what is nearer than a guess allows. Not of what is farther: nothing brings a mean depth nearer as
        fast as fog before the camera does."""
        height, width = self.told.depths.shape[1:]
        column = (batch.xy[:, 0] * (width / self.width)).long()
        line = (batch.xy[:, 1] * (height / self.height)).long()
        place = self.row[batch.view], line, column
        depth = self.told.depths[place]
        nearer = ((depth / found.clamp_min(1e-6)).log() - GUESS).clamp_min(0)
        return (
            (AGREED_WEIGHT * relative_depth(found, depth)).where(self.told.agreed[place], NEARER_WEIGHT * nearer).mean()
        )


def depth_term_of_few(scene: Scene, checkpoints: Checkpoints) -> Generator[Event, None, DepthTerm | None]:
    """What a field of few photos is told besides their colours; None of many, or of photos that tell no depths."""
    if not are_few(scene):
        return None
    told = yield from photo_depths(scene, checkpoints)
    return None if told is None else DepthTerm(told, scene)


def are_few(scene: Scene) -> bool:
    """Whether depth is hardly told by the colours of the scene's photos alone."""
    return len(scene.train) <= FEW


def photo_depths(scene: Scene, checkpoints: Checkpoints) -> Generator[Event, None, PhotoDepths | None]:
    """The depths of the training photos at some smaller size, None if they agree nowhere."""
    if product := checkpoints.product(STAGE, scene.device):
        return PhotoDepths(product["depths"], product["agreed"]) if product["agreed"].any() else None
    photos = _Photos.of(scene, COARSE)
    if photos.apart == 0:  # nothing moves from one to another
        return None
    yield StageStarted(STAGE)
    started = time.monotonic()
    nearest, farthest = 1 / (NEAREST * photos.apart), 1 / (FARTHEST * photos.apart)
    depths, sure = yield from photos.depths(nearest, farthest, done=0)
    inverse = 1 / depths[sure]
    if len(inverse):
        photos = _Photos.of(scene, FINE)
        farthest, nearest = inverse.quantile(torch.tensor([BEYOND, 1 - BEYOND], device=inverse.device)).tolist()
        room = ROOM * (nearest - farthest)
        depths, sure = yield from photos.depths(nearest + room, max(farthest - room, farthest / 2), done=len(depths))
    depths = torch.stack(
        [_continued(depth, told) if told.any() else depth for depth, told in zip(depths, sure, strict=True)]
    )
    checkpoints.save(STAGE, {"depths": depths, "agreed": sure}, finished=True)
    share = sure.sum() / photos.known.sum().clamp_min(1)
    yield Note(f"few photos: where they look alike tells the depth of {share:.0%} of their unmasked pixels")
    yield StageDone(STAGE, time.monotonic() - started)
    return PhotoDepths(depths, sure) if sure.any() else None


def _continued(depth: Tensor, known: Tensor) -> Tensor:
    """A depth map (h w) where it is known (h w bool), elsewhere its smoothest continuation in disparity."""
    disparity = membrane(np.ones(known.shape, bool), known.cpu().numpy(), (1 / depth).double().cpu().numpy())
    return (1 / torch.from_numpy(disparity)).to(depth)


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
    def of(scene: Scene, most: int) -> _Photos:
        width = min(most, scene.cameras.width)
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

    def depths(self, nearest: float, farthest: float, *, done: int) -> Generator[Event, None, tuple[Tensor, Tensor]]:
        """Those of all photos between two inverse depths, T h w, and where another one has the same, T h w bool; done:
        photos of 2 T before them."""
        count = round(float(self.cameras.focal.mean()) * self.apart * (nearest - farthest))
        levels = torch.linspace(nearest, farthest, min(max(count, FEWEST), MOST), device=self.images.device)
        depths, alike = torch.full_like(self.images[:, 0], 1 / nearest), torch.zeros_like(self.known)
        for view, others in enumerate(self.others):
            if others:
                depths[view], likeness = swept_depth(self.cameras, self.images, self.known, view, others, levels)
                alike[view] = likeness > ALIKE
            yield ItemDone(STAGE, done + view + 1, 2 * len(self.others))
        alike &= self.known
        return depths, agreed(self.cameras, depths, alike, tolerance=TOLERANCE, witnesses=WITNESSES)
