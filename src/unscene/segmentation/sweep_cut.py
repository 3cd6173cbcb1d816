"""Sets around a seed that hang together more than they hang on the rest: the sweep cut of a random walk.

Andersen, Chung and Lang 2006, Local graph partitioning using PageRank vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import minimum_filter1d
from scipy.sparse import csr_array, diags_array

from unscene.segmentation.surface_graph import SurfaceGraph

RESTART = 1e-3  # probability with which the walk begins anew
STEPS = 600  # fewer than the walk needs to forget where it began, so that near things count for more


@dataclass(frozen=True)
class Sweep:
    """Voxels in the order in which a walk prefers them, and the conductance of each beginning of that order.

    order: K voxels; conductance: K, weight of the edges that leave the first k + 1 voxels over their volume.
    """

    order: np.ndarray
    conductance: np.ndarray

    def minima(self, *, window: int, smallest: int, largest: float) -> list[int]:
        """Sizes of the sets between ``smallest`` and ``largest`` whose conductance is the least among sizes that differ
        by less than ``window``, best first."""
        sizes = [place + 1 for place in relative_minima(self.conductance, window).tolist()]
        sizes = [size for size in sizes if smallest < size < largest]
        return sorted(sizes, key=lambda size: self.conductance[size - 1])

    def members(self, size: int, count: int) -> np.ndarray:
        """The first ``size`` voxels as labels, count bool."""
        labels = np.zeros(count, bool)
        labels[self.order[:size]] = True
        return labels


def relative_minima(values: np.ndarray, window: int) -> np.ndarray:
    """Places (of K) whose value is below all others up to ``window`` places away; the first and last are none.

    What `scipy.signal.argrelmin` finds, which compares one distance after the other and takes most of a second to load.
    """
    padded = np.pad(values, window, mode="edge")
    lowest, middle = minimum_filter1d(padded, window), window // 2  # at p: of [p - middle, p - middle + window)
    before, after = lowest[middle : middle + len(values)], lowest[middle + window + 1 :][: len(values)]
    return np.flatnonzero((values < before) & (values < after))


def random_walk(graph: SurfaceGraph, seeds: np.ndarray, *, allowed: np.ndarray | None = None,
                restart: float = RESTART, steps: int = STEPS) -> np.ndarray:  # fmt: skip
    """Probability over degree of a lazy random walk that restarts at the ``seeds`` (M bool), M.

    The walk takes half of its steps on the spot and is lost where it is not ``allowed`` (M bool). With a symmetric
    affinity, probability over degree is constant on a component in the limit, whatever its shape.
    """
    affinity = graph.matrix(graph.affinity)
    degree = np.asarray(affinity.sum(1)).ravel() + 1e-12
    step = csr_array(affinity @ diags_array(1 / degree))  # column-stochastic
    start = seeds / seeds.sum()
    probability = start
    for _ in range(steps):
        moved = restart * start + (1 - restart) * 0.5 * (probability + step @ probability)
        if allowed is not None:
            moved = moved * allowed
            moved /= moved.sum()
        if np.abs(moved - probability).sum() < 1e-7:
            break
        probability = moved
    return probability / degree


def sweep(graph: SurfaceGraph, preference: np.ndarray) -> Sweep:
    """The sweep over voxels by falling ``preference`` (M), as far as it is positive."""
    weights = graph.affinity
    order = np.argsort(-preference, kind="stable")
    order = order[: int((preference > 0).sum())]
    rank = np.full(len(graph), len(order))
    rank[order] = np.arange(len(order))
    enter = np.minimum(rank[graph.first], rank[graph.second])
    leave = np.maximum(rank[graph.first], rank[graph.second])
    opened = np.bincount(enter, weights, len(order) + 1) - np.bincount(leave, weights, len(order) + 1)
    cut = opened.cumsum()[: len(order)]
    degree = np.bincount(graph.first, weights, len(graph)) + np.bincount(graph.second, weights, len(graph))
    volume = degree[order].cumsum()
    return Sweep(order, cut / np.maximum(np.minimum(volume, degree.sum() - volume), 1e-9))
