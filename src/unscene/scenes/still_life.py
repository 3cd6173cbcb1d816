"""The package's own synthetic scene: a path-traced still life, with and without the object to remove."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene

FOLDER = Path(__file__).parent / "still_life"


def still_life() -> Scene:
    """The scene: training views show the object, test views are rendered without it; masks for all views."""
    return load_scene(FOLDER)


def true_depth(view: int) -> Tensor:
    """z-depth of one view without the object, height/2 width/2 float, in scene units."""
    content = json.loads((FOLDER / "transforms.json").read_text(encoding="utf-8"))
    stem = Path(content["frames"][view]["file_path"]).stem
    with Image.open(FOLDER / "depth" / f"{stem}.png") as image:
        depth = np.asarray(image).astype(np.float32)
    return torch.from_numpy(depth) * content["depth_unit_scale_factor"]
