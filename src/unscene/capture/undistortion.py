"""Photos without distortion: which pinhole camera takes the place of each lens, and what becomes of pixels."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from unscene.scenes.capture import Frame
from unscene.scenes.pinhole import Resampling, to_pinhole
from unscene.scenes.wide_lenses import FisheyeLens, RationalLens, WideLens

Size = tuple[int, int]


@dataclass(frozen=True)
class Pinhole:
    """A pinhole camera in place of a lens.

    size: (width, height) of its photos. focal, principal: in their pixels, counted from the corner.
    """

    size: Size
    focal: tuple[float, float]
    principal: tuple[float, float]
    lens: pycolmap.Camera
    resampling: Resampling

    def photo(self, pixels: np.ndarray) -> np.ndarray:
        """A photo of the lens, h w 3 uint8 of any resolution, as this camera's."""
        return self.resampling.photo(pixels, self.size)

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Where this camera sees what the lens shows at pixels P 2 of the size that COLMAP saw."""
        if not len(xy):
            return xy
        return np.asarray(self.lens.cam_from_img(xy)) * self.focal + self.principal


def choose_pinholes(model: pycolmap.Reconstruction, size: Size) -> dict[int, Pinhole]:
    """For each of the model's cameras the pinhole camera of ``size`` (width, height) that shows most of its photos.

    Photos of another shape are cropped to this one. Raises SceneError for a lens that folds back inside its photo.
    """
    return {number: _pinhole(copy.deepcopy(camera), size) for number, camera in sorted(model.cameras.items())}


def _pinhole(camera: pycolmap.Camera, size: Size) -> Pinhole:
    listed = _frame(camera)
    (fitted,), (resampling,), _ = to_pinhole([listed])
    cropped = _cropped(fitted, size)
    assert resampling is not None
    across, down = size[0] / cropped.width, size[1] / cropped.height
    return Pinhole(
        size,
        (cropped.focal[0] * across, cropped.focal[1] * down),
        (cropped.principal[0] * across, cropped.principal[1] * down),
        camera,
        dataclasses.replace(resampling, pinhole=cropped),
    )


def _frame(camera: pycolmap.Camera) -> Frame:
    focal = (camera.focal_length_x, camera.focal_length_y)
    principal = (camera.principal_point_x, camera.principal_point_y)
    identity = np.eye(4)[:3]
    return Frame(
        f"camera {camera.camera_id}", Path(), identity, focal, principal, camera.width, camera.height,
        wide_lens=_lens(camera),
    )  # fmt: skip


def _lens(camera: pycolmap.Camera) -> WideLens:
    """OpenCV's model of a camera that `create_database` has made."""
    match camera.model_name, tuple(camera.params):
        case "RADIAL", (_, _, _, k1, k2):
            return RationalLens((k1, k2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
        case "OPENCV_FISHEYE", (_, _, _, _, k1, k2, k3, k4):
            return FisheyeLens((k1, k2, k3, k4))
    raise AssertionError(f"no camera of ours has the model {camera.model_name}")


def _cropped(frame: Frame, size: Size) -> Frame:
    """The middle of a frame, as much of it as has the shape of ``size``."""
    zoom = min(frame.width / size[0], frame.height / size[1])
    width, height = zoom * size[0], zoom * size[1]
    x, y = frame.principal
    principal = (x - (frame.width - width) / 2, y - (frame.height - height) / 2)
    return dataclasses.replace(frame, width=width, height=height, principal=principal)
