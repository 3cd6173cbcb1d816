"""Losses on what rays see and on where their weights lie."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from unscene.geometry.stepfun import outer_measure

PixelError = Literal["charbonnier", "squared"]


def pixel_error(kind: PixelError, prediction: Tensor, target: Tensor) -> Tensor:
    """Of colours, mean over all: `charbonnier` or `squared`."""
    return charbonnier(prediction, target) if kind == "charbonnier" else squared(prediction, target)


def charbonnier(prediction: Tensor, target: Tensor, scale: float = 1e-3) -> Tensor:
    """Smooth L1 of colours, mean over all: sqrt(d^2 + scale^2) (mip-NeRF 360, section 5)."""
    return ((prediction - target).square() + scale**2).sqrt().mean()


def squared(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared difference of colours, mean over all (NeRF, eq. 6; In-N-Out, L_rec)."""
    return (prediction - target).square().mean()


def relative_depth(found: Tensor, depth: Tensor) -> Tensor:
    """Smooth absolute relative error of pixels' expected z-depths against what they should be, P; at most 1, so that
    one which still ends far away does not outweigh those that are nearly right."""
    return ((found / depth - 1).square() + 1e-6).sqrt().clamp_max(1)


def depth_likelihood(distances: Tensor, weights: Tensor, distance: Tensor, *, sigma: float = 0.01) -> Tensor:
    """How unlikely rays are to end at known distances (R), R: -sum_k log(w_k) exp(-(t_k - D)^2 / (2 sigma)) dt_k
    (DS-NeRF, eq. 7, as nerfstudio and with it In-N-Out's release have it: sigma stands where its square would).

    distances: R S, of the samples, in units of the scene's radius, as all are here; weights: R S.
    """
    steps = torch.diff(distances, dim=-1, append=2 * distances[:, -1:] - distances[:, -2:-1])
    near = (-(distances - distance[:, None]).square() / (2 * sigma)).exp()
    return -((weights + 1e-7).log() * near * steps).sum(-1)


def depth_ranking(depth: Tensor, estimate: Tensor, first: Tensor, second: Tensor, margin: float = 1e-4) -> Tensor:
    """How far pairs of pixels lie in the wrong order, mean over those that an estimate orders, scalar (SparseNeRF, Wang
    et al. 2023, eq. 4): max(0, d_near - d_far + margin).

    depth, estimate: P, of which the estimate's values mean nothing but their order; first, second: R indices.
    """
    order = (estimate[second] - estimate[first]).sign()  # 1 where the first is nearer
    wrong = (order * (depth[first] - depth[second]) + margin).clamp_min(0) * order.abs()
    return wrong.sum() / order.abs().sum().clamp_min(1)


def interlevel(t: Tensor, w: Tensor, t_proposal: Tensor, w_proposal: Tensor) -> Tensor:
    """How much weight of the final histogram its proposal does not cover (mip-NeRF 360, eq. 13), scalar.

    Gradients reach the proposal only.
    """
    t, w = t.detach(), w.detach()
    bound = outer_measure(t, t_proposal.detach(), w_proposal)
    return ((w - bound).clamp_min(0).square() / (w + 1e-5)).sum(-1).mean()


def distortion(t: Tensor, w: Tensor) -> Tensor:
    """Spread of the weights along each ray (mip-NeRF 360, eq. 15), mean over rays, in time linear in the samples."""
    middle = (t[:, 1:] + t[:, :-1]) / 2
    # sum_ij w_i w_j |m_i - m_j| over sorted middles, with prefix sums in place of the double loop
    w_before = w.cumsum(-1) - w
    wm_before = (w * middle).cumsum(-1) - w * middle
    between = 2 * (w * (middle * w_before - wm_before)).sum(-1)
    within = (w.square() * t.diff(dim=-1)).sum(-1) / 3
    return (between + within).mean()
