"""The perceptual distance on features that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.losses.perceptual import perceptual_distance


def pyramid(images: Tensor) -> list[Tensor]:
    """The colours themselves at two depths."""
    return [1 * images, F.avg_pool2d(images, 2)]


def colors(images: Tensor) -> list[Tensor]:
    return [images]


def random_images(seed: int) -> Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) + 0.1


def flat(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(1, 3, 8, 8)


def test_an_image_is_at_no_distance_from_itself() -> None:
    assert perceptual_distance(pyramid, random_images(0), random_images(0)).item() == 0


def test_the_distance_is_symmetric_and_positive() -> None:
    forth = perceptual_distance(pyramid, random_images(0), random_images(1))
    back = perceptual_distance(pyramid, random_images(1), random_images(0))
    assert forth > 0
    torch.testing.assert_close(forth, back)


def test_orthogonal_features_are_two_apart() -> None:
    assert perceptual_distance(colors, flat(1, 0, 0), flat(0, 1, 0)).item() == pytest.approx(2, rel=1e-5)


def test_depths_are_averaged() -> None:
    def one_differs(images: Tensor) -> list[Tensor]:
        return [images, torch.ones_like(images)]

    assert perceptual_distance(one_differs, flat(1, 0, 0), flat(0, 1, 0)).item() == pytest.approx(1, rel=1e-5)


def test_the_length_of_features_does_not_matter() -> None:
    once = perceptual_distance(pyramid, random_images(0), random_images(1))
    torch.testing.assert_close(perceptual_distance(pyramid, 50 * random_images(0), random_images(1)), once)


def test_only_the_mask_counts() -> None:
    mask = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    mask[..., 2:6, 2:6] = True
    image, reference = random_images(0), random_images(1)
    inside = torch.where(mask, image, reference)
    outside = torch.where(mask, reference, image)
    assert perceptual_distance(pyramid, outside, reference, mask).item() == 0
    masked = perceptual_distance(pyramid, image, reference, mask)
    torch.testing.assert_close(perceptual_distance(pyramid, inside, reference, mask), masked)
    crop = perceptual_distance(pyramid, image[..., 2:6, 2:6], reference[..., 2:6, 2:6])
    torch.testing.assert_close(masked, crop)


def test_an_empty_mask_gives_zero() -> None:
    mask = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    assert perceptual_distance(pyramid, random_images(0), random_images(1), mask).item() == 0


def test_gradients_reach_the_image_only() -> None:
    image, reference = random_images(0).requires_grad_(), random_images(1).requires_grad_()
    perceptual_distance(pyramid, image, reference).backward()
    assert image.grad is not None and image.grad.abs().sum() > 0 and reference.grad is None


@pytest.mark.parametrize("size", [0.0, *(10.0**exponent for exponent in range(-10, 11, 2))])
def test_gradients_are_finite_for_features_of_any_size(size: float) -> None:
    image = (random_images(0) * size).requires_grad_()
    perceptual_distance(colors, image, random_images(1)).backward()
    assert image.grad is not None and image.grad.isfinite().all()
