"""The hash encoding and its gradients as torch operators: threads on a processor, one launch on CUDA.

On a processor a Warp launch runs on one thread but releases the GIL, so a pool splits the work: points in the forward
pass, levels in the backward pass, where no two threads may add to one table cell. On CUDA a thread takes one point of
one level, in one launch on torch's stream, which may be capturing a graph once each operator has run.

``levels`` of all operators: four numbers a level as in `unscene.fields.hash_kernels`, one level after the other.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
import warp as wp
from torch import Tensor

from unscene.fields.hash_kernels import HASHING_CODES, grid_kernels, level_kernels, row_type
from unscene.threads import native_threads
from unscene.warp_runtime import torch_stream

HASHINGS = {code: hashing for hashing, code in HASHING_CODES.items()}
LEVEL = 4  # numbers that describe one


def hash_encode(points: Tensor, table: Tensor, levels: Sequence[int], *, summed: bool) -> Tensor:
    """Features of points P 3 in the unit cube by a table (rows F): P (levels * F), or P F where they are ``summed``."""
    return encode(points.float().contiguous(), table, levels, summed)


@torch.library.custom_op("unscene::hash_encode", mutates_args=())
def encode(points: Tensor, table: Tensor, levels: Sequence[int], summed: bool) -> Tensor:
    encoded = _encoding(points, table, levels, summed)
    _launch("encode", levels, summed, points, table, encoded)
    return encoded


@torch.library.custom_op("unscene::hash_encode_table_gradient", mutates_args=())
def table_gradient(points: Tensor, table: Tensor, gradient: Tensor, levels: Sequence[int], summed: bool) -> Tensor:
    to_table = torch.zeros_like(table, memory_format=torch.contiguous_format)
    _launch("add_table_gradient", levels, summed, points, to_table, gradient.contiguous(), split_points=False)
    return to_table


@torch.library.custom_op("unscene::hash_encode_point_gradient", mutates_args=())
def point_gradient(points: Tensor, table: Tensor, gradient: Tensor, levels: Sequence[int], summed: bool) -> Tensor:
    to_points = torch.zeros_like(points)
    _launch("point_gradient", levels, summed, points, table, gradient.contiguous(), to_points)
    return to_points


@encode.register_fake
def _encoding(points: Tensor, table: Tensor, levels: Sequence[int], summed: bool) -> Tensor:
    return points.new_empty(len(points), (1 if summed else len(levels) // LEVEL) * table.shape[1])


@table_gradient.register_fake
def _(points: Tensor, table: Tensor, gradient: Tensor, levels: Sequence[int], summed: bool) -> Tensor:
    return torch.empty_like(table, memory_format=torch.contiguous_format)


@point_gradient.register_fake
def _(points: Tensor, table: Tensor, gradient: Tensor, levels: Sequence[int], summed: bool) -> Tensor:
    return torch.empty_like(points)


def _remember(ctx, inputs, output) -> None:
    points, table, ctx.levels, ctx.summed = inputs
    ctx.save_for_backward(points, table)


def _backward(ctx, gradient: Tensor):
    arguments = (*ctx.saved_tensors, gradient, ctx.levels, ctx.summed)
    to_points = point_gradient(*arguments) if ctx.needs_input_grad[0] else None
    to_table = table_gradient(*arguments) if ctx.needs_input_grad[1] else None
    return to_points, to_table, None, None


encode.register_autograd(_backward, setup_context=_remember)


def _launch(
    name: str, levels: Sequence[int], summed: bool, points: Tensor, table: Tensor, columns: Tensor, *more: Tensor,
    split_points: bool = True,
) -> None:  # fmt: skip
    """Run a kernel. table: rows F, or its gradient; columns: the encoding, or its gradient; more: of points, P 3."""
    if len(points) == 0:
        return
    arrays = warp_arrays(points, table, columns, *more)
    if points.device.type == "cpu":
        _launch_on_processor(name, levels, summed, len(points), table.shape[1], arrays, split_points)
    else:
        launch_at_once(name, levels, summed, points.device, len(points), table.shape[1], arrays)


def warp_arrays(points: Tensor, table: Tensor, columns: Tensor, *more: Tensor) -> list:
    """The kernels' arrays, which share the tensors' memory."""
    features = table.shape[1]
    rows = columns.view(len(points), columns.shape[1] // features, features)
    typed = [(points, wp.vec3), (table, row_type(features)), (rows, row_type(features)), *((t, wp.vec3) for t in more)]
    return [wp.from_torch(tensor.detach(), dtype=dtype, requires_grad=False) for tensor, dtype in typed]


def launch_at_once(
    name: str, levels: Sequence[int], summed: bool, device: torch.device, count: int, features: int, arrays: list
) -> None:
    """All levels in one launch."""
    amount = len(levels) // LEVEL
    per_column = amount if summed else 1
    threads = {"encode": (amount // per_column, count), "add_table_gradient": (amount, count), "point_gradient": count}
    stream = None if device.type == "cpu" else torch_stream(device)
    described = wp.from_torch(_levels_on(device, tuple(levels)), dtype=wp.vec4i)
    kernel = getattr(grid_kernels(features), name)
    inputs = [described, per_column, *arrays]
    wp.launch(kernel, dim=threads[name], inputs=inputs, stream=stream, device=None if stream else "cpu")


@functools.cache
def _levels_on(device: torch.device, levels: tuple[int, ...]) -> Tensor:
    """The levels' description, kept, since a graph that is being captured can be sent nothing."""
    return torch.tensor(levels, dtype=torch.int32).view(-1, LEVEL).to(device)


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="hash-grid")


def _launch_on_processor(
    name: str, levels: Sequence[int], summed: bool, count: int, features: int, arrays: list, split_points: bool
) -> None:
    """Level by level, so that one level's rows stay in the cache; in slices of points, or whole levels, on one thread
    each."""
    described = [levels[first : first + LEVEL] for first in range(0, len(levels), LEVEL)]
    # looked up here, or the threads would race to compile them
    kernels = [getattr(level_kernels(features, HASHINGS[level[3]]), name) for level in described]

    def run(index: int, first: int, last: int) -> None:
        column, added = (0, int(index > 0)) if summed else (index, 0)
        inputs = [first, wp.vec4i(*described[index]), column, added, *arrays]
        wp.launch(kernels[index], dim=last - first, inputs=inputs, device="cpu")

    parts = min(native_threads(), count) if count * len(described) > 4096 else 1
    bounds = [count * part // parts for part in range(parts + 1)]

    def slice_of_points(part: int) -> None:
        for index in range(len(described)):
            run(index, bounds[part], bounds[part + 1])

    def whole_level(index: int) -> None:
        run(index, 0, count)

    # the fine levels miss the cache and take longest: first
    tasks = (slice_of_points, range(parts)) if split_points else (whole_level, reversed(range(len(described))))
    list((map if parts == 1 else _pool(os.getpid(), native_threads()).map)(*tasks))
