"""The package's own synthetic scene: a path-traced still life, with and without the object to remove."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene
from unscene.scenes.true_depth import read_true_depth

FOLDER = Path(__file__).parent / "still_life"


def still_life() -> Scene:
    """The scene: training views show the object, test views are rendered without it; masks for all views."""
    return load_scene(FOLDER)


def true_depth(view: int) -> Tensor:
    """z-depth of one view without the object, height/2 width/2 float, in scene units."""
    return read_true_depth(FOLDER, view)
