"""Photos of other kinds than 8-bit RGB: read as they are meant, or named with what to do; never black."""

from __future__ import annotations

import io
import struct
import sys
import types
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.scenes.tiny_scenes import FOCAL, PRINCIPAL, SIZE, TinyScene
from unscene.scenes.image_formats import open_image
from unscene.scenes.load import load_scene
from unscene.scenes.scene import SceneError

HEIC_START = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def rename_photos(tiny: TinyScene, suffix: str) -> list[Path]:
    """A scene whose photos go by another extension; their paths."""
    tiny.photos()
    old = [tiny.root / "images" / name for name in tiny.names]
    tiny.names = [f"{path.stem}{suffix}" for path in old]
    tiny.json(tiny.transforms())
    return [path.rename(path.with_suffix(suffix)) for path in old]


def refusal(tiny: TinyScene) -> str:
    with pytest.raises(SceneError) as caught:
        load_scene(tiny.root)
    return str(caught.value)


def colours(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)


# Kinds that are read


def cmyk(rgb: np.ndarray) -> Image.Image:
    return Image.fromarray(rgb).convert("CMYK")


def palette(rgb: np.ndarray) -> Image.Image:
    return Image.fromarray(rgb // 64 * 64).quantize(64)


@pytest.mark.parametrize("convert", [cmyk, palette], ids=["CMYK", "palette"])
def test_other_modes_are_converted(tiny: TinyScene, convert) -> None:
    tiny.nerfstudio()
    image = convert(colours())
    image.save(tiny.root / "images" / "002.png" if image.mode == "P" else tiny.root / "images" / "002.tif")
    if image.mode == "CMYK":
        (tiny.root / "images" / "002.png").unlink()
    np.testing.assert_array_equal(load_scene(tiny.root).images[2].numpy(), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_colours(tiny: TinyScene, suffix: str) -> None:
    (photo, *_) = rename_photos(tiny, suffix)
    deep = colours()
    cv2.imwrite(str(photo), deep.astype(np.uint16)[..., ::-1] * 257)
    np.testing.assert_array_equal(load_scene(tiny.root).images[0].numpy(), deep)


def test_webp(tiny: TinyScene) -> None:
    photos = rename_photos(tiny, ".webp")
    for photo in photos:
        Image.fromarray(colours()).save(photo, lossless=True)
    np.testing.assert_array_equal(load_scene(tiny.root).images[0].numpy(), colours())


# Kinds of unknown white


@pytest.mark.parametrize(
    ("pixels", "got"),
    [
        (np.float32(colours()[..., 0]) / 255, "32-bit float values, of which none is known to be white"),
        (np.float32(colours()[..., 0]), "32-bit float values, of which none is known to be white"),
        (np.int32(colours()[..., 0]) * 1000, "32-bit integers, of which none is known to be white"),
    ],
    ids=["float to 1", "float to 255", "integer"],
)
def test_grey_tiff_of_32_bits(tiny: TinyScene, pixels: np.ndarray, got: str) -> None:
    for photo in rename_photos(tiny, ".tif"):
        Image.fromarray(pixels).save(photo)
    assert refusal(tiny) == (
        f"images/000.tif: expected a photo of 8 or 16 bits a channel, got {got}; replace the photos by 8-bit or 16-bit "
        "ones."
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_colour_tiff_of_float(tiny: TinyScene, dtype: type) -> None:
    for photo in rename_photos(tiny, ".tif"):
        cv2.imwrite(str(photo), colours().astype(dtype) / 255)
    assert refusal(tiny) == (
        "images/000.tif: expected a readable image, but the file is truncated, or a TIFF of float or 64-bit values; "
        "copy it again, or replace the photos by 8-bit or 16-bit ones."
    )


def test_cielab(tiny: TinyScene) -> None:
    for photo in rename_photos(tiny, ".tif"):
        Image.fromarray(colours(), "LAB").save(photo)
    assert "got CIELAB colours; replace the photos" in refusal(tiny)


# HEIC


HEIC_ERROR = "expected a photo that Pillow can read, got HEIC; pip install pillow-heif, or convert the photos to JPEG."


@pytest.mark.parametrize("suffix", [".HEIC", ".heif", ".jpg"])
def test_heic_without_its_package(tiny: TinyScene, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known by its first bytes: phones' photos go by .jpg as well."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for photo in rename_photos(tiny, suffix):
        photo.write_bytes(HEIC_START)
    assert refusal(tiny) == f"images/000{suffix}: {HEIC_ERROR}"


def test_heic_converted_as_the_error_says(tiny: TinyScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JPEGs lie beside the originals, which the file still names."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for photo in rename_photos(tiny, ".HEIC"):
        photo.write_bytes(HEIC_START)
        Image.fromarray(colours()).save(photo.with_suffix(".jpg"))
    assert load_scene(tiny.root).names[0] == "000.jpg"


def test_heic_with_its_package(tiny: TinyScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for pillow-heif that finds a PNG behind the first bytes of a HEIC file."""
    from PIL import PngImagePlugin

    def opener(file: io.BytesIO, name: str = "") -> Image.Image:
        return PngImagePlugin.PngImageFile(io.BytesIO(file.read()[len(HEIC_START) :]))

    def register_heif_opener() -> None:
        Image.register_open("HEIF", opener, lambda start: start[4:12] == b"ftypheic")

    package = types.ModuleType("pillow_heif")
    package.register_heif_opener = register_heif_opener  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    monkeypatch.setattr(Image, "ID", [*Image.ID])
    monkeypatch.setattr(Image, "OPEN", {**Image.OPEN})
    tiny.photos()
    pixels = np.asarray(Image.open(tiny.root / "images" / "003.png").convert("RGB"))
    for photo in (tiny.root / "images").iterdir():
        photo.with_suffix(".HEIC").write_bytes(HEIC_START + photo.read_bytes())
        photo.unlink()
    tiny.names = [name.replace(".png", ".HEIC") for name in tiny.names]
    tiny.json(tiny.transforms())
    np.testing.assert_array_equal(load_scene(tiny.root).images[3].numpy(), pixels)


# Kinds that have to be converted


@pytest.mark.parametrize(
    ("suffix", "start", "kind"),
    [
        (".CR2", b"II*\0\x10\0\0\0CR\2\0", "a camera's raw data"),
        (".nef", b"MM\0*", "a camera's raw data"),
        (".dng", b"II*\0", "a camera's raw data"),
        (".jxl", b"\xff\x0a", "JPEG XL"),
        (".jpg", b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (".exr", b"\x76\x2f\x31\x01", "OpenEXR"),
    ],
)
def test_photos_to_convert(tiny: TinyScene, suffix: str, start: bytes, kind: str) -> None:
    for photo in rename_photos(tiny, suffix):
        photo.write_bytes(start + bytes(64))
    assert refusal(tiny) == (
        f"images/000{suffix}: expected a photo as JPEG, PNG or TIFF, got {kind}; convert the photos to JPEG."
    )


@pytest.mark.parametrize("format", ["llff", "colmap"])
def test_photos_to_convert_are_named_where_no_file_lists_them(tiny: TinyScene, format: str) -> None:
    """COLMAP's model may list the JPEGs that were made of them."""
    for photo in rename_photos(tiny, ".NEF"):
        photo.write_bytes(b"MM\0*")
    tiny.names = [name.replace(".NEF", ".jpg") for name in tiny.names]
    (tiny.root / "transforms.json").unlink()
    _ = tiny.llff() if format == "llff" else tiny.colmap("PINHOLE", [*FOCAL, *PRINCIPAL])
    assert refusal(tiny) == (
        "images/000.NEF: expected a photo as JPEG, PNG or TIFF, got a camera's raw data; convert the photos to JPEG."
    )


def test_avif_that_pillow_was_built_without(tiny: TinyScene) -> None:
    for photo in rename_photos(tiny, ".avif"):
        photo.write_bytes(b"\0\0\0\x1cftypavif\0\0\0\0mif1")
    assert refusal(tiny) == (
        "images/000.avif: expected a readable image, but this Pillow does not read AVIF; pip install -U pillow, or "
        "convert the photos to JPEG."
    )


def test_a_png_that_claims_more_than_it_can_hold_is_not_decoded(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.new("RGB", (3000, 2000)).save(file, compress_level=9)  # as small as it gets: it loads
    with open_image(file, "a.png") as image:
        assert image.size == (3000, 2000)
    content = bytearray(file.read_bytes())
    content[16:24] = struct.pack(">II", 9000, 9000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    file.write_bytes(content)
    with pytest.raises(SceneError, match="truncated or no image"), open_image(file, "a.png"):
        pytest.fail("opened")
