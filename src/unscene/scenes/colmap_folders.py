"""Where COLMAP models lie in scene folders, and which of several is the scene's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from unscene.scenes.capture import listing
from unscene.scenes.colmap_binary import count_binary_images
from unscene.scenes.colmap_text import count_text_images
from unscene.scenes.image_files import folder_called

BINARY_FILES, TEXT_FILES = ("cameras.bin", "images.bin"), ("cameras.txt", "images.txt")
MODEL_FILES = (*BINARY_FILES, *TEXT_FILES, "points3D.bin", "points3D.txt")
MODEL_FOLDERS = ("sparse", "colmap/sparse")  # themselves or their subfolders 0, 1, ...
OTHER_FOLDERS = ("colmap", ".")  # searched if there is none in those
LEVELS_ABOVE = 3  # of colmap/sparse/0


def find_models(root: Path) -> list[Path]:
    """The folders of all COLMAP models of a scene folder, 2 before 10; none if there are none."""
    found = [folder for name in MODEL_FOLDERS for folder in _models_in(root / name)]
    return found or [folder for name in OTHER_FOLDERS for folder in _models_in(root / name)]


def scene_above(folder: Path) -> Path | None:
    """The scene folder that a model's folder, or one of several models, belongs to: the nearest above with photos."""
    above = Path(os.path.abspath(folder)).parents[:LEVELS_ABOVE]
    return next((parent for parent in above if has_photo_folder(parent)), None)


def has_photo_folder(root: Path) -> bool:
    """Whether a folder holds images/ or a down-scaled images_K/."""
    return folder_called(root, "images").is_dir() or any(folder.is_dir() for folder in root.glob("images_*"))


def largest_model(root: Path, models: list[Path]) -> tuple[Path, tuple[str, ...]]:
    """The model with most registered photos, the first of equals, and a note on all sizes if there are several."""
    sizes = {model: _registered(model) for model in models}
    chosen = max(models, key=lambda model: sizes[model])
    if len(models) == 1:
        return chosen, ()
    others = [f"{_label(root, model)} has {size}" for model, size in sizes.items() if model != chosen]
    text = listing(others, limit=8)
    return chosen, (f"{_label(root, chosen)} is used, which has {sizes[chosen]} photos; of the other models {text}",)


def _models_in(folder: Path) -> Iterator[Path]:
    """``folder`` and its subfolders, those of them that hold a model."""
    subfolders = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    for path in (folder, *sorted(subfolders, key=_number_first)):
        if any((path / file).is_file() for file in (*BINARY_FILES, *TEXT_FILES)):
            yield path


def _number_first(folder: Path) -> tuple[bool, int, str]:
    digits = folder.name if folder.name.isdecimal() and len(folder.name) < 10 else ""
    return not digits, int(digits or 0), folder.name


def _registered(model: Path) -> int:
    """How many photos a model registers, by its own word; 0 if it says nothing."""
    if (model / "images.bin").is_file():
        return count_binary_images(model)
    return count_text_images(model) if (model / "images.txt").is_file() else 0


def _label(root: Path, model: Path) -> str:
    return model.relative_to(root).as_posix()
