"""Structural similarity (Wang et al. 2004) as a loss, with its gradient written out: eight separable blurs."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

SIZE, DEVIATION = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def structural_dissimilarity(image: Tensor, truth: Tensor) -> Tensor:
    """1 - SSIM of H W 3 images in [0, 1], a scalar; gradient to ``image``. What lies beyond the edges is black."""
    return _Dissimilarity.apply(image, truth)


class _Dissimilarity(torch.autograd.Function):
    """With m_x, m_y, e_xx, e_xy blurred x, y, x x, x y, SSIM is a b / (c d) of
    a = 2 m_x m_y + C1, b = 2 (e_xy - m_x m_y) + C2, c = m_x^2 + m_y^2 + C1, d = e_xx - m_x^2 + var_y + C2."""

    @staticmethod
    def forward(ctx, image: Tensor, truth: Tensor) -> Tensor:
        x, y = image.detach(), truth
        m_x, m_y, e_xx, e_yy, e_xy = (_blurred(values) for values in (x, y, x * x, y * y, x * y))
        a, b = 2 * m_x * m_y + C1, 2 * (e_xy - m_x * m_y) + C2
        c, d = m_x.square() + m_y.square() + C1, (e_xx - m_x.square()) + (e_yy - m_y.square()) + C2
        scale = 1 / (c * d)
        similarity = a * b * scale
        to_m_x = 2 * (m_y * (b - a) * scale + m_x * similarity * (1 / d - 1 / c))
        gradient = _blurred(to_m_x) - 2 * x * _blurred(similarity / d) + 2 * y * _blurred(a * scale)
        ctx.save_for_backward(gradient / image.numel())
        return 1 - similarity.mean()

    @staticmethod
    def backward(ctx, gradient: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        return -gradient * ctx.saved_tensors[0], None


def _kernel() -> np.ndarray:
    offsets = np.arange(SIZE) - SIZE // 2
    weights = np.exp(-(offsets**2) / (2 * DEVIATION**2))
    return (weights / weights.sum()).astype(np.float32)


def _blurred(values: Tensor) -> Tensor:
    """H W C with black around: on a processor by OpenCV, a hundred times as fast there as torch's convolutions."""
    kernel = _kernel()
    if values.device.type == "cpu" and values.dtype == torch.float32:
        array = np.ascontiguousarray(values.numpy())
        return torch.from_numpy(cv2.sepFilter2D(array, -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT))
    weights = torch.from_numpy(kernel).to(values)
    planes = values.movedim(-1, 0)[:, None]
    planes = torch.nn.functional.conv2d(planes, weights.view(1, 1, 1, -1), padding=(0, SIZE // 2))
    planes = torch.nn.functional.conv2d(planes, weights.view(1, 1, -1, 1), padding=(SIZE // 2, 0))
    return planes[:, 0].movedim(0, -1)
