"""Binary COLMAP models, read by pycolmap once it is sure that they end where they should."""

from __future__ import annotations

import math
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np

from unscene.scenes.colmap_model import ColmapCamera, ColmapImage, ColmapModel
from unscene.scenes.scene import SceneError

PARAMETERS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16, 4, 5, 3, 4, 6, 2)  # how many a camera has, by COLMAP's model id


def read_binary_model(folder: Path) -> ColmapModel:
    """The model of cameras.bin, images.bin and, where they are there, points3D.bin, rigs.bin and frames.bin.

    Raises ValueError, OSError, RuntimeError and their like for files that are not complete.
    """
    import pycolmap

    _check_complete(folder)
    if (folder / "points3D.bin").is_file():
        reconstruction = pycolmap.Reconstruction(folder)
    else:
        with tempfile.TemporaryDirectory() as copy:  # pycolmap insists on points
            for file in folder.glob("*.bin"):
                shutil.copyfile(file, Path(copy, file.name))
            Path(copy, "points3D.bin").write_bytes(struct.pack("<Q", 0))
            reconstruction = pycolmap.Reconstruction(copy)
    cameras = {
        camera_id: ColmapCamera(camera.model.name, camera.width, camera.height, tuple(camera.params))
        for camera_id, camera in reconstruction.cameras.items()
    }
    images = [
        ColmapImage(image.name, cameras[image.camera_id], np.asarray(image.cam_from_world().inverse().matrix()))
        for image in reconstruction.images.values()
        if image.has_pose
    ]
    points = list(reconstruction.points3D.values())
    return ColmapModel(
        tuple(images),
        np.array([point.xyz for point in points], np.float64).reshape(-1, 3),
        np.array([point.color for point in points], np.uint8).reshape(-1, 3),
    )


def count_binary_images(folder: Path) -> int:
    """How many photos images.bin registers; 0 for a file that does not begin like one."""
    with (folder / "images.bin").open("rb") as file:
        start = file.read(8)
    return struct.unpack("<Q", start)[0] if len(start) == 8 else 0


def _check_complete(model: Path) -> None:
    """ValueError if a binary file ends before its last record: pycolmap would take what follows in memory for sizes."""
    records = {"cameras": _camera_end, "frames": _frame_end, "images": _image_end, "points3D": _point_end}
    for name, end_of_record in records.items():
        file = model / f"{name}.bin"
        if not file.is_file():
            continue
        content = file.read_bytes()
        try:
            (count,) = struct.unpack_from("<Q", content)
            end = 8
            for _ in range(count):
                end = end_of_record(content, end)
        except struct.error as error:
            raise ValueError(f"{file.name} is truncated") from error
        if end > len(content):
            raise ValueError(f"{file.name} is truncated")


def _camera_end(content: bytes, start: int) -> int:
    """Where a camera ends: id, model, width, height, parameters (of a model newer than the list at least 2)."""
    (model,) = struct.unpack_from("<I", content, start + 4)
    return start + 24 + 8 * (PARAMETERS[model] if model < len(PARAMETERS) else 2)


def _frame_end(content: bytes, start: int) -> int:
    """Where a frame ends: id, rig id, rotation, translation, images of 16 bytes."""
    _check_rotation(content, start + 8, "frames.bin")
    (images,) = struct.unpack_from("<I", content, start + 64)
    return start + 68 + 16 * images


def _image_end(content: bytes, start: int) -> int:
    """Where an image ends: id, rotation, translation, camera id, name, observations of 24 bytes."""
    _check_rotation(content, start + 4, "images.bin")
    name_end = content.find(b"\0", start + 64)
    if name_end < 0:
        raise struct.error("name without end")
    (observations,) = struct.unpack_from("<Q", content, name_end + 1)
    return name_end + 9 + 24 * observations


def _check_rotation(content: bytes, start: int, file: str) -> None:
    """Raises SceneError for a quaternion that is none: pycolmap would take it for no rotation at all."""
    quaternion = struct.unpack_from("<4d", content, start)
    length = math.hypot(*quaternion)
    if not math.isfinite(length) or length == 0:
        got = ", ".join(f"{value:g}" for value in quaternion)
        raise SceneError(f"{file}: expected rotations as quaternions, got ({got}); copy it again or export it anew.")


def _point_end(content: bytes, start: int) -> int:
    """Where a point ends: id, position, colour, error, track of 8 bytes per element."""
    (track,) = struct.unpack_from("<Q", content, start + 43)
    return start + 51 + 8 * track
