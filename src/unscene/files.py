"""Writing files so that a full disk or a kill never leaves half of one behind."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place, file or folder, when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    _delete(temporary)
    try:
        yield temporary
        if temporary.is_file():
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        if not path.is_dir():
            temporary.replace(path)
        else:  # no system call exchanges folders everywhere: set the old one aside, so that one of the two survives
            aside = path.with_name(f".{path.name}.{os.getpid()}.old")
            _delete(aside)
            path.replace(aside)
            try:
                temporary.replace(path)
            except BaseException:
                aside.replace(path)
                raise
            _delete(aside)
    finally:
        _delete(temporary)


def delete_leftovers(folder: Path) -> None:
    """Delete what `atomic_write` of a process that was killed has left below ``folder``."""
    for path in [*folder.rglob(".*.partial*"), *folder.rglob(".*.old")]:
        _delete(path)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def read_pixels(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """``cv2.imread``, which on Windows opens no path beyond the system's own alphabet; None for what is no image."""
    content = np.frombuffer(path.read_bytes(), np.uint8)
    return cv2.imdecode(content, flags) if len(content) else None


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """Write H W 3 RGB or H W grey uint8 as PNG, atomically."""
    encoded = cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1]
    write_bytes(path, encoded.tobytes())
    return path


def to_uint8(image: Tensor) -> Tensor:
    """Colours, float in [0, 1], or a mask, bool, as uint8; uint8 stays."""
    if image.dtype == torch.bool:
        return image.to(torch.uint8) * 255
    return (image.clamp(0, 1) * 255).round().to(torch.uint8) if image.is_floating_point() else image


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
