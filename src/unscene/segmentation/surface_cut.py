"""GrabCut on a surface: colours of object and surroundings and the minimum cut between them, in turns.

Rother, Kolmogorov and Blake 2004, on the graph of the surface's voxels in place of an image's pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from unscene.segmentation.colour_mixture import ColourMixture
from unscene.segmentation.minimum_cut import minimum_cut
from unscene.segmentation.support_planes import SupportPlane
from unscene.segmentation.surface_graph import SurfaceGraph
from unscene.segmentation.voxels import SurfaceVoxels

ROUNDS = 6
SETTLED = 0.005  # share of the object's voxels that may still change
FOUND = 0.95  # overlap with an object of before from which on it will become that
FEWEST = 20  # voxels that a colour model is made of
OBJECT_COLOURS, BACKGROUND_COLOURS = 5, 8
LARGEST_EVIDENCE = 5.0  # of one voxel's colour, nats
COHERENCE = 3.0  # weight of edges against colours
SUPPORT = 1.5  # nats against voxels of a plane that the object is no large part of
PART_OF_OBJECT = 0.15  # share of an object on a plane from which on the plane is its own face
SURROUNDINGS = 1.2  # object sizes within which the background's colours are learnt
ISLAND = 0.1  # of the object's size, up to which what it encloses belongs to it


@dataclass(frozen=True)
class Constraints:
    """What is known of voxels, each M bool. inside: they are the object. outside: they are not. apart: so the user said
    (a part of outside), and no island of theirs is filled."""

    inside: np.ndarray
    outside: np.ndarray
    apart: np.ndarray


@dataclass(frozen=True)
class Region:
    """The surface around something clicked: voxels, their graph, and the planes things stand on."""

    voxels: SurfaceVoxels
    graph: SurfaceGraph
    planes: list[SupportPlane]

    def __len__(self) -> int:
        return len(self.voxels)


def cut_surface(region: Region, start: np.ndarray, known: Constraints, *, growth: float,
                evidence: np.ndarray | float = 0.0, found: Sequence[np.ndarray] = ()) -> np.ndarray:  # fmt: skip
    """The object that a rough set of voxels (M bool) stands for, M bool.

    growth: how far it may reach beyond the set, in object sizes (the root of its area). evidence: M, nats in favour of
    each voxel besides its colour. found: objects of before (M bool each): what becomes one of them is not cut further.
    """
    voxels, graph = region.voxels, region.graph
    labels = start & ~known.outside | known.inside
    if not labels.any():
        return labels
    size = np.sqrt(labels.sum()) * voxels.spacing
    distance = KDTree(voxels.points[labels]).query(voxels.points, workers=-1)[0]
    outside = known.outside | ((distance > growth * size) & ~known.inside)
    prior = np.zeros(len(voxels)) + evidence
    for plane in region.planes:
        if (plane.members & labels).sum() < PART_OF_OBJECT * labels.sum():
            prior = prior - SUPPORT * plane.members
    near = distance < SURROUNDINGS * size
    generator = np.random.default_rng(0)
    weight = COHERENCE * graph.contrast * graph.smoothness
    for _ in range(ROUNDS):
        if labels.sum() < FEWEST or (near & ~labels).sum() < FEWEST:
            break
        ours = ColourMixture.fit(voxels.lab[labels], OBJECT_COLOURS, generator)
        others = ColourMixture.fit(voxels.lab[near & ~labels], BACKGROUND_COLOURS, generator)
        free = ~outside
        gain = np.zeros(len(voxels))
        ratio = ours.log_likelihood(voxels.lab[free]) - others.log_likelihood(voxels.lab[free])
        gain[free] = ratio.clip(-LARGEST_EVIDENCE, LARGEST_EVIDENCE) + prior[free]
        cut = minimum_cut(gain, graph.first, graph.second, weight, inside=known.inside, outside=outside)
        cut = with_islands(graph, in_one_piece(graph, cut, known.inside), known)
        settled = (cut != labels).sum() < SETTLED * max(labels.sum(), 1)
        labels = cut
        if settled or any(overlap(labels, other) > FOUND for other in found):
            break
    return labels


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two sets of labels (M bool)."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def in_one_piece(graph: SurfaceGraph, labels: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The components of the labelled voxels that hold seeds (M bool), the largest if none does, M bool."""
    piece = graph.components(labels)
    if (held := piece[seeds & labels]).size:
        return labels & np.isin(piece, held)
    return labels & (piece == np.bincount(piece[labels]).argmax()) if labels.any() else labels


def with_islands(graph: SurfaceGraph, labels: np.ndarray, known: Constraints) -> np.ndarray:
    """The labels (M bool) and the small pieces of surface that they enclose, unless these are known to be outside."""
    piece = graph.components(~labels)
    pieces = int(piece.max()) + 1
    border = labels[graph.first] != labels[graph.second]
    touching = np.unique(np.where(labels[graph.first], graph.second, graph.first)[border])
    size = np.bincount(piece[~labels], minlength=pieces)
    enclosed = np.bincount(piece[touching], minlength=pieces) > 0
    enclosed &= size < ISLAND * labels.sum()
    enclosed[np.unique(piece[known.apart & ~labels])] = False
    return labels | (enclosed[piece] & ~labels)
