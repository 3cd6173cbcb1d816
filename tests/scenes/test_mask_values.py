"""What mask files say: each kind that tools write, as one set of files of one source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unscene.scenes.mask_values import decode_mask, white_pixels
from unscene.scenes.scene import SceneError

FIRST, SECOND = (np.zeros((24, 32), bool) for _ in range(2))
FIRST[2:12, 3:9] = True
SECOND[14:20, 10:30] = True
BOTH = FIRST | SECOND
RIM = np.zeros((24, 32), bool)
RIM[14:20, 29] = True
LABELS = (FIRST + 2 * SECOND).astype(np.uint8)
DAVIS = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]  # black, red, green, yellow


def palette(indices: np.ndarray, colors: list[int]) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(colors)
    return image


def picture(seed: int = 0) -> np.ndarray:
    """Colours that change from place to place, as in a photo."""
    x, y = np.meshgrid(np.linspace(0, 1, 32), np.linspace(0, 1, 24))
    shades = np.stack([x, y, 1 - x * y], -1) * 200 + np.random.default_rng(seed).normal(0, 12, (24, 32, 3)) + 25
    return shades.clip(0, 255).astype(np.uint8)


def with_alpha(rgb: np.ndarray, opaque: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([rgb, np.where(opaque, 255, 0).astype(np.uint8)]), "RGBA")


def nearly_opaque(pixels: np.ndarray) -> Image.Image:
    """Black and white whose alpha varies, but hides nothing."""
    alpha = np.random.default_rng(0).integers(250, 256, pixels.shape, np.uint8)
    return Image.fromarray(np.dstack([pixels] * 3 + [alpha]), "RGBA")


def transparent(image: Image.Image) -> Image.Image:
    """A palette image whose first colour is transparent."""
    image.info["transparency"] = 0
    return image


def read(tmp_path: Path, *images: Image.Image | np.ndarray, label: int | None = None, suffix: str = ".png"):
    """(white pixels of all images, notes)."""
    masks = []
    for index, image in enumerate(images):
        path = tmp_path / f"{index}{suffix}"
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path)
        masks.append(decode_mask(path))
    return white_pixels(masks, "masks/", label)


def grey(white: np.ndarray, value: int = 255, dtype: type = np.uint8) -> np.ndarray:
    return np.where(white, value, 0).astype(dtype)


KINDS: dict[str, tuple[Callable[[], Image.Image | np.ndarray], str, str]] = {
    "0 and 255": (lambda: grey(BOTH), ".png", ""),
    "1 bit": (lambda: Image.fromarray(BOTH), ".png", ""),
    "1-bit TIFF": (lambda: Image.fromarray(BOTH), ".tif", ""),
    "0 and 1": (lambda: grey(BOTH, 1), ".png", "masks hold 0 and 1, not 0 and 255; 1 is read as white"),
    "JPEG": (lambda: grey(BOTH), ".jpg", ""),
    "16 bit": (lambda: grey(BOTH, 65535, np.uint16), ".png", ""),
    "16 bit, 0 and 255": (lambda: grey(BOTH, 255, np.uint16), ".png", ""),
    "16 bit, 0 and 1": (
        lambda: grey(BOTH, 1, np.uint16), ".png", "masks hold 0 and 1, not 0 and 255; 1 is read as white"
    ),
    "float, 0 to 1": (lambda: BOTH.astype(np.float32), ".tif", ""),
    "float, 0 to 255": (lambda: BOTH.astype(np.float32) * 255, ".tif", ""),
    "soft float": (lambda: (0.2 + 0.6 * BOTH).astype(np.float32), ".tif", ""),
    "RGB": (lambda: np.repeat(grey(BOTH)[..., None], 3, 2), ".png", ""),
    "RGBA, opaque": (lambda: with_alpha(np.repeat(grey(BOTH)[..., None], 3, 2), BOTH | True), ".png", ""),
    "RGBA, nearly opaque": (lambda: nearly_opaque(grey(BOTH)), ".png", ""),
    "grey with alpha, opaque": (lambda: Image.fromarray(grey(BOTH)).convert("LA"), ".png", ""),
    "GIF": (lambda: grey(BOTH), ".gif", ""),
    "BMP": (lambda: grey(BOTH), ".bmp", ""),
    "WebP": (lambda: Image.fromarray(grey(BOTH)).convert("RGB"), ".webp", ""),
    "palette of black and white": (lambda: palette(BOTH, [0, 0, 0, 255, 255, 255]), ".png", ""),
    "palette of white and black": (lambda: palette(~BOTH, [255, 255, 255, 0, 0, 0]), ".png", ""),
    "viridis, as pyplot saves it": (
        lambda: np.where(BOTH[..., None], [253, 231, 36], [68, 1, 84]).astype(np.uint8), ".png", "",
    ),
    "labels": (
        lambda: LABELS, ".png", "masks hold the labels 0, 1, 2: all but 0 are removed; --mask-label N removes one"
    ),
    "16-bit labels": (
        lambda: 1000 * LABELS.astype(np.uint16), ".png",
        "masks hold the labels 0, 1000, 2000: all but 0 are removed; --mask-label N removes one",
    ),
    "float labels": (
        lambda: LABELS.astype(np.float32), ".tif",
        "masks hold the labels 0, 1, 2: all but 0 are removed; --mask-label N removes one",
    ),
    "labels with a void of 255": (
        lambda: np.where(RIM, 255, LABELS).astype(np.uint8), ".png",
        "masks hold the labels 0, 1, 2, 255: all but 0 are removed; --mask-label N removes one",
    ),
    "DAVIS's colours as greys": (
        lambda: np.array([0, 38, 75], np.uint8)[LABELS], ".png",
        "masks hold the labels 0, 38, 75: all but 0 are removed; --mask-label N removes one",
    ),
    "DAVIS's palette": (
        lambda: palette(LABELS, DAVIS), ".png",
        "masks are palette images of the labels 0, 1, 2: all but 0 are removed; --mask-label N removes one",
    ),
    "a grey palette of labels": (
        lambda: palette(LABELS, [0, 0, 0, 85, 85, 85, 170, 170, 170]), ".png",
        "masks are palette images of the labels 0, 1, 2: all but 0 are removed; --mask-label N removes one",
    ),
    "dark colours": (
        lambda: np.array([[0, 0, 0], [64, 0, 0], [0, 64, 128]], np.uint8)[LABELS], ".png",
        "1 masks are coloured: every colour but black is removed",
    ),
    "a cut-out": (
        lambda: with_alpha(picture(), BOTH), ".png",
        "1 masks are cut-outs, with an alpha channel that varies: what is opaque is the object",
    ),
    "a cut-out with a palette": (
        lambda: transparent(palette(LABELS, DAVIS)), ".png",
        "1 masks are cut-outs, with an alpha channel that varies: what is opaque is the object",
    ),
    "a grey cut-out": (
        lambda: Image.fromarray(np.dstack([picture()[..., 0], grey(BOTH)]), "LA"), ".png",
        "1 masks are cut-outs, with an alpha channel that varies: what is opaque is the object",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("image", "suffix", "note"), KINDS.values(), ids=KINDS.keys())
def test_both_objects_are_white(tmp_path: Path, image: Callable, suffix: str, note: str) -> None:
    white, notes = read(tmp_path, image(), suffix=suffix)
    np.testing.assert_array_equal(white[0], BOTH)
    assert notes == ((f"masks/: {note}",) if note else ())


NUMBERED = {
    "grey": (lambda: LABELS, ".png"),
    "palette": (lambda: palette(LABELS, DAVIS), ".png"),
    "16 bit": (lambda: LABELS.astype(np.uint16), ".png"),
    "float": (lambda: LABELS.astype(np.float32), ".tif"),
    "beside 255": (lambda: np.where(LABELS == 1, 255, LABELS).astype(np.uint8), ".png"),
}


@pytest.mark.parametrize(("image", "suffix"), NUMBERED.values(), ids=NUMBERED.keys())
def test_one_label_is_picked(tmp_path: Path, image: Callable, suffix: str) -> None:
    white, notes = read(tmp_path, image(), label=2, suffix=suffix)
    assert (white[0] == SECOND).all() and notes == ()


def test_a_label_need_not_be_in_every_file(tmp_path: Path) -> None:
    white, _ = read(tmp_path, LABELS, grey(FIRST, 1), label=2)
    assert (white[0] == SECOND).all() and not white[1].any()


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (lambda: LABELS, "masks/: expected label 3 in one of the masks at least, found 0, 1, 2; choose one of these."),
        (
            lambda: grey(BOTH),
            "masks/: expected label 3 in one of the masks at least, found 0, 255; choose one of these.",
        ),
        (
            lambda: with_alpha(picture(), BOTH),
            "masks/: expected masks whose pixels are numbers, to find label 3 in them, but 0.png has an alpha channel; "
            "leave --mask-label out, or save the labels as numbers.",
        ),
        (
            lambda: np.array([[0, 0, 0], [64, 0, 0], [0, 64, 128]], np.uint8)[LABELS],
            "masks/: expected masks whose pixels are numbers, to find label 3 in them, but 0.png has colours; "
            "leave --mask-label out, or save the labels as numbers.",
        ),
    ],
    ids=["labels", "white", "cut-out", "colours"],
)  # fmt: skip
def test_a_label_that_no_mask_has(tmp_path: Path, image: Callable, error: str) -> None:
    with pytest.raises(SceneError) as caught:
        read(tmp_path, image(), label=3)
    assert str(caught.value) == error


def test_label_0_is_what_to_keep(tmp_path: Path) -> None:
    with pytest.raises(SceneError) as caught:
        read(tmp_path, LABELS, label=0)
    assert str(caught.value) == "mask label: expected a number of at least 1 (0 is what to keep), got 0."


def test_files_are_judged_together(tmp_path: Path) -> None:
    """Of labels, one file has all, one a single object, one nothing; and no file of 0 and 1 makes others' 200 dark."""
    white, notes = read(tmp_path, LABELS, grey(SECOND, 2), grey(BOTH & False))
    assert (white[0] == BOTH).all() and (white[1] == SECOND).all() and not white[2].any() and len(notes) == 1
    white, notes = read(tmp_path, grey(FIRST), grey(SECOND, 127), grey(SECOND, 128))
    assert (white[0] == FIRST).all() and not white[1].any() and (white[2] == SECOND).all()


def test_greys_that_may_be_labels_are_noted(tmp_path: Path) -> None:
    white, notes = read(tmp_path, np.array([0, 85, 170], np.uint8)[LABELS])
    assert (white[0] == SECOND).all()
    assert notes == (
        "masks/: masks hold the grey levels 0, 85, 170: those below 128 are kept; --mask-label N removes one",
    )


def test_soft_edges_are_no_labels(tmp_path: Path) -> None:
    soft = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (24, 1))
    white, notes = read(tmp_path, soft, grey(BOTH))
    assert (white[0] == (soft >= 128)).all() and (white[1] == BOTH).all() and notes == ()


def test_noise_of_jpeg_is_no_label(tmp_path: Path) -> None:
    noisy = np.clip(grey(BOTH).astype(int) + np.random.default_rng(0).integers(-3, 3, BOTH.shape), 0, 255)
    white, notes = read(tmp_path, noisy.astype(np.uint8), suffix=".jpg")
    assert (white[0] == BOTH).all() and notes == ()


def test_noise_beside_white_is_no_label(tmp_path: Path) -> None:
    """As from a lossy file that was saved again: dark noise along the rim, bright one cut off at 255."""
    noisy = grey(BOTH)
    noisy[1, 3:9], noisy[12, 3:9] = (1, 2, 1, 3, 2, 1), (2, 1, 1, 1, 4, 1)
    white, _ = read(tmp_path, noisy)
    assert (white[0] == BOTH).all()


def test_a_cut_out_of_nothing_is_empty(tmp_path: Path) -> None:
    """Beside cut-outs: transparent all over where the object is not in view, whatever colours lie beneath."""
    white, _ = read(tmp_path, with_alpha(picture(), BOTH), with_alpha(picture(1), BOTH & False))
    assert (white[0] == BOTH).all() and not white[1].any()


def test_photos_are_no_masks(tmp_path: Path) -> None:
    with pytest.raises(SceneError) as caught:
        read(tmp_path, picture(), grey(BOTH), picture(1))
    assert str(caught.value) == (
        "masks/: expected masks, got 2 files that look like photos: 0.png, 2.png; "
        "remove them, or choose the folder of masks with --masks."
    )


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_bundled_photos_are_no_masks(suffix: str, tmp_path: Path) -> None:
    import unscene.scenes.still_life as still_life

    for index, file in enumerate(sorted(still_life.FOLDER.glob("images/*"))[::10]):
        path = tmp_path / f"{index}{suffix}"
        Image.open(file).convert("RGB").save(path)
        assert decode_mask(path).kind == "photo"
    assert index


@pytest.mark.parametrize("quality", [60, 90])
def test_colours_in_a_jpeg_are_no_photo(tmp_path: Path, quality: int) -> None:
    large = np.kron(LABELS, np.ones((8, 8), np.uint8))
    image = np.array([[0, 0, 0], [200, 30, 30], [30, 60, 220]], np.uint8)[large]
    Image.fromarray(image).save(tmp_path / "0.jpg", quality=quality)
    white, _ = white_pixels([decode_mask(tmp_path / "0.jpg")], "masks/")
    assert (white[0] != (large > 0)).mean() < 0.05


def test_resizing_mixes_no_labels(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 2], [4, 2]], np.uint8)).save(tmp_path / "0.png")
    assert set(np.unique(decode_mask(tmp_path / "0.png").fitted((7, 5), None).values)) == {0, 2, 4}
