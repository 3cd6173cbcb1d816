"""The surfaces that photos show: for every pixel a point in the world and a colour that can be compared."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from unscene.fields.field import RadianceField, render_view
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import surface_points
from unscene.scenes.scene import Scene
from unscene.segmentation.prompts import Click
from unscene.training.events import Event, ItemDone, StageDone, StageStarted

CLICK_REACH = 7  # pixels around a click that may stand in for it where its own depth is an outlier
CLICK_CONTRAST = 8.0  # CIELAB units: how far their colours may be from the clicked pixel's


@dataclass(frozen=True)
class Surfaces:
    """All photos of a scene as surfaces, in main memory.

    cameras: of the photos' size. images: N H W 3 uint8; lab: N H W 3 float32 in CIELAB; depth: N H W, z-depth in world
    units; points: N H W 3 in the world.
    """

    cameras: Cameras
    images: np.ndarray
    lab: np.ndarray
    depth: np.ndarray
    points: np.ndarray

    @staticmethod
    def of(scene: Scene, depth: np.ndarray) -> Surfaces:
        """From the scene's photos and their z-depths (N H W)."""
        cameras, images = scene.cameras.to("cpu"), scene.images.cpu().numpy()
        lab = np.stack([cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab) for image in images])
        points = [surface_points(cameras, view, torch.from_numpy(z)).numpy() for view, z in enumerate(depth)]
        return Surfaces(cameras, images, lab, depth, np.stack(points))

    def __len__(self) -> int:
        return len(self.images)

    def thinned(self, step: int) -> Surfaces:
        """Every ``step``-th pixel of every ``step``-th row."""
        part = (slice(None), slice(step // 2, None, step), slice(step // 2, None, step))
        images, lab, depth, points = self.images[part], self.lab[part], self.depth[part], self.points[part]
        _, height, width = depth.shape
        cameras = self.cameras.resized(self.cameras.width // step, self.cameras.height // step).padded(width, height)
        return Surfaces(cameras, images, lab, depth, points)

    def pixel_size(self, view: int, depth: float) -> float:
        """World units that a pixel of a view is wide at a z-depth."""
        return depth / float(self.cameras.focal[view].mean())

    def project(self, view: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """World points (P 3) in a view: column and row (P int), whether they lie inside the photo, and whether it sees
        them there, its own surface being as far."""
        index = torch.full((len(points),), view)
        xy, z = (tensor.numpy() for tensor in self.cameras.project(index, torch.from_numpy(points)))
        height, width = self.depth.shape[1:]
        inside = (z > 0) & (xy >= 0).all(-1) & (xy[:, 0] < width) & (xy[:, 1] < height)
        column, row = np.where(inside, xy.T, 0).astype(np.int64)
        return column, row, inside, inside & (np.abs(self.depth[view][row, column] - z) < 0.04 * z)

    def point(self, click: Click) -> tuple[np.ndarray, float]:
        """The clicked point of the world, 3, and its z-depth: the weighted median over pixels nearby of like colour."""
        _, height, width = self.depth.shape
        column, row = int(click.x), int(click.y)
        rows = slice(max(0, row - CLICK_REACH), min(height, row + CLICK_REACH + 1))
        columns = slice(max(0, column - CLICK_REACH), min(width, column + CLICK_REACH + 1))
        y, x = np.mgrid[rows, columns]
        apart = ((y - row) ** 2 + (x - column) ** 2) / (2 * (CLICK_REACH / 2) ** 2)
        contrast = np.square(self.lab[click.view][rows, columns] - self.lab[click.view][row, column]).sum(-1)
        weight = np.exp(-apart - contrast / (2 * CLICK_CONTRAST**2)).ravel()
        depth = self.depth[click.view][rows, columns].ravel()
        order = depth.argsort()
        mass = weight[order].cumsum()
        z = float(depth[order][np.searchsorted(mass, mass[-1] / 2)])
        ray = self.cameras.rays(torch.tensor([click.view]), torch.tensor([[click.x, click.y]], dtype=torch.float32))
        return (ray.origins + ray.directions * z / ray.depth_per_distance[:, None])[0].numpy(), z


def median_depths(field: RadianceField, cameras: Cameras) -> Generator[Event, None, Tensor]:
    """Median z-depths of all views, N H W."""
    yield StageStarted("depths")
    depths = []
    for view in range(len(cameras)):
        depths.append(render_view(field, cameras, view).depth)
        yield ItemDone("depths", view + 1, len(cameras))
    yield StageDone("depths", 0.0)
    return torch.stack(depths)
