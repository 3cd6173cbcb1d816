"""Where a scene's masks lie: the usual folders, beside the photos, or where the caller says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unscene.scenes.capture import inside, listing, scene_path
from unscene.scenes.image_files import folder_called, list_images
from unscene.scenes.mask_pairing import Pairing, masks_beside, pair_by_name, pair_by_order
from unscene.scenes.scene import SceneError

MASK_FOLDERS = ("masks", "mask", "seg", "label", "labels", "object_mask")


@dataclass(frozen=True)
class MaskFiles:
    """The mask files of each view, of which the union counts, where they come from, and whether black (not white) is
    what gets removed."""

    paths: tuple[tuple[Path, ...], ...]
    source: str
    black_is_removed: bool = False
    notes: tuple[str, ...] = ()
    truth: Mapping[int, Path] = field(default_factory=dict)
    """Where the object was, in views without it and without other masks."""

    def with_truth(self, masks: Mapping[int, Path]) -> MaskFiles:
        """With the masks of the views without the object, where they have no other."""
        return dataclasses.replace(self, truth={v: path for v, path in masks.items() if not self.paths[v]})


@dataclass(frozen=True)
class _Place:
    source: str
    folder: Path
    files: list[Path]

    @property
    def names(self) -> list[str]:
        return [file.relative_to(self.folder).as_posix() for file in self.files]


def find_masks(root: Path, photos: Sequence[Path], *, scale: float, folder: Path | None) -> MaskFiles | None:
    """Mask files for the photos, from ``folder``, else from the first of the usual places where names fit.

    Raises SceneError if there are masks, but none that belong to the photos.
    """
    root = root.resolve()
    beside, unposed = _other_files(photos)
    if folder is not None:
        places = [_Place(str(folder), folder.resolve(), _without_photos(root, folder.resolve(), photos))]
        if not places[0].files:
            raise SceneError(f"{folder}: expected a folder with one mask per photo, found none; check the path.")
    else:
        places = [place for path in _usual_folders(root, scale) if (place := _usual_place(root, path)).files]
    names = [scene_path(root, photo) for photo in photos]

    def others(place: _Place) -> list[str]:
        masks = set(place.files)
        return [scene_path(root, path) for path in unposed if path not in masks]

    by_name = [*places, _Place(f"{scene_path(root, photos[0].parent)}/", root, beside)] if folder is None else places
    for place in by_name:
        if pairing := pair_by_name(place.names, names, place.source, others(place)):
            return _files(place, pairing, places)
    if not places:
        return None
    pairing = pair_by_order(places[0].names, names, places[0].source, others(places[0]))
    return _files(places[0], pairing, places)


def unread_notes(root: Path, scale: float) -> tuple[str, ...]:
    """A note on files in the usual folders of masks where none of them is an image, such as arrays of NumPy."""
    root = root.resolve()
    for folder in _usual_folders(root, scale):
        names = sorted(file.name for file in folder.glob("[!.]*") if file.is_file())
        if names and not list_images(folder, recursive=True):
            source = f"{folder.relative_to(root).as_posix()}/"
            return (f"{source}: no masks, as none of its files is an image: {listing(names)}; save masks as PNG",)
    return ()


def nerfstudio_masks(paths: Sequence[Path | None]) -> MaskFiles | None:
    """The masks that frames name as ``mask_path``; None if none does."""
    if not any(paths):
        return None
    files = tuple((path,) if path and path.is_file() else () for path in paths)
    note = "masks are the frames' mask_path, in which black means ignored: black is removed"
    return MaskFiles(files, "mask_path", black_is_removed=True, notes=(note,))


def _files(place: _Place, pairing: Pairing, places: Sequence[_Place]) -> MaskFiles:
    paths = tuple(tuple(place.files[mask] for mask in of_photo) for of_photo in pairing.masks)
    unused = [other.source for other in places if other is not place]
    notes = (f"masks are read from {place.source}, not from {listing(unused)}",) if unused else ()
    return MaskFiles(paths, place.source, notes=(*pairing.notes, *notes))


def _usual_folders(root: Path, scale: float) -> list[Path]:
    photos = [root / f"images_{scale:g}", *sorted(root.glob("images_*")), folder_called(root, "images")]
    beside_photos = [folder_called(base, name) for base in photos for name in ("label", "masks")]
    folders = [
        folder_called(photos[0], "label"),
        *(folder_called(root, name) for name in MASK_FOLDERS),
        *sorted(root.glob("masks_*")),
        *beside_photos,
    ]
    return list(dict.fromkeys(folders))


def _usual_place(root: Path, folder: Path) -> _Place:
    files = list_images(folder, recursive=True)
    for file in files:
        inside(root, file, file.relative_to(root).as_posix())
    source = f"{folder.relative_to(root).as_posix()}/"
    return _Place(source, folder, _masks_among(files))


def _masks_among(files: list[Path]) -> list[Path]:
    """Without copies of the photos, where a tool has put a file called mask beside each of them."""
    companions = {path for folder in _by_folder(files).values() for path in _beside(folder)}
    return [file for file in files if file in companions] if 2 * len(companions) >= len(files) else files


def _without_photos(root: Path, folder: Path, photos: Sequence[Path]) -> list[Path]:
    """The images of a folder the caller names, should it hold the photos or smaller copies of them as well."""
    views = set(photos)
    copies = {folder_called(root, "images"), *root.glob("images_*")} - {photo.parent for photo in photos}
    files = [file for file in list_images(folder, recursive=True) if not _is_kept_aside(folder, file)]
    beside = {path for paths in _by_folder(files).values() for path in _beside(paths)}
    return _masks_among([f for f in files if f not in views and (f.parent not in copies or f in beside)])


def _is_kept_aside(folder: Path, file: Path) -> bool:
    """Whether a file is what `unscene mask` keeps beside the masks of all objects together."""
    return (folder / "config.json").is_file() and file.relative_to(folder).parts[0] in ("objects", "previews")


def _other_files(photos: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """What lies in the photos' folders and is no view: masks of them, and other photos."""
    views = set(photos)
    folders = [list_images(folder) for folder in dict.fromkeys(photo.parent for photo in photos)]
    beside = {path for files in folders for path in _beside(files)}
    others = [file for files in folders for file in files if file not in views]
    return [file for file in others if file in beside], [file for file in others if file not in beside]


def _beside(files: Sequence[Path]) -> list[Path]:
    """Those of one folder's files that are masks of others there."""
    masks = masks_beside([file.name for file in files])
    return [file for file in files if file.name in masks]


def _by_folder(files: Sequence[Path]) -> dict[Path, list[Path]]:
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    return folders
