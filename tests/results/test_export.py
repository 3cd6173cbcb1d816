"""Videos and point clouds of a field whose geometry is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from unscene.fields.field import Histogram, Render
from unscene.geometry.cameras import Cameras, Rays, look_at
from unscene.results.export import write_points, write_video
from unscene.training.events import ItemDone, StageStarted


@dataclass(frozen=True)
class Ball:
    """A ball around the origin that is red on its right side; behind it lies a sky, very far away."""

    radius: float = 1.0
    sky: float = 1e4

    is_native = False

    def render(self, rays: Rays, *, jitter: Tensor | None = None) -> Render:
        middle = -(rays.origins * rays.directions).sum(-1)
        half = self.radius**2 - (rays.origins + rays.directions * middle[:, None]).square().sum(-1)
        hit = half > 0
        distance = torch.where(hit, middle - half.clamp_min(0).sqrt(), self.sky)
        points = rays.origins + rays.directions * distance[:, None]
        color = torch.where((points[:, :1] > 0) & hit[:, None], torch.tensor([1.0, 0, 0]), torch.tensor([0, 0.2, 1.0]))
        weights = torch.ones(len(rays), 1)
        histogram = Histogram(torch.tensor([0.0, 1.0]).expand(len(rays), 2), weights)
        return Render(color, distance, distance[:, None], weights, histogram, (histogram,))


def cameras_around(count: int = 3, width: int = 33, height: int = 25) -> Cameras:
    angle = torch.arange(count) * 0.4
    positions = torch.stack([4 * angle.sin(), torch.zeros(count), -4 * angle.cos()], -1)
    poses = look_at(positions, torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]))
    return Cameras(
        poses, torch.full((count, 2), 45.0), torch.tensor([[width / 2, height / 2]] * count), torch.zeros(count, 5),
        width, height,
    )  # fmt: skip


def points_of(path: Path, points: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = torch.Generator().manual_seed(seed)
    list(write_points(path, Ball(), cameras_around(), points=points, generator=generator))
    cloud = trimesh.load(path)
    assert isinstance(cloud, trimesh.PointCloud)
    return np.asarray(cloud.vertices), np.asarray(cloud.colors)[:, :3]


def test_points_lie_on_the_surface_and_have_its_colours(tmp_path: Path) -> None:
    positions, colors = points_of(tmp_path / "scene.ply", 600)
    assert 100 < len(positions) <= 600
    np.testing.assert_allclose(np.linalg.norm(positions, axis=1), 1, atol=1e-4)
    right = positions[:, 0] > 0
    assert 0.1 < right.mean() < 0.9
    assert (colors[right] == [255, 0, 0]).all() and (colors[~right] == [0, 51, 255]).all()


def test_the_seed_decides_which_points(tmp_path: Path) -> None:
    first, same, other = (points_of(tmp_path / "scene.ply", 300, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, same) and not np.array_equal(first[:50], other[:50])


@pytest.mark.parametrize(("width", "height"), [(32, 24), (33, 25)])
def test_a_video_has_a_frame_for_every_camera_and_even_sides(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "video.mp4"
    events = list(write_video(path, Ball(), cameras_around(5, width, height)))
    assert events == [StageStarted("video"), *(ItemDone("video", done, 5) for done in range(1, 6))]
    frames = imageio.imread(path, plugin="FFMPEG")
    assert frames.shape == (5, 24, 32, 3)
    sky = frames[:, 0, 0].astype(int)
    assert (abs(sky - [0, 51, 255]) < 40).all()


class Killed(BaseException):
    """Stands for a kill in mid-write."""


def test_a_kill_leaves_the_old_video_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    list(write_video(path, Ball(), cameras_around(2)))
    before = path.read_bytes()
    writing = write_video(path, Ball(), cameras_around(3))
    next(writing), next(writing)
    with pytest.raises(Killed):
        writing.throw(Killed)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["video.mp4"]
