"""Multiresolution hash encoding (Müller et al. 2022, section 3) as Warp kernels: CPU threads and CUDA from one source.

On a CPU a Warp launch runs on one thread but releases the GIL, so a pool splits the work: points in the forward pass,
levels in the backward pass, where no two threads may add to one table cell.
"""

# Warp's kernel language is Python to the eye but not to a type checker:
# pyright: reportIndexIssue=false, reportInvalidTypeForm=false, reportOperatorIssue=false

import functools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

import torch
import warp as wp
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unscene.warp_runtime import start_warp

PRIME_Y = -1640531535  # 2654435761 of the paper as a 32-bit integer
PRIME_Z = 805459861


@dataclass(frozen=True)
class HashGridConfig:
    """levels of ``features`` each, from ``coarsest`` to ``finest`` cells per axis, in tables of 2**log2_table_size."""

    levels: int = 8
    features: int = 2
    coarsest: int = 16
    finest: int = 1024
    log2_table_size: int = 17
    hashing: Literal["xor", "add"] = "add"
    """How vertices of levels too large for their table find their rows. "xor": Müller et al., eq. 4. "add", ours:
    row(x + dx) = ((x + (y P ^ z Q)) & mask) + dx, so that both neighbours along x are one load; such a level stores one
    row more than its table size, the ghost row, so that the second never wraps."""


@dataclass(frozen=True)
class Level:
    """One level of the grid: cells per axis, first row in the table, rows, and how vertices find theirs.

    mask: bits of a hash that choose a row. Of a level hashed by "add" the last row, mask + 1, is the ghost of the
    first: it holds right neighbours that would wrap.
    """

    resolution: int
    offset: int
    rows: int
    hashing: Literal["dense", "xor", "add"]
    mask: int

    @property
    def hashed(self) -> bool:
        """Whether vertices share rows."""
        return self.hashing != "dense"


def grid_levels(config: HashGridConfig) -> list[Level]:
    """The levels of a grid: a geometric series of resolutions; a level that fits its table is stored densely."""
    growth = (config.finest / config.coarsest) ** (1 / max(config.levels - 1, 1))
    levels, offset, limit = [], 0, 2**config.log2_table_size
    for index in range(config.levels):
        resolution = math.floor(config.coarsest * growth**index + 1e-6)
        dense_rows = (resolution + 1) ** 3
        if dense_rows <= limit:
            level = Level(resolution, offset, dense_rows, "dense", 0)
        else:
            level = Level(resolution, offset, limit + (config.hashing == "add"), config.hashing, limit - 1)
        levels.append(level)
        offset += level.rows
    return levels


class HashGrid(nn.Module):
    """Encodes points in the unit cube: P 3 -> P (levels * features). Gradients reach the table and the points.

    ``table``: rows features, uniform in +-1e-4 at the start as in the paper. ``summed``: the levels' features are added
    up instead of put side by side, P features.
    """

    def __init__(self, config: HashGridConfig, generator: torch.Generator, *, summed: bool = False):
        super().__init__()
        self.config, self.summed = config, summed
        self.levels = grid_levels(config)
        rows = self.levels[-1].offset + self.levels[-1].rows
        self.table = nn.Parameter((torch.rand(rows, config.features, generator=generator) * 2 - 1) * 1e-4)

    def forward(self, points: Tensor) -> Tensor:
        return _Encode.apply(points, self.table, self.levels, self.summed)

    def mean_square_per_level(self) -> Tensor:
        """Sum over levels of the mean squared feature: the hash decay of Zip-NeRF (section 4), a scalar."""
        parts = self.table.split([level.rows for level in self.levels])
        return torch.stack([part.square().mean() for part in parts]).sum()


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, table: Tensor, levels: list[Level], summed: bool) -> Tensor:
        points = points.detach().contiguous().float()
        ctx.save_for_backward(points, table)
        ctx.levels, ctx.summed = levels, summed
        encoded = points.new_empty(len(points), (1 if summed else len(levels)) * table.shape[1])
        _launch("encode", levels, summed, points, _arrays(points, table.detach(), encoded))
        return encoded

    @staticmethod
    @once_differentiable
    def backward(ctx, encoded_gradient: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        points, table = ctx.saved_tensors
        gradient = encoded_gradient.contiguous()
        points_gradient = table_gradient = None
        if ctx.needs_input_grad[1]:
            table_gradient = torch.zeros_like(table)
            arrays = _arrays(points, table_gradient, gradient)
            _launch("add_table_gradient", ctx.levels, ctx.summed, points, arrays, split_points=False)
        if ctx.needs_input_grad[0]:
            points_gradient = torch.zeros_like(points)
            arrays = [*_arrays(points, table.detach(), gradient), _vec3(points_gradient)]
            _launch("point_gradient", ctx.levels, ctx.summed, points, arrays)
        return points_gradient, table_gradient, None, None


def _vec3(tensor: Tensor) -> wp.array:
    return wp.from_torch(tensor, dtype=wp.vec3)


def _arrays(points: Tensor, table: Tensor, encoded: Tensor) -> list[wp.array]:
    features = table.shape[1]
    columns = encoded.view(len(points), encoded.shape[1] // features, features)
    row = _row_type(features)
    return [_vec3(points), wp.from_torch(table, dtype=row), wp.from_torch(columns, dtype=row)]


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(torch.get_num_threads(), 1), thread_name_prefix="hash-grid")


def _launch(
    name: str, levels: list[Level], summed: bool, points: Tensor, arrays: list, *, split_points: bool = True
) -> None:
    """Run a kernel level by level, so that one level's rows stay in the cache; on a CPU in slices of points, or whole
    levels, on one thread each."""
    count, device, features = len(points), points.device, arrays[1].dtype._length_
    if count == 0:
        return
    # looked up here, or the threads would race to compile them
    kernels = [getattr(_kernels(features, level.hashing), name) for level in levels]

    def run(index: int, first: int, last: int, **where) -> None:
        level, kernel = levels[index], kernels[index]
        described = wp.vec3i(level.resolution, level.offset, level.mask)
        column, added = (0, int(index > 0)) if summed else (index, 0)
        wp.launch(kernel, dim=last - first, inputs=[first, described, column, added, *arrays], **where)

    if device.type != "cpu":
        stream = wp.stream_from_torch(torch.cuda.current_stream(device))
        for index in range(len(levels)):
            run(index, 0, count, stream=stream)
        return
    parts = min(torch.get_num_threads(), count) if count * len(levels) > 4096 else 1
    bounds = [count * part // parts for part in range(parts + 1)]

    def slice_of_points(part: int) -> None:
        for index in range(len(levels)):
            run(index, bounds[part], bounds[part + 1], device="cpu")

    def whole_level(index: int) -> None:
        run(index, 0, count, device="cpu")

    # the fine levels miss the cache and take longest: first
    tasks = (slice_of_points, range(parts)) if split_points else (whole_level, reversed(range(len(levels))))
    list((map if parts == 1 else _pool(os.getpid()).map)(*tasks))


Rows = wp.types.vector(length=8, dtype=wp.int32)


@wp.func
def _dense_corners(x: int, y: int, z: int, level: wp.vec3i) -> Rows:
    """Table rows of a cell's corners, x fastest; level = (resolution, offset, mask)."""
    side = level[0] + 1
    square = side * side
    row = level[1] + x + side * y + square * z
    return Rows(row, row + 1, row + side, row + side + 1,
                row + square, row + square + 1, row + square + side, row + square + side + 1)  # fmt: skip


@wp.func
def _xor_corners(x: int, y: int, z: int, level: wp.vec3i) -> Rows:
    """The same for a level whose rows are hashed (eq. 4)."""
    x0 = wp.uint32(x)
    x1 = x0 + wp.uint32(1)
    y0 = wp.uint32(y) * wp.uint32(PRIME_Y)
    y1 = y0 + wp.uint32(PRIME_Y)
    z0 = wp.uint32(z) * wp.uint32(PRIME_Z)
    z1 = z0 + wp.uint32(PRIME_Z)
    last = wp.uint32(level[2])
    return Rows(
        level[1] + int((x0 ^ y0 ^ z0) & last), level[1] + int((x1 ^ y0 ^ z0) & last),
        level[1] + int((x0 ^ y1 ^ z0) & last), level[1] + int((x1 ^ y1 ^ z0) & last),
        level[1] + int((x0 ^ y0 ^ z1) & last), level[1] + int((x1 ^ y0 ^ z1) & last),
        level[1] + int((x0 ^ y1 ^ z1) & last), level[1] + int((x1 ^ y1 ^ z1) & last),
    )  # fmt: skip


@wp.func
def _add_corners(x: int, y: int, z: int, level: wp.vec3i) -> Rows:
    """The same for a level in which neighbours along x are neighbours in memory."""
    x0 = wp.uint32(x)
    y0 = wp.uint32(y) * wp.uint32(PRIME_Y)
    y1 = y0 + wp.uint32(PRIME_Y)
    z0 = wp.uint32(z) * wp.uint32(PRIME_Z)
    z1 = z0 + wp.uint32(PRIME_Z)
    last = wp.uint32(level[2])
    r00 = level[1] + int((x0 + (y0 ^ z0)) & last)
    r10 = level[1] + int((x0 + (y1 ^ z0)) & last)
    r01 = level[1] + int((x0 + (y0 ^ z1)) & last)
    r11 = level[1] + int((x0 + (y1 ^ z1)) & last)
    return Rows(r00, r00 + 1, r10, r10 + 1, r01, r01 + 1, r11, r11 + 1)


@wp.func
def _cell(position: float, resolution: int) -> int:
    """The cell of a position in the unit cube. Unsigned, so that one comparison keeps even NaN inside the table."""
    return int(wp.min(wp.uint32(int(position)), wp.uint32(resolution - 1)))


@functools.cache
def _row_type(features: int):
    start_warp()
    return wp.types.vector(length=features, dtype=wp.float32)


@functools.cache
def _kernels(features: int, hashing: Literal["dense", "xor", "add"]) -> SimpleNamespace:
    """The three kernels for dense or hashed levels of ``features`` numbers a row, compiled at first use and cached on
    disk."""
    corners = {"dense": _dense_corners, "xor": _xor_corners, "add": _add_corners}[hashing]
    Feature = _row_type(features)

    def encode(
        first_point: int, level: wp.vec3i, column: int, added: int,
        points: wp.array(dtype=wp.vec3), table: wp.array(dtype=Feature), encoded: wp.array2d(dtype=Feature),
    ):  # fmt: skip
        i = wp.tid() + first_point
        q = points[i] * float(level[0])
        x = _cell(q[0], level[0])
        y = _cell(q[1], level[0])
        z = _cell(q[2], level[0])
        u = q[0] - float(x)
        v = q[1] - float(y)
        w = q[2] - float(z)
        r = corners(x, y, z, level)
        c00 = wp.lerp(table[r[0]], table[r[1]], u)
        c10 = wp.lerp(table[r[2]], table[r[3]], u)
        c01 = wp.lerp(table[r[4]], table[r[5]], u)
        c11 = wp.lerp(table[r[6]], table[r[7]], u)
        value = wp.lerp(wp.lerp(c00, c10, v), wp.lerp(c01, c11, v), w)
        if added == 1:
            value = value + encoded[i, column]
        encoded[i, column] = value

    def add_table_gradient(
        first_point: int, level: wp.vec3i, column: int, added: int,
        points: wp.array(dtype=wp.vec3), table_gradient: wp.array(dtype=Feature), gradient: wp.array2d(dtype=Feature),
    ):  # fmt: skip
        i = wp.tid() + first_point
        q = points[i] * float(level[0])
        x = _cell(q[0], level[0])
        y = _cell(q[1], level[0])
        z = _cell(q[2], level[0])
        u = q[0] - float(x)
        v = q[1] - float(y)
        w = q[2] - float(z)
        r = corners(x, y, z, level)
        g = gradient[i, column]
        g00 = g * ((1.0 - v) * (1.0 - w))
        g10 = g * (v * (1.0 - w))
        g01 = g * ((1.0 - v) * w)
        g11 = g * (v * w)
        wp.atomic_add(table_gradient, r[0], g00 * (1.0 - u))
        wp.atomic_add(table_gradient, r[1], g00 * u)
        wp.atomic_add(table_gradient, r[2], g10 * (1.0 - u))
        wp.atomic_add(table_gradient, r[3], g10 * u)
        wp.atomic_add(table_gradient, r[4], g01 * (1.0 - u))
        wp.atomic_add(table_gradient, r[5], g01 * u)
        wp.atomic_add(table_gradient, r[6], g11 * (1.0 - u))
        wp.atomic_add(table_gradient, r[7], g11 * u)

    def point_gradient(
        first_point: int, level: wp.vec3i, column: int, added: int,
        points: wp.array(dtype=wp.vec3), table: wp.array(dtype=Feature), gradient: wp.array2d(dtype=Feature),
        points_gradient: wp.array(dtype=wp.vec3),
    ):  # fmt: skip
        i = wp.tid() + first_point
        q = points[i] * float(level[0])
        x = _cell(q[0], level[0])
        y = _cell(q[1], level[0])
        z = _cell(q[2], level[0])
        u = q[0] - float(x)
        v = q[1] - float(y)
        w = q[2] - float(z)
        r = corners(x, y, z, level)
        g = gradient[i, column]
        c000 = wp.dot(g, table[r[0]])
        c100 = wp.dot(g, table[r[1]])
        c010 = wp.dot(g, table[r[2]])
        c110 = wp.dot(g, table[r[3]])
        c001 = wp.dot(g, table[r[4]])
        c101 = wp.dot(g, table[r[5]])
        c011 = wp.dot(g, table[r[6]])
        c111 = wp.dot(g, table[r[7]])
        du = wp.lerp(wp.lerp(c100 - c000, c110 - c010, v), wp.lerp(c101 - c001, c111 - c011, v), w)
        dv = wp.lerp(wp.lerp(c010 - c000, c110 - c100, u), wp.lerp(c011 - c001, c111 - c101, u), w)
        dw = wp.lerp(wp.lerp(c001 - c000, c101 - c100, u), wp.lerp(c011 - c010, c111 - c110, u), v)
        points_gradient[i] = points_gradient[i] + wp.vec3(du, dv, dw) * float(level[0])

    compiled = {
        kernel.__name__: wp.kernel(kernel, enable_backward=False, module="unique")
        for kernel in (encode, add_table_gradient, point_gradient)
    }
    for kernel in compiled.values():
        kernel.module.load("cpu", block_dim=1)  # as launches ask for, or they would compile again
    return SimpleNamespace(**compiled)
