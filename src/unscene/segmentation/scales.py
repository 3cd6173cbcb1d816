"""The objects that one prompt may mean: a head, the statue, the statue with its plinth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unscene.segmentation.surface_cut import Constraints, Region, cut_surface, overlap
from unscene.segmentation.surface_graph import SurfaceGraph
from unscene.segmentation.sweep_cut import Sweep, random_walk, sweep

STARTS = 5  # sets that are worth a cut
SMALLEST, LARGEST = 60, 0.45  # voxels, and share of the region's
ALONE = 0.9  # share of the region's voxels up to which a piece that nothing touches may be meant as a whole
DISTINCT = 1.25  # ratio of sizes from which on two sets are worth a cut each
SAME = 0.85  # intersection over union of cuts that mean one object
OFFERED = 3
CLOSE_CALL = 1.25  # ratio of openness within which the second might as well be meant
GROWTH = 0.4


@dataclass(frozen=True, eq=False)
class Scale:
    """One object that may be meant. labels: M bool; openness: the less, the clearer, see `openness`."""

    labels: np.ndarray
    openness: float


def walk_and_sweep(graph: SurfaceGraph, seeds: np.ndarray, allowed: np.ndarray | None) -> Sweep:
    """The sweep of a random walk that begins at the seeds (M bool), which come first in it."""
    preference = random_walk(graph, seeds, allowed=allowed)
    preference[seeds] = preference.max() * 1.01
    return sweep(graph, preference)


def starts(region: Region, seeds: np.ndarray, allowed: np.ndarray | None = None) -> list[np.ndarray]:
    """Sets around the seeds at minima of conductance, best first and of sizes that differ, M bool each."""
    swept = walk_and_sweep(region.graph, seeds, allowed)
    count = len(swept.order)
    largest = LARGEST * len(region)
    sizes = swept.minima(window=max(30, count // 200), smallest=SMALLEST, largest=largest)
    sizes = [count, *sizes] if count < ALONE * len(region) else sizes  # nothing touches what the walk can reach
    distinct = list[int]()
    for size in sizes:
        if all(max(size, other) > DISTINCT * min(size, other) for other in distinct):
            distinct.append(size)
    return [swept.members(size, len(region)) | seeds for size in distinct]


def offered_scales(region: Region, candidates: list[np.ndarray], known: Constraints,
                   evidence: np.ndarray | float = 0.0) -> tuple[Scale, ...]:  # fmt: skip
    """What the candidates (M bool each) become when they are cut out, without repetitions, clearest first.

    Conductance, which compares the beginnings of a sweep, would favour the large: a boundary grows with the root of an
    area.
    """
    scales = list[Scale]()
    for candidate in candidates:
        found = [scale.labels for scale in scales]
        labels = cut_surface(region, candidate, known, growth=GROWTH, evidence=evidence, found=found)
        scale = Scale(labels, openness(region.graph, labels))
        same = [other for other in scales if overlap(labels, other.labels) >= SAME]
        clearest = min([scale, *same], key=lambda one: one.openness)
        scales = [*(other for other in scales if other not in same), clearest] if same else [*scales, scale]
    return tuple(sorted(scales, key=lambda scale: scale.openness)[:OFFERED])


def openness(graph: SurfaceGraph, labels: np.ndarray) -> float:
    """Mean affinity of the edges across the boundary, times the fourth root of the area: of things whose boundaries are
    as clear, the smaller is meant (ours: without it a statue loses to the statue with its plinth)."""
    across = labels[graph.first] != labels[graph.second]
    mean = graph.affinity[across].mean() if across.any() else 0.0
    return float(mean * labels.sum() ** 0.25)


def is_close_call(scales: tuple[Scale, ...]) -> bool:
    """Whether the second of some scales is about as clear as the first."""
    return len(scales) > 1 and scales[1].openness < CLOSE_CALL * scales[0].openness
