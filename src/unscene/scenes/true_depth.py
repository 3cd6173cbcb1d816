"""Depth that was rendered with a bundled scene."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def read_true_depth(folder: Path, view: int) -> Tensor:
    """z-depth of one view without the object, height/2 width/2 float, in scene units; 0 where nothing was hit."""
    content = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))
    stem = Path(content["frames"][view]["file_path"]).stem
    with Image.open(folder / "depth" / f"{stem}.png") as image:
        depth = np.asarray(image).astype(np.float32)
    return torch.from_numpy(depth) * content["depth_unit_scale_factor"]
