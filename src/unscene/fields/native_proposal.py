"""The proposal on processors, sixteen rays at a time: from rays to weights and the field's sample edges in one go.

`Nerf` has the same in torch, step by step, for every other device and size; the two are tested against each other.
"""

from __future__ import annotations

import ctypes
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unscene.fields.hash_grid import HashGrid
from unscene.fields.processor import Arguments, launch, pointer

LANES, MOST_SAMPLES = 16, 128  # of proposal.h


class _Proposal(Arguments):
    """ProposalArguments of proposal.h."""

    _fields_: ClassVar = [
        *[(name, ctypes.c_void_p) for name in (
            "origins", "directions", "jitter", "table", "levels", "occupancy",
            "weights", "fine_edges", "optical_depths",
            "weights_gradient", "learning", "table_gradient", "learning_count",
        )],
        *[(name, ctypes.c_int) for name in ("rays", "level_count", "samples", "fine_samples")],
        ("near", ctypes.c_float),
        ("span", ctypes.c_float),
    ]  # fmt: skip


def fits(grid: nn.Module, samples: int) -> bool:
    """Whether a proposal is one that these functions are written for."""
    if not isinstance(grid, HashGrid) or grid.config.hashing != "add":
        return False
    return grid.config.features == 1 and samples <= MOST_SAMPLES


@torch.library.custom_op("unscene::proposal", mutates_args=(), device_types="cpu")
def proposal(
    origins: Tensor, directions: Tensor, jitter: Tensor | None, table: Tensor, levels: Tensor,
    occupancy: Tensor | None, samples: int, fine_samples: int, near: float, span: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Weights R samples, edges of the field's samples R fine_samples + 1, and optical depths for the backward pass.

    origins, directions: R 3, in units of the field; jitter: R or None; table: rows 1, levels: `level_table`, of an
    "add"-hashed grid; occupancy: words of `pack_cells`, or None; near, span: of the distances' spacing. The table alone
    gets a gradient, from the weights alone.
    """
    rays, blocks = len(origins), ceil(len(origins) / LANES)
    weights, fine_edges = origins.new_empty(rays, samples), origins.new_empty(rays, fine_samples + 1)
    optical_depths = origins.new_empty(blocks, samples, LANES)
    arguments = _Proposal(
        origins=pointer(origins), directions=pointer(directions), jitter=pointer(jitter), table=pointer(table),
        levels=pointer(levels), occupancy=pointer(occupancy), weights=pointer(weights),
        fine_edges=pointer(fine_edges),
        optical_depths=pointer(optical_depths), rays=rays, level_count=len(levels), samples=samples,
        fine_samples=fine_samples, near=near, span=span,
    )  # fmt: skip
    launch("proposal_forward", arguments, blocks)
    return weights, fine_edges, optical_depths


@torch.library.custom_op("unscene::proposal_backward", mutates_args=(), device_types="cpu")
def _proposal_backward(
    origins: Tensor, directions: Tensor, jitter: Tensor | None, table: Tensor, levels: Tensor,
    near: float, span: float, optical_depths: Tensor, weights_gradient: Tensor,
) -> Tensor:  # fmt: skip
    """The table's gradient."""
    table_gradient = torch.zeros_like(table)
    blocks, samples, _ = optical_depths.shape
    learning = table.new_empty(blocks, 4, samples, LANES)
    learning_count = torch.empty(blocks, dtype=torch.int32)
    weights_gradient = weights_gradient.contiguous()
    arguments = _Proposal(
        origins=pointer(origins), directions=pointer(directions), jitter=pointer(jitter), levels=pointer(levels),
        optical_depths=pointer(optical_depths), weights_gradient=pointer(weights_gradient),
        learning=pointer(learning), learning_count=pointer(learning_count), table_gradient=pointer(table_gradient),
        rays=len(origins), level_count=len(levels), samples=samples, near=near, span=span,
    )  # fmt: skip
    launch("proposal_backward", arguments, blocks)
    launch("proposal_scatter", arguments, len(levels))
    return table_gradient


@proposal.register_fake
def _(origins, directions, jitter, table, levels, occupancy, samples, fine_samples, near, span):
    rays = len(origins)
    blocks = (rays + LANES - 1) // LANES
    return (
        origins.new_empty(rays, samples),
        origins.new_empty(rays, fine_samples + 1),
        origins.new_empty(blocks, samples, LANES),
    )


@_proposal_backward.register_fake
def _(origins, directions, jitter, table, levels, near, span, optical_depths, weights_gradient):
    return torch.empty_like(table)


def _setup(ctx, inputs, output) -> None:
    origins, directions, jitter, table, levels, _, _, _, ctx.near, ctx.span = inputs
    _, fine_edges, optical_depths = output
    ctx.mark_non_differentiable(fine_edges, optical_depths)
    ctx.save_for_backward(origins, directions, jitter, table, levels, optical_depths)


def _backward(ctx, weights_gradient, _fine_edges_gradient, _optical_depths_gradient):
    *inputs, optical_depths = ctx.saved_tensors
    arguments: list[Any] = [*inputs, ctx.near, ctx.span, optical_depths, weights_gradient]
    gradient = _proposal_backward(*arguments)
    return None, None, None, gradient, None, None, None, None, None, None


proposal.register_autograd(_backward, setup_context=_setup)
