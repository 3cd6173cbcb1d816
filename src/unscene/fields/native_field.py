"""The field along rays on processors: encoding, network and compositing in one go, hidden units in lanes.

`Nerf` has the same in torch, step by step, for every other device and size; the two are tested against each other.
"""

from __future__ import annotations

import ctypes
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unscene.fields.hash_grid import HashGrid
from unscene.fields.perceptron import Perceptron
from unscene.fields.processor import Arguments, launch, pointer

SAMPLES, OUTPUTS, APPEARANCE, CHUNK_RAYS = 16, 12, 8, 128  # of field.h and network.h
MOST_INPUTS, MOST_HIDDEN = 32, 128


class _Field(Arguments):
    """FieldArguments of field.h."""

    _fields_: ClassVar = [
        *[(name, ctypes.c_void_p) for name in (
            "origins", "directions", "edges", "table", "levels",
            "weight_hidden", "bias_hidden", "weight_output", "bias_output", "occupancy",
            "weights", "color", "appearance", "encoded",
            "weights_gradient", "color_gradient", "appearance_gradient",
            "encoded_gradient", "network_gradient", "table_gradient",
        )],
        *[(name, ctypes.c_int) for name in ("rays", "level_count", "learns_geometry")],
        ("near", ctypes.c_float),
        ("span", ctypes.c_float),
    ]  # fmt: skip


def fits(grid: nn.Module, network: nn.Module, samples: int) -> bool:
    """Whether a field is one that these functions are written for."""
    if not isinstance(grid, HashGrid) or not isinstance(network, Perceptron) or grid.config.hashing != "add":
        return False
    outputs, hidden = network.weight_output.shape
    inputs = network.weight_hidden.shape[1]
    sizes_fill_lanes = inputs % 8 == 0 and inputs <= MOST_INPUTS and hidden % 16 == 0 and hidden <= MOST_HIDDEN
    return sizes_fill_lanes and grid.config.features in (1, 2, 4, 8) and (outputs, samples) == (OUTPUTS, SAMPLES)


@torch.library.custom_op("unscene::field", mutates_args=(), device_types="cpu")
def field(
    origins: Tensor, directions: Tensor, edges: Tensor, table: Tensor, levels: Tensor,
    weight_hidden: Tensor, bias_hidden: Tensor, weight_output: Tensor, bias_output: Tensor, occupancy: Tensor | None,
    near: float, span: float, learns: bool, learns_geometry: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Weights R 16, composited colour R 3 and appearance R 8, and the encoded samples if a gradient is wanted.

    origins, directions: R 3, in units of the field; edges: R 17; table: rows features, levels: `level_table`, of an
    "add"-hashed grid; weights and biases: of the `Perceptron`; occupancy: words of `pack_cells`, None: density may be
    everywhere; near, span: of the distances' spacing. Table and network get gradients from weights, colour and
    appearance; learns_geometry: off, none of them through the weights.
    """
    rays, inputs = len(origins), weight_hidden.shape[1]
    weights = origins.new_empty(rays, SAMPLES)
    color, appearance = origins.new_empty(rays, 3), origins.new_empty(rays, APPEARANCE)
    encoded = origins.new_empty(rays if learns else 0, SAMPLES, ceil(inputs / 16) * 16)
    arguments = _Field(
        origins=pointer(origins), directions=pointer(directions), edges=pointer(edges), table=pointer(table),
        levels=pointer(levels), weight_hidden=pointer(weight_hidden), bias_hidden=pointer(bias_hidden),
        weight_output=pointer(weight_output), bias_output=pointer(bias_output), occupancy=pointer(occupancy),
        weights=pointer(weights), color=pointer(color), appearance=pointer(appearance),
        encoded=pointer(encoded) if learns else None,
        rays=rays, level_count=len(levels), near=near, span=span,
    )  # fmt: skip
    launch(_function(table, weight_hidden, "forward"), arguments, ceil(rays / CHUNK_RAYS))
    return weights, color, appearance, encoded


@torch.library.custom_op("unscene::field_backward", mutates_args=(), device_types="cpu")
def _field_backward(
    origins: Tensor, directions: Tensor, edges: Tensor, table: Tensor, levels: Tensor,
    weight_hidden: Tensor, bias_hidden: Tensor, weight_output: Tensor, bias_output: Tensor, occupancy: Tensor | None,
    near: float, span: float, learns_geometry: bool, encoded: Tensor,
    weights_gradient: Tensor, color_gradient: Tensor, appearance_gradient: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The gradients of the table, and of the network's four parameters one after the other."""
    rays, chunks = len(origins), ceil(len(origins) / CHUNK_RAYS)
    parameters = sum(p.numel() for p in (weight_hidden, bias_hidden, weight_output, bias_output))
    table_gradient = torch.zeros_like(table)
    encoded_gradient = table.new_empty(len(levels), rays, SAMPLES, table.shape[1])
    network_gradient = table.new_empty(chunks, parameters)
    gradients = [gradient.contiguous() for gradient in (weights_gradient, color_gradient, appearance_gradient)]
    arguments = _Field(
        origins=pointer(origins), directions=pointer(directions), edges=pointer(edges), levels=pointer(levels),
        weight_hidden=pointer(weight_hidden), bias_hidden=pointer(bias_hidden), weight_output=pointer(weight_output),
        bias_output=pointer(bias_output), occupancy=pointer(occupancy), encoded=pointer(encoded),
        weights_gradient=pointer(gradients[0]),
        color_gradient=pointer(gradients[1]), appearance_gradient=pointer(gradients[2]),
        encoded_gradient=pointer(encoded_gradient), network_gradient=pointer(network_gradient),
        table_gradient=pointer(table_gradient), rays=rays, level_count=len(levels), learns_geometry=learns_geometry,
        near=near, span=span,
    )  # fmt: skip
    launch(_function(table, weight_hidden, "backward"), arguments, chunks)
    launch(_function(table, weight_hidden, "scatter"), arguments, len(levels))
    return table_gradient, network_gradient.sum(0)


def _function(table: Tensor, weight_hidden: Tensor, name: str) -> str:
    hidden, inputs = weight_hidden.shape
    return f"Field<{table.shape[1]}, {inputs}, {hidden}>::{name}"


@field.register_fake
def _(origins, directions, edges, table, levels, weight_hidden, b, c, d, e, near, span, learns, learns_geometry):
    rays, padded_inputs = len(origins), (weight_hidden.shape[1] + 15) // 16 * 16
    return (
        origins.new_empty(rays, SAMPLES),
        origins.new_empty(rays, 3),
        origins.new_empty(rays, APPEARANCE),
        origins.new_empty(rays if learns else 0, SAMPLES, padded_inputs),
    )


@_field_backward.register_fake
def _(origins, directions, edges, table, levels, a, b, c, d, e, near, span, learns_geometry, encoded, f, g, h):
    return torch.empty_like(table), table.new_empty(sum(p.numel() for p in (a, b, c, d)))


def _setup(ctx, inputs, output) -> None:
    *tensors, ctx.near, ctx.span, _, ctx.learns_geometry = inputs
    encoded = output[3]
    ctx.mark_non_differentiable(encoded)
    ctx.save_for_backward(*tensors, encoded)


def _backward(ctx, weights_gradient, color_gradient, appearance_gradient, _encoded_gradient):
    *tensors, encoded = ctx.saved_tensors
    arguments: list[Any] = [*tensors, ctx.near, ctx.span, ctx.learns_geometry, encoded]
    arguments += [weights_gradient, color_gradient, appearance_gradient]
    to_table, to_network = _field_backward(*arguments)
    network = tensors[5:9]
    parts = to_network.split([parameter.numel() for parameter in network])
    to_parameters = [part.view_as(parameter) for part, parameter in zip(parts, network, strict=True)]
    return None, None, None, to_table, None, *to_parameters, None, None, None, None, None


field.register_autograd(_backward, setup_context=_setup)
