"""Multiresolution hash encoding (Müller et al. 2022, section 3) as Warp kernels: CPU threads and CUDA from one source.

On a CPU a Warp launch runs on one thread but releases the GIL, so a pool splits the work: points in the forward pass,
levels in the backward pass, where no two threads may add to one table cell.
"""

# Warp's kernel language is Python to the eye but not to a type checker:
# pyright: reportIndexIssue=false, reportInvalidTypeForm=false, reportOperatorIssue=false

import functools
import math
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

import torch
import warp as wp
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

wp.config.log_level = wp.LOG_ERROR

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


@dataclass(frozen=True)
class Level:
    """One level of the grid: cells per axis, first row in the table, rows, and whether rows are hashed."""

    resolution: int
    offset: int
    rows: int
    hashed: bool


def grid_levels(config: HashGridConfig) -> list[Level]:
    """The levels of a grid: a geometric series of resolutions; a level that fits its table is stored densely."""
    growth = (config.finest / config.coarsest) ** (1 / max(config.levels - 1, 1))
    levels, offset, limit = [], 0, 2**config.log2_table_size
    for index in range(config.levels):
        resolution = math.floor(config.coarsest * growth**index + 1e-6)
        dense_rows = (resolution + 1) ** 3
        rows = min(dense_rows, limit)
        levels.append(Level(resolution, offset, rows, dense_rows > limit))
        offset += rows
    return levels


class HashGrid(nn.Module):
    """Encodes points in the unit cube: P 3 -> P (levels * features). Gradients reach the table and the points.

    ``table``: rows features, uniform in +-1e-4 at the start as in the paper.
    """

    def __init__(self, config: HashGridConfig, generator: torch.Generator):
        super().__init__()
        self.config = config
        self.levels = grid_levels(config)
        rows = self.levels[-1].offset + self.levels[-1].rows
        self.table = nn.Parameter((torch.rand(rows, config.features, generator=generator) * 2 - 1) * 1e-4)
        layout = [[lv.resolution, lv.offset, lv.rows, int(lv.hashed)] for lv in self.levels]
        self.register_buffer("layout", torch.tensor(layout, dtype=torch.int32), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        return _Encode.apply(points, self.table, self.layout)

    def mean_square_per_level(self) -> Tensor:
        """Sum over levels of the mean squared feature: the hash decay of Zip-NeRF (section 4), a scalar."""
        return torch.stack([self.table[lv.offset : lv.offset + lv.rows].square().mean() for lv in self.levels]).sum()


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, table: Tensor, layout: Tensor) -> Tensor:
        points = points.detach().contiguous().float()
        ctx.save_for_backward(points, table, layout)
        encoded = points.new_empty(len(points), len(layout) * table.shape[1])
        kernels = _kernels(table.shape[1])
        _launch(kernels.encode, points.device, points=len(points), levels=len(layout), split_points=True,
                arrays=_arrays(kernels, points, table.detach(), layout, encoded))  # fmt: skip
        return encoded

    @staticmethod
    @once_differentiable
    def backward(ctx, encoded_gradient: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        points, table, layout = ctx.saved_tensors
        kernels = _kernels(table.shape[1])
        gradient = encoded_gradient.contiguous()
        sizes = {"points": len(points), "levels": len(layout)}
        points_gradient = table_gradient = None
        if ctx.needs_input_grad[1]:
            table_gradient = torch.zeros_like(table)
            arrays = _arrays(kernels, points, table_gradient, layout, gradient)
            _launch(kernels.add_table_gradient, points.device, split_points=False, arrays=arrays, **sizes)
        if ctx.needs_input_grad[0]:
            points_gradient = torch.zeros_like(points)
            arrays = [*_arrays(kernels, points, table.detach(), layout, gradient), _vec3(points_gradient)]
            _launch(kernels.point_gradient, points.device, split_points=True, arrays=arrays, **sizes)
        return points_gradient, table_gradient, None


def _vec3(tensor: Tensor) -> wp.array:
    return wp.from_torch(tensor, dtype=wp.vec3)


def _arrays(kernels: SimpleNamespace, points: Tensor, table: Tensor, layout: Tensor, encoded: Tensor) -> list[wp.array]:
    per_level = encoded.view(len(points), len(layout), table.shape[1])
    return [
        _vec3(points),
        wp.from_torch(table, dtype=kernels.Feature),
        wp.from_torch(layout, dtype=wp.vec4i),
        wp.from_torch(per_level, dtype=kernels.Feature),
    ]


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(torch.get_num_threads(), 1), thread_name_prefix="hash-grid")


def _launch(kernel, device: torch.device, *, points: int, levels: int, split_points: bool, arrays: list) -> None:
    """Run a kernel over all points and levels; on a CPU, in one slice of points or levels per thread."""
    if points == 0:
        return
    if device.type != "cpu":
        stream = wp.stream_from_torch(torch.cuda.current_stream(device))
        wp.launch(kernel, dim=points, inputs=[0, 0, levels, *arrays], stream=stream)
        return
    total = points if split_points else levels
    parts = min(torch.get_num_threads(), total) if points * levels > 4096 else 1
    bounds = [total * part // parts for part in range(parts + 1)]

    def run(part: int) -> None:
        first, last = bounds[part], bounds[part + 1]
        if split_points:
            wp.launch(kernel, dim=last - first, inputs=[first, 0, levels, *arrays], device="cpu")
        else:
            wp.launch(kernel, dim=points, inputs=[0, first, last, *arrays], device="cpu")

    if parts == 1:
        run(0)
    else:
        list(_pool(os.getpid()).map(run, range(parts)))


@wp.func
def _row(x: int, y: int, z: int, level: wp.vec4i) -> int:
    """Table row of a grid corner; level = (resolution, offset, rows, hashed)."""
    if level[3] == 0:
        side = level[0] + 1
        return level[1] + x + side * (y + side * z)
    hashed = wp.uint32(x) ^ (wp.uint32(y) * wp.uint32(PRIME_Y)) ^ (wp.uint32(z) * wp.uint32(PRIME_Z))
    return level[1] + int(hashed & wp.uint32(level[2] - 1))


@wp.func
def _cell(position: float, resolution: int) -> int:
    return wp.clamp(int(wp.floor(position)), 0, resolution - 1)


def _init_warp() -> None:
    """Start Warp without its complaint about a missing CUDA driver, which native code writes past all log levels."""
    sys.stderr.flush()
    terminal = os.dup(2)
    silence = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silence, 2)
        wp.init()
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(silence)


@functools.cache
def _kernels(features: int) -> SimpleNamespace:
    """The three kernels for tables of ``features`` numbers a row, compiled at first use and cached on disk."""
    _init_warp()
    Feature = wp.types.vector(length=features, dtype=wp.float32)

    def encode(
        first_point: int, first_level: int, last_level: int,
        points: wp.array(dtype=wp.vec3), table: wp.array(dtype=Feature),
        layout: wp.array(dtype=wp.vec4i), encoded: wp.array2d(dtype=Feature),
    ):  # fmt: skip
        i = wp.tid() + first_point
        p = points[i]
        for level_index in range(first_level, last_level):
            level = layout[level_index]
            q = p * float(level[0])
            x = _cell(q[0], level[0])
            y = _cell(q[1], level[0])
            z = _cell(q[2], level[0])
            u = q[0] - float(x)
            v = q[1] - float(y)
            w = q[2] - float(z)
            c00 = wp.lerp(table[_row(x, y, z, level)], table[_row(x + 1, y, z, level)], u)
            c10 = wp.lerp(table[_row(x, y + 1, z, level)], table[_row(x + 1, y + 1, z, level)], u)
            c01 = wp.lerp(table[_row(x, y, z + 1, level)], table[_row(x + 1, y, z + 1, level)], u)
            c11 = wp.lerp(table[_row(x, y + 1, z + 1, level)], table[_row(x + 1, y + 1, z + 1, level)], u)
            encoded[i, level_index] = wp.lerp(wp.lerp(c00, c10, v), wp.lerp(c01, c11, v), w)

    def add_table_gradient(
        first_point: int, first_level: int, last_level: int,
        points: wp.array(dtype=wp.vec3), table_gradient: wp.array(dtype=Feature),
        layout: wp.array(dtype=wp.vec4i), gradient: wp.array2d(dtype=Feature),
    ):  # fmt: skip
        i = wp.tid() + first_point
        p = points[i]
        for level_index in range(first_level, last_level):
            level = layout[level_index]
            q = p * float(level[0])
            x = _cell(q[0], level[0])
            y = _cell(q[1], level[0])
            z = _cell(q[2], level[0])
            u = q[0] - float(x)
            v = q[1] - float(y)
            w = q[2] - float(z)
            g = gradient[i, level_index]
            low = g * (1.0 - w)
            high = g * w
            wp.atomic_add(table_gradient, _row(x, y, z, level), low * ((1.0 - u) * (1.0 - v)))
            wp.atomic_add(table_gradient, _row(x + 1, y, z, level), low * (u * (1.0 - v)))
            wp.atomic_add(table_gradient, _row(x, y + 1, z, level), low * ((1.0 - u) * v))
            wp.atomic_add(table_gradient, _row(x + 1, y + 1, z, level), low * (u * v))
            wp.atomic_add(table_gradient, _row(x, y, z + 1, level), high * ((1.0 - u) * (1.0 - v)))
            wp.atomic_add(table_gradient, _row(x + 1, y, z + 1, level), high * (u * (1.0 - v)))
            wp.atomic_add(table_gradient, _row(x, y + 1, z + 1, level), high * ((1.0 - u) * v))
            wp.atomic_add(table_gradient, _row(x + 1, y + 1, z + 1, level), high * (u * v))

    def point_gradient(
        first_point: int, first_level: int, last_level: int,
        points: wp.array(dtype=wp.vec3), table: wp.array(dtype=Feature),
        layout: wp.array(dtype=wp.vec4i), gradient: wp.array2d(dtype=Feature), points_gradient: wp.array(dtype=wp.vec3),
    ):  # fmt: skip
        i = wp.tid() + first_point
        p = points[i]
        total = wp.vec3(0.0, 0.0, 0.0)
        for level_index in range(first_level, last_level):
            level = layout[level_index]
            q = p * float(level[0])
            x = _cell(q[0], level[0])
            y = _cell(q[1], level[0])
            z = _cell(q[2], level[0])
            u = q[0] - float(x)
            v = q[1] - float(y)
            w = q[2] - float(z)
            g = gradient[i, level_index]
            c000 = wp.dot(g, table[_row(x, y, z, level)])
            c100 = wp.dot(g, table[_row(x + 1, y, z, level)])
            c010 = wp.dot(g, table[_row(x, y + 1, z, level)])
            c110 = wp.dot(g, table[_row(x + 1, y + 1, z, level)])
            c001 = wp.dot(g, table[_row(x, y, z + 1, level)])
            c101 = wp.dot(g, table[_row(x + 1, y, z + 1, level)])
            c011 = wp.dot(g, table[_row(x, y + 1, z + 1, level)])
            c111 = wp.dot(g, table[_row(x + 1, y + 1, z + 1, level)])
            du = wp.lerp(wp.lerp(c100 - c000, c110 - c010, v), wp.lerp(c101 - c001, c111 - c011, v), w)
            dv = wp.lerp(wp.lerp(c010 - c000, c110 - c100, u), wp.lerp(c011 - c001, c111 - c101, u), w)
            dw = wp.lerp(wp.lerp(c001 - c000, c101 - c100, u), wp.lerp(c011 - c010, c111 - c110, u), v)
            total = total + wp.vec3(du, dv, dw) * float(level[0])
        points_gradient[i] = total

    compiled = {
        kernel.__name__: wp.kernel(kernel, enable_backward=False, module="unique")
        for kernel in (encode, add_table_gradient, point_gradient)
    }
    for kernel in compiled.values():
        kernel.module.load("cpu")  # before the threads race to compile it
    return SimpleNamespace(Feature=Feature, **compiled)
