"""COLMAP models, binary or text: cameras, poses and sparse points."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unscene.scenes.capture import Capture, Frame, inside, listing, usable_files
from unscene.scenes.image_files import find_image, image_folder
from unscene.scenes.scene import SceneError
from unscene.scenes.wide_lenses import FisheyeLens, RationalLens, WideLens

if TYPE_CHECKING:
    import pycolmap

PARAMETERS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16, 4, 5, 3, 4, 6, 2)  # how many a camera has, by COLMAP's model id
NONE = (0.0, 0.0, 0.0, 0.0, 0.0)
MODEL_FOLDERS = ("sparse/0", "colmap/sparse/0", "sparse", "colmap/sparse")

Pair = tuple[float, float]
Distortion = tuple[float, float, float, float, float]


def find_model(root: Path) -> Path | None:
    """The folder of the COLMAP model that belongs to a scene folder, if there is one."""
    files = ("cameras.bin", "images.bin", "cameras.txt", "images.txt")
    folders = (root / name for name in MODEL_FOLDERS)
    return next((folder for folder in folders if any((folder / file).is_file() for file in files)), None)


def read_colmap(root: Path, model: Path, *, scale: float) -> Capture:
    """Registered images in name order and the sparse points of a COLMAP model; photos from images/ (or images_K/)."""
    label = model.relative_to(root).as_posix()
    reconstruction = _read_model(model, label)
    folder = image_folder(root, scale)
    images = sorted((image for image in reconstruction.images.values() if image.has_pose), key=lambda i: i.name)
    if not images:
        raise SceneError(f"{label}: expected images with poses, got none; run COLMAP's mapper again.")
    paths = [_photo_path(root, folder, image.name) for image in images]
    kept, notes = usable_files(root, paths, label)
    frames = tuple(
        _to_frame(images[i], reconstruction.cameras[images[i].camera_id], paths[i], f"{folder.name}/{images[i].name}")
        for i in kept
    )
    others = [f.name for f in sorted(model.parent.iterdir()) if f.name.isdigit() and f.name != model.name]
    if model.name.isdigit() and others:
        notes += (f"{label} is used; COLMAP left other models beside it: {listing(others)}",)
    points = list(reconstruction.points3D.values())
    return Capture(
        frames,
        notes,
        points=np.array([point.xyz for point in points], np.float64) if points else None,
        point_colors=np.array([point.color for point in points], np.uint8) if points else None,
    )


def _read_model(model: Path, label: str) -> pycolmap.Reconstruction:
    import pycolmap

    try:
        _check_complete(model)
        return pycolmap.Reconstruction(model)
    except (IndexError, KeyError, MemoryError, OSError, RuntimeError, ValueError) as error:
        raise SceneError(
            f"{label}: expected a complete COLMAP model (cameras, images and points3D, all .bin or all .txt), "
            "but it cannot be read; copy it again or export it with colmap model_converter."
        ) from error


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
    (images,) = struct.unpack_from("<I", content, start + 64)
    return start + 68 + 16 * images


def _image_end(content: bytes, start: int) -> int:
    """Where an image ends: id, rotation, translation, camera id, name, observations of 24 bytes."""
    name_end = content.find(b"\0", start + 64)
    if name_end < 0:
        raise struct.error("name without end")
    (observations,) = struct.unpack_from("<Q", content, name_end + 1)
    return name_end + 9 + 24 * observations


def _point_end(content: bytes, start: int) -> int:
    """Where a point ends: id, position, colour, error, track of 8 bytes per element."""
    (track,) = struct.unpack_from("<Q", content, start + 43)
    return start + 51 + 8 * track


def _photo_path(root: Path, folder: Path, name: str) -> Path:
    return inside(root, find_image(inside(root, folder / name, name)), name)


def _to_frame(image: pycolmap.Image, camera: pycolmap.Camera, path: Path, label: str) -> Frame:
    focal, principal, distortion, wide_lens = _lens(camera, label)
    return Frame(
        label=label,
        path=path,
        T_world_camera=np.asarray(image.cam_from_world().inverse().matrix()),
        focal=focal,
        principal=principal,
        width=camera.width,
        height=camera.height,
        distortion=distortion,
        wide_lens=wide_lens,
    )


def _lens(camera: pycolmap.Camera, label: str) -> tuple[Pair, Pair, Distortion, WideLens | None]:
    """Focal lengths, principal point, OpenCV distortion, and the lens where that does not describe it; COLMAP's models
    with few parameters are cases of larger ones."""
    match camera.model.name, tuple(camera.params):
        case "SIMPLE_PINHOLE", (f, cx, cy):
            return (f, f), (cx, cy), NONE, None
        case "PINHOLE", (fx, fy, cx, cy):
            return (fx, fy), (cx, cy), NONE, None
        case "SIMPLE_RADIAL", (f, cx, cy, k1):
            return (f, f), (cx, cy), (k1, 0.0, 0.0, 0.0, 0.0), None
        case "RADIAL", (f, cx, cy, k1, k2):
            return (f, f), (cx, cy), (k1, k2, 0.0, 0.0, 0.0), None
        case "OPENCV", (fx, fy, cx, cy, k1, k2, p1, p2):
            return (fx, fy), (cx, cy), (k1, k2, p1, p2, 0.0), None
        case "FULL_OPENCV", (fx, fy, cx, cy, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0):
            return (fx, fy), (cx, cy), (k1, k2, p1, p2, k3), None
        case "FULL_OPENCV", (fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, k5, k6):
            return (fx, fy), (cx, cy), NONE, RationalLens((k1, k2, p1, p2, k3, k4, k5, k6))
        case "SIMPLE_FISHEYE", (f, cx, cy):
            return (f, f), (cx, cy), NONE, FisheyeLens((0.0, 0.0, 0.0, 0.0))
        case "FISHEYE", (fx, fy, cx, cy):
            return (fx, fy), (cx, cy), NONE, FisheyeLens((0.0, 0.0, 0.0, 0.0))
        case "SIMPLE_RADIAL_FISHEYE", (f, cx, cy, k1):
            return (f, f), (cx, cy), NONE, FisheyeLens((k1, 0.0, 0.0, 0.0))
        case "RADIAL_FISHEYE", (f, cx, cy, k1, k2):
            return (f, f), (cx, cy), NONE, FisheyeLens((k1, k2, 0.0, 0.0))
        case "OPENCV_FISHEYE", (fx, fy, cx, cy, k1, k2, k3, k4):
            return (fx, fy), (cx, cy), NONE, FisheyeLens((k1, k2, k3, k4))
    raise SceneError(
        f"{label}: expected a camera model of OpenCV's kind (SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL, RADIAL, OPENCV, "
        "FULL_OPENCV, SIMPLE_FISHEYE, FISHEYE, SIMPLE_RADIAL_FISHEYE, RADIAL_FISHEYE, OPENCV_FISHEYE), "
        f"got {camera.model.name}; undistort the photos first: "
        "colmap image_undistorter --image_path images --input_path sparse/0 --output_path undistorted"
    )
