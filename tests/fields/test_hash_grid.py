"""The Warp kernels against the plain torch encoding, forward and backward."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from torch import Tensor

from tests.fields.reference_hash_grid import ReferenceHashGrid
from unscene.fields.hash_grid import HashGrid, HashGridConfig, grid_levels

HASHINGS: tuple[Literal["xor", "add"], ...] = ("xor", "add")


def small_grid(features: int, hashing: Literal["xor", "add"] = "add", **changes: int) -> HashGrid:
    """Five levels, the finest of them hashed, with table values of the size they have after fitting."""
    sizes = {"levels": 5, "coarsest": 4, "finest": 64, "log2_table_size": 12} | changes
    config = HashGridConfig(features=features, hashing=hashing, **sizes)
    grid = HashGrid(config, torch.Generator().manual_seed(0))
    with torch.no_grad():
        grid.table.mul_(1e4)
    return grid


def random_points(count: int) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(1))


def border_points() -> Tensor:
    """Corners of the cube, points on its faces, and points on borders between cells."""
    on_grid = torch.tensor(list(itertools.product([0.0, 0.25, 0.5, 63 / 64, 1.0], repeat=3)))
    on_faces = random_points(50)
    on_faces[:, 1] = (on_faces[:, 1] > 0.5).float()
    return torch.cat([on_grid, on_faces])


def encoding_and_gradients(grid: torch.nn.Module, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The encoding, and the gradients of a random linear function of it to points and table."""
    points = points.clone().requires_grad_()
    table = grid.get_parameter("table")
    encoded = grid(points)
    gradient = torch.randn(encoded.shape, generator=torch.Generator().manual_seed(2))
    return encoded.detach(), *torch.autograd.grad(encoded, [points, table], gradient)


def assert_relatively_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Within ``tolerance`` of the largest magnitude."""
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_small_grid_has_dense_and_hashed_levels() -> None:
    assert [level.hashed for level in grid_levels(small_grid(2).config)] == [False, False, True, True, True]


@pytest.mark.parametrize("features", [1, 2, 4])
@pytest.mark.parametrize("hashing", HASHINGS)
@pytest.mark.parametrize("points", [random_points(2000), border_points()], ids=["random", "borders"])
def test_encoding_and_gradients_match_the_reference(
    features: int, hashing: Literal["xor", "add"], points: Tensor
) -> None:
    grid = small_grid(features, hashing)
    actual = encoding_and_gradients(grid, points)
    expected = encoding_and_gradients(ReferenceHashGrid(grid).double(), points.double())
    for ours, theirs in zip(actual, expected, strict=True):
        assert_relatively_close(ours, theirs.float())


@pytest.mark.parametrize("hashing", HASHINGS)
def test_the_default_grid_matches_the_reference(hashing: Literal["xor", "add"]) -> None:
    grid = HashGrid(HashGridConfig(hashing=hashing), torch.Generator().manual_seed(0))
    points = random_points(1000)
    actual = encoding_and_gradients(grid, points)
    for ours, theirs in zip(actual, encoding_and_gradients(ReferenceHashGrid(grid), points), strict=True):
        assert_relatively_close(ours, theirs, 2e-5)  # both in single precision here, at 1024 cells


def test_points_on_vertices_get_the_vertices_rows() -> None:
    grid = small_grid(2, levels=1, coarsest=4, finest=4)
    vertices = torch.tensor(list(itertools.product(range(5), repeat=3)))
    rows = vertices @ torch.tensor([1, 5, 25])
    torch.testing.assert_close(grid(vertices / 4), grid.table[rows])


def test_the_encoding_is_linear_in_the_table() -> None:
    grid, points = small_grid(2), random_points(100)
    once = grid(points).detach()
    with torch.no_grad():
        grid.table.mul_(-3)
    torch.testing.assert_close(grid(points), -3 * once)


@pytest.mark.usefixtures("threads")
def test_every_thread_count_gives_the_same() -> None:
    grid, points = small_grid(2), random_points(3000)
    torch.set_num_threads(1)
    alone = encoding_and_gradients(grid, points)
    for count in (2, 3, 7):
        torch.set_num_threads(count)
        for ours, theirs in zip(encoding_and_gradients(grid, points), alone, strict=True):
            assert torch.equal(ours, theirs)


def test_no_points_give_an_empty_encoding_and_zero_gradients() -> None:
    encoded, to_points, to_table = encoding_and_gradients(small_grid(2), torch.empty(0, 3))
    assert encoded.shape == (0, 10) and to_points.shape == (0, 3) and not to_table.any()


def test_points_in_any_memory_order_are_understood() -> None:
    grid, points = small_grid(2), random_points(64)
    assert torch.equal(grid(points.t().contiguous().t()), grid(points))


def test_levels_grow_geometrically_and_share_the_table_without_gaps() -> None:
    config = HashGridConfig(levels=8, coarsest=16, finest=1024, log2_table_size=17)
    levels = grid_levels(config)
    resolutions = torch.tensor([level.resolution for level in levels], dtype=torch.float64)
    assert resolutions[0] == 16 and resolutions[-1] == 1024
    torch.testing.assert_close(
        resolutions[1:] / resolutions[:-1], torch.full((7,), 64 ** (1 / 7)).double(), rtol=0.05, atol=0
    )
    for level, following in itertools.pairwise(levels):
        assert level.offset + level.rows == following.offset
    for level in levels:
        vertices = (level.resolution + 1) ** 3
        assert level.hashed == (vertices > 2**17)
        assert level.rows == (2**17 + 1 if level.hashed else vertices)


def test_a_cell_whose_hash_is_the_last_row_reaches_into_the_ghost_row() -> None:
    grid = small_grid(1, levels=1, coarsest=8, finest=8, log2_table_size=3)
    [level] = grid.levels
    assert level.rows == 9 and len(grid.table) == 9
    cell = torch.tensor([7, 0, 0])  # 7 + (0 ^ 0) is the last hash of eight
    with torch.no_grad():
        grid.table.zero_()[8] = 1
        middle_of_the_edge = (cell + torch.tensor([0.5, 0, 0])) / 8
        assert grid(middle_of_the_edge[None]).item() == 0.5


def test_hash_decay_is_the_sum_of_the_levels_mean_squares() -> None:
    grid = small_grid(2)
    reference = ReferenceHashGrid(grid)
    torch.testing.assert_close(grid.mean_square_per_level(), reference.mean_square_per_level())
    with torch.no_grad():
        grid.table.fill_(2.0)
    assert grid.mean_square_per_level().item() == pytest.approx(4 * 5)
