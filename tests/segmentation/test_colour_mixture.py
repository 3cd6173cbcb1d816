"""Mixtures against scipy's densities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from unscene.segmentation.colour_mixture import REGULARISER, ColourMixture


def two_colours() -> np.ndarray:
    random = np.random.default_rng(0)
    spread = np.array([3.0, 2.0, 5.0])
    return np.concatenate([random.normal([20, 0, 0], spread, (600, 3)), random.normal([80, 40, -30], spread, (300, 3))])


def test_one_component_is_the_normal_distribution() -> None:
    colours = two_colours()[:600]
    mixture = ColourMixture.fit(colours, 1, np.random.default_rng(0))
    normal = multivariate_normal(colours.mean(0), np.cov(colours.T, ddof=0) + REGULARISER * np.eye(3))
    assert mixture.log_likelihood(colours) == pytest.approx(normal.logpdf(colours), abs=1e-3)


def test_two_colours_become_two_components() -> None:
    mixture = ColourMixture.fit(two_colours(), 2, np.random.default_rng(0))
    dark = int(mixture.mean[:, 0].argmin())
    assert mixture.mean[dark] == pytest.approx([20, 0, 0], abs=1)
    assert np.exp(mixture.log_weight[dark]) == pytest.approx(2 / 3, abs=0.01)


def test_few_colours_are_one_component() -> None:
    mixture = ColourMixture.fit(np.full((5, 3), 50.0), 8, np.random.default_rng(0))
    assert len(mixture.mean) == 1
    assert np.isfinite(mixture.log_likelihood(np.array([[50.0, 0, 0]]))).all()
