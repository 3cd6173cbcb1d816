"""Outliers of a surface."""

import torch

from unscene.geometry.outliers import inliers, statistical_inliers


def test_flying_pixels_are_found_and_the_surface_stays():
    generator = torch.Generator().manual_seed(0)
    surface = torch.cat([torch.rand(990, 2, generator=generator), torch.zeros(990, 1)], 1)
    flying = torch.rand(10, 3, generator=generator) + torch.tensor([0.0, 0.0, 0.3])
    kept = inliers(torch.cat([surface, flying]), contamination=0.01)
    assert (~kept).sum() == 10
    assert not kept[990:].any() and kept[:990].all()


def test_a_handful_of_points_is_left_alone():
    assert inliers(torch.rand(20, 3), contamination=0.3).all()


def test_statistical_outliers_are_open3ds() -> None:
    """By the definition, point by point: mean distance to the five nearest, itself among them, of all of them."""
    points = torch.randn(300, 3, generator=torch.Generator().manual_seed(2))
    means = torch.stack([(points - point).norm(dim=-1).sort().values[:5].mean() for point in points])
    for deviations in (0.0, 0.5, 1.0, 4.0):
        wanted = means < means.mean() + deviations * means.std()
        assert torch.equal(statistical_inliers(points, neighbours=5, deviations=deviations), wanted)
        assert (~wanted).any()


def test_statistical_outliers_do_not_depend_on_place_or_unit() -> None:
    generator = torch.Generator().manual_seed(3)
    points = torch.cat([torch.rand(200, 3, generator=generator), torch.tensor([[3.0, 3.0, 3.0]])])
    for scale, shift in ((1.0, 0.0), (1e-3, 5.0), (1e4, -1e5)):
        kept = statistical_inliers(points.double() * scale + shift, neighbours=5, deviations=4.0)
        assert (~kept).nonzero().flatten().tolist() == [200]


def test_few_points_and_equal_points_are_no_outliers() -> None:
    assert statistical_inliers(torch.rand(4, 3), neighbours=5, deviations=1.0).all()
    assert statistical_inliers(torch.zeros(0, 3), neighbours=5, deviations=1.0).shape == (0,)
    assert statistical_inliers(torch.ones(50, 3), neighbours=5, deviations=1.0).all()
