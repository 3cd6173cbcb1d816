"""Compressed PLY, .splat, .spz and .sog against files packed here as their definitions have it, value by value."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.splat_files.random_gaussians import random_gaussians, spherical_harmonics
from unscene.geometry.gaussians import Gaussians
from unscene.splat_files.formats import read_splats, write_splats
from unscene.splat_files.quaternions import from_smaller_three, smaller_three
from unscene.splat_files.splat_error import SplatError
from unscene.splat_files.splat_file import SplatFile
from unscene.splat_files.spz import turned


def assert_close(
    ours: Gaussians, theirs: Gaussians, *, mean: float, scale: float, angle: float, opacity: float, color: float
) -> None:
    assert (ours.means - theirs.means).abs().max() <= mean
    assert (ours.log_scales - theirs.log_scales).abs().max() <= scale
    assert (ours.rotations - theirs.rotations).abs().max() <= angle
    assert (ours.opacities - theirs.opacities).abs().max() <= opacity
    assert (ours.harmonics - theirs.harmonics).abs().max() <= color


def test_quaternions_without_their_largest_component() -> None:
    quaternions = torch.nn.functional.normalize(random_gaussians(100, 0).quaternions, dim=-1)
    smaller, largest = smaller_three(quaternions)
    assert set(largest.tolist()) == {0, 1, 2, 3} and smaller.abs().max() <= 0.5**0.5 + 1e-6
    again = from_smaller_three(smaller, largest)
    torch.testing.assert_close((again * quaternions).sum(-1).abs(), torch.ones(100))


def test_splat_files(tmp_path: Path) -> None:
    gaussians = random_gaussians(200, 0)
    write_splats(tmp_path / "a.splat", SplatFile(gaussians))
    assert (tmp_path / "a.splat").stat().st_size == 200 * 32
    order = (gaussians.log_scales.sum(-1) + gaussians.opacities.log()).argsort(descending=True)
    read = read_splats(tmp_path / "a.splat").gaussians
    assert_close(read, gaussians[order], mean=0, scale=1e-6, angle=0.03, opacity=0.003, color=0.01)
    first = struct.unpack("<6f8B", (tmp_path / "a.splat").read_bytes()[:32])
    assert first[:3] == tuple(gaussians.means[order[0]].tolist())
    assert first[9] == round(float(gaussians.opacities[order[0]]) * 255)


def test_an_opaque_splat_stays_finite_and_opaque(tmp_path: Path) -> None:
    path = tmp_path / "a.splat"
    path.write_bytes(struct.pack("<6f8B", 0, 0, 0, 1, 1, 1, 255, 0, 128, 255, 255, 128, 128, 128))
    read = read_splats(path).gaussians
    assert read.opacity_logits.isfinite().all() and read.opacities[0] > 0.99999
    write_splats(tmp_path / "b.splat", SplatFile(read))
    assert (tmp_path / "b.splat").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spz_files_come_back(degree: int, tmp_path: Path) -> None:
    gaussians = random_gaussians(300, degree)
    write_splats(tmp_path / "a.spz", SplatFile(gaussians))
    read = read_splats(tmp_path / "a.spz").gaussians
    assert_close(read, gaussians, mean=2**-13, scale=1 / 32 + 1e-6, angle=0.006, opacity=0.0021, color=0.0135)


def packed_spz(gaussians: Gaussians, version: int) -> bytes:
    """Gaussians in the format's axes, packed number by number as its definition has it."""
    count, rest = len(gaussians), gaussians.harmonics.shape[1] - 1
    attributes: list[bytearray] = [bytearray() for _ in range(6)]
    positions, alphas, colors, scales, rotations, further = attributes
    for i in range(count):
        for value in gaussians.means[i].tolist():
            positions += (round(value * 4096) & 0xFFFFFF).to_bytes(3, "little")
        alphas.append(round(float(gaussians.opacities[i]) * 255))
        colors += bytes(round((value * 0.15 + 0.5) * 255) for value in gaussians.harmonics[i, 0].tolist())
        scales += bytes(round((value + 10) * 16) for value in gaussians.log_scales[i].tolist())
        w, x, y, z = torch.nn.functional.normalize(gaussians.quaternions[i], dim=0).tolist()
        if version == 2:
            sign = -1 if w < 0 else 1
            rotations += bytes(round(sign * value * 127.5 + 127.5) for value in (x, y, z))
        else:
            components = [x, y, z, w]
            largest = max(range(4), key=lambda k: abs(components[k]))
            whole = largest
            for k in range(4):
                if k != largest:
                    negative = (components[k] < 0) != (components[largest] < 0)
                    whole = whole << 10 | negative << 9 | int(511 * abs(components[k]) * 2**0.5 + 0.5)
            rotations += struct.pack("<I", whole)
        for k in range(rest):
            further += bytes(min(255, max(0, round(v * 128 + 128))) for v in gaussians.harmonics[i, 1 + k].tolist())
    degree = gaussians.degree
    if version < 4:
        return gzip.compress(
            struct.pack("<IIIBBBB", 0x5053474E, version, count, degree, 12, 0, 0) + b"".join(attributes)
        )
    zstandard = pytest.importorskip("zstandard")
    streams = [zstandard.ZstdCompressor().compress(bytes(part)) for part in attributes]
    header = struct.pack("<IIIBBBBI12x", 0x5053474E, 4, count, degree, 12, 0, 6, 32)
    table = b"".join(struct.pack("<QQ", len(s), len(a)) for s, a in zip(streams, attributes, strict=True))
    return header + table + b"".join(streams)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_spz_versions_by_their_definition(version: int, tmp_path: Path) -> None:
    gaussians = random_gaussians(40, 2, seed=3)
    (tmp_path / "a.spz").write_bytes(packed_spz(turned(gaussians), version))
    read = read_splats(tmp_path / "a.spz").gaussians
    angle = 0.12 if version == 2 else 0.006  # w is what 8 bits of x, y and z leave
    assert_close(read, gaussians, mean=2**-13, scale=1 / 32 + 1e-6, angle=angle, opacity=0.0021, color=0.0135)


def test_the_other_axes_show_the_same_world() -> None:
    """Seen along a turned direction, a turned Gaussian has the colour and the shape of the first."""
    gaussians, flip = random_gaussians(30, 3), torch.tensor([1.0, -1, -1])
    other = turned(gaussians)
    directions = torch.nn.functional.normalize(gaussians.means, dim=-1)

    def colors(seen: Gaussians, along: Tensor) -> Tensor:
        return torch.einsum("nk,nkc->nc", spherical_harmonics(along), seen.harmonics)

    torch.testing.assert_close(colors(other, directions * flip), colors(gaussians, directions))
    covariance, turned_covariance = (
        seen.rotations @ torch.diag_embed(seen.scales**2) @ seen.rotations.mT for seen in (gaussians, other)
    )
    torch.testing.assert_close(turned_covariance, flip[:, None] * covariance * flip)


def test_a_scene_too_large_for_its_fraction_is_written_coarser(tmp_path: Path) -> None:
    gaussians = random_gaussians(20, 0)
    gaussians.means[0] = torch.tensor([5e5, -7.25, 1e4])
    write_splats(tmp_path / "a.spz", SplatFile(gaussians))
    assert (read_splats(tmp_path / "a.spz").gaussians.means - gaussians.means).abs().max() <= 2**-5


def test_damaged_spz_files_are_explained(tmp_path: Path) -> None:
    whole = packed_spz(random_gaussians(20, 1), 3)
    payload = gzip.decompress(whole)
    cases = {
        "ends early": [whole[:-30], whole[:5], gzip.compress(payload[:-1]), gzip.compress(payload[:10])],
        "version 2 to 4": [gzip.compress(b"x" * 40), gzip.compress(payload[:4] + b"\x09" + payload[5:]), b"y" * 50],
        "holds none": [gzip.compress(payload[:8] + bytes(4) + payload[12:])],
        "fits into memory": [gzip.compress(payload[:8] + b"\xff" * 4 + payload[12:])],
    }
    for words, contents in cases.items():
        for content in contents:
            (tmp_path / "a.spz").write_bytes(content)
            with pytest.raises(SplatError, match=words):
                read_splats(tmp_path / "a.spz")


def test_damaged_spz_files_of_version_4_are_explained(tmp_path: Path) -> None:
    whole = packed_spz(random_gaussians(20, 1), 4)
    for content in (whole[:-9], whole[:40], whole[:20], whole[:150] + bytes(30) + whole[180:]):
        (tmp_path / "a.spz").write_bytes(content)
        with pytest.raises(SplatError, match="ends early"):
            read_splats(tmp_path / "a.spz")


def test_what_is_no_whole_number_of_splats(tmp_path: Path) -> None:
    (tmp_path / "a.splat").write_bytes(bytes(33))
    with pytest.raises(SplatError, match="1 bytes are left"):
        read_splats(tmp_path / "a.splat")
    (tmp_path / "a.splat").write_bytes(b"")
    with pytest.raises(SplatError, match="holds none"):
        read_splats(tmp_path / "a.splat")


def compressed_ply(gaussians: Gaussians) -> bytes:
    """SuperSplat's packing, chunk by chunk."""
    count, chunks, rows, spectra = len(gaussians), [], [], []
    for first in range(0, count, 256):
        part = gaussians[first : first + 256]
        ends = []
        for values in (part.means, part.log_scales, part.base_colors):
            ends.append((values.min(0).values.numpy(), values.max(0).values.numpy()))
        chunks.append(np.concatenate([np.concatenate(pair) for pair in ends]))

        def units(values: Tensor, pair: tuple[np.ndarray, np.ndarray], bits: tuple[int, ...]) -> list[np.ndarray]:
            share = (values.numpy() - pair[0]) / (pair[1] - pair[0])
            return [np.round(share[:, i] * (2**b - 1)).astype(np.uint32) for i, b in enumerate(bits)]

        p, s = units(part.means, ends[0], (11, 10, 11)), units(part.log_scales, ends[1], (11, 10, 11))
        c = units(part.base_colors, ends[2], (8, 8, 8))
        c.append(np.round(part.opacities.numpy() * 255).astype(np.uint32))
        smaller, largest = smaller_three(part.quaternions)
        q = np.round((smaller.numpy() * 0.5**0.5 + 0.5) * 1023).astype(np.uint32)
        rotation = largest.numpy().astype(np.uint32) << 30 | q[:, 0] << 20 | q[:, 1] << 10 | q[:, 2]
        rows.append(np.stack([
            p[0] << 21 | p[1] << 11 | p[2], rotation, s[0] << 21 | s[1] << 11 | s[2],
            c[0] << 24 | c[1] << 16 | c[2] << 8 | c[3],
        ], -1))  # fmt: skip
        further = part.harmonics[:, 1:].transpose(1, 2).flatten(1).numpy()
        spectra.append(np.trunc((further / 8 + 0.5) * 256).astype(np.uint8))
    limits = [f"{end}_{axis}" for end in ("min", "max") for axis in "xyz"]
    limits += [f"{end}_scale_{axis}" for end in ("min", "max") for axis in "xyz"]
    limits += [f"{end}_{channel}" for end in ("min", "max") for channel in "rgb"]
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {len(chunks)}"]
    lines += [f"property float {name}" for name in limits]
    lines += [f"element vertex {count}"]
    lines += [f"property uint packed_{name}" for name in ("position", "rotation", "scale", "color")]
    lines += [f"element sh {count}", *(f"property uchar f_rest_{i}" for i in range(spectra[0].shape[1]))]
    head = "\n".join([*lines, "end_header", ""]).encode()
    return (
        head
        + np.stack(chunks).astype("<f4").tobytes()
        + np.concatenate(rows).tobytes()
        + np.concatenate(spectra).tobytes()
    )


def test_compressed_ply(tmp_path: Path) -> None:
    gaussians = random_gaussians(300, 1)
    (tmp_path / "a.ply").write_bytes(compressed_ply(gaussians))
    read = read_splats(tmp_path / "a.ply").gaussians
    span, sizes = (float((t.max(0).values - t.min(0).values).max()) for t in (gaussians.means, gaussians.log_scales))
    assert_close(
        read, gaussians, mean=0.51 * span / 1023, scale=0.51 * sizes / 1023, angle=0.004, opacity=0.0021, color=0.0170
    )
    (tmp_path / "a.ply").write_bytes(compressed_ply(gaussians)[:-5])
    with pytest.raises(SplatError, match="ends after 299"):
        read_splats(tmp_path / "a.ply")


def sog(gaussians: Gaussians) -> bytes:
    """Two dozen pixels a row; codebooks of 256 numbers, the palette of spectra one for each Gaussian."""
    count, width = len(gaussians), 24
    height = -(-count // width)

    def picture(values: np.ndarray) -> bytes:
        pixels = np.full((height * width, 4), 255, np.uint8)
        pixels[: len(values), : values.shape[1]] = values
        return encoded(pixels.reshape(height, width, 4))

    def encoded(pixels: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels, "RGBA").save(file, "WEBP", lossless=True, exact=True)
        return file.getvalue()

    def codes(values: Tensor) -> tuple[list[float], np.ndarray]:
        book = torch.linspace(float(values.min()), float(values.max()), 256)
        return book.tolist(), (values[..., None] - book).abs().argmin(-1).to(torch.uint8).numpy()

    logarithms = (gaussians.means.sign() * gaussians.means.abs().log1p()).numpy()
    low, high = logarithms.min(0), logarithms.max(0)
    fixed = np.round((logarithms - low) / (high - low) * 65535).astype(np.uint16)
    smaller, largest = smaller_three(gaussians.quaternions)
    quaternions = np.concatenate(
        [np.round((smaller.numpy() * 0.5**0.5 + 0.5) * 255), 252 + largest[:, None].numpy()], 1
    )
    scale_book, scales = codes(gaussians.log_scales)
    base_book, base = codes(gaussians.harmonics[:, 0])
    further_book, further = codes(gaussians.harmonics[:, 1:])
    size = further.shape[1]
    palette = np.zeros((-(-count // 64) * 64, size, 4), np.uint8)
    palette[:count, :, :3] = further
    labels = np.stack([np.arange(count) & 255, np.arange(count) >> 8], -1)
    opacities = np.round(gaussians.opacities.numpy() * 255)[:, None]
    meta = {
        "version": 2, "count": count,
        "means": {"mins": low.tolist(), "maxs": high.tolist(), "files": ["l.webp", "u.webp"]},
        "quats": {"files": ["q.webp"]}, "scales": {"codebook": scale_book, "files": ["s.webp"]},
        "sh0": {"codebook": base_book, "files": ["c.webp"]},
        "shN": {"bands": gaussians.degree, "count": count, "codebook": further_book, "files": ["p.webp", "i.webp"]},
    }  # fmt: skip
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("meta.json", json.dumps(meta))
        archive.writestr("l.webp", picture(fixed & 255))
        archive.writestr("u.webp", picture(fixed >> 8))
        archive.writestr("q.webp", picture(quaternions))
        archive.writestr("s.webp", picture(scales))
        archive.writestr("c.webp", picture(np.concatenate([base, opacities], 1)))
        archive.writestr("p.webp", encoded(palette.reshape(-1, 64 * size, 4)))
        archive.writestr("i.webp", picture(labels))
    return file.getvalue()


def test_sog_files(tmp_path: Path) -> None:
    gaussians = random_gaussians(300, 2)
    whole = sog(gaussians)
    (tmp_path / "a.sog").write_bytes(whole)
    read = read_splats(tmp_path / "a.sog").gaussians
    assert_close(read, gaussians, mean=4e-4, scale=0.01, angle=0.02, opacity=0.0021, color=0.004)
    for content in (whole[:-40], b"no archive", whole.replace(b'"version": 2', b'"version": 3')):
        (tmp_path / "a.sog").write_bytes(content)
        with pytest.raises(SplatError, match="expected a"):
            read_splats(tmp_path / "a.sog")
