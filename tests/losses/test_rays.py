"""Losses along rays against the papers' double loops, and at extremes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from unscene.losses.rays import (
    charbonnier,
    depth_likelihood,
    depth_ranking,
    distortion,
    interlevel,
    pixel_error,
)

DECADES = [10.0**exponent for exponent in range(-10, 11)]


def histograms(rays: int, intervals: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    t = torch.rand(rays, intervals + 1, generator=generator).sort(-1).values
    w = torch.rand(rays, intervals, generator=generator) ** 4
    return t, w / w.sum(-1, keepdim=True)


def slow_distortion(t: list[float], w: list[float]) -> float:
    """Mip-NeRF 360, eq. 15, as printed."""
    middle = [(left + right) / 2 for left, right in itertools.pairwise(t)]
    between = sum(
        wi * wj * abs(mi - mj) for wi, mi in zip(w, middle, strict=True) for wj, mj in zip(w, middle, strict=True)
    )
    within = sum(wi**2 * (right - left) for wi, left, right in zip(w, t[:-1], t[1:], strict=True)) / 3
    return between + within


def slow_interlevel(t: list[float], w: list[float], t_proposal: list[float], w_proposal: list[float]) -> float:
    """Mip-NeRF 360, eq. 12 and 13."""
    loss = 0.0
    for left, right, weight in zip(t[:-1], t[1:], w, strict=True):
        bound = sum(
            outer
            for start, end, outer in zip(t_proposal[:-1], t_proposal[1:], w_proposal, strict=True)
            if start < right and end > left
        )
        loss += max(0.0, weight - bound) ** 2 / (weight + 1e-5)
    return loss


def test_distortion_is_the_papers_double_loop() -> None:
    t, w = histograms(20, 15, seed=0)
    slow = torch.tensor([slow_distortion(*ray) for ray in zip(t.tolist(), w.tolist(), strict=True)]).mean()
    torch.testing.assert_close(distortion(t, w), slow, rtol=1e-5, atol=0)


def test_distortion_has_its_minimum_at_one_narrow_interval() -> None:
    t = torch.tensor([[0.0, 0.4, 0.401, 1.0]])
    narrow = distortion(t, torch.tensor([[0.0, 1.0, 0.0]]))
    assert narrow.item() == pytest.approx(0.001 / 3, rel=1e-3)
    assert distortion(t, torch.tensor([[0.5, 0.0, 0.5]])) > 100 * narrow


def test_interlevel_is_the_papers_double_loop() -> None:
    t, w = histograms(20, 15, seed=0)
    t_proposal, w_proposal = histograms(20, 8, seed=1)
    rays = zip(t.tolist(), w.tolist(), t_proposal.tolist(), (0.5 * w_proposal).tolist(), strict=True)
    slow = torch.tensor([slow_interlevel(*ray) for ray in rays]).mean()
    assert slow > 0.01
    torch.testing.assert_close(interlevel(t, w, t_proposal, 0.5 * w_proposal), slow, rtol=1e-4, atol=0)


def test_interlevel_is_zero_where_the_proposal_covers() -> None:
    t, w = histograms(20, 16, seed=0)
    merged = w.view(20, 8, 2).sum(-1)  # the exact coarser histogram is an outer bound
    assert interlevel(t, w, t[:, ::2], merged + 1e-6).item() == 0
    assert interlevel(t, w, t[:, ::2], 0.2 * merged).item() > 0


def test_interlevel_teaches_the_proposal_only() -> None:
    t, w = histograms(20, 15, seed=0)
    t_proposal, w_proposal = histograms(20, 8, seed=1)
    inputs = [x.requires_grad_() for x in (t, w, t_proposal, w_proposal)]
    interlevel(*inputs).backward()
    assert t.grad is None and w.grad is None and t_proposal.grad is None
    assert w_proposal.grad is not None
    assert w_proposal.grad.max() < 1e-7 and w_proposal.grad.min() < -0.1  # descending it only adds weight


def test_charbonnier_is_between_l1_and_l2() -> None:
    zero = torch.zeros(1)
    assert charbonnier(zero, zero, scale=1e-3).item() == pytest.approx(1e-3)
    assert charbonnier(zero + 0.5, zero, scale=1e-3).item() == pytest.approx(0.5, rel=1e-4)
    small = charbonnier(zero + 1e-5, zero, scale=1e-3).item() - 1e-3
    assert small == pytest.approx(1e-10 / 2e-3, abs=1e-10)


@pytest.mark.parametrize("size", DECADES)
def test_gradients_are_finite_over_twenty_decades(size: float) -> None:
    t, w = histograms(6, 8, seed=0)
    t_proposal, w_proposal = histograms(6, 4, seed=1)
    w, w_proposal = (w * size).requires_grad_(), (w_proposal / size).requires_grad_()
    color = torch.full((6, 3), size, requires_grad=True)
    loss = distortion(t, w) + interlevel(t, w, t_proposal, w_proposal) + charbonnier(color, torch.zeros(6, 3))
    loss.backward()
    for tensor in (w, w_proposal, color):
        assert tensor.grad is not None and tensor.grad.isfinite().all()
    scaled = (t.detach() * size).requires_grad_()
    distortion(scaled, w.detach()).backward()
    assert scaled.grad is not None and scaled.grad.isfinite().all()


def test_depth_likelihood_is_ds_nerfs_sum() -> None:
    distances, weights = torch.tensor([[0.5, 0.8, 1.0, 1.3]]), torch.tensor([[0.1, 0.2, 0.5, 0.1]])
    slow = 0.0
    steps = [0.3, 0.2, 0.3, 0.3]  # the last as long as the one before
    for t, w, dt in zip(distances[0].tolist(), weights[0].tolist(), steps, strict=True):
        slow -= math.log(w + 1e-7) * math.exp(-((t - 0.95) ** 2) / (2 * 0.02)) * dt
    found = depth_likelihood(distances, weights, torch.tensor([0.95]), sigma=0.02)
    assert found.tolist() == pytest.approx([slow], rel=1e-5)


def test_depth_likelihood_wants_the_weight_where_the_surface_is() -> None:
    distances, logits = torch.linspace(0.1, 2, 16)[None], torch.zeros(1, 16, requires_grad=True)
    for wanted in (0.6, 1.5):
        loss = depth_likelihood(distances, logits.softmax(-1), torch.tensor([wanted])).sum()
        (gradient,) = torch.autograd.grad(loss, logits)
        nearest = (distances[0] - wanted).abs().argmin()
        assert gradient[0].argmin() == nearest and gradient[0, nearest] < 0
    empty = torch.zeros(1, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(depth_likelihood(distances, empty, torch.tensor([1.0])).sum(), empty)
    assert gradient.isfinite().all()


def test_pixel_errors_are_named() -> None:
    a, b = torch.tensor([0.0, 0.5]), torch.tensor([0.2, 0.5])
    assert pixel_error("squared", a, b).item() == pytest.approx(0.02)
    assert pixel_error("charbonnier", a, b) == charbonnier(a, b)


def test_depth_ranking_is_the_hinge_of_pairs_in_the_wrong_order() -> None:
    """SparseNeRF, eq. 4, pair by pair; pairs that the estimate does not order count for nothing."""
    generator = torch.Generator().manual_seed(0)
    depth, estimate = torch.rand(2, 40, generator=generator).unbind()
    estimate = (estimate * 8).floor()  # many are equal
    first, second = torch.randint(40, (2, 60), generator=generator)
    losses = []
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        if estimate[i] != estimate[j]:
            near, far = (i, j) if estimate[i] < estimate[j] else (j, i)
            losses.append(max(0.0, float(depth[near] - depth[far]) + 0.03))
    assert 20 < len(losses) < 60 and 0.0 in losses
    found = depth_ranking(depth, estimate, first, second, margin=0.03)
    assert found.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_depth_ranking_asks_for_the_order_and_nothing_more() -> None:
    depth = torch.tensor([1.0, 2.0, 5.0], requires_grad=True)
    first, second = torch.tensor([0, 2, 1]), torch.tensor([1, 0, 2])
    assert depth_ranking(depth, torch.tensor([-7.0, 0.0, 1e6]), first, second) == 0  # any scale, either direction
    assert depth_ranking(depth, torch.zeros(3), first, second) == 0  # nothing is ordered
    wrong = depth_ranking(depth, torch.tensor([1.0, 2.0, 0.0]), first[2:], second[2:], margin=0.5)
    assert wrong.item() == pytest.approx(3.5)
    (gradient,) = torch.autograd.grad(wrong, depth)
    assert gradient.tolist() == [0.0, -1.0, 1.0]  # the near one comes nearer, the far one goes away
