"""The shadow at an object's foot: where the plane it stands on darkens without changing its colour."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from unscene.segmentation.minimum_cut import minimum_cut
from unscene.segmentation.support_planes import SupportPlane
from unscene.segmentation.surface_cut import Region, in_one_piece

REACH, LIT = 1.0, 2.0  # object sizes: shadows lie within the first, what lights the plane is learnt up to the second
ALIKE = 48  # neighbours in hue that tell how bright a place would be
SMOOTHING = 4.0  # spacings: texture is averaged, shadows are not
DARKER = 0.08  # relative drop in lightness from which on it is shadow
CERTAINTY = 0.03  # drop that is worth one nat
COHERENCE = 1.0


def with_shadow(region: Region, labels: np.ndarray) -> np.ndarray:
    """The object (M bool) and what darkens around its foot, M bool; the object alone if it stands on no plane."""
    plane = _support(region, labels)
    if plane is None:
        return labels
    voxels, graph = region.voxels, region.graph
    size = np.sqrt(labels.sum()) * voxels.spacing
    foot = labels & (np.abs((voxels.points - plane.point) @ plane.normal) < 0.5 * size)
    distance = KDTree(voxels.points[foot if foot.any() else labels]).query(voxels.points, workers=-1)[0]
    ground = plane.members & ~labels
    near, lit = ground & (distance < REACH * size), ground & (distance > 0.5 * size) & (distance < LIT * size)
    if near.sum() < ALIKE or lit.sum() < ALIKE:
        return labels
    drop = np.zeros(len(voxels))
    drop[near] = _drop(region, near, lit)
    gain = (drop - DARKER) / CERTAINTY
    shadow = minimum_cut(
        np.clip(gain, -3, 3),
        graph.first,
        graph.second,
        COHERENCE * graph.contrast,
        inside=labels,
        outside=~(near | labels),
    )
    return in_one_piece(graph, shadow, labels)


def _support(region: Region, labels: np.ndarray) -> SupportPlane | None:
    """The plane that most of the object's border lies on, None if no tenth of it lies on any."""
    first, second = region.graph.first, region.graph.second
    across = labels[first] != labels[second]
    border = np.where(labels[first], second, first)[across]
    touching = [plane.members[border].sum() for plane in region.planes]
    if not touching or max(touching) < 0.1 * len(border):
        return None
    return region.planes[int(np.argmax(touching))]


def _drop(region: Region, near: np.ndarray, lit: np.ndarray) -> np.ndarray:
    """By how much the lightness of voxels (as many as are ``near``) lies below that of ``lit`` ones of like hue."""
    voxels = region.voxels
    _, alike = KDTree(voxels.lab[lit][:, 1:]).query(voxels.lab[near][:, 1:], k=ALIKE, workers=-1)
    expected = np.median(voxels.lab[lit][:, 0][alike], 1)
    drop = 1 - voxels.lab[near][:, 0] / np.maximum(expected, 1)
    points = KDTree(voxels.points[near])
    apart, index = points.query(voxels.points[near], k=min(32, int(near.sum())), workers=-1)
    weight = np.exp(-0.5 * np.square(2 * apart / (SMOOTHING * voxels.spacing)))
    return (drop[index] * weight).sum(1) / weight.sum(1)
