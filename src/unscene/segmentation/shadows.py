"""The shadow at an object's foot: where the plane it stands on darkens without changing its colour."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from unscene.segmentation.minimum_cut import minimum_cut
from unscene.segmentation.support_planes import SupportPlane
from unscene.segmentation.surface_cut import Region, in_one_piece

REACH, LIT = 1.0, 2.0  # object sizes: shadows lie within the first, what lights the plane is learnt up to the second
CLEAR = 0.5  # object sizes from the foot, from which on the plane counts as lit
LARGEST = 0.6  # size of an object, as a share of the region's radius: beyond it there has to be lit plane
ASKED, FEWEST = 600, 12  # lit voxels that tell how bright a place would be, and of its own colour at least
STRANGE = 4.0  # CIELAB units at medium lightness by which colours differ that are not the same in another light
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
    size = min(np.sqrt(labels.sum()) * voxels.spacing, LARGEST * voxels.radius)
    foot = labels & (np.abs((voxels.points - plane.point) @ plane.normal) < 0.5 * size)
    distance = KDTree(voxels.points[foot if foot.any() else labels]).query(voxels.points, workers=-1)[0]
    ground = plane.members & ~labels
    near, lit = ground & (distance < REACH * size), ground & (distance > CLEAR * size) & (distance < LIT * size)
    if near.sum() < FEWEST or lit.sum() < FEWEST:
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
    """By how much the lightness of voxels (as many as are ``near``) lies below that of ``lit`` ones of like colour."""
    voxels = region.voxels
    asked = np.random.default_rng(0).permutation(np.flatnonzero(lit))[:ASKED]
    bright, order = voxels.lab[asked, 0], np.argsort(voxels.lab[asked, 0])
    colours, expected = _unshaded(voxels.lab[asked[order]]), np.zeros(int(near.sum()))
    told = np.zeros(len(expected), bool)
    for first in range(0, len(expected), ASKED):  # a median over what is alike, however much that is
        part = slice(first, first + ASKED)
        apart = cdist(_unshaded(voxels.lab[near][part]), colours)
        alike = (apart < STRANGE).cumsum(1)
        told[part] = alike[:, -1] >= FEWEST
        expected[part] = bright[order[(2 * alike < alike[:, -1:]).sum(1).clip(max=len(order) - 1)]]
    drop = 1 - voxels.lab[near][:, 0] / np.maximum(expected, 1)
    points = KDTree(voxels.points[near])
    apart, index = points.query(voxels.points[near], k=min(32, int(near.sum())), workers=-1)
    weight = np.exp(-0.5 * np.square(2 * apart / (SMOOTHING * voxels.spacing))) * told[index]
    return (drop[index] * weight).sum(1) / np.maximum(weight.sum(1), 1e-6)


def _unshaded(lab: np.ndarray) -> np.ndarray:
    """Colours as they stay when there is less light, M 2: away from black, CIELAB's a, b and L + 16 fall alike."""
    return lab[:, 1:] * (66 / (lab[:, :1] + 16))
