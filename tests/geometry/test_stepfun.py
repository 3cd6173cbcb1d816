"""Step functions against slow loops in double precision, and at extremes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unscene.geometry.stepfun import cumulative, outer_measure, sample_edges, weights_from_density

DECADES = [10.0**exponent for exponent in range(-10, 11)]


def histograms(rays: int, intervals: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Edges in [0, 1] and weights that sum to one, most of them in a few intervals."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.rand(rays, intervals + 1, generator=generator).sort(-1).values
    w = torch.rand(rays, intervals, generator=generator) ** 6 + 1e-6
    return t, w / w.sum(-1, keepdim=True)


def slow_weights(sigma: list[float], t: list[float]) -> list[float]:
    weights, transmittance = [], 1.0
    for index, density in enumerate(sigma):
        last = index == len(sigma) - 1
        alpha = 1.0 if last else -math.expm1(-density * (t[index + 1] - t[index]))
        weights.append(transmittance * alpha)
        transmittance *= 1 - alpha
    return weights


def slow_cdf(t: list[float], w: list[float], x: float) -> float:
    """Mass of a histogram below ``x``."""
    mass = 0.0
    for left, right, weight in zip(t[:-1], t[1:], w, strict=True):
        mass += weight * min(max((x - left) / (right - left), 0.0), 1.0)
    return mass


def slow_quantile(t: list[float], w: list[float], u: float) -> float:
    mass = 0.0
    for left, right, weight in zip(t[:-1], t[1:], w, strict=True):
        if mass + weight > u:
            return left + (u - mass) / weight * (right - left)
        mass += weight
    return t[-1]


def test_weights_follow_the_rendering_equation() -> None:
    t, _ = histograms(40, 12)
    sigma = 10 ** (torch.rand(40, 12, generator=torch.Generator().manual_seed(1)) * 6 - 3)
    slow = [slow_weights(s, e) for s, e in zip(sigma.double().tolist(), t.double().tolist(), strict=True)]
    torch.testing.assert_close(weights_from_density(sigma, t), torch.tensor(slow), atol=2e-7, rtol=1e-5)


def test_weights_sum_to_one_and_are_never_negative() -> None:
    t, _ = histograms(40, 12)
    for density in [0.0, *DECADES]:
        w = weights_from_density(torch.full((40, 12), density), t)
        torch.testing.assert_close(w.sum(-1), torch.ones(40), atol=1e-6, rtol=0)
        assert w.min() >= 0


def test_weight_gradients_are_finite_over_twenty_decades() -> None:
    for density in DECADES:
        for length in DECADES:
            sigma = torch.full((1, 8), density, requires_grad=True)
            t = (torch.linspace(0, 1, 9)[None] * length).requires_grad_()
            (weights_from_density(sigma, t) * torch.arange(8)).sum().backward()
            assert sigma.grad is not None and sigma.grad.isfinite().all()
            assert t.grad is not None and t.grad.isfinite().all()


def test_cumulative_starts_at_zero_and_ends_at_the_sum() -> None:
    _, w = histograms(5, 7)
    cdf = cumulative(w)
    assert cdf.shape == (5, 8) and (cdf[:, 0] == 0).all()
    torch.testing.assert_close(cdf[:, -1], w.sum(-1))


@pytest.mark.parametrize("jittered", [False, True])
def test_sampled_edges_invert_the_histogram(jittered: bool) -> None:
    t, w = histograms(30, 10)
    jitter = torch.rand(30, generator=torch.Generator().manual_seed(2)) if jittered else None
    edges = sample_edges(t, w, 6, jitter)
    for ray in range(30):
        shift = 0.5 if jitter is None else jitter[ray].item()
        wanted = [slow_quantile(t[ray].tolist(), w[ray].tolist(), (k + shift) / 7) for k in range(7)]
        torch.testing.assert_close(edges[ray], torch.tensor(wanted), atol=2e-4, rtol=0)


def test_sampled_intervals_hold_equal_shares() -> None:
    t, w = histograms(30, 10)
    edges = sample_edges(t.double(), w.double(), 16)
    for ray in range(30):
        mass = [slow_cdf(t[ray].tolist(), w[ray].tolist(), x) for x in edges[ray].tolist()]
        shares = torch.tensor(mass).diff()
        torch.testing.assert_close(shares, torch.full((16,), 1 / 17), atol=1e-5, rtol=0)


def test_sampled_edges_are_sorted_and_stay_inside() -> None:
    t, w = histograms(5000, 32)
    for jitter in (None, torch.zeros(5000), torch.full((5000,), 1 - 2**-24)):
        edges = sample_edges(t, w, 64, jitter)
        assert edges.diff(dim=-1).min() >= 0
        assert (edges[:, 0] >= t[:, 0]).all() and (edges[:, -1] <= t[:, -1]).all()


def test_sampling_ignores_the_scale_of_the_weights() -> None:
    t, w = histograms(30, 10)
    torch.testing.assert_close(sample_edges(t, w * 2**-10, 8), sample_edges(t, w, 8), atol=1e-6, rtol=0)


def test_sampling_survives_empty_intervals_and_spikes() -> None:
    t, w = histograms(8, 10)
    empty, spike = torch.zeros_like(w), torch.zeros_like(w)
    spike[:, 4] = 1
    assert sample_edges(t, empty, 8).isfinite().all()
    edges = sample_edges(t, spike, 8)
    assert (edges >= t[:, 4:5]).all() and (edges <= t[:, 5:6]).all()


def test_outer_measure_adds_up_all_touching_intervals() -> None:
    t_outer, w_outer = histograms(30, 9, seed=3)
    t, _ = histograms(30, 14, seed=4)
    t = (t * 1.2 - 0.1).sort(-1).values  # some intervals lie partly or wholly outside
    t[:, 5] = t_outer[:, 3]  # an edge in common touches, it does not overlap
    t = t.sort(-1).values
    slow = torch.zeros(30, 14)
    for ray in range(30):
        for inner in range(14):
            for outer in range(9):
                starts_before = t_outer[ray, outer] < t[ray, inner + 1]
                if starts_before and t_outer[ray, outer + 1] > t[ray, inner]:
                    slow[ray, inner] += w_outer[ray, outer]
    torch.testing.assert_close(outer_measure(t, t_outer, w_outer), slow, atol=1e-6, rtol=0)
