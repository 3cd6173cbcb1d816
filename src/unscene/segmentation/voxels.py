"""Surface voxels: the points that several photos agree on, gathered in a grid around what was clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from unscene.segmentation.surfaces import Surfaces

SPACING = 2.0  # pixels at the clicked depth
REACH = 0.6  # radius of the ball around the click, as a share of the photo's width at the clicked depth
FEWEST_VIEWS = 3  # that must see a voxel: what one or two views see is a floater or a wrong depth
ADOPTION = 2.5  # spacings within which a pixel belongs to a kept voxel if its own is dropped
CELLS = 1 << 20  # a side of the grid


@dataclass(frozen=True)
class SurfaceVoxels:
    """M voxels that surfaces pass through, inside a ball.

    centre: 3 and radius: of the ball; spacing: a voxel's side; pixel: a pixel's width at the clicked depth; all in
    world units. points: M 3, mean of the surface points within; lab: M 3, their mean colour. of_pixel: N H W int32, the
    voxel of every pixel, -1 where it is none. column, row: N M, where voxels appear in the photos; appears: N M bool,
    whether they do, hidden or not; sees: N M bool, whether they do and are not hidden.
    """

    centre: np.ndarray
    radius: float
    spacing: float
    pixel: float
    points: np.ndarray
    lab: np.ndarray
    of_pixel: np.ndarray
    column: np.ndarray
    row: np.ndarray
    appears: np.ndarray
    sees: np.ndarray
    tree: KDTree

    def __len__(self) -> int:
        return len(self.points)

    def near(self, point: np.ndarray, reach: float) -> np.ndarray:
        """The voxels within ``reach`` world units of a point (3), M bool; at least the nearest."""
        found = np.linalg.norm(self.points - point, axis=1) < reach
        if not found.any():
            found[self.tree.query(point)[1]] = True
        return found

    def paint(self, labels: np.ndarray, views: slice | int = slice(None)) -> np.ndarray:
        """Labels (M bool) as masks of views, N H W bool or H W bool."""
        return np.append(labels, False)[self.of_pixel[views]]

    def votes(self, masks: Sequence[np.ndarray], views: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """How many of the ``views`` see each voxel inside and outside their masks (H W bool each), M and M."""
        inside, outside = np.zeros(len(self)), np.zeros(len(self))
        for mask, view in zip(masks, views, strict=True):
            hit = mask[self.row[view], self.column[view]]
            inside += self.sees[view] & hit
            outside += self.sees[view] & ~hit
        return inside, outside


def voxelise(surfaces: Surfaces, centre: np.ndarray, pixel: float, spacing: float = SPACING) -> SurfaceVoxels:
    """The voxels around a point of the world (3), where a pixel is ``pixel`` wide; ``spacing`` is in such pixels."""
    views, height, width = surfaces.depth.shape
    radius, side = REACH * width * pixel, spacing * pixel
    points = surfaces.points.reshape(-1, 3)
    offsets = points - centre.astype(np.float32)
    kept = np.flatnonzero(np.einsum("pi,pi->p", offsets, offsets) < radius**2)
    cell = np.floor(offsets[kept] / side).astype(np.int64) + CELLS // 2
    key, voxel = np.unique((cell[:, 0] * CELLS + cell[:, 1]) * CELLS + cell[:, 2], return_inverse=True)
    seen = np.zeros((len(key), views), bool)
    seen[voxel, kept // (height * width)] = True
    solid = seen.sum(1) >= min(FEWEST_VIEWS, views)
    number = np.where(solid, solid.cumsum() - 1, -1).astype(np.int32)[voxel]
    positions = _means(points[kept], number, int(solid.sum()))
    tree = KDTree(positions)
    lost = np.flatnonzero(number < 0)
    if len(lost) and len(positions):
        apart, nearest = tree.query(points[kept[lost]], distance_upper_bound=ADOPTION * side, workers=-1)
        number[lost] = np.where(np.isfinite(apart), nearest, -1)
    of_pixel = np.full(views * height * width, -1, np.int32)
    of_pixel[kept] = number
    column, row, appears, sees = (
        np.stack(parts) for parts in zip(*(surfaces.project(view, positions) for view in range(views)), strict=True)
    )
    return SurfaceVoxels(
        centre=centre,
        radius=radius,
        spacing=side,
        pixel=pixel,
        points=positions,
        lab=_means(surfaces.lab.reshape(-1, 3)[kept], np.where(solid[voxel], number, -1), len(positions)),
        of_pixel=of_pixel.reshape(views, height, width),
        column=column.astype(np.int16),
        row=row.astype(np.int16),
        appears=appears,
        sees=sees,
        tree=tree,
    )


def _means(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Means of values (P C) over the groups numbered by ``group`` (P, -1: none), groups C float32."""
    member = group >= 0
    group, values = group[member], values[member]
    count = np.maximum(np.bincount(group, minlength=groups), 1)
    sums = [np.bincount(group, channel, groups) for channel in values.T]
    return (np.stack(sums, -1) / count[:, None]).astype(np.float32)
