"""The graph of a surface: which voxels touch, and how likely one thing goes on from one to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from unscene.segmentation.surfaces import Surfaces
from unscene.segmentation.voxels import SurfaceVoxels

NEIGHBOURS = 10
LONGEST_EDGE = 3.0  # spacings
PATCH, PATCH_RADIUS = 40, 4.0  # neighbours, and spacings, over which normals and curvature are taken
FREE_CONCAVITY, CONCAVITY = 0.03, 0.12  # mean sines of the turn that cost nothing, and a factor of e
WEAKEST_EDGE = 1e-3  # so that no voxel is cut off for good


@dataclass(frozen=True)
class SurfaceGraph:
    """Edges between neighbouring voxels.

    first, second: E, the voxels; length: E in spacings. normals: M 3, towards the cameras; flatness: M, 0 on a plane;
    curvature: M, mean sine by which the surface turns away from the tangent plane: negative in a crease.
    likeness, smoothness: E, weights in (0, 1] of colours that are alike and of surfaces that turn no crease; contrast:
    E, GrabCut's edge weights, which fall with the contrast relative to the whole surface's.
    """

    first: np.ndarray
    second: np.ndarray
    length: np.ndarray
    normals: np.ndarray
    flatness: np.ndarray
    curvature: np.ndarray
    likeness: np.ndarray
    smoothness: np.ndarray
    contrast: np.ndarray

    def __len__(self) -> int:
        return len(self.normals)

    @property
    def affinity(self) -> np.ndarray:
        """How readily a random walk takes each edge, E: things meet what they stand on in a crease."""
        return self.likeness * self.smoothness + WEAKEST_EDGE

    def matrix(self, weights: np.ndarray) -> csr_array:
        """Symmetric weights (E) as a sparse M M matrix."""
        rows, columns = np.concatenate([self.first, self.second]), np.concatenate([self.second, self.first])
        return csr_array((np.concatenate([weights, weights]), (rows, columns)), (len(self), len(self)))

    def components(self, labels: np.ndarray) -> np.ndarray:
        """Numbers of the connected components of the voxels in ``labels`` (M bool), M int, -1 elsewhere."""
        within = labels[self.first] & labels[self.second]
        ones = np.ones(int(within.sum()), np.int8)
        links = csr_array((ones, (self.first[within], self.second[within])), (len(self), len(self)))
        return np.where(labels, connected_components(links, directed=False)[1], -1)


def build_graph(voxels: SurfaceVoxels, surfaces: Surfaces) -> SurfaceGraph:
    """The 10-nearest-neighbour graph of the voxels, with normals by principal components (Hoppe et al. 1992)."""
    count = min(PATCH, len(voxels))
    apart, index = voxels.tree.query(
        voxels.points, k=count, distance_upper_bound=PATCH_RADIUS * voxels.spacing, workers=-1
    )
    apart, index = apart.reshape(len(voxels), count), index.reshape(len(voxels), count)
    inside = np.isfinite(apart)
    index = np.where(inside, index, np.arange(len(voxels))[:, None])
    normals, flatness = _normals(voxels, surfaces, index, inside)
    curvature = _curvature(voxels, normals, index, inside & (apart > voxels.spacing))
    first, second, length = _edges(index[:, 1 : NEIGHBOURS + 1], apart[:, 1 : NEIGHBOURS + 1] / voxels.spacing)
    squared = np.square(voxels.lab[first] - voxels.lab[second]).sum(-1)
    likeness = np.exp(-squared / (8 * np.median(squared) + 1e-9)) if len(squared) else squared
    concavity = np.maximum(-np.minimum(curvature[first], curvature[second]) - FREE_CONCAVITY, 0)
    contrast = np.exp(-squared / (2 * squared.mean() + 1e-9)) if len(squared) else squared
    return SurfaceGraph(
        first=first,
        second=second,
        length=length,
        normals=normals,
        flatness=flatness,
        curvature=curvature,
        likeness=likeness,
        smoothness=np.exp(-concavity / CONCAVITY),
        contrast=contrast / np.maximum(length, 0.5),
    )


def _edges(neighbours: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair of neighbours once."""
    voxel = np.repeat(np.arange(len(neighbours)), neighbours.shape[1])
    other, length = neighbours.ravel(), length.ravel()
    short = length < LONGEST_EDGE
    low, high = np.minimum(voxel, other)[short], np.maximum(voxel, other)[short]
    _, once = np.unique(low * len(neighbours) + high, return_index=True)
    return low[once], high[once], length[short][once]


def _normals(
    voxels: SurfaceVoxels, surfaces: Surfaces, index: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Normals M 3 towards the cameras that see each voxel, smoothed over the neighbours, and flatness M."""
    weight = inside[..., None].astype(np.float32)
    patch = voxels.points[index]
    patch = (patch - (patch * weight).sum(1, keepdims=True) / weight.sum(1, keepdims=True)) * weight
    spread, axes = np.linalg.eigh(patch.transpose(0, 2, 1) @ patch)
    watched = voxels.sees.T.astype(np.float32)
    cameras = watched @ surfaces.cameras.positions.numpy() / np.maximum(watched.sum(1), 1)[:, None]
    normals = axes[:, :, 0]
    normals = normals * np.where(np.einsum("mi,mi->m", normals, cameras - voxels.points) < 0, -1, 1)[:, None]
    smooth = (normals[index] * weight).sum(1)
    smooth = smooth / np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-9)
    return smooth.astype(np.float32), spread[:, 0] / np.maximum(spread.sum(1), 1e-12)


def _curvature(voxels: SurfaceVoxels, normals: np.ndarray, index: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean of (n_j - n_i) . (x_j - x_i) / |x_j - x_i| over the neighbours that count, M."""
    towards = voxels.points[index] - voxels.points[:, None]
    turn = np.einsum("mki,mki->mk", normals[index] - normals[:, None], towards)
    turn /= np.maximum(np.linalg.norm(towards, axis=-1), 1e-9)
    return (turn * counted).sum(1) / np.maximum(counted.sum(1), 1)
