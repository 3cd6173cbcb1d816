"""Completing depth behind a hole, and aligning one depth map to another."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unscene.priors.depth.completion import align_depth, complete_disparity


def plane_depth(height: int = 24, width: int = 30) -> Tensor:
    """z-depth of a plane in space tilted about both axes, seen by a pinhole camera."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x, y = (x - width / 2) / 20, (y - height / 2) / 20
    return 3 / (1 + 0.5 * x - 0.4 * y)  # n.X = 3 with n = (0.5, -0.4, 1) and X = z (x, y, 1)


def blob_hole() -> Tensor:
    """A hole of two parts that stay off the image's border."""
    hole = torch.zeros(24, 30, dtype=torch.bool)
    hole[4:15, 3:20] = True
    hole[9:20, 15:18] = True
    hole[20:22, 24:27] = True
    hole[7:9, 8:10] = False  # with an island
    return hole


def test_a_tilted_plane_is_restored_exactly() -> None:
    depth, hole = plane_depth(), blob_hole()
    assert (1 / depth[hole]).std() > 0.04
    damaged = torch.where(hole, torch.tensor(17.0), depth)
    torch.testing.assert_close(complete_disparity(damaged, hole), depth, rtol=1e-5, atol=0)


def test_what_is_known_stays_exactly() -> None:
    depth, hole = plane_depth(), blob_hole()
    assert torch.equal(complete_disparity(depth, hole)[~hole], depth[~hole])
    assert torch.equal(complete_disparity(depth, torch.zeros_like(hole)), depth)


@pytest.mark.parametrize("at_border", [False, True])
def test_values_lie_between_those_on_the_holes_border(at_border: bool) -> None:
    depth = torch.rand(24, 30, generator=torch.Generator().manual_seed(0)) * 5 + 1
    hole = torch.zeros(24, 30, dtype=torch.bool)
    hole[0 if at_border else 5 : 14, 8 : 30 if at_border else 20] = True
    ring = torch.nn.functional.max_pool2d(hole[None].float(), 3, 1, 1)[0].bool() & ~hole
    filled = complete_disparity(depth, hole)[hole]
    assert filled.min() >= depth[ring].min() and filled.max() <= depth[ring].max()
    assert filled.std() < depth[ring].std()


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1e3, 1e9])
def test_completion_does_not_depend_on_the_worlds_unit(unit: float) -> None:
    depth, hole = plane_depth(), blob_hole()
    torch.testing.assert_close(complete_disparity(depth * unit, hole) / unit, depth, rtol=1e-4, atol=0)


def test_a_hole_without_surroundings_is_an_error() -> None:
    with pytest.raises(ValueError, match="covers the whole view"):
        complete_disparity(plane_depth(), torch.ones(24, 30, dtype=torch.bool))


def estimate_values(count: int = 400) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(0)) * 4 + 1


@pytest.mark.parametrize("scale, offset", [(2.5, -0.7), (-0.3, 4.0), (1e-6, 1e-6), (1e6, -3e6)])
def test_alignment_of_an_affine_copy_is_exact(scale: float, offset: float) -> None:
    e = estimate_values().double()
    found = align_depth(e, scale * e + offset, torch.ones(400))
    assert found == pytest.approx((scale, offset), rel=1e-6)


def test_alignment_follows_the_majority_among_planted_outliers() -> None:
    e = estimate_values()
    generator = torch.Generator().manual_seed(1)
    reference = 2 * e + 1 + 0.01 * torch.randn(400, generator=generator)
    outliers = torch.randperm(400, generator=generator)[:120]
    reference[outliers] += torch.rand(120, generator=generator) * 20 + 2  # 30 %, all on one side
    assert align_depth(e, reference, torch.ones(400)) == pytest.approx((2, 1), abs=0.05)
    least_squares = torch.linalg.lstsq(torch.stack([e, torch.ones(400)], 1), reference[:, None]).solution[:, 0]
    assert abs(least_squares[1] - 1) > 1  # a plain fit would be pulled away


def test_alignment_minimises_the_weighted_loss() -> None:
    e, generator = estimate_values(), torch.Generator().manual_seed(2)
    weight = torch.rand(400, generator=generator)
    reference = torch.where(weight > 0.5, 3 * e, 5 * e - 1)
    few = weight * torch.where(weight > 0.5, 1.0, 1e-4)
    assert align_depth(e, reference, few) == pytest.approx((3, 0), abs=1e-2)


def test_values_that_are_not_finite_or_have_no_weight_are_ignored() -> None:
    e = estimate_values()
    reference, weight = 2 * e + 1, torch.ones(400)
    e[0], e[1], reference[2], reference[3], weight[4], weight[5] = math.nan, math.inf, math.nan, -math.inf, math.nan, 0
    reference[4:6] = 1e6
    assert align_depth(e, reference, weight) == pytest.approx((2, 1), rel=1e-4)


@pytest.mark.parametrize(
    "estimate", [torch.tensor([1.0]), torch.full((10,), 3.0), torch.full((10,), math.nan), torch.empty(0)],
    ids=["one value", "constant", "nothing finite", "empty"],
)  # fmt: skip
def test_alignment_without_enough_values_is_an_error(estimate: Tensor) -> None:
    with pytest.raises(ValueError, match="cannot align depth"):
        align_depth(estimate, torch.ones(len(estimate)), torch.ones(len(estimate)))
