"""Record3D's exports: ``metadata.json`` beside the numbered photos of a video, as images or as an unpacked .r3d.

Format: https://github.com/marek-simonik/record3d, issues 27, 33 and 36. A pose is [qx, qy, qz, qw, x, y, z], camera to
world with OpenGL axes; K is a 3 3 matrix column by column, of the photos, not of the depth maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from unscene.scenes.capture import OPENCV_FROM_OPENGL, Capture, Frame, inside, scene_path
from unscene.scenes.image_files import list_images
from unscene.scenes.json_files import number, read_json
from unscene.scenes.scene import SceneError

FOLDERS = (".", "EXR_RGBD")
PHOTO_FOLDERS = ("rgb", "rgbd")
NORM_TOLERANCE = 1e-2  # of a quaternion's length that still counts as drift


def find_record3d(root: Path) -> Path | None:
    """The metadata file of a Record3D export in a scene folder, if there is one."""
    files = (root / folder / name for folder in FOLDERS for name in ("metadata.json", "metadata"))
    return next((file for file in files if file.is_file() and _photo_folder(file)), None)


def read_record3d(root: Path, file: Path) -> Capture:
    """Frames in order of time; the photo N belongs to row N of the poses."""
    label = scene_path(root, inside(root, file, file.name))
    content, folder = read_json(file), _photo_folder(file)
    if not isinstance(content, dict) or folder is None:
        raise SceneError(f"{label}: expected Record3D's poses, K, w and h, got something else; export it again.")
    poses = _rows(content, "poses", 7, label)
    lenses, lens_note = _lenses(content, len(poses), label)
    photos = {int(path.stem): path for path in list_images(folder) if path.stem.isdecimal() and len(path.stem) < 10}
    kept = sorted(index for index in photos if index < len(poses))
    if not kept:
        raise SceneError(
            f"{label}: expected the photos 0, 1, ... of {len(poses)} poses in {scene_path(root, folder)}/, found none; "
            "export the recording again, with RGB images."
        )
    width, height = number(content, "w", label), number(content, "h", label)
    frames = []
    for index in kept:
        path = inside(root, photos[index], photos[index].name)
        (fx, fy, cx, cy), T = lenses[index], _pose(poses[index], f"{label}, pose {index}")
        frames.append(Frame(scene_path(root, path), path, T, (fx, fy), (cx, cy), width, height))
    notes = ["Record3D: the poses are ARKit's, not optimised; " + lens_note]
    if len(kept) < max(len(poses), len(photos)):
        notes.append(f"{len(poses)} poses and {len(photos)} numbered photos: the {len(kept)} that belong together")
    return Capture(tuple(frames), tuple(notes))


def _photo_folder(file: Path) -> Path | None:
    return next((file.parent / name for name in PHOTO_FOLDERS if (file.parent / name).is_dir()), None)


def _lenses(content: Mapping[str, Any], poses: int, label: str) -> tuple[np.ndarray, str]:
    """fx, fy, cx, cy in pixels for each pose, P 4; Record3D knows no distortion."""
    if content.get("perFrameIntrinsicCoeffs"):
        rows = _rows(content, "perFrameIntrinsicCoeffs", 4, label)
        if len(rows) == poses:
            return rows, "intrinsics are given per photo, free of distortion"
    K = _rows({"K": [content.get("K")]}, "K", 9, label)[0].reshape(3, 3).T
    return np.tile([K[0, 0], K[1, 1], K[0, 2], K[1, 2]], (poses, 1)), "one lens, free of distortion, for all photos"


def _rows(content: Mapping[str, Any], key: str, columns: int, label: str) -> np.ndarray:
    """A table of numbers, any columns, float64."""
    try:
        rows = np.array(content.get(key), dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        rows = np.zeros((0, 0))
    if rows.ndim != 2 or rows.shape[1] != columns or not len(rows):
        raise SceneError(f"{label}: expected {key} with {columns} numbers each, got something else; export it again.")
    return rows


def _pose(row: np.ndarray, label: str) -> np.ndarray:
    length = np.linalg.norm(row[:4])
    if not abs(length - 1) <= NORM_TOLERANCE:  # NaN, too
        raise SceneError(f"{label}: expected a quaternion of length 1, got {length:g}; correct it or remove the photo.")
    return np.column_stack([Rotation.from_quat(row[:4]).as_matrix(), row[4:]]) @ OPENCV_FROM_OPENGL
