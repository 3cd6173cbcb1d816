"""Polycam's raw data: one JSON file per photo under ``keyframes/``, as its developer mode exports them.

Format: https://github.com/PolyCam/polyform. Poses are ARKit's, camera to world with OpenGL axes, in metres with y up;
``t_ij`` is row i, column j of the 3 4 matrix.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unscene.scenes.capture import OPENCV_FROM_OPENGL, Capture, Frame, inside, listing, scene_path, usable_files
from unscene.scenes.image_files import find_image, list_images
from unscene.scenes.json_files import number, read_json
from unscene.scenes.scene import SceneError

OPTIMISED = ("keyframes/corrected_cameras", "keyframes/corrected_images")
AS_CAPTURED = ("keyframes/cameras", "keyframes/images")


def has_polycam(root: Path) -> bool:
    """Whether a scene folder holds Polycam's raw data."""
    return any((root / cameras).is_dir() for cameras, _ in (OPTIMISED, AS_CAPTURED))


def read_polycam(root: Path) -> Capture:
    """Frames in order of capture: the optimised cameras with the undistorted photos, else ARKit's own with theirs."""
    optimised = all((root / folder).is_dir() for folder in OPTIMISED)
    cameras, photos = OPTIMISED if optimised else AS_CAPTURED
    files = sorted(inside(root, root / cameras, cameras).glob("*.json"))
    if not files:
        raise SceneError(f"{cameras}/: expected one JSON file per photo, found none; export the raw data again.")
    paths = [_photo_path(root, root / photos / file.stem) for file in files]
    kept, notes = usable_files(root, paths, cameras)
    frames = tuple(_read_frame(inside(root, files[i], scene_path(root, files[i])), paths[i], root) for i in kept)
    return Capture(frames, (_source_note(optimised, cameras, photos), *notes, *_without_camera(root, photos, paths)))


def _photo_path(root: Path, path: Path) -> Path:
    return inside(root, find_image(path), scene_path(root, path))


def _read_frame(file: Path, path: Path, root: Path) -> Frame:
    label, content = scene_path(root, path), read_json(file)
    if not isinstance(content, dict):
        raise SceneError(f"{file.name}: expected the camera of a photo, got a list; export the raw data again.")
    (fx, fy, cx, cy), (width, height) = _lens(content, file.name)
    rows = [[number(content, f"t_{i}{j}", file.name) for j in range(4)] for i in range(3)]
    return Frame(
        label=label,
        path=path,
        T_world_camera=np.array(rows) @ OPENCV_FROM_OPENGL,
        focal=(fx, fy),
        principal=(cx, cy),
        width=width,
        height=height,
    )


def _lens(content: dict[str, Any], label: str) -> tuple[list[float], list[float]]:
    """fx, fy, cx, cy in pixels and width, height; Polycam knows no distortion."""
    return [number(content, key, label) for key in ("fx", "fy", "cx", "cy")], [
        number(content, key, label) for key in ("width", "height")
    ]


def _source_note(optimised: bool, cameras: str, photos: str) -> str:
    if optimised:
        return f"Polycam: {cameras}/ and {photos}/ are used, optimised and undistorted; their borders may be black"
    return (
        f"Polycam: {cameras}/ and {photos}/ are used, as ARKit tracked them: not optimised, the photos taken as free "
        "of distortion"
    )


def _without_camera(root: Path, photos: str, paths: list[Path]) -> list[str]:
    posed = {path.stem for path in paths}
    names = [file.name for file in list_images(root / photos) if file.stem not in posed]
    return [f"{len(names)} photos of {photos}/ have no camera and are left out: {listing(names)}"] if names else []
