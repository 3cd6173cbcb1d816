"""Poisson's equation on pixels, against cases with closed forms."""

import numpy as np
import pytest

from unscene.geometry.membranes import inflated, membrane


def disc(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size] - (size - 1) / 2
    return np.hypot(x, y) < radius


def test_a_disc_becomes_a_half_ball() -> None:
    y, x = np.mgrid[0:65, 0:65] - 32
    region = disc(65, 25)
    height = inflated(region)
    expected = np.sqrt(np.maximum(25.0**2 - x**2 - y**2, 0))
    assert np.abs(height - expected)[disc(65, 24)].max() < 1.5
    assert not height[~region].any() and (height[region] > 0).all()


def test_a_long_strip_becomes_half_a_cylinder() -> None:
    """-u'' = 4 across a strip of width 2a: u = 2 (a^2 - x^2)."""
    region = np.zeros((21, 200), bool)
    region[1:20] = True
    height = inflated(region)[:, 100]
    across = np.arange(21) - 10
    np.testing.assert_allclose(height[1:20] ** 2, 2 * (100 - across[1:20] ** 2), rtol=1e-4)


def test_a_membrane_goes_straight_between_what_is_known_and_stays_flat_beyond() -> None:
    region = np.zeros((5, 30), bool)
    region[1:4] = True
    known = np.zeros_like(region)
    known[1:4, 5] = known[1:4, 15] = True
    values = np.where(np.arange(30) < 10, 2.0, 4.0) * np.ones((5, 1))
    filled = membrane(region, known, values)
    np.testing.assert_allclose(filled[2, 5:16], np.linspace(2, 4, 11), atol=1e-4)
    np.testing.assert_allclose(filled[2, :5], 2, atol=1e-3)
    np.testing.assert_allclose(filled[2, 16:], 4, atol=1e-3)
    assert not filled[0].any()


def test_what_touches_nothing_known_gets_the_mean() -> None:
    region = np.zeros((9, 9), bool)
    region[1:4, 1:4] = region[6:8, 6:8] = True
    known = np.zeros_like(region)
    known[1, 1:3] = True
    values = np.zeros((9, 9))
    values[1, 1:3] = 3.0, 5.0
    filled = membrane(region, known, values)
    assert filled[6:8, 6:8] == pytest.approx(4.0, abs=1e-3)
    assert 3 <= filled[3, 3] <= 5
