"""What a reader finds in a scene folder before any pixel is decoded, and the checks that all formats share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from unscene.geometry.cameras import Cameras
from unscene.scenes.scene import SceneError

ROTATION_TOLERANCE = 1e-2  # largest entry of R^T R - I that still counts as drift of a rotation
ASPECT_TOLERANCE = 2.0  # pixels; covers the rounding of down-scaled photos and masks
LARGEST_NUMBER = 1e15  # of a camera, in any unit: its square is still a float32
SHORTEST_FOCAL = 1e-3  # pixels; its inverse square is, too
LONGEST_NAME = 120  # characters of it in a message
OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # camera axes; the world stays as it is


@dataclass(frozen=True)
class Frame:
    """One posed photo as its file lists it.

    label: how messages call it, the path within the scene folder. T_world_camera: 3 4, OpenCV axes. focal, principal:
    in pixels of a width x height image, which may differ from the photo at hand. distortion: k1, k2, p1, p2, k3.
    mask_path: nerfstudio mask, black = ignored. split: where the files themselves place the view, if they do.
    """

    label: str
    path: Path
    T_world_camera: np.ndarray
    focal: tuple[float, float]
    principal: tuple[float, float]
    width: float
    height: float
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    mask_path: Path | None = None
    split: Literal["train", "test"] | None = None


@dataclass(frozen=True)
class Capture:
    """All frames of a scene folder, in view order, with sparse structure (points: P 3, point_colors: P 3 uint8)."""

    frames: tuple[Frame, ...]
    notes: tuple[str, ...] = ()
    points: np.ndarray | None = None
    point_colors: np.ndarray | None = None


def inside(root: Path, path: Path, label: str) -> Path:
    """``path`` as an absolute one within the folder ``root``; a SceneError if ``..`` or a link leads out of it."""
    root = root.resolve()
    try:
        listed = Path(os.path.normpath(root / path))
        resolved = listed.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null byte
        raise SceneError(f"{label!r}: expected a file path, got one that cannot be resolved; correct it.") from error
    if not resolved.is_relative_to(root):
        raise SceneError(
            f"{label}: expected a path inside the scene folder, got one that leads out of it to {resolved}; "
            "copy the file into the scene folder and correct the path."
        )
    # A link within the folder keeps its own name, which masks are matched by.
    return listed if listed.is_relative_to(root) else resolved


def start_of(file: Path) -> bytes:
    """The first bytes of a file, to tell its format by; none if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(4096)
    except OSError:
        return b""


def usable_files(root: Path, paths: Sequence[Path], source: str) -> tuple[list[int], tuple[str, ...]]:
    """Indices of the paths that exist and come for the first time, with notes on the others."""
    missing = [i for i, path in enumerate(paths) if not os.path.isfile(path)]  # also where no such name can be
    if len(missing) == len(paths):
        raise SceneError(
            f"{source}: expected the photos of {len(paths)} frames in {root}, found none of them "
            f"(the first is {scene_path(root, paths[0])}); put the photos there."
        )
    first = {path: i for i, path in reversed(list(enumerate(paths)))}
    repeated = [i for i, path in enumerate(paths) if first[path] != i and os.path.isfile(path)]
    notes = []
    if missing:
        names = listing([scene_path(root, paths[i]) for i in missing])
        notes.append(f"{len(missing)} of {len(paths)} frames have no image file and are skipped: {names}")
    if repeated:
        names = listing([scene_path(root, paths[i]) for i in repeated])
        notes.append(f"{len(repeated)} of {len(paths)} frames repeat an earlier photo and are skipped: {names}")
    skipped = {*missing, *repeated}
    return [i for i in range(len(paths)) if i not in skipped], tuple(notes)


def build_cameras(frames: Sequence[Frame], width: int, height: int) -> Cameras:
    """Cameras of ``frames`` with images of width x height, whatever resolution their intrinsics are given for."""
    rows = []
    for frame in frames:
        _check_intrinsics(frame)
        sx, sy = width / frame.width, height / frame.height
        (fx, fy), (cx, cy) = frame.focal, frame.principal
        rows.append([fx * sx, fy * sy, cx * sx, cy * sy, *frame.distortion])
    lens = torch.tensor(rows, dtype=torch.float64).float()
    poses = np.stack([rigid_pose(frame.T_world_camera, frame.label) for frame in frames])
    T_world_camera = torch.from_numpy(poses).float()
    return Cameras(T_world_camera, lens[:, :2].clone(), lens[:, 2:4].clone(), lens[:, 4:].clone(), width, height)


def rigid_pose(T: np.ndarray, label: str) -> np.ndarray:
    """``T`` (3 4 or 4 4) as 3 4 with small drift of its rotation removed; a SceneError if it is no rigid motion."""
    expected = f"{label}: expected a rigid camera pose (a rotation and a position)"
    remedy = "correct the pose or remove the frame."
    if not np.isfinite(T).all():
        raise SceneError(f"{expected}, got NaN or infinite numbers; {remedy}")
    if np.abs(T).max() > LARGEST_NUMBER:
        raise SceneError(f"{expected}, got numbers up to {np.abs(T).max():g}; {remedy}")
    rotation = T[:3, :3]
    drift = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if drift > ROTATION_TOLERANCE:
        raise SceneError(f"{expected}, got axes that are not orthonormal (off by {drift:.2g}); {remedy}")
    if np.linalg.det(rotation) < 0:
        raise SceneError(f"{expected}, got a mirrored one (determinant -1); {remedy}")
    if T.shape[0] == 4 and np.abs(T[3] - [0, 0, 0, 1]).max() > ROTATION_TOLERANCE:
        raise SceneError(f"{expected}, got the last row {T[3].tolist()} in place of [0, 0, 0, 1]; {remedy}")
    left, _, right = np.linalg.svd(rotation)
    return np.concatenate([left @ right, T[:3, 3:]], 1)


def same_aspect(size: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two (width, height) differ in scale alone, up to rounding and a row or column of padding."""
    (w, h), (other_w, other_h) = size, other
    return min(abs(w * other_h / other_w - h), abs(h * other_w / other_h - w)) <= ASPECT_TOLERANCE


def scene_path(root: Path, path: Path) -> str:
    """A resolved ``path`` as messages write it: relative to the scene folder."""
    return path.relative_to(root.resolve()).as_posix() if path.is_relative_to(root.resolve()) else path.as_posix()


def listing(names: Sequence[str], limit: int = 3) -> str:
    """The first few of ``names`` for a message, of each not more than a line."""
    shown = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..." for name in names[:limit]]
    return ", ".join(shown) + (", ..." if len(names) > limit else "")


def size_text(size: tuple[float, float]) -> str:
    """``(1008, 756)`` as messages write it: 1008x756."""
    return f"{size[0]:g}x{size[1]:g}"


def _check_intrinsics(frame: Frame) -> None:
    lens = (*frame.focal, *frame.principal, *frame.distortion, frame.width, frame.height)
    if not np.isfinite(lens).all():
        raise SceneError(f"{frame.label}: expected finite camera intrinsics, got NaN or infinity; correct them.")
    if np.abs(lens).max() > LARGEST_NUMBER:
        raise SceneError(f"{frame.label}: expected intrinsics in pixels, got {max(lens, key=abs):g}; correct them.")
    if min(frame.focal) < SHORTEST_FOCAL:
        got = " and ".join(f"{f:g}" for f in dict.fromkeys(frame.focal))
        raise SceneError(f"{frame.label}: expected a focal length above 0 pixels, got {got}; correct the intrinsics.")
    if min(frame.width, frame.height) < 1:
        got = size_text((frame.width, frame.height))
        raise SceneError(f"{frame.label}: expected an image size of at least 1x1, got {got}; correct the intrinsics.")
