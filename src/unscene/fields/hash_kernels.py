"""The hash encoding's Warp kernels: for one level at a time on a processor, for all levels at once on CUDA."""

# Warp's kernel language is Python to the eye but not to a type checker:
# pyright: reportIndexIssue=false, reportInvalidTypeForm=false, reportOperatorIssue=false
# pyright: reportAssignmentType=false, reportGeneralTypeIssues=false

import functools
from types import SimpleNamespace
from typing import Literal

import warp as wp

from unscene.warp_runtime import start_warp

PRIME_Y = -1640531535  # 2654435761 of the paper as a 32-bit integer
PRIME_Z = 805459861

Hashing = Literal["dense", "xor", "add"]
HASHING_CODES: dict[Hashing, int] = {"dense": 0, "xor": 1, "add": 2}
"""How a level's vertices find their rows, as the last number of its description: (resolution, offset, mask, code)."""

Rows = wp.types.vector(length=8, dtype=wp.int32)


@wp.func
def _dense_corners(x: int, y: int, z: int, level: wp.vec4i) -> Rows:
    """Table rows of a cell's corners, x fastest."""
    side = level[0] + 1
    square = side * side
    row = level[1] + x + side * y + square * z
    return Rows(row, row + 1, row + side, row + side + 1,
                row + square, row + square + 1, row + square + side, row + square + side + 1)  # fmt: skip


@wp.func
def _xor_corners(x: int, y: int, z: int, level: wp.vec4i) -> Rows:
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
def _add_corners(x: int, y: int, z: int, level: wp.vec4i) -> Rows:
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
def _any_corners(x: int, y: int, z: int, level: wp.vec4i) -> Rows:
    """The same for a level of any kind."""
    if level[3] == 0:
        return _dense_corners(x, y, z, level)
    if level[3] == 1:
        return _xor_corners(x, y, z, level)
    return _add_corners(x, y, z, level)


@wp.func
def _cell(position: float, resolution: int) -> int:
    """The cell of a position in the unit cube. Unsigned, so that one comparison keeps even NaN inside the table."""
    return int(wp.min(wp.uint32(int(position)), wp.uint32(resolution - 1)))


@functools.cache
def row_type(features: int):
    """Warp's vector of ``features`` floats."""
    start_warp()
    return wp.types.vector(length=features, dtype=wp.float32)


def _functions(features: int, corners) -> SimpleNamespace:
    """What one level does with one point: its features there, the way back to the table, the way back to the point.

    corners: finds the table's rows for a cell's corners.
    """
    Feature = row_type(features)

    @wp.func
    def value(point: wp.vec3, level: wp.vec4i, table: wp.array(dtype=Feature)) -> Feature:
        q = point * float(level[0])
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
        return wp.lerp(wp.lerp(c00, c10, v), wp.lerp(c01, c11, v), w)

    @wp.func
    def add_to_table(point: wp.vec3, level: wp.vec4i, g: Feature, table_gradient: wp.array(dtype=Feature)):
        q = point * float(level[0])
        x = _cell(q[0], level[0])
        y = _cell(q[1], level[0])
        z = _cell(q[2], level[0])
        u = q[0] - float(x)
        v = q[1] - float(y)
        w = q[2] - float(z)
        r = corners(x, y, z, level)
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

    @wp.func
    def slope(point: wp.vec3, level: wp.vec4i, g: Feature, table: wp.array(dtype=Feature)) -> wp.vec3:
        q = point * float(level[0])
        x = _cell(q[0], level[0])
        y = _cell(q[1], level[0])
        z = _cell(q[2], level[0])
        u = q[0] - float(x)
        v = q[1] - float(y)
        w = q[2] - float(z)
        r = corners(x, y, z, level)
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
        return wp.vec3(du, dv, dw) * float(level[0])

    return SimpleNamespace(value=value, add_to_table=add_to_table, slope=slope)


@functools.cache
def level_kernels(features: int, hashing: Hashing) -> SimpleNamespace:
    """Kernels for slices of points and one level of ``features`` numbers a row, compiled for the processor at first use
    and cached on disk."""
    corners = {"dense": _dense_corners, "xor": _xor_corners, "add": _add_corners}[hashing]
    Feature, at = row_type(features), _functions(features, corners)
    value, add_to_table, slope = at.value, at.add_to_table, at.slope

    def encode(
        first_point: int, level: wp.vec4i, column: int, added: int,
        points: wp.array(dtype=wp.vec3), table: wp.array(dtype=Feature), encoded: wp.array2d(dtype=Feature),
    ):  # fmt: skip
        i = wp.tid() + first_point
        here = value(points[i], level, table)
        if added == 1:
            here = here + encoded[i, column]
        encoded[i, column] = here

    def add_table_gradient(
        first_point: int, level: wp.vec4i, column: int, added: int,
        points: wp.array(dtype=wp.vec3), table_gradient: wp.array(dtype=Feature), gradient: wp.array2d(dtype=Feature),
    ):  # fmt: skip
        i = wp.tid() + first_point
        add_to_table(points[i], level, gradient[i, column], table_gradient)

    def point_gradient(
        first_point: int, level: wp.vec4i, column: int, added: int,
        points: wp.array(dtype=wp.vec3), table: wp.array(dtype=Feature), gradient: wp.array2d(dtype=Feature),
        points_gradient: wp.array(dtype=wp.vec3),
    ):  # fmt: skip
        i = wp.tid() + first_point
        points_gradient[i] = points_gradient[i] + slope(points[i], level, gradient[i, column], table)

    kernels = _module(f"unscene_hash_{hashing}_{features}", encode, add_table_gradient, point_gradient)
    kernels.encode.module.load("cpu", block_dim=1)  # as launches on processors ask for
    return kernels


@functools.cache
def grid_kernels(features: int) -> SimpleNamespace:
    """Kernels for all points and all levels of ``features`` numbers a row, compiled where they are first launched.

    A column of the encoding holds ``per_column`` levels: one, or the sum of all.
    """
    Feature, at = row_type(features), _functions(features, _any_corners)
    value, add_to_table, slope = at.value, at.add_to_table, at.slope

    def encode(
        levels: wp.array(dtype=wp.vec4i), per_column: int,
        points: wp.array(dtype=wp.vec3), table: wp.array(dtype=Feature), encoded: wp.array2d(dtype=Feature),
    ):  # fmt: skip
        column, i = wp.tid()
        total = Feature()
        for level in range(column * per_column, (column + 1) * per_column):
            total = total + value(points[i], levels[level], table)
        encoded[i, column] = total

    def add_table_gradient(
        levels: wp.array(dtype=wp.vec4i), per_column: int,
        points: wp.array(dtype=wp.vec3), table_gradient: wp.array(dtype=Feature), gradient: wp.array2d(dtype=Feature),
    ):  # fmt: skip
        level, i = wp.tid()
        add_to_table(points[i], levels[level], gradient[i, level // per_column], table_gradient)

    def point_gradient(
        levels: wp.array(dtype=wp.vec4i), per_column: int,
        points: wp.array(dtype=wp.vec3), table: wp.array(dtype=Feature), gradient: wp.array2d(dtype=Feature),
        points_gradient: wp.array(dtype=wp.vec3),
    ):  # fmt: skip
        i = wp.tid()
        total = wp.vec3()
        for level in range(levels.shape[0]):
            total = total + slope(points[i], levels[level], gradient[i, level // per_column], table)
        points_gradient[i] = total

    return _module(f"unscene_hash_grid_{features}", encode, add_table_gradient, point_gradient)


def _module(name: str, *functions) -> SimpleNamespace:
    """Kernels by name, in a Warp module of their own."""
    wp.set_module_options({"enable_backward": False}, module=name)
    return SimpleNamespace(**{f.__name__: wp.kernel(f, enable_backward=False, module=name) for f in functions})
