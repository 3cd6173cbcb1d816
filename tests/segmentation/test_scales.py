"""What one prompt may mean."""

from __future__ import annotations

import numpy as np

from tests.segmentation.test_sweep_cut import two_cliques
from unscene.segmentation.scales import Scale, is_close_call, openness
from unscene.segmentation.surface_cut import overlap


def test_a_clear_boundary_is_less_open() -> None:
    labels = np.arange(24) < 12
    assert openness(two_cliques(bridge=0.01), labels) < openness(two_cliques(bridge=0.5), labels)


def test_of_equally_clear_ones_the_smaller_is_less_open() -> None:
    graph = two_cliques(bridge=1.0)  # all edges are alike
    assert openness(graph, np.arange(24) < 4) < openness(graph, np.arange(24) < 12)


def test_nothing_is_open_that_nothing_touches() -> None:
    assert openness(two_cliques(), np.ones(24, bool)) == 0


def test_a_close_call_is_said() -> None:
    none = np.zeros(1, bool)
    assert is_close_call((Scale(none, 1.0), Scale(none, 1.2)))
    assert not is_close_call((Scale(none, 1.0), Scale(none, 1.4)))
    assert not is_close_call((Scale(none, 1.0),))


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool)) == 1 / 3
