"""Photos that an export lists by name, wherever in the scene folder they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unscene.file_names import folded
from unscene.scenes.mask_search import MASK_FOLDERS
from unscene.scenes.photo_names import PHOTO_FOLDERS, PhotoNames
from unscene.scenes.scene import SceneError


def find_listed_photos(root: Path, names: Sequence[str], source: str) -> list[Path]:
    """Paths of the photos ``names``, existing or not.

    Exports name their photos without the folder or with that of another computer: any folder of the scene may hold
    them, but for masks. Raises SceneError for names that are none.
    """
    nameless = [name for name in names if not name.strip("/\\. ") or "\0" in name]
    if nameless:
        raise SceneError(
            f"{source}: expected the name of a photo for each camera, got {nameless[0]!r}; correct the file."
        )
    folders = {folded(file.name) for file in root.iterdir() if file.is_dir()}
    return PhotoNames(root, root, bare_in={*PHOTO_FOLDERS, *folders} - {*MASK_FOLDERS}).find(names)
