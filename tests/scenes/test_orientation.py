"""EXIF orientation: pixels come as stored in every format, and a note says for how many photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.scenes.tiny_scenes import SIZE, TinyScene
from unscene.scenes.image_files import image_size, read_image
from unscene.scenes.load import load_scene
from unscene.scenes.mask_values import decode_mask
from unscene.scenes.orientation import orientation_note

NOTE = (
    "EXIF orientation is ignored, as in COLMAP: {} of 6 photos ask to be shown turned; their poses and masks must "
    "belong to the pixels as stored"
)


def save_turned(pixels: np.ndarray, path: Path, orientation: int, **options) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **options)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_come_as_stored(tmp_path: Path, orientation: int, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
    path = tmp_path / f"photo{suffix}"
    save_turned(pixels, path, orientation, **({"lossless": True} if suffix == ".webp" else {}))
    assert image_size(path, "photo") == (4, 3)
    np.testing.assert_array_equal(read_image(path, "photo", (4, 3)), pixels)
    mask = np.zeros((3, 4), np.uint8)
    mask[0, 1:] = 255
    save_turned(
        np.repeat(mask[..., None], 3, 2), path, orientation, **({"lossless": True} if suffix == ".webp" else {})
    )
    np.testing.assert_array_equal(decode_mask(path).values, mask)
    assert len(orientation_note([path])) == (orientation != 1)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_of_plain_tiffs_come_as_stored(tmp_path: Path, orientation: int, mode: str) -> None:
    """Uncompressed, in modes that Pillow maps from the file."""
    pixels = np.random.default_rng(0).integers(0, 2, (3, 4), np.uint8) * 255
    image = Image.fromarray(pixels)
    image = Image.fromarray(pixels.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "photo.tif", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "photo.tif", "photo", (4, 3))[..., 1], pixels)
    np.testing.assert_array_equal(decode_mask(tmp_path / "photo.tif").values > 0, pixels > 0)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("turned", [0, 2, 6])
def test_the_note_says_how_many_photos(tiny: TinyScene, suffix: str, turned: int) -> None:
    tiny.names = [name.replace(".png", suffix) for name in tiny.names]
    tiny.nerfstudio()
    for name in tiny.names[:turned]:
        path = tiny.root / "images" / name
        save_turned(np.array(Image.open(path)), path, 3)
    assert load_scene(tiny.root).notes == ((NOTE.format(turned),) if turned else ())


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_says_nothing(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    path = tiny.root / "images" / "001.png"
    Image.open(path).copy().save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert load_scene(tiny.root).notes == () and load_scene(tiny.root).images.shape[1:3] == SIZE[::-1]


def test_masks_drawn_on_turned_photos(tiny: TinyScene) -> None:
    """Tools that turn photos by their EXIF orientation write masks that stand on their side."""
    tiny.nerfstudio()
    tiny.masks(size=(24, 32))
    with pytest.raises(ValueError, match=r"from the photos without turning them \(their EXIF orientation is ignored\)"):
        load_scene(tiny.root)
