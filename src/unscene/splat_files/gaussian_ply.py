"""Gaussians in PLY as the original 3DGS code writes them, and everyone after it (gsplat, nerfstudio, brush, Postshot).

Properties are found by name, in any order; all that are not the Gaussians' own (normals, labels) are kept and written
back. What was float in the file comes back bit by bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from unscene.files import atomic_write
from unscene.geometry.gaussians import Gaussians, harmonics_of
from unscene.splat_files.ply_elements import Header, header_bytes, read_elements
from unscene.splat_files.splat_error import SplatError
from unscene.splat_files.splat_file import Announce, SplatFile, check_memory

ROWS_AT_ONCE = 1024  # so that they stay in the cache while their numbers are put in another order
DC = ("f_dc_0", "f_dc_1", "f_dc_2")
COLORS = ("red", "green", "blue")
GEOMETRY = ("x", "y", "z", "opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4)))


def read_gaussian_ply(path: Path, header: Header, announce: Announce) -> SplatFile:
    """Read the element "vertex" of a 3DGS PLY. Raises SplatError for PLY files of other things."""
    vertex = header.element("vertex")
    names = [] if vertex is None or vertex.properties is None else [name for name, _ in vertex.properties]
    missing = [name for name in GEOMETRY if name not in names]
    colors = COLORS if DC[0] not in names and set(COLORS) <= set(names) else DC
    if vertex is None or missing or not set(colors) <= set(names):
        shown = ", ".join(missing[:4] or DC)
        raise SplatError(
            f"{path}: expected a 3DGS splat, but its points have no {shown}; points and meshes are not splats: export "
            "the Gaussians themselves."
        )
    rest = sum(name.startswith("f_rest_") for name in names)
    count, harmonics = vertex.count, rest // 3 + 1
    if rest not in (0, 9, 24, 45) or any(f"f_rest_{i}" not in names for i in range(rest)):
        raise SplatError(
            f"{path}: expected 0, 9, 24 or 45 properties f_rest_*, got {rest}; export it with degree 0 to 3."
        )
    check_memory(path, count, harmonics, announce)
    table = read_elements(path, header, ["vertex"])["vertex"]
    gaussians = Gaussians(
        torch.empty(count, 3), torch.empty(count, 3), torch.empty(count, 4), torch.empty(count),
        torch.empty(count, harmonics, 3),
    )  # fmt: skip
    own = [name for name in _own_properties(harmonics) if colors == DC or name not in DC]
    places = _columns(gaussians, without_base=colors == COLORS)
    for rows in _blocks(count):
        numbers, column = _numbers(table[rows], own), 0
        for place in places:
            place[rows] = numbers[:, column : column + place.shape[1]]
            column += place.shape[1]
    if colors == COLORS:
        shades = np.stack([table[name] for name in COLORS], -1).astype(np.float32) / 255
        gaussians.harmonics[:, :1] = harmonics_of(torch.from_numpy(shades))
    others = [name for name in names if name not in own]
    extras = {name: np.array(table[name], table.dtype[name].newbyteorder("=")) for name in others}
    return SplatFile(gaussians, extras, tuple(names), header.comments)


def write_gaussian_ply(path: Path, content: SplatFile) -> None:
    """Write a little-endian 3DGS PLY, in the file's order of properties where it has one, else the usual one."""
    gaussians = Gaussians(*(tensor.detach().cpu().float().contiguous() for tensor in content.gaussians.tensors))
    own, extras = _own_properties(gaussians.harmonics.shape[1]), content.extras
    usual = ["x", "y", "z", *(name for name in ("nx", "ny", "nz") if name in extras), *_usual_order(own[3:]), *extras]
    known = {*own, *extras}
    order = list(dict.fromkeys([*(name for name in content.properties if name in known), *usual]))
    kinds = [(name, "<f4" if name in own else extras[name].dtype.newbyteorder("<")) for name in order]
    places = _columns(gaussians)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(header_bytes([("vertex", np.dtype(kinds), len(gaussians))], content.comments))
        for rows in _blocks(len(gaussians)):
            numbers = np.concatenate([place[rows] for place in places], 1)
            block = np.empty(len(numbers), kinds)
            if block.dtype.itemsize == 4 * len(own) and len(order) == len(own):
                block.view("<f4").reshape(numbers.shape)[:] = numbers.take([own.index(name) for name in order], 1)
            else:
                for column, name in enumerate(own):
                    block[name] = numbers[:, column]
                for name, values in extras.items():
                    block[name] = values[rows]
            file.write(block.tobytes())


def _own_properties(harmonics: int) -> list[str]:
    """The properties of a Gaussian in the order of our numbers.

    f_rest_* has all of red first, then green, then blue; our coefficients have their three colours side by side.
    """
    rest = harmonics - 1
    further = [f"f_rest_{channel * rest + i}" for i in range(rest) for channel in range(3)]
    return [*"xyz", *DC, *further, *GEOMETRY[3:]]


def _usual_order(own: list[str]) -> list[str]:
    """The original's order, which has f_rest_* by number."""
    rest = sorted((name for name in own if name.startswith("f_rest_")), key=lambda name: int(name[7:]))
    return [*DC, *rest, *GEOMETRY[3:]]


def _columns(gaussians: Gaussians, *, without_base: bool = False) -> list[np.ndarray]:
    """The Gaussians' memory as matrices of N rows, in the order of `_own_properties`."""
    means, scales, quaternions, opacities, harmonics = (tensor.numpy() for tensor in gaussians.tensors)
    colors = harmonics.reshape(len(harmonics), -1)[:, 3 * without_base :]
    return [means, colors, opacities[:, None], scales, quaternions]


def _numbers(block: np.ndarray, names: list[str]) -> np.ndarray:
    """Properties of some rows as float32, rows x names."""
    kinds = block.dtype
    every = list(kinds.names or ())
    if all(kinds[name] == np.dtype("<f4") for name in every):
        return block.view("<f4").reshape(len(block), -1).take([every.index(name) for name in names], 1)
    numbers = np.empty((len(block), len(names)), np.float32)
    for column, name in enumerate(names):
        numbers[:, column] = block[name]
    return numbers


def _blocks(count: int) -> list[slice]:
    return [slice(first, first + ROWS_AT_ONCE) for first in range(0, count, ROWS_AT_ONCE)]
