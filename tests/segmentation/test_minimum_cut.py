"""The cut against all labellings there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from unscene.segmentation.minimum_cut import minimum_cut

VOXELS = 8


@pytest.mark.parametrize("seed", range(6))
def test_no_labelling_is_better(seed: int) -> None:
    random = np.random.default_rng(seed)
    gain = random.normal(size=VOXELS).round(2)
    first, second = np.array(list(itertools.combinations(range(VOXELS), 2))).T
    weight = (random.random(len(first)) * random.integers(0, 2, len(first))).round(2)
    inside, outside = np.zeros(VOXELS, bool), np.zeros(VOXELS, bool)
    inside[seed % VOXELS], outside[(seed + 3) % VOXELS] = True, True

    def worth(labels: np.ndarray) -> float:
        return gain[labels & ~inside].sum() - weight[labels[first] != labels[second]].sum()

    allowed = (np.array(labels) for labels in itertools.product([False, True], repeat=VOXELS))
    best = max(worth(labels) for labels in allowed if labels[inside].all() and not labels[outside].any())
    found = minimum_cut(gain, first, second, weight, inside=inside, outside=outside)
    assert found[inside].all() and not found[outside].any()
    assert worth(found) == pytest.approx(best, abs=1e-9)


def test_everything_may_be_known() -> None:
    inside = np.array([True, False])
    edge = np.array([0]), np.array([1]), np.array([1.0])
    assert (minimum_cut(np.zeros(2), *edge, inside=inside, outside=~inside) == inside).all()
