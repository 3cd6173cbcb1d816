"""Photos and masks of every kind, size and format, written in place of a file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def _pixels(size: tuple[int, int] = (32, 24)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)


def _saved(mode: str, format: str = "PNG", **options: object) -> Callable[[Path, int], None]:
    def save(file: Path, where: int) -> None:
        Image.fromarray(_pixels()).convert(mode).save(file, format, **options)

    return save


def _sized(file: Path, where: int) -> None:
    size = ((16, 12), (24, 32), (1, 1), (33, 24), (320, 240))[where % 5]
    Image.fromarray(_pixels(size)).save(file)


def _claims_to_be_huge(file: Path, where: int) -> None:
    """A PNG of a few hundred bytes whose header gives up to 4e18 pixels."""
    side = (5_000, 9_000, 13_000, 40_000, 2**31 - 1)[where % 5]
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


ODD_IMAGES: tuple[Callable[[Path, int], None], ...] = (
    _claims_to_be_huge, _sized, _saved("L"), _saved("1"), _saved("P"), _saved("RGBA"), _saved("I;16"), _saved("LA"),
    _saved("CMYK", "JPEG"), _saved("F", "TIFF"), _saved("I", "TIFF"), _saved("RGB", "GIF"), _saved("RGB", "WEBP"),
    _saved("RGB", "ICO"), _saved("RGB", "PDF"), _saved("RGB", "PPM"),
)  # fmt: skip
