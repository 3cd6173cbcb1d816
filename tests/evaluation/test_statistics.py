"""Distances of feature sets, on sets whose distributions are known, and against slow references."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from unscene.evaluation.statistics import frechet_distance, kernel_distance


def gaussian(count: int, seed: int, mean: Tensor, root: Tensor) -> Tensor:
    """Vectors with covariance root @ root.T."""
    drawn = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return mean.double() + drawn @ root.double().T


def exactly(features: Tensor, mean: Tensor, root: Tensor) -> Tensor:
    """The vectors moved and turned so that their own moments are those."""
    centred = features - features.mean(0)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(centred.T)), centred.T, upper=False)
    return mean + (root @ whitened).T


def test_frechet_distance_of_two_gaussians_is_the_analytic_one() -> None:
    """Of commuting covariances: |m - n|^2 + sum (sqrt a - sqrt b)^2."""
    zero, turn = torch.zeros(3).double(), torch.linalg.qr(gaussian(3, 0, torch.zeros(3), torch.eye(3))).Q
    a, b = torch.tensor([1.0, 4.0, 0.25]).double(), torch.tensor([9.0, 4.0, 1.0]).double()
    shift = torch.tensor([1.0, -2.0, 0.5]).double()
    one = exactly(gaussian(500, 1, zero, torch.eye(3).double()), zero, turn @ a.sqrt().diag() @ turn.T)
    two = exactly(gaussian(300, 2, zero, torch.eye(3).double()), shift, turn @ b.sqrt().diag() @ turn.T)
    wanted = float(shift.square().sum() + (a.sqrt() - b.sqrt()).square().sum())
    assert frechet_distance(one, two) == pytest.approx(wanted, rel=1e-9)
    assert frechet_distance(two, one) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(("count", "others", "width"), [(40, 30, 6), (7, 5, 12), (40, 5, 12)])
def test_frechet_distance_is_that_of_the_matrix_root(count: int, others: int, width: int) -> None:
    """Also of fewer vectors than dimensions, as with forty test views and Inception's 2048."""
    root = torch.rand(width, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    one = gaussian(count, 4, torch.zeros(width), root)
    two = gaussian(others, 5, torch.ones(width), torch.eye(width).double())
    difference = (one.mean(0) - two.mean(0)).square().sum().item()
    cov_one, cov_two = (np.cov(x.numpy(), rowvar=False) for x in (one, two))
    root_of_product = scipy.linalg.sqrtm(cov_one @ cov_two)
    wanted = difference + np.trace(cov_one + cov_two - 2 * np.real(root_of_product))
    assert frechet_distance(one, two) == pytest.approx(wanted, rel=1e-4)


def test_a_set_is_at_no_distance_from_itself() -> None:
    features = gaussian(9, 6, torch.zeros(16), torch.eye(16).double())
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features.flip(0)) == pytest.approx(0, abs=1e-9)


def slow_kernel_distance(one: Tensor, two: Tensor) -> float:
    """Binkowski et al., eq. 4, pair by pair."""

    def kernel(x: Tensor, y: Tensor) -> float:
        return (float(x @ y) / len(x) + 1) ** 3

    def among(z: Tensor) -> float:
        pairs = [kernel(x, y) for i, x in enumerate(z) for j, y in enumerate(z) if i != j]
        return sum(pairs) / len(pairs)

    return among(one) + among(two) - 2 * float(np.mean([kernel(x, y) for x in one for y in two]))


def test_kernel_distance_is_that_of_the_slow_reference() -> None:
    one, two = (gaussian(n, s, torch.full((5,), s / 4.0), torch.eye(5).double()) for n, s in ((8, 1), (11, 2)))
    assert kernel_distance(one, two) == pytest.approx(slow_kernel_distance(one, two), rel=1e-9)


@pytest.mark.usefixtures("one_thread")
def test_kernel_distance_is_unbiased_however_few_vectors_there_are() -> None:
    """Two sets of one distribution: the mean over many draws is zero; with the diagonal it would be 3.25."""
    zero, eye = torch.zeros(4, dtype=torch.float64), torch.eye(4).double()
    drawn = [kernel_distance(gaussian(6, 2 * s, zero, eye), gaussian(6, 2 * s + 1, zero, eye)) for s in range(400)]
    error = np.std(drawn) / len(drawn) ** 0.5
    assert abs(np.mean(drawn)) < 3 * error < 0.25 and min(drawn) < 0
    apart = [kernel_distance(gaussian(6, 2 * s, zero + 1, eye), gaussian(6, 2 * s + 1, zero, eye)) for s in range(200)]
    many = kernel_distance(gaussian(1000, 1, zero + 1, eye), gaussian(1000, 2, zero, eye))
    assert np.mean(apart) == pytest.approx(many, abs=4 * np.std(apart) / len(apart) ** 0.5) and many > 1


def test_float_features_far_from_zero_keep_their_difference() -> None:
    features = gaussian(50, 1, torch.full((8,), 1000.0), 0.01 * torch.eye(8).double()).float()
    assert frechet_distance(features, features + 0.5) == pytest.approx(8 * 0.25, rel=1e-3)
    wanted = slow_kernel_distance((features + 0.5).double(), features.double())
    assert kernel_distance(features + 0.5, features) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_single_vectors_and_other_widths_are_refused(distance) -> None:
    with pytest.raises(ValueError, match="at least two vectors each, got 1 and 4"):
        distance(torch.zeros(1, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(4, 2\)"):
        distance(torch.zeros(4, 3), torch.zeros(4, 2))
