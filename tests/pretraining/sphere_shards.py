"""Shards of a painted sphere, each sample seen from places of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.sphere_views import sphere_view
from unscene.geometry.cameras import Cameras
from unscene.geometry.turntable import object_cameras
from unscene.pretraining.object_shards import ObjectSample, write_index, write_shard

SIZE = 32


def cameras_at(azimuths: list[float], elevations: list[float], distances: list[float], size: int = SIZE) -> Cameras:
    """Cameras around the sphere."""
    places = (torch.tensor(values, dtype=torch.float32) for values in (azimuths, elevations, distances))
    return object_cameras(*places, field_of_view=45, size=size)


def sphere_sample(key: str, cameras: Cameras) -> ObjectSample:
    """Exact views of the sphere, no background."""
    colors, depths = zip(*(sphere_view(cameras, view) for view in range(len(cameras))), strict=True)
    depth = torch.stack(depths)
    color = torch.cat([torch.stack(colors), (depth > 0)[..., None].float()], -1)
    return ObjectSample(key, (color * 255).round().to(torch.uint8), depth, cameras)


def sphere_samples(count: int, *, first: int = 0, views: int = 3, size: int = SIZE) -> list[ObjectSample]:
    """Samples number `first` on, each with cameras drawn from its number."""
    samples = []
    for index in range(first, first + count):
        rng = np.random.default_rng(index)
        places = (rng.uniform(low, high, views).tolist() for low, high in ((0, 360), (-10, 50), (2.7, 3.3)))
        samples.append(sphere_sample(f"sphere-{index:03}", cameras_at(*places, size=size)))
    return samples


def write_sphere_shards(folder: Path, *counts: int, views: int = 3, size: int = SIZE) -> Path:
    """Shards with that many samples, and their index."""
    index, first = {}, 0
    for number, count in enumerate(counts):
        name = f"spheres-{number}.tar"
        index[name] = write_shard(folder / name, sphere_samples(count, first=first, views=views, size=size))
        first += count
    write_index(folder, index)
    return folder
