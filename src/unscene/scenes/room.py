"""The package's second synthetic scene: an object in the middle of a path-traced room, seen from all around."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene
from unscene.scenes.true_depth import read_true_depth

FOLDER = Path(__file__).parent / "room"


def room() -> Scene:
    """The scene: 36 training views show the object, 18 test views are rendered without it; masks for all views.

    Views go around the object in order: `room().thinned(3)` has 12 training views, still from all sides.
    """
    return load_scene(FOLDER)


def true_depth(view: int) -> Tensor:
    """z-depth of one view without the object, height/2 width/2 float, in metres."""
    return read_true_depth(FOLDER, view)
