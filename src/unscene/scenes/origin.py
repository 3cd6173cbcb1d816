"""Scenes far from the origin of their coordinates, as surveys in UTM or ECEF are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unscene.scenes.capture import Frame
from unscene.scenes.scene import NO_ORIGIN

FAR = 100.0
"""Distance from the origin, in spreads of the cameras, from which on there is a nearer one. There float32 rounds
positions to 6e-6 of the spread: a hundredth of a pixel of a photo a thousand pixels wide."""


def choose_origin(frames: Sequence[Frame]) -> tuple[Tensor, tuple[str, ...]]:
    """What to take from all coordinates, 3 float64, and a note about it; zero and none for scenes near their origin.

    It is the cameras' median position in round numbers: a few stray poses change nothing.
    """
    positions = np.array([frame.T_world_camera[:3, 3] for frame in frames], np.float64)
    positions = positions[(abs(positions) < 1e100).all(1)]  # others are refused later
    middle = np.median(positions, 0) if len(positions) else np.zeros(3)
    distances = np.linalg.norm(positions - middle, axis=1)
    spread = np.median(distances[distances > 0]) if distances.any() else 0.0
    if spread == 0 or abs(middle).max() < FAR * spread:
        return NO_ORIGIN, ()
    origin = np.round(middle, -math.floor(math.log10(spread)))
    shown = ", ".join(f"{value:.12g}" for value in origin)
    note = (
        f"cameras are spread over {spread:.1g} units, but far from the origin: ({shown}) is taken from all coordinates "
        "while working and added back in what is written"
    )
    return torch.from_numpy(origin), (note,)
