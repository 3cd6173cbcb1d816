"""`.spz` files (Niantic): Gaussians in a tenth of the room, in fixed point and 8 bits, compressed.

Versions 2 and 3 are one gzip stream, version 4 one Zstandard stream an attribute. Their axes are right, up, back, ours
(and a 3DGS PLY's) right, down, forward: y and z change sign on the way in and out, in spherical harmonics too.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unscene.files import write_bytes
from unscene.geometry.gaussians import MOST_DEGREE, Gaussians, opacity_logits_of
from unscene.splat_files.quaternions import from_smaller_three, smaller_three
from unscene.splat_files.splat_error import SplatError
from unscene.splat_files.splat_file import Announce, SplatFile, check_memory

MAGIC = 0x5053474E  # "NGSP"
GZIP = b"\x1f\x8b"
COLOR_SCALE = 0.15
FRACTION_BITS = 12  # a 4096th of a unit; fewer where a scene is too large for 24 bits
PATTERN = "<IIIBBBB"
TURN_QUATERNION = (1, 1, -1, -1)
TURN_AXES = (1, -1, -1)
TURN_HARMONICS = (1, -1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1)
"""Signs of the basis functions for (x, -y, -z)."""


def read_spz(path: Path, announce: Announce) -> SplatFile:
    """Read versions 2 to 4. Raises SplatError for others, for damaged files and for a version 4 without zstandard."""
    content = path.read_bytes()
    try:
        unpack = _one_stream if content[:2] == GZIP else _streams
        version, count, degree, bits, streams = unpack(path, content, announce)
        positions, alphas, colors, scales, rotations, further = streams
    except (EOFError, OSError, ValueError, struct.error, zlib.error) as error:
        raise SplatError(
            f"{path}: expected a whole .spz file, but it ends early or is damaged; copy it again."
        ) from error
    low, middle, high = (positions.reshape(count, 3, 3)[..., byte].astype(np.int32) for byte in range(3))
    fixed = (low | middle << 8 | high << 16) << 8 >> 8  # the sign is the 24th bit's
    means = torch.from_numpy(fixed.astype(np.float32) / 2**bits)
    harmonics = torch.from_numpy(np.concatenate(
        [((colors.reshape(count, 1, 3).astype(np.float32) / 255 - 0.5) / COLOR_SCALE),
         (further.reshape(count, -1, 3).astype(np.float32) - 128) / 128], 1,
    ))  # fmt: skip
    gaussians = Gaussians(
        means,
        torch.from_numpy(scales.reshape(count, 3).astype(np.float32) / 16 - 10),
        _rotations_v2(rotations) if version < 3 else _rotations_v3(rotations),
        opacity_logits_of(torch.from_numpy(alphas.astype(np.float32) / 255)),
        harmonics,
    )
    notes = (f"{path.name}: spherical harmonics beyond degree 3 are left out",) if degree > MOST_DEGREE else ()
    return SplatFile(turned(gaussians.with_degree(min(degree, MOST_DEGREE))), notes=notes)


def write_spz(path: Path, gaussians: Gaussians) -> None:
    """Write version 3, which every reader of the format knows and which needs no Zstandard."""
    gaussians, count = turned(gaussians.to("cpu")), len(gaussians)
    farthest = float(gaussians.means.abs().max()) if count else 0.0
    bits = FRACTION_BITS
    while bits > 0 and farthest * 2**bits >= 2**23 - 1:
        bits -= 1
    fixed = (gaussians.means.double() * 2**bits).round().clamp(1 - 2**23, 2**23 - 1).to(torch.int32).numpy()
    positions = np.stack([fixed & 255, fixed >> 8 & 255, fixed >> 16 & 255], -1).astype(np.uint8)
    smaller, largest = smaller_three(gaussians.quaternions[:, [1, 2, 3, 0]])  # x, y, z, w here
    sizes = (smaller.abs() * (511 * 2**0.5)).round().clamp(0, 511).long() + (smaller < 0) * 512
    packed = (largest << 30 | sizes[:, 0] << 20 | sizes[:, 1] << 10 | sizes[:, 2]).numpy().astype("<u4")
    parts = [
        positions,
        _bytes(gaussians.opacities * 255),
        _bytes((gaussians.harmonics[:, 0] * COLOR_SCALE + 0.5) * 255),
        _bytes((gaussians.log_scales + 10) * 16),
        packed,
        _bytes(gaussians.harmonics[:, 1:] * 128 + 128),
    ]
    header = struct.pack(PATTERN, MAGIC, 3, count, gaussians.degree, bits, 0, 0)
    payload = header + b"".join(part.tobytes() for part in parts)
    write_bytes(path, gzip.compress(payload, compresslevel=6, mtime=0))


def turned(gaussians: Gaussians) -> Gaussians:
    """The same in a world whose y and z axes point the other way; twice is as before."""
    signs = gaussians.means.new_tensor
    return Gaussians(
        gaussians.means * signs(TURN_AXES),
        gaussians.log_scales,
        gaussians.quaternions * signs(TURN_QUATERNION),
        gaussians.opacity_logits,
        gaussians.harmonics * signs(TURN_HARMONICS[: gaussians.harmonics.shape[1]])[:, None],
    )


Streams = tuple[int, int, int, int, list[np.ndarray]]
"""Version, count, degree, fraction bits, and the attributes as bytes."""


def _sizes(version: int, count: int, degree: int) -> list[int]:
    rotation = 4 if version >= 3 else 3
    return [count * size for size in (9, 1, 3, 3, rotation, 3 * ((degree + 1) ** 2 - 1))]


def _header(path: Path, header: bytes, announce: Announce) -> tuple[int, int, int, int]:
    magic, version, count, degree, bits, _, _ = struct.unpack(PATTERN, header[:16])
    if magic != MAGIC or version not in (2, 3, 4) or degree > 4 or bits > 23:
        raise SplatError(f"{path}: expected an .spz file of version 2 to 4, but it is none; export it again.")
    check_memory(path, count, (degree + 1) ** 2, announce)
    return version, count, degree, bits


def _one_stream(path: Path, content: bytes, announce: Announce) -> Streams:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        version, count, degree, bits = _header(path, file.read(16), announce)
        sizes = _sizes(version, count, degree)
        payload = file.read(sum(sizes))  # and no more, whatever else it would unpack to
    if len(payload) < sum(sizes):
        raise EOFError
    ends = np.cumsum(sizes)
    return version, count, degree, bits, np.split(np.frombuffer(payload, np.uint8), ends[:-1])


def _streams(path: Path, content: bytes, announce: Announce) -> Streams:
    version, count, degree, bits = _header(path, content, announce)
    try:
        import zstandard
    except ImportError as error:
        raise SplatError(
            f"{path}: an .spz file of version 4 needs zstandard; install it with: pip install 'unscene[spz]'"
        ) from error
    amount, table = struct.unpack("<BI", content[15:20])
    places = [struct.unpack("<QQ", content[table + 16 * i : table + 16 * i + 16]) for i in range(amount)]
    begin, parts = table + 16 * amount, []
    for size, (packed, unpacked) in zip(_sizes(version, count, degree), [*places, (0, 0)], strict=False):
        if unpacked != size:
            raise EOFError
        data = b""
        if size:
            try:
                data = zstandard.ZstdDecompressor().decompress(content[begin : begin + packed], max_output_size=size)
            except zstandard.ZstdError as error:
                raise ValueError("damaged") from error
        if len(data) != size:
            raise EOFError
        parts.append(np.frombuffer(data, np.uint8))
        begin += packed
    return version, count, degree, bits, parts


def _rotations_v2(packed: np.ndarray) -> Tensor:
    """x, y and z in 8 bits each; w is what is left."""
    xyz = torch.from_numpy(packed.reshape(-1, 3).astype(np.float32)) / 127.5 - 1
    w = (1 - xyz.square().sum(-1, keepdim=True)).clamp_min(0).sqrt()
    return torch.cat([w, xyz], -1)


def _rotations_v3(packed: np.ndarray) -> Tensor:
    """The three smaller ones of x, y, z, w in a sign and 9 bits each, below two bits that name the largest."""
    whole = packed.view("<u4").astype(np.int64)
    fields = torch.from_numpy(np.stack([whole >> 20 & 1023, whole >> 10 & 1023, whole & 1023], -1))
    smaller = (fields & 511).float() / (511 * 2**0.5) * (1 - 2 * (fields >> 9).float())
    return from_smaller_three(smaller, torch.from_numpy(whole >> 30))[:, [3, 0, 1, 2]]


def _bytes(values: Tensor) -> np.ndarray:
    return values.round().clamp(0, 255).to(torch.uint8).numpy()
