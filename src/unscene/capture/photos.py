"""The photos of a folder: which files count, how each is turned so that all stand alike, and which lens took it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unscene.capture.capture_error import CaptureError
from unscene.capture.lenses import Lens, read_lens
from unscene.file_names import folded
from unscene.scenes.capture import listing, size_text
from unscene.scenes.image_files import read_image
from unscene.scenes.image_formats import IMAGE_SUFFIXES, images_below, open_image
from unscene.scenes.mask_pairing import masks_beside
from unscene.scenes.mask_search import MASK_FOLDERS
from unscene.scenes.orientation import orientation, stored_size
from unscene.scenes.scene import SceneError

FEWEST_PHOTOS = 3
UPRIGHT, QUARTER_TURN = 1, 6  # EXIF orientations: as stored, and turned clockwise
ENOUGH = "20 to 100 photos from all around, each showing most of what the one before shows, do well"

Size = tuple[int, int]


@dataclass(frozen=True)
class Photo:
    """A photo to take into a capture.

    name: its path in the folder, with /. stored: (width, height) of the pixels in the file. turn: the EXIF orientation
    by which they are turned here, 1 to 8; not always the file's own, as all photos of a lens have to stand alike.
    """

    path: Path
    name: str
    stored: Size
    turn: int
    lens: Lens

    @property
    def size(self) -> Size:
        """(width, height) once turned."""
        return turned_size(self.stored, self.turn)

    def read(self) -> np.ndarray:
        """The pixels, turned: height width 3 uint8. Raises SceneError for a file that cannot be decoded."""
        return turned(read_image(self.path, self.name, self.stored), self.turn)


@dataclass(frozen=True)
class PhotoFolder:
    """The photos of a capture in name order, and notes on what was left out or turned."""

    photos: tuple[Photo, ...]
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        """(width, height) of most photos: the size of the scene's."""
        return Counter(photo.size for photo in self.photos).most_common(1)[0][0]


def find_photos(folder: Path) -> PhotoFolder:
    """The photos below a folder. Raises CaptureError if they are too few, SceneError for HEIC that cannot be read here.

    Left out, with a note: other files, other kinds of images, broken ones, masks and smaller copies of the photos.
    """
    files, notes = _photo_files(folder)
    photos, broken = list[Photo](), dict[str, str]()
    for file in files:
        name = file.relative_to(folder).as_posix()
        try:
            with open_image(file, name) as image:
                photos.append(Photo(file, name, stored_size(image), orientation(image), read_lens(image)))
        except SceneError as error:
            if "pip install pillow-heif" in str(error):
                raise
            broken[name] = str(error)
    if broken:
        reason = next(iter(broken.values()))
        notes.append(f"{len(broken)} images cannot be read and are left out: {listing(list(broken), 8)} ({reason})")
    check_enough(len(photos), folder, notes)
    photos, turn_notes = _alike(photos)
    return PhotoFolder(tuple(photos), (*notes, *turn_notes))


def check_enough(photos: int, source: Path, notes: Sequence[str] = ()) -> None:
    """Raise CaptureError if there are too few photos for any scene."""
    if photos < FEWEST_PHOTOS:
        why = f" ({'; '.join(notes)})" if notes else ""
        raise CaptureError(
            f"{source}: expected at least {FEWEST_PHOTOS} photos of one place, got {photos}{why}; {ENOUGH}."
        )


def turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Stored pixels H W (C) as an EXIF orientation shows them."""
    if turn in (2, 5, 7):  # which mirror left and right first, or transpose: a mirror and a quarter turn
        pixels = pixels[:, ::-1]
    if turn == 4:
        pixels = pixels[::-1]
    quarters = {3: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(turn, 0)  # counter-clockwise
    return np.ascontiguousarray(np.rot90(pixels, quarters))


def turned_size(stored: Size, turn: int) -> Size:
    """(width, height) that an EXIF orientation makes of the stored ones."""
    return (stored[1], stored[0]) if turn >= 5 else stored


def _photo_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Files of the kinds that are read, in name order, and notes on the others."""
    if not folder.is_dir():
        raise CaptureError(
            f"{folder}: expected a folder of photos or a video file, found "
            f"{'nothing' if not folder.exists() else 'another kind of file'}; check the path."
        )
    images = [file for file in images_below(folder) if not _is_copy(file.relative_to(folder), folder)]
    readable = [file for file in images if file.suffix.lower() in IMAGE_SUFFIXES]
    foreign = [file.relative_to(folder).as_posix() for file in images if file not in set(readable)]
    by_folder: dict[Path, list[str]] = {}
    for file in readable:
        by_folder.setdefault(file.parent, []).append(file.name)
    masks = {parent / name for parent, names in by_folder.items() for name in masks_beside(names)}
    others = [f.name for f in sorted(folder.iterdir()) if f.is_file() and not f.name.startswith(".")]
    others = [name for name in others if folder / name not in set(images)]
    notes = []
    if foreign:
        notes.append(f"{len(foreign)} images of kinds that are not read are left out: {listing(foreign)}")
    if masks:
        notes.append(f"{len(masks)} images are called like masks of photos and are left out: "
                     f"{listing(sorted(mask.name for mask in masks))}")  # fmt: skip
    if others:
        notes.append(f"{len(others)} files are no photos and are left out: {listing(others)}")
    return [file for file in readable if file not in masks], notes


def _is_copy(file: Path, folder: Path) -> bool:
    """Whether a file below the folder lies where scenes keep masks, or smaller copies of images/."""
    parents = [folded(part) for part in file.parts[:-1]]
    in_masks = any(part in MASK_FOLDERS for part in parents)
    return in_masks or ((folder / "images").is_dir() and any(part.startswith("images_") for part in parents))


def _alike(photos: list[Photo]) -> tuple[list[Photo], list[str]]:
    """Photos turned upright, but those on their side like most others, so that one lens has one camera; and notes."""
    size = Counter(photo.size for photo in photos).most_common(1)[0][0]
    usual = Counter(photo.turn for photo in photos if photo.size == size).most_common(1)[0][0]
    alike, on_side = [], []
    for photo in photos:
        turn = photo.turn
        if photo.size == size[::-1] and size[0] != size[1]:
            on_side.append(photo.name)
            turn = next(t for t in (usual, QUARTER_TURN, UPRIGHT) if turned_size(photo.stored, t) == size)
        alike.append(dataclasses.replace(photo, turn=turn))
    notes = []
    if on_side:
        notes.append(
            f"{len(on_side)} of {len(photos)} photos are upright where the others are wide, or the other way round, "
            f"and lie on their side in the scene: {listing(on_side)}"
        )
    if odd := [photo for photo in alike if photo.size != size]:
        notes.append(
            f"{len(odd)} of {len(photos)} photos have another size than {size_text(size)} and are cropped and "
            f"resampled to it: {listing([f'{photo.name} of {size_text(photo.size)}' for photo in odd])}"
        )
    return alike, notes
