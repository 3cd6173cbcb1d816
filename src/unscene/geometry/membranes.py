"""Smooth surfaces over a region of pixels: Poisson's equation on the pixel grid."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve


def inflated(region: np.ndarray) -> np.ndarray:
    """A height for every pixel of a region (H W bool), H W in pixels, 0 outside: a half ball over a disc.

    The root of the solution of Poisson's equation with a constant right side, which over a disc of radius r is
    r^2 - d^2.
    """
    return np.sqrt(np.maximum(_solved(region, np.zeros_like(region), np.zeros(region.shape), 4.0), 0))


def membrane(region: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The smoothest continuation over a region (H W bool) of values (H W) known somewhere in it (H W bool), H W.

    Nothing pulls at the region's outline. A connected part of the region without any known value gets the mean of
    those there are; expects at least one.
    """
    mean = float(values[known & region].mean())
    return _solved(region, known & region, values - mean, None) + np.where(region, mean, 0)


def _solved(region: np.ndarray, known: np.ndarray, values: np.ndarray, source: float | None) -> np.ndarray:
    """-Laplacian u = source, H W, in a region but where u is known.

    source: None is 0, with an outline that is free; else u is 0 outside.
    """
    unknown = region & ~known
    count = int(unknown.sum())
    solution = np.where(known, values, 0.0)
    if count == 0:
        return solution
    index = np.full(region.shape, -1)
    index[unknown] = np.arange(count)
    padded = np.pad(index, 1, constant_values=-1)
    inside, given = np.pad(region, 1), np.pad(solution, 1)
    rows, columns = np.nonzero(unknown)
    degree, right = np.zeros(count), np.full(count, source or 0.0)
    entries = []
    for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        r, c = rows + 1 + down, columns + 1 + across
        degree += 1 if source is not None else inside[r, c]
        right += given[r, c]
        linked = padded[r, c] >= 0
        entries.append((np.flatnonzero(linked), padded[r, c][linked]))
    i = np.concatenate([np.arange(count), *[a for a, _ in entries]])
    j = np.concatenate([np.arange(count), *[b for _, b in entries]])
    # a hair of a pull towards 0 where nothing is known at all
    weights = np.concatenate([degree + 1e-9, -np.ones(len(i) - count)])
    solution[unknown] = spsolve(sparse.csc_matrix((weights, (i, j))), right)
    return solution
