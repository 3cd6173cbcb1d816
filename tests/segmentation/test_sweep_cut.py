"""Walks keep their probability, and sweeps find what hangs together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.signal import argrelmin

from unscene.segmentation.surface_graph import SurfaceGraph
from unscene.segmentation.sweep_cut import random_walk, relative_minima, sweep


def two_cliques(size: int = 12, bridge: float = 0.01) -> SurfaceGraph:
    """Two cliques with one weak edge between them."""
    pairs = [*itertools.combinations(range(size), 2), *itertools.combinations(range(size, 2 * size), 2)]
    first, second = np.array([*pairs, (0, size)]).T
    likeness = np.ones(len(first))
    likeness[-1] = bridge
    flat, none = np.zeros(2 * size), np.zeros((2 * size, 3))
    return SurfaceGraph(first, second, np.ones(len(first)), none, flat, flat, likeness, np.ones(len(first)), likeness)


def seed_at(graph: SurfaceGraph, voxel: int) -> np.ndarray:
    seeds = np.zeros(len(graph), bool)
    seeds[voxel] = True
    return seeds


def degrees(graph: SurfaceGraph) -> np.ndarray:
    return np.asarray(graph.matrix(graph.affinity).sum(1)).ravel()


def test_probability_is_kept_and_evens_out_over_degree() -> None:
    graph = two_cliques(bridge=1.0)
    walk = random_walk(graph, seed_at(graph, 3), restart=1e-6, steps=4000)
    assert (walk * degrees(graph)).sum() == pytest.approx(1)
    assert walk.max() / walk.min() < 1.05


def test_a_walk_goes_only_where_it_may() -> None:
    graph = two_cliques()
    allowed = np.arange(len(graph)) != 5
    walk = random_walk(graph, seed_at(graph, 3), allowed=allowed)
    assert walk[5] == 0
    assert (walk * degrees(graph)).sum() == pytest.approx(1)


def test_conductance_is_cut_over_volume() -> None:
    graph = two_cliques()
    swept = sweep(graph, random_walk(graph, seed_at(graph, 3)))
    degree, weights = degrees(graph), graph.affinity
    for size in range(1, len(graph)):
        labels = np.zeros(len(graph), bool)
        labels[swept.order[:size]] = True
        cut = weights[labels[graph.first] != labels[graph.second]].sum()
        expected = cut / min(degree[labels].sum(), degree[~labels].sum())
        assert swept.conductance[size - 1] == pytest.approx(expected, rel=1e-6)


def test_the_clique_of_the_seed_has_the_least_conductance() -> None:
    graph = two_cliques()
    swept = sweep(graph, random_walk(graph, seed_at(graph, 3)))
    (best, *_) = swept.minima(window=3, smallest=2, largest=len(graph) - 2)
    members = swept.members(best, len(graph))
    assert (np.flatnonzero(members) == np.arange(12)).all()


@pytest.mark.parametrize("seed", range(40))
def test_relative_minima_are_scipy_s(seed):
    generator = np.random.default_rng(seed)
    count, window = int(generator.integers(1, 200)), int(generator.integers(1, 60))
    values = generator.integers(0, 9, count).astype(float) if seed % 2 else generator.random(count)  # ties, or none
    assert relative_minima(values, window).tolist() == argrelmin(values, order=window)[0].tolist()
