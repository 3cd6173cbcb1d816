"""Binary labels of least energy by a minimum cut (Boykov and Jolly 2001)."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

UNITS = 1000  # integer capacities to one unit of energy


def minimum_cut(gain: np.ndarray, first: np.ndarray, second: np.ndarray, weight: np.ndarray, *,
                inside: np.ndarray, outside: np.ndarray) -> np.ndarray:  # fmt: skip
    """Labels M bool that maximise the sum of the labelled voxels' gains less the weights of the edges cut.

    gain: M, any sign. first, second: E, voxels that an edge joins at weight: E >= 0. inside, outside: M bool, voxels
    that must and must not be labelled; these take no part in the flow.
    """
    labels = inside.copy()
    free = ~(inside | outside)
    number = np.where(free, free.cumsum() - 1, -1)
    count = int(free.sum())
    if count == 0:
        return labels
    capacity = np.round(weight * UNITS).astype(np.int64)
    terminal = np.round(gain * UNITS).astype(np.int64)
    for one, other in ((first, second), (second, first)):  # an edge to a fixed voxel is a gain of the free one
        fixed = free[one] & ~free[other]
        np.add.at(terminal, one[fixed], np.where(inside[other[fixed]], capacity[fixed], -capacity[fixed]))
    both = free[first] & free[second]
    a, b, between = number[first[both]], number[second[both]], capacity[both]
    terminal, source, sink, voxel = terminal[free], count, count + 1, np.arange(count)
    rows = [a, b, np.full(count, source), voxel]
    columns = [b, a, voxel, np.full(count, sink)]
    values = [between, between, np.maximum(terminal, 0), np.maximum(-terminal, 0)]
    flat = (np.concatenate(values).clip(0, 2**30).astype(np.int32), (np.concatenate(rows), np.concatenate(columns)))
    network = csr_array(flat, (count + 2, count + 2))
    network.sum_duplicates()
    residual = network - maximum_flow(network, source, sink).flow
    residual.data = np.maximum(residual.data, 0)
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, source, return_predecessors=False)
    labels[np.flatnonzero(free)[reached[reached < count]]] = True
    return labels
