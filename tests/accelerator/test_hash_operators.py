"""The hash encoding's operators: torch knows their shapes, and the kernels for all levels do what those for one do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unscene.fields import hash_encoding
from unscene.fields.hash_encoding import encode, launch_at_once, point_gradient, table_gradient, warp_arrays
from unscene.fields.hash_grid import HashGrid, HashGridConfig


def grid(hashing: str, features: int, *, summed: bool) -> HashGrid:
    config = HashGridConfig(levels=4, features=features, coarsest=4, finest=64, log2_table_size=12, hashing=hashing)
    made = HashGrid(config, torch.Generator().manual_seed(0), summed=summed)
    assert [level.hashed for level in made.levels] == [False, False, True, True]
    with torch.no_grad():
        made.table.mul_(1e4)
    return made


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("summed", [False, True])
def test_torch_knows_the_operators(summed: bool) -> None:
    """Shapes of the fakes, gradients' registration, no argument changed or returned."""
    made, points = grid("add", 2, summed=summed), random(20, 3).requires_grad_()
    levels = made._described
    torch.library.opcheck(encode, (points, made.table, levels, summed))
    gradient = random(20, encode(points, made.table, levels, summed).shape[1])
    for operator in (table_gradient, point_gradient):
        torch.library.opcheck(operator, (points.detach(), made.table.detach(), gradient, levels, summed))


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("hashing", ["xor", "add"])
def test_one_launch_for_all_levels_gives_what_a_launch_a_level_gives(
    hashing: str, features: int, summed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What CUDA runs, run on the processor."""
    made, points = grid(hashing, features, summed=summed), random(500, 3)
    table, levels = made.table.detach(), made._described
    gradient = random(500, features * (1 if summed else 4), seed=2) - 0.5

    def everything() -> list[Tensor]:
        arguments = (points, table, gradient, levels, summed)
        return [encode(points, table, levels, summed), table_gradient(*arguments), point_gradient(*arguments)]

    expected = everything()

    def at_once(name, levels, summed, count, features, arrays, split_points) -> None:
        launch_at_once(name, levels, summed, torch.device("cpu"), count, features, arrays)

    monkeypatch.setattr(hash_encoding, "_launch_on_processor", at_once)
    for ours, theirs in zip(everything(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_arrays_share_the_tensors_memory() -> None:
    points, table, columns = random(5, 3), random(7, 2), torch.zeros(5, 8)
    arrays = warp_arrays(points, table, columns)
    assert [array.ptr for array in arrays] == [tensor.data_ptr() for tensor in (points, table, columns)]
    assert [array.shape for array in arrays] == [(5,), (7,), (5, 4)]
