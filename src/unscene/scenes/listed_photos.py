"""Photos that an export lists by name, wherever in the scene folder they lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from unscene.scenes.capture import inside
from unscene.scenes.image_files import find_image
from unscene.scenes.mask_files import MASK_FOLDERS
from unscene.scenes.scene import SceneError

LONGEST_ENDING = 16  # folders of a path that are compared


def find_listed_photos(root: Path, names: Sequence[str], source: str) -> list[Path]:
    """Paths of the photos ``names``, existing or not, in the one folder that holds most of them.

    Looked through are images/, the scene folder itself and the folders in it. A name may be a path on the computer that
    exported it: its longest ending that is a file counts. Raises SceneError for names that are none.
    """
    endings = [_parts(name, source) for name in names]
    others = sorted(file for file in root.iterdir() if file.is_dir() and not file.name.startswith("."))
    folders = dict.fromkeys([root / "images", root, *(file for file in others if file.name not in MASK_FOLDERS)])
    found = [[_find(folder, parts) for parts in endings] for folder in folders]
    best = max(found, key=lambda paths: sum(map(os.path.isfile, paths)))  # the first of equals
    return [inside(root, path, name) for path, name in zip(best, names, strict=True)]


def _parts(name: str, source: str) -> tuple[str, ...]:
    path = PurePosixPath(name.replace("\\", "/"))
    parts = tuple(part for part in path.parts if part not in ("/", ".."))[-LONGEST_ENDING:]
    if not parts or "\0" in name:
        raise SceneError(f"{source}: expected the name of a photo for each camera, got {name!r}; correct the file.")
    return parts


def _find(folder: Path, parts: tuple[str, ...]) -> Path:
    """The photo of the longest ending of a path that exists in ``folder``; the file's name alone if none does."""
    endings = (find_image(folder.joinpath(*parts[start:])) for start in range(len(parts)))
    return next((path for path in endings if os.path.isfile(path)), folder / parts[-1])
