"""What fills a hole before a latent inpainter sees it."""

from __future__ import annotations

import pytest
import torch

from unscene.priors.diffusion.mask_blending import smooth_fill


def hole(height: int, width: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, height, width)
    mask[..., 3 : height - 5, 6 : width - 2] = 1
    return mask


@pytest.mark.parametrize(("height", "width"), [(32, 48), (17, 29), (9, 64)])
def test_a_smooth_fill_uses_and_keeps_what_is_outside_only(height: int, width: int) -> None:
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    mask = hole(height, width)
    filled = smooth_fill(image, mask)
    assert torch.equal(filled, smooth_fill(torch.where(mask > 0, 7.0, image), mask))
    outside = mask.expand_as(image) == 0
    assert torch.equal(filled[outside], image[outside])
    assert image[outside].min() <= filled.min() and filled.max() <= image[outside].max()


def test_a_smooth_fill_of_a_plain_colour_is_that_colour() -> None:
    plain = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 40, 24)
    torch.testing.assert_close(smooth_fill(plain, hole(40, 24)), plain)


def test_a_smooth_fill_follows_a_ramp() -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    assert (smooth_fill(ramp, mask) - ramp)[mask > 0].abs().mean() < 0.12  # the mean alone is off by 0.13


def test_where_nothing_is_known_a_smooth_fill_is_finite() -> None:
    assert smooth_fill(torch.rand(2, 3, 8, 8), torch.ones(2, 1, 8, 8)).abs().max() == 0
