"""Metrics against analytic values and a slow reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from unscene.evaluation.metrics import psnr, sharpness, ssim
from unscene.evaluation.score import score


def random_image(seed: int, height: int = 20, width: int = 24) -> Tensor:
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed))


def left_half(image: Tensor) -> Tensor:
    mask = torch.zeros(image.shape[:2], dtype=torch.bool)
    mask[:, : image.shape[1] // 2] = True
    return mask


@pytest.mark.parametrize("error", [0.5, 0.1, 1e-3])
def test_psnr_of_a_constant_error(error: float) -> None:
    truth = torch.full((8, 9, 3), 0.3)
    assert psnr(truth + error, truth) == pytest.approx(-20 * math.log10(error), abs=1e-3)


def test_identical_images_are_perfect() -> None:
    image = random_image(0)
    assert psnr(image, image) == math.inf
    assert ssim(image, image) == pytest.approx(1)


def test_masked_psnr_and_ssim_look_inside_the_mask_only() -> None:
    truth = random_image(0, 40, 64)
    mask = left_half(truth)
    image = torch.where(mask[..., None], truth + 0.1, random_image(1, 40, 64))
    assert psnr(image, truth, mask) == pytest.approx(20, abs=1e-3)
    assert psnr(image, truth) < 15
    window = 5  # pixels that a mask's border sees beyond it
    inner = mask.clone()
    inner[:, 32 - window :] = False
    assert ssim(image, truth, inner) == pytest.approx(ssim(truth + 0.1, truth, inner))
    assert ssim(image, truth, ~mask) < 0.3 < ssim(image, truth, inner)


def slow_ssim(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Wang et al. 2004, window by window: H W, mean over channels."""
    offset = np.arange(11) - 5
    window = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    a, b = (np.pad(i, ((5, 5), (5, 5), (0, 0)), mode="reflect") for i in (image, truth))
    result = np.zeros(image.shape)
    for row, column, channel in np.ndindex(*image.shape):
        x, y = (i[row : row + 11, column : column + 11, channel] for i in (a, b))
        mx, my = (window * x).sum(), (window * y).sum()
        vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
        cov = (window * (x - mx) * (y - my)).sum()
        result[row, column, channel] = ((2 * mx * my + 1e-4) * (2 * cov + 9e-4)) / (
            (mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)
        )
    return result.mean(-1)


def test_ssim_is_that_of_the_slow_reference() -> None:
    truth = random_image(0)
    image = (truth + 0.2 * random_image(1)).clamp(0, 1)
    wanted = slow_ssim(image.double().numpy(), truth.double().numpy())
    assert ssim(image, truth) == pytest.approx(wanted.mean(), abs=1e-5)
    mask = left_half(truth)
    assert ssim(image, truth, mask) == pytest.approx(wanted[mask.numpy()].mean(), abs=1e-5)


def test_ssim_of_constant_images_compares_their_brightness() -> None:
    dark, bright = torch.full((16, 16, 3), 0.2), torch.full((16, 16, 3), 0.6)
    wanted = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(dark, bright) == pytest.approx(wanted, abs=1e-4)


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    """A checkerboard's Laplacian is -4 or +4 times its step, so its variance is 16 for a step of one."""
    row, column = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    board = ((row + column) % 2).float()[..., None].expand(16, 16, 3)
    inner = torch.zeros(16, 16, dtype=torch.bool)
    inner[2:14, 2:14] = True
    assert sharpness(board, inner) == pytest.approx(16, rel=1e-4)
    assert sharpness(0.5 * board, inner) == pytest.approx(4, rel=1e-4)
    assert sharpness(torch.full((16, 16, 3), 0.7)) == pytest.approx(0, abs=1e-9)


def pixels(images: Tensor) -> list[Tensor]:
    return [images]


def test_identical_images_have_a_perfect_score() -> None:
    image = random_image(0)
    result = score([image], [image], [left_half(image)], pixels)
    assert (result.views, result.psnr) == (1, math.inf)
    assert result.ssim == result.ssim_masked == pytest.approx(1)
    assert result.perceptual_masked == pytest.approx(0) and result.sharpness_ratio == pytest.approx(1)
    assert result.psnr_masked is not None and result.psnr_masked >= 100


def test_masked_psnr_pools_the_pixels_of_all_views() -> None:
    """A view with one masked pixel must not count like a view with a hundred."""
    truth = torch.full((12, 12, 3), 0.5)
    large, small = torch.zeros(2, 12, 12, dtype=torch.bool)
    large[:10, :10], small[0, 0] = True, True
    result = score([truth + 0.1, truth + 0.4], [truth, truth], [large, small], None)
    wanted = (100 * 0.1**2 + 1 * 0.4**2) / 101
    assert result.psnr_masked == pytest.approx(-10 * math.log10(wanted), abs=1e-4)
    assert result.psnr == pytest.approx((20 - 20 * math.log10(0.4)) / 2, abs=1e-4)


def test_views_without_a_mask_count_for_the_whole_image_only() -> None:
    truth, empty = random_image(0), torch.zeros(20, 24, dtype=torch.bool)
    other = random_image(1)
    both = score([truth, other], [truth + 0.1, truth], [left_half(truth), empty], None)
    assert both.views == 2
    assert both.psnr_masked == pytest.approx(20, abs=1e-3)
    for nowhere in (None, [empty, empty]):
        result = score([truth, other], [truth, truth], nowhere, pixels)
        assert (result.psnr_masked, result.ssim_masked, result.perceptual_masked, result.sharpness_ratio) == (None,) * 4


def test_perceptual_distance_looks_inside_the_mask_only() -> None:
    truth = random_image(0) + 0.1
    mask = left_half(truth)
    outside = torch.where(mask[..., None], truth, random_image(1))
    inside = torch.where(mask[..., None], random_image(1), truth)
    a, b = (score([image], [truth], [mask], pixels).perceptual_masked for image in (outside, inside))
    assert a == pytest.approx(0, abs=1e-6) and b is not None and b > 0.01


def test_blur_lowers_the_sharpness_ratio() -> None:
    truth = random_image(0)
    blurred = torch.nn.functional.avg_pool2d(truth.permute(2, 0, 1)[None], 3, 1, 1)[0].permute(1, 2, 0)
    ratio = score([blurred], [truth], [torch.ones(20, 24, dtype=torch.bool)], None).sharpness_ratio
    assert ratio is not None and ratio < 0.5
