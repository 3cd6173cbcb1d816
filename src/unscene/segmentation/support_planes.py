"""Planes that things stand on or lean against, by random sample consensus (Fischler and Bolles 1981)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unscene.segmentation.surface_graph import SurfaceGraph
from unscene.segmentation.voxels import SurfaceVoxels

PLANES, TRIALS = 3, 200
THICKNESS = 2.0  # spacings to either side
FLATTEST = 0.1  # of the voxels that may propose a plane
SMALLEST = 0.04  # share of all voxels


@dataclass(frozen=True)
class SupportPlane:
    """point: 3 on the plane; normal: 3; members: M bool, voxels on it whose normals agree."""

    point: np.ndarray
    normal: np.ndarray
    members: np.ndarray


def support_planes(voxels: SurfaceVoxels, graph: SurfaceGraph, generator: np.random.Generator) -> list[SupportPlane]:
    """Up to three large planes, the largest first."""
    points, normals, thickness = voxels.points, graph.normals, THICKNESS * voxels.spacing
    left, planes = np.ones(len(voxels), bool), list[SupportPlane]()
    for _ in range(PLANES):
        index = np.flatnonzero(left & (graph.flatness < FLATTEST))
        if len(index) < TRIALS:
            break
        tried = generator.choice(index, TRIALS)
        sample = index[:: max(1, len(index) // 4000)]  # enough to rank the trials
        height = np.abs(np.einsum("ti,tsi->ts", normals[tried], points[sample] - points[tried][:, None]))
        alike = np.abs(normals[tried] @ normals[sample].T) > 0.85
        votes = ((height < thickness) & alike).sum(1)
        best = tried[votes.argmax()]
        if votes.max() * len(index) / len(sample) < SMALLEST * len(voxels):
            break
        point, normal = points[best], normals[best]
        for _ in range(3):
            near = left & (np.abs((points - point) @ normal) < thickness) & (np.abs(normals @ normal) > 0.8)
            point = points[near].mean(0)
            axis = np.linalg.eigh(np.cov((points[near] - point).T))[1][:, 0]
            normal = axis * np.sign(axis @ normal)
        members = (np.abs((points - point) @ normal) < thickness) & (np.abs(normals @ normal) > 0.7)
        planes.append(SupportPlane(point, normal, members))
        left &= ~members
    return planes
