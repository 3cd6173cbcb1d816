"""Metrics of single images, by their pixels."""

from __future__ import annotations

import math

import cv2
import numpy as np
from torch import Tensor


def psnr(image: Tensor, truth: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of H W 3 images in [0, 1], over the mask (H W bool) if there is one."""
    error = (image - truth).square()
    mean = (error if mask is None else error[mask]).mean().item()
    return math.inf if mean == 0 else -10 * math.log10(mean)


def ssim(image: Tensor, truth: Tensor, mask: Tensor | None = None) -> float:
    """Structural similarity (Wang et al. 2004): 11-pixel Gaussian window of deviation 1.5, mean over pixels, channels.

    image, truth: H W 3 in [0, 1]; mask: H W bool, whose pixels' windows count.
    """
    x, y = (np.ascontiguousarray(i.numpy(), dtype=np.float64) for i in (image, truth))

    def blur(z: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(z, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT_101)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    score = ((2 * mean_x * mean_y + c1) * (2 * cov + c2)) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return float((score if mask is None else score[mask.numpy()]).mean())


def sharpness(image: Tensor, mask: Tensor | None = None) -> float:
    """Variance of the Laplacian of the grey image (H W 3 in [0, 1]) over the mask."""
    grey = cv2.cvtColor(np.ascontiguousarray(image.numpy(), dtype=np.float32), cv2.COLOR_RGB2GRAY)
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)
    return float((laplacian if mask is None else laplacian[mask.numpy()]).var())
