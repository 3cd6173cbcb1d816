"""How good renders are, against the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from unscene.losses.perceptual import Features, perceptual_distance


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


@dataclass(frozen=True)
class Score:
    """Means over views. *_masked: inside the object mask only; None where no view has a mask.

    perceptual_masked: distance in the features named beside it, not LPIPS. sharpness_ratio: variance of the Laplacian
    inside the mask over the truth's.
    """

    views: int
    psnr: float
    ssim: float
    psnr_masked: float | None
    ssim_masked: float | None
    perceptual_masked: float | None
    sharpness_ratio: float | None


def score(images: list[Tensor], truths: list[Tensor], masks: list[Tensor] | None, features: Features | None) -> Score:
    """Compare renders with the truth, view by view (H W 3 in [0, 1]; masks H W bool).

    Masked PSNR is that of the mean error over all masked pixels of all views, so that views with few of them do not
    count like those with many.
    """
    pairs = list(zip(images, truths, strict=True))
    whole_psnr = float(np.mean([psnr(a, b) for a, b in pairs]))
    whole_ssim = float(np.mean([ssim(a, b) for a, b in pairs]))
    inside = [(a, b, m) for (a, b), m in zip(pairs, masks, strict=True) if m.any()] if masks else []
    if not inside:
        return Score(len(pairs), whole_psnr, whole_ssim, None, None, None, None)
    errors = torch.cat([(a - b).square()[m].flatten() for a, b, m in inside])
    perceptual = None
    if features is not None:
        perceptual = float(np.mean([_perceptual(features, a, b, m) for a, b, m in inside]))
    return Score(
        views=len(pairs),
        psnr=whole_psnr,
        ssim=whole_ssim,
        psnr_masked=-10 * math.log10(max(errors.mean().item(), 1e-12)),
        ssim_masked=float(np.mean([ssim(a, b, m) for a, b, m in inside])),
        perceptual_masked=perceptual,
        sharpness_ratio=float(np.mean([sharpness(a, m) / max(sharpness(b, m), 1e-12) for a, b, m in inside])),
    )


@torch.no_grad()
def _perceptual(features: Features, image: Tensor, truth: Tensor, mask: Tensor) -> float:
    a, b = (i.permute(2, 0, 1)[None] for i in (image, truth))
    return float(perceptual_distance(features, a, b, mask[None, None]))
