"""Oriented energies: what they answer to, what they do not, and that a field can learn by them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unscene.losses.oriented_energies import ORIENTATIONS, OrientedEnergies, quadrature_filters
from unscene.losses.perceptual import perceptual_distance


def wave(angle: float, phase: float = 0.0, side: int = 48) -> Tensor:
    """A grating of four pixels' wavelength, grey: 1 3 H W."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    value = 0.5 + 0.4 * torch.cos(math.pi / 2 * (x * math.cos(angle) + y * math.sin(angle)) + phase)
    return value.expand(1, 3, -1, -1)


def energies(image: Tensor) -> Tensor:
    """Mean energy of each orientation at the finest scale, first colour, away from the border: O."""
    return OrientedEnergies()(image)[0][0, :ORIENTATIONS, 8:-8, 8:-8].mean((1, 2))


def test_filters_do_not_answer_to_a_constant_and_have_unit_norm() -> None:
    filters = quadrature_filters()
    assert filters.sum((-2, -1)).abs().max() < 1e-5
    torch.testing.assert_close(filters.norm(dim=(-2, -1)), torch.ones(2, ORIENTATIONS, 1))


def test_each_orientation_answers_to_its_own_grating() -> None:
    for index in range(ORIENTATIONS):
        assert int(energies(wave(math.pi * index / ORIENTATIONS)).argmax()) == index


def test_energy_does_not_see_where_in_its_period_a_grating_is() -> None:
    still, shifted = energies(wave(0.0)), energies(wave(0.0, phase=1.3))
    torch.testing.assert_close(still[0], shifted[0], rtol=0.02, atol=0)


def test_patches_may_be_as_small_as_a_pixel() -> None:
    features = OrientedEnergies()
    for side, scales in ((8, 3), (4, 3), (3, 2), (1, 1)):
        maps = features(torch.rand(2, 3, side, side))
        assert len(maps) == scales and all(each.isfinite().all() for each in maps)


def test_contrast_counts() -> None:
    features, strong = OrientedEnergies(), wave(0.6)
    weak = strong * 0.2 + 0.4
    nothing = torch.full_like(strong, 0.5)
    distances = [perceptual_distance(features, image, strong).item() for image in (strong, weak, nothing)]
    assert distances[0] == 0 and 0.1 < distances[1] < distances[2]


def test_a_texture_that_is_blurred_is_farther_than_one_that_is_shifted() -> None:
    texture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    texture = torch.nn.functional.avg_pool2d(texture, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    blurred = torch.nn.functional.avg_pool2d(texture, 7, 1, 3, count_include_pad=False)
    shifted = texture.roll(1, -1)
    features = OrientedEnergies()
    assert perceptual_distance(features, shifted, texture) < 0.6 * perceptual_distance(features, blurred, texture)


def test_gradients_are_finite_on_a_flat_patch_and_lead_to_the_texture() -> None:
    wanted, image = wave(0.6), torch.full((1, 3, 48, 48), 0.5, requires_grad=True)
    features = OrientedEnergies()
    first = perceptual_distance(features, image, wanted)
    (gradient,) = torch.autograd.grad(first, image)
    assert gradient.isfinite().all()
    image = (wave(0.6) * 0.2 + 0.4).requires_grad_()
    (gradient,) = torch.autograd.grad(perceptual_distance(features, image, wanted), image)
    stepped = image.detach() - gradient / gradient.abs().max() * 0.002
    assert perceptual_distance(features, stepped, wanted) < perceptual_distance(features, image, wanted)
