"""What counts as a photo of a folder, how it is turned, and which lens took it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from unscene.capture.capture_error import CaptureError
from unscene.capture.lenses import UNKNOWN_FOCAL
from unscene.capture.photos import find_photos, turned, turned_size

ORIENTATION, MAKE, EXIF_FOLDER = 0x0112, 0x010F, 0x8769
FOCAL_LENGTH, FOCAL_35MM, PLANE_RESOLUTION, PLANE_UNIT = 0x920A, 0xA405, 0xA20E, 0xA210


def write(file: Path, size: tuple[int, int] = (40, 30), *, orientation: int = 1, make: str = "", seed: int = 0,
          **tags: float) -> None:  # fmt: skip
    """A JPEG of noise. tags: of the EXIF folder, by the names above in lower case."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    if make:
        exif[MAKE] = make
    folder = exif.get_ifd(EXIF_FOLDER)
    folder.update({globals()[name.upper()]: value for name, value in tags.items()})
    image.save(file, "JPEG", exif=exif, quality=95)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_pillow_shows_them(orientation: int, tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"{i}.jpg", orientation=orientation, seed=i)
    for photo in find_photos(tmp_path).photos:
        with Image.open(photo.path) as image:
            shown = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(photo.read(), shown)
        assert photo.size == (shown.shape[1], shown.shape[0]) == turned_size(photo.stored, orientation)


def test_a_portrait_among_wide_photos_of_one_phone_keeps_the_sensor_s_frame(tmp_path: Path) -> None:
    """So that they share a camera: both are 40x30 as stored."""
    for i in range(3):
        write(tmp_path / f"{i}.jpg", orientation=1, seed=i)
    write(tmp_path / "portrait.jpg", orientation=6)
    found = find_photos(tmp_path)
    assert {photo.size for photo in found.photos} == {(40, 30)} and {photo.turn for photo in found.photos} == {1}
    assert len({photo.lens for photo in found.photos}) == 1
    assert any("lie on their side" in note and "portrait.jpg" in note for note in found.notes)


def test_a_wide_photo_among_portraits_is_turned_like_them(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"{i}.jpg", orientation=6, seed=i)
    write(tmp_path / "wide.jpg", orientation=1)
    assert {(photo.size, photo.turn) for photo in find_photos(tmp_path).photos} == {((30, 40), 6)}


def test_photos_that_were_saved_turned_are_laid_on_their_side(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"{i}.jpg", seed=i)
    write(tmp_path / "saved.jpg", (30, 40))
    assert {photo.size for photo in find_photos(tmp_path).photos} == {(40, 30)}


def test_what_is_no_photo_is_said_and_left_out(tmp_path: Path) -> None:
    for i, name in enumerate(["IMG_1.JPG", "b/IMG_2.JPEG", "IMG_3.jpg"]):
        write(tmp_path / name, seed=i)
    write(tmp_path / "masks" / "IMG_1.jpg")
    write(tmp_path / "IMG_1_mask.jpg")
    (tmp_path / "IMG_4.CR2").write_bytes(b"II*\0" + b"\0" * 20)
    (tmp_path / "IMG_5.jpg").write_bytes((tmp_path / "IMG_3.jpg").read_bytes()[:40])
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    found = find_photos(tmp_path)
    assert [photo.name for photo in found.photos] == ["IMG_1.JPG", "IMG_3.jpg", "b/IMG_2.JPEG"]
    said = "\n".join(found.notes)
    assert all(name in said for name in ("IMG_4.CR2", "IMG_5.jpg", "notes.txt", "IMG_1_mask.jpg"))
    assert ".hidden" not in said


def test_copies_in_other_sizes_are_not_taken_twice(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / "images" / f"{i}.jpg", seed=i)
        write(tmp_path / "images_4" / f"{i}.jpg", (10, 8), seed=i)
    assert len(find_photos(tmp_path).photos) == 3


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_photos_are_refused(count: int, tmp_path: Path) -> None:
    for i in range(count):
        write(tmp_path / f"{i}.jpg", seed=i)
    with pytest.raises(CaptureError, match=rf"expected at least 3 photos of one place, got {count}.*20 to 100"):
        find_photos(tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("")
    for path in (tmp_path / "nowhere", tmp_path / "file.txt"):
        with pytest.raises(CaptureError, match="expected a folder of photos or a video file"):
            find_photos(path)


def test_each_lens_has_its_camera_and_exif_its_first_focal_length(tmp_path: Path) -> None:
    write(tmp_path / "0.jpg", make="A", focal_length=4.2, focal_35mm=26)
    write(tmp_path / "1.jpg", make="A", focal_length=4.2, focal_35mm=26)
    write(tmp_path / "2.jpg", make="A", focal_length=2.2, focal_35mm=13)
    write(tmp_path / "3.jpg", make="B", focal_length=5.0, plane_resolution=40.0, plane_unit=3)
    write(tmp_path / "4.jpg")
    main, same, wide, sensor, unknown = (photo.lens for photo in find_photos(tmp_path).photos)
    assert main == same != wide and len({main, wide, sensor, unknown}) == 4
    # CIPA: the diagonal is that of 36 x 24 mm film; 40 x 30 has one of 1.25 widths
    assert main.focal == pytest.approx(26 * 1.25 / 43.2666, rel=1e-5)
    assert wide.focal == pytest.approx(0.5 * main.focal)
    assert sensor.focal == pytest.approx(5.0 * 4 / 40)  # 4 pixels per mm
    assert unknown.focal is None and unknown.first_focal == UNKNOWN_FOCAL


def test_other_sizes_are_said(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"{i}.jpg", seed=i)
    write(tmp_path / "other.jpg", (80, 45))
    found = find_photos(tmp_path)
    assert found.size == (40, 30) and any("other.jpg of 80x45" in note for note in found.notes)
    assert found.photos[3].lens != found.photos[0].lens


def test_turning_twice_by_half_is_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    assert np.array_equal(turned(turned(pixels, 3), 3), pixels)
    assert np.array_equal(turned(turned(pixels, 6), 8), pixels)
