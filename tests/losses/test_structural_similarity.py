"""Structural dissimilarity: its gradient against autograd's, its value against the metric."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from unscene.evaluation.metrics import ssim
from unscene.losses import structural_similarity
from unscene.losses.structural_similarity import C1, C2, structural_dissimilarity


def images(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(23, 31, 3, generator=generator)
    return (truth + 0.2 * torch.randn(truth.shape, generator=generator)).clamp(0, 1), truth


def plain(x: Tensor, y: Tensor) -> Tensor:
    """By torch's convolutions and autograd."""
    kernel = torch.from_numpy(cv2.getGaussianKernel(11, 1.5)).to(x)
    weights = (kernel @ kernel.T)[None, None]

    def blur(z: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(z.movedim(-1, 0)[:, None], weights, padding=5)[:, 0].movedim(0, -1)

    m_x, m_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - m_x**2, blur(y * y) - m_y**2, blur(x * y) - m_x * m_y
    return 1 - ((2 * m_x * m_y + C1) * (2 * cov + C2) / ((m_x**2 + m_y**2 + C1) * (var_x + var_y + C2))).mean()


@pytest.mark.parametrize("precise", [False, True])  # OpenCV's blur, torch's
def test_value_and_gradient_are_autograds(precise: bool) -> None:
    x, y = (image.double() if precise else image for image in images())
    ours, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    value, expected = structural_dissimilarity(ours, y), plain(theirs, y.double())
    (3 * value).backward()
    (3 * expected).backward()
    assert abs(value.item() - expected.item()) < 1e-6
    assert ours.grad is not None and theirs.grad is not None
    assert (ours.grad - theirs.grad).norm() <= (1e-7 if precise else 1e-4) * theirs.grad.norm()


def test_inside_it_is_the_metric() -> None:
    """Away from edges, which the metric mirrors and the loss has black."""
    x, _ = images()
    blurred = structural_similarity._blurred(x)
    expected = cv2.GaussianBlur(x.numpy().astype(np.float64), (11, 11), 1.5)
    assert np.abs(blurred.numpy() - expected)[5:-5, 5:-5].max() < 1e-6
    assert ssim(x, x) == 1 and abs(structural_dissimilarity(x, x).item()) < 1e-6


def test_like_images_have_no_slope() -> None:
    x = images()[1].requires_grad_()
    structural_dissimilarity(x, x.detach()).backward()
    assert x.grad is not None and x.grad.abs().max() < 1e-6
