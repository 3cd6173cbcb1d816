"""Kinds of image files: what is read, what a package more would read, and what has to be converted first."""

from __future__ import annotations

import importlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from unscene.scenes.scene import SceneError

HEIF_SUFFIXES = (".heic", ".heif", ".hif")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", *HEIF_SUFFIXES)
RAW_SUFFIXES = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw",
    ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip
FOREIGN_KINDS = {
    **dict.fromkeys(RAW_SUFFIXES, "a camera's raw data"),
    ".exr": "OpenEXR",
    ".hdr": "Radiance HDR",
    ".jxl": "JPEG XL",
    ".psd": "a Photoshop document",
}
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
DEFLATE_RATIO = 1032  # the most that PNG's compression can do
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@contextmanager
def open_image(path: Path, label: str) -> Iterator[Image.Image]:
    """An image file, open, its pixels not decoded yet. ``label`` is how messages call it.

    Raises SceneError for what cannot be read, also while the block decodes.
    """
    kind = None
    try:
        kind = _kind(path)
        if kind == "HEIC":
            _register_heif(label)
        elif kind in FOREIGN_KINDS.values():
            raise SceneError(f"{label}: expected a photo as JPEG, PNG or TIFF, got {kind}; convert the photos to JPEG.")
        with Image.open(path) as image:
            if _claims_too_much(image, path):
                raise UnidentifiedImageError
            unusual = _unusual_samples(image)
            if unusual:
                raise SceneError(
                    f"{label}: expected a photo of 8 or 16 bits a channel, got {unusual}; replace the photos by "
                    "8-bit or 16-bit ones."
                )
            yield image
    except SceneError:
        raise
    except UnidentifiedImageError as error:
        raise _unreadable(label, kind) from error
    except (EOFError, OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise _unreadable(label, None) from error  # PIL calls a broken PNG a SyntaxError


def is_readable(path: Path) -> bool:
    """Whether files of this name are of a kind that can be read here."""
    suffix = path.suffix.lower()
    return suffix not in FOREIGN_KINDS and (suffix not in HEIF_SUFFIXES or _has_heif())


def name_without_suffix(name: str) -> str:
    """``name`` without the extension of an image, of any kind and in any case; names with other dots stay whole."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in (*IMAGE_SUFFIXES, *FOREIGN_KINDS) else name


def images_below(folder: Path) -> Iterator[Path]:
    """Images of all kinds in a folder and its subfolders, hidden ones and links to other folders apart."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name_without_suffix(name) != name:
                yield Path(parent, name)


def _kind(path: Path) -> str | None:
    """What a file is if not of the common kinds: by its first bytes (phones' HEIC goes by .jpg as well) or its name."""
    with path.open("rb") as file:
        start = file.read(32)
    brands = start[8:] if start[4:8] == b"ftyp" else b""
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    if brands[:4] in HEIF_BRANDS:
        return "HEIC"
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL"
    if path.suffix.lower() not in FOREIGN_KINDS and start.startswith(TIFF_STARTS):
        return "TIFF"
    return FOREIGN_KINDS.get(path.suffix.lower())


def _claims_too_much(image: Image.Image, path: Path) -> bool:
    """Whether a PNG is too short for its size, whatever it shows: told before memory is taken for its pixels."""
    bits = image.width * image.height * (8 * len(image.getbands()) if len(image.getbands()) > 1 else 1)  # at least
    return image.format == "PNG" and bits > 8 * DEFLATE_RATIO * path.stat().st_size


def _unusual_samples(image: Image.Image) -> str | None:
    """Words for pixels that Pillow opens but would show black or cannot convert: none says what is white."""
    if image.mode == "F":
        return "32-bit float values, of which none is known to be white"
    if image.mode == "I" and image.format == "TIFF":  # elsewhere it is how older versions call 16 bits
        return "32-bit integers, of which none is known to be white"
    return "CIELAB colours" if image.mode == "LAB" else None


def _has_heif() -> bool:
    try:
        importlib.import_module("pillow_heif")
    except ImportError:
        return False
    return True


def _register_heif(label: str) -> None:
    try:
        from pillow_heif import register_heif_opener  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SceneError(
            f"{label}: expected a photo that Pillow can read, got HEIC; pip install pillow-heif, or convert the photos "
            "to JPEG."
        ) from error
    register_heif_opener()


def _unreadable(label: str, kind: str | None) -> SceneError:
    if kind == "AVIF":
        got, remedy = "but this Pillow does not read AVIF", "pip install -U pillow, or convert the photos to JPEG"
    elif kind == "TIFF":
        got = "but the file is truncated, or a TIFF of float or 64-bit values"
        remedy = "copy it again, or replace the photos by 8-bit or 16-bit ones"
    else:
        got, remedy = "but the file is truncated or no image", "copy it again or remove the frame"
    return SceneError(f"{label}: expected a readable image, {got}; {remedy}.")
