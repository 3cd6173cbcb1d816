"""Outliers of a surface."""

import torch

from unscene.geometry.outliers import inliers


def test_flying_pixels_are_found_and_the_surface_stays():
    generator = torch.Generator().manual_seed(0)
    surface = torch.cat([torch.rand(990, 2, generator=generator), torch.zeros(990, 1)], 1)
    flying = torch.rand(10, 3, generator=generator) + torch.tensor([0.0, 0.0, 0.3])
    kept = inliers(torch.cat([surface, flying]), contamination=0.01)
    assert (~kept).sum() == 10
    assert not kept[990:].any() and kept[:990].all()


def test_a_handful_of_points_is_left_alone():
    assert inliers(torch.rand(20, 3), contamination=0.3).all()
