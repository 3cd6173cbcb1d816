"""PlayCanvas' and SuperSplat's compressed PLY: chunks of 256 Gaussians, quantised between each chunk's least and most.

Positions and scales lie in 11, 10 and 11 bits, quaternions as their three smaller components in 10 bits each, colours
and opacities in 8 bits each, further spherical harmonics in 8 bits of [-4, 4].
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from unscene.geometry.gaussians import Gaussians, harmonics_of, opacity_logits_of
from unscene.splat_files.ply_elements import Header, read_elements
from unscene.splat_files.quaternions import from_smaller_three
from unscene.splat_files.splat_error import SplatError
from unscene.splat_files.splat_file import Announce, SplatFile, check_memory

CHUNK = 256
PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
LIMITS = [f"{end}_{axis}" for axis in ("x", "y", "z", "scale_x", "scale_y", "scale_z") for end in ("min", "max")]
COLOR_LIMITS = [f"{end}_{channel}" for channel in "rgb" for end in ("min", "max")]


def is_compressed(header: Header) -> bool:
    """Whether a PLY says that it is one of these."""
    vertex = header.element("vertex")
    return header.element("chunk") is not None and vertex is not None and PACKED[0] in dict(vertex.properties or ())


def read_compressed_ply(path: Path, header: Header, announce: Announce) -> SplatFile:
    """Read a compressed PLY. Raises SplatError for one with parts missing."""
    chunk, vertex, harmonics = (header.element(name) for name in ("chunk", "vertex", "sh"))
    assert chunk is not None and vertex is not None
    rest = 0 if harmonics is None else len(harmonics.properties or ())
    complete = {*LIMITS} <= dict(chunk.properties or ()).keys() and {*PACKED} <= dict(vertex.properties or ()).keys()
    fits = chunk.count * CHUNK >= vertex.count and (harmonics is None or harmonics.count == vertex.count)
    if not complete or not fits or rest not in (0, 9, 24, 45):
        raise SplatError(f"{path}: expected a compressed PLY, but parts of it are missing; export it again.")
    check_memory(path, vertex.count, rest // 3 + 1, announce)
    found = read_elements(path, header, ["chunk", "vertex", *(["sh"] if rest else [])])
    limits, packed = found["chunk"], found["vertex"]
    of = np.arange(vertex.count) // CHUNK

    def between(shares: np.ndarray, names: list[str]) -> np.ndarray:
        low, high = (np.stack([limits[name] for name in names[end::2]], -1)[of] for end in (0, 1))
        return low * (1 - shares) + high * shares

    color = _unpacked(packed["packed_color"], (24, 16, 8, 0), (8, 8, 8, 8))
    colors = between(color[:, :3], COLOR_LIMITS) if COLOR_LIMITS[0] in (limits.dtype.names or ()) else color[:, :3]
    rotation = packed["packed_rotation"].astype(np.int64)
    smaller = np.stack([rotation >> 20 & 1023, rotation >> 10 & 1023, rotation & 1023], -1)
    coefficients = harmonics_of(torch.from_numpy(colors.astype(np.float32)))
    if rest:
        table = found["sh"]
        further = np.stack([table[f"f_rest_{i}"] for i in range(rest)], -1).reshape(-1, 3, rest // 3)
        shown = torch.from_numpy((further.astype(np.float32) + 0.5) / 32 - 4).transpose(1, 2)
        coefficients = torch.cat([coefficients, shown], 1)
    position_bits = ((21, 11, 0), (11, 10, 11))
    gaussians = Gaussians(
        _tensor(between(_unpacked(packed["packed_position"], *position_bits), LIMITS[:6])),
        _tensor(between(_unpacked(packed["packed_scale"], *position_bits), LIMITS[6:])),
        from_smaller_three(_tensor((smaller / 1023 - 0.5) * np.sqrt(2)), torch.from_numpy(rotation >> 30)),
        opacity_logits_of(_tensor(color[:, 3])),
        coefficients.contiguous(),
    )
    return SplatFile(gaussians, comments=header.comments)


def _unpacked(packed: np.ndarray, shifts: tuple[int, ...], bits: tuple[int, ...]) -> np.ndarray:
    """Bit fields of uint32 as shares in [0, 1], N fields."""
    most = [(1 << width) - 1 for width in bits]
    return np.stack([(packed >> shift & end) / end for shift, end in zip(shifts, most, strict=True)], -1)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
