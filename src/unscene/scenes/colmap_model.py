"""What a COLMAP model says, whether it was written in binary or as text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ColmapCamera:
    """Intrinsics. model: COLMAP's name of the camera model, which says what params are; in pixels of width x height."""

    model: str
    width: float
    height: float
    params: tuple[float, ...]


@dataclass(frozen=True)
class ColmapImage:
    """A registered photo. name: its path below the folder that COLMAP was given. T_world_camera: 3 4, OpenCV axes."""

    name: str
    camera: ColmapCamera
    T_world_camera: np.ndarray


@dataclass(frozen=True)
class ColmapModel:
    """Registered photos in the file's order and sparse points, P 3 float64 and P 3 uint8, P = 0 if there are none."""

    images: tuple[ColmapImage, ...]
    points: np.ndarray
    point_colors: np.ndarray
