"""`.sog` files (PlayCanvas), version 2: a ZIP of lossless WebP pictures whose pixels are Gaussians. Read only."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from unscene.geometry.gaussians import Gaussians, opacity_logits_of
from unscene.splat_files.quaternions import from_smaller_three
from unscene.splat_files.splat_error import SplatError
from unscene.splat_files.splat_file import Announce, SplatFile, check_memory

MOST_PICTURE = 1 << 30
BLOCK = 64  # spectra a row of the palette's picture
DAMAGED = (
    KeyError, IndexError, TypeError, ValueError, OSError, NotImplementedError, RuntimeError, zlib.error,
    zipfile.BadZipFile, Image.DecompressionBombError,
)  # fmt: skip
FIRST_TAG = 252  # of a quaternion's pixel: which component is the largest


def read_sog(path: Path, announce: Announce) -> SplatFile:
    """Read a `.sog` file. Raises SplatError for other versions and damaged files."""
    try:
        with zipfile.ZipFile(path) as archive:
            described = json.loads(archive.read("meta.json"))
            if described.get("version") != 2:
                raise SplatError(f"{path}: expected a .sog file of version 2; export it again with a current program.")
            count, bands = int(described["count"]), int(described.get("shN", {}).get("bands", 0))
            check_memory(path, count, (bands + 1) ** 2, announce)
            return SplatFile(_gaussians(archive, described, count, bands))
    except DAMAGED as error:
        raise SplatError(f"{path}: expected a whole .sog file, but it is damaged or none; copy it again.") from error


def _gaussians(archive: zipfile.ZipFile, described: dict[str, Any], count: int, bands: int) -> Gaussians:
    def pixels(part: str, index: int = 0) -> np.ndarray:
        found = _picture(archive, described[part]["files"][index]).reshape(-1, 4)[:count]
        if len(found) < count:
            raise ValueError(f"{part} ends early")
        return found

    def looked_up(part: str, values: np.ndarray) -> np.ndarray:
        return np.array(described[part]["codebook"], np.float32)[values]

    means = described["means"]
    shares = (pixels("means").astype(np.int32) | pixels("means", 1).astype(np.int32) << 8)[:, :3] / 65535
    low, high = (np.array(means[end], np.float64) for end in ("mins", "maxs"))
    logarithms = low + shares * (high - low)
    positions = np.sign(logarithms) * np.expm1(abs(logarithms))
    rotation = pixels("quats")
    smaller = torch.from_numpy((rotation[:, :3].astype(np.float32) / 255 - 0.5) * 2**0.5)
    largest = torch.from_numpy(np.clip(rotation[:, 3].astype(np.int64) - FIRST_TAG, 0, 3))
    color = pixels("sh0")
    harmonics = np.zeros((count, (bands + 1) ** 2, 3), np.float32)
    harmonics[:, 0] = looked_up("sh0", color[:, :3])
    if bands:
        harmonics[:, 1:] = looked_up("shN", _spectra(archive, described, count, harmonics.shape[1] - 1))
    return Gaussians(
        torch.from_numpy(positions.astype(np.float32)),
        torch.from_numpy(looked_up("scales", pixels("scales")[:, :3])),
        from_smaller_three(smaller, largest),
        opacity_logits_of(torch.from_numpy(color[:, 3].astype(np.float32) / 255)),
        torch.from_numpy(harmonics),
    )


def _spectra(archive: zipfile.ZipFile, described: dict[str, Any], count: int, size: int) -> np.ndarray:
    """Each Gaussian's row of the palette, N size 3 indices of the codebook."""
    palette, labels = (_picture(archive, name) for name in described["shN"]["files"])
    chosen = labels.reshape(-1, 4)[:count].astype(np.int64)
    index = chosen[:, 0] | chosen[:, 1] << 8
    rows = palette[..., :3].reshape(palette.shape[0] * BLOCK, size, 3)
    return rows[index]


def _picture(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    if archive.getinfo(name).file_size > MOST_PICTURE:
        raise ValueError(f"{name} is larger than any picture of Gaussians")
    with Image.open(io.BytesIO(archive.read(name)), formats=["WEBP"]) as picture:
        return np.asarray(picture.convert("RGBA"))
