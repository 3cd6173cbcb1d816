"""Batches for novel-view models: two views of an object, what one shows of the other, noise and its level.

Everything random about a pair depends on the seed, the epoch and the object's key, not on the process that draws it.
"""

from __future__ import annotations

import itertools
import multiprocessing
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import over_background
from unscene.geometry.partial_view import partial_view
from unscene.geometry.turntable import pose_between, pose_numbers, rotation_angles
from unscene.pretraining.depth_errors import with_monocular_errors
from unscene.pretraining.object_shards import ShardError, decode_view, read_cameras, stream_views
from unscene.priors.diffusion.noise_levels import biased_levels

COMMON_ANGLE = 120.0  # degrees (ours)
EXACT_SHARE = 0.5  # of pairs whose source depth is the renderer's (ours)


@dataclass(frozen=True)
class Pair:
    """Source and target view of one object: H W 4 uint8 colours, the source's depth H W, one camera each."""

    source: Tensor
    depth: Tensor
    source_camera: Cameras
    target: Tensor
    target_camera: Cameras


@dataclass(frozen=True)
class NoiseDraw:
    """How a pair's noise is drawn: the shape of a latent, C h w, and how far levels lean to the
    noisy end."""

    latent_shape: tuple[int, int, int]
    bias: float
    untold: float
    """Share of pairs that a model which can be guided is told nothing about."""
    timesteps: int
    """How many noise levels the model's scheduler tells apart."""


class PairBatches(IterableDataset):
    """The batches from a step on, the same whoever draws them: one process's share of an endless stream."""

    def __init__(
        self, shards: Path, noise: NoiseDraw, *, batch: int, first: int, seed: int, symmetry: bool = False,
        process: int = 0, processes: int = 1,
    ):  # fmt: skip
        self.shards, self.noise, self.batch, self.first, self.seed = shards, noise, batch, first, seed
        self.symmetry = symmetry
        self.process, self.processes = process, processes

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        stream = stream_views(
            self.shards, seed=self.seed, skip=self.first * self.batch, process=self.process, processes=self.processes
        )
        for index in itertools.count():
            drawn = list(itertools.islice(stream, self.batch))
            if index % workers == number:  # a loader asks its workers in turn
                yield self._batch(drawn)

    def _batch(self, drawn: list[tuple[int, dict[str, bytes]]]) -> dict[str, Tensor]:
        rows = []
        for epoch, sample in drawn:
            rng = np.random.default_rng([self.seed, epoch, zlib.crc32(str(sample["__key__"]).encode())])
            rows.append(model_inputs(draw_pair(sample, rng), symmetry=self.symmetry) | _draw_noise(self.noise, rng))
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


# This process has drawn with Warp, which does not survive a fork; spawned workers abort loudly when they end, but
# Windows has no others.
_START_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def loaded(batches: PairBatches, workers: int) -> DataLoader:
    """The batches in order, drawn ahead by `workers` processes, or none."""
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context=_START_METHOD if workers else None,
    )


def draw_pair(sample: dict[str, bytes], rng: np.random.Generator) -> Pair:
    """Two different views of an undecoded sample, near ones more often: at 120 degrees 1 / e times as often as at none.

    Of two opposite views the source shows nothing of the target; a model learns little by reusing pixels there.
    """
    cameras = read_cameras(sample)
    if len(cameras) < 2:
        raise ShardError(
            f"{sample['__key__']}: expected at least two views of an object, which make a pair, got {len(cameras)}; "
            "render others with `unscene shards`."
        )
    source = int(rng.integers(len(cameras)))
    angles = rotation_angles(cameras, source).numpy()
    weights = np.exp(-angles / COMMON_ANGLE) * (np.arange(len(cameras)) != source)
    target = int(rng.choice(len(cameras), p=weights / weights.sum()))
    color, depth, source_camera = decode_view(sample, source)
    target_color, _, target_camera = decode_view(sample, target)
    if rng.random() >= EXACT_SHARE:
        depth = with_monocular_errors(depth, rng)
    return Pair(color, depth, source_camera, target_color, target_camera)


def model_inputs(pair: Pair, *, symmetry: bool = False) -> dict[str, Tensor]:
    """What the models see of a pair, as bytes: target, source and partial view 3 H W, both masks 1 H W; the pose, 4.

    symmetry: see `PartialView.told`.
    """
    seen = partial_view(pair.source[..., :3].float() / 255, pair.depth, pair.source_camera, pair.target_camera)
    partial, soft, epipolar = seen.told(symmetry=symmetry)
    return {
        "target": _bytes(on_background(pair.target)),
        "source": _bytes(on_background(pair.source)),
        "partial": _bytes(partial),
        "soft_masks": _bytes(soft[..., None]),
        "epipolar_masks": _bytes(epipolar[..., None]),
        "poses": pose_numbers(*pose_between(pair.source_camera, pair.target_camera))[0],
    }


def on_background(color: Tensor) -> Tensor:
    """Straight colours H W 4 uint8 over the background: H W 3 in [0, 1]."""
    color = color.float() / 255
    return over_background(color[..., :3], color[..., 3])


def _draw_noise(noise: NoiseDraw, rng: np.random.Generator) -> dict[str, Tensor]:
    """Noise and level of one pair, drawn without a look at the batch's others: its levels are not stratified."""
    level = biased_levels(torch.tensor([rng.random()]), noise.bias)[0]
    return {
        "noise": torch.from_numpy(rng.standard_normal(noise.latent_shape, dtype=np.float32)),
        "times": (level * noise.timesteps).long().clamp(max=noise.timesteps - 1),
        "untold": torch.tensor(rng.random() < noise.untold),
    }


def _bytes(image: Tensor) -> Tensor:
    return (image.permute(2, 0, 1).clamp(0, 1) * 255).round().to(torch.uint8)
