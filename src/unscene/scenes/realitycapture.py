"""RealityCapture's and RealityScan's CSV export "internal/external camera parameters".

Conventions, from the program's own export templates and its "XMP camera math": the world has z up; heading, pitch and
roll are in degrees and all 0 for a camera that looks down with the top of its image to +y, heading turning towards +x;
f is in mm of a sensor whose longer side is 36 mm, px and py are the principal point's offset from the centre as a
fraction of that side. The lens is Brown's, in which t1 and t2 are OpenCV's p2 and p1.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from unscene.scenes.capture import OPENCV_FROM_OPENGL, Capture, Frame, inside, scene_path, start_of, usable_files
from unscene.scenes.image_files import image_size
from unscene.scenes.json_files import excerpt
from unscene.scenes.listed_photos import find_listed_photos
from unscene.scenes.scene import SceneError

POSE = ("x", "y", "alt", "heading", "pitch", "roll")
NEWER_NAMES = {"yaw": "heading", "f_35mm": "f", "px_norm": "px", "py_norm": "py"}  # RealityScan 2
SENSOR_MM = 36.0

Row = Mapping[str, str]


def find_realitycapture(root: Path) -> list[Path]:
    """The CSV files of a scene folder that begin like an export of camera parameters."""
    return [file for file in sorted(root.glob("*.[cC][sS][vV]")) if _is_export(file)]


def read_realitycapture(root: Path, file: Path) -> Capture:
    """Frames in the order of the rows, for photos of any resolution, as the intrinsics are given in fractions of it."""
    label = scene_path(root, inside(root, file, file.name))
    rows = _read_rows(file, label)
    paths = find_listed_photos(root, [row["name"] for row in rows], label)
    kept, notes = usable_files(root, paths, label)
    frames = tuple(_to_frame(rows[i], paths[i], scene_path(root, paths[i])) for i in kept)
    note = f"{label}: read as RealityCapture's: z up, angles in degrees, f in mm of a 36 mm sensor"
    return Capture(frames, (note, *notes))


def _is_export(file: Path) -> bool:
    lines = start_of(file).decode("utf-8-sig", "replace").splitlines()
    return any(_is_header(line.split(",")) for line in lines)


def _is_header(cells: list[str]) -> bool:
    return {"name", "f", *POSE} <= set(_column_names(cells))


def _column_names(cells: list[str]) -> list[str]:
    names = [cell.strip().lstrip("#").lower() for cell in cells]
    return [NEWER_NAMES.get(name, name) for name in names]


def _read_rows(file: Path, label: str) -> list[Row]:
    try:
        lines = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline="")))
    except (csv.Error, OSError, UnicodeDecodeError) as error:
        raise SceneError(f"{label}: expected a table of text in UTF-8, got something else; export it again.") from error
    header = next((i for i, cells in enumerate(lines) if _is_header(cells)), None)
    if header is None:
        raise SceneError(
            f"{label}: expected the columns name, {', '.join(POSE)} and f of RealityCapture's export "
            '"internal/external camera parameters", found no such line; export it again.'
        )
    names = _column_names(lines[header])
    rows = []
    for i, cells in enumerate(lines[header + 1 :], start=header + 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) < len(names):
            raise SceneError(f"{label}: expected {len(names)} columns in row {i}, got {len(cells)}; export it again.")
        rows.append(dict(zip(names, cells, strict=False)))
    if not rows:
        raise SceneError(f"{label}: expected one row per photo, found none; export it again.")
    return rows


def _to_frame(row: Row, path: Path, label: str) -> Frame:
    width, height = image_size(path, label)
    position, angles = np.split(np.array([_number(row, key, label) for key in POSE]), 2)
    if not np.isfinite(angles).all():
        raise SceneError(f"{label}: expected heading, pitch and roll in degrees, got NaN or infinity; correct them.")
    heading, pitch, roll = angles
    rotation = Rotation.from_euler("ZXY", [-heading, pitch, roll], degrees=True).as_matrix()
    T_world_camera = np.column_stack([rotation, position]) @ OPENCV_FROM_OPENGL
    focal, principal, distortion = _lens(row, width, height, label)
    return Frame(label, path, T_world_camera, focal, principal, width, height, distortion)


def _lens(row: Row, width: int, height: int, label: str) -> tuple:
    """Focal lengths and principal point in pixels, and OpenCV's distortion."""
    f, px, py, k1, k2, k3, k4, t1, t2 = (
        _number(row, key, label) for key in ("f", "px", "py", "k1", "k2", "k3", "k4", "t1", "t2")
    )
    if k4:
        raise SceneError(
            f"{label}: expected a lens with k1, k2, k3, t1 and t2, got k4 = {k4:g}; choose the distortion model Brown3 "
            "in RealityCapture, align again and export."
        )
    longer = max(width, height)
    focal = f * longer / SENSOR_MM
    return (focal, focal), (width / 2 + px * longer, height / 2 + py * longer), (k1, k2, t2, t1, k3)


def _number(row: Row, key: str, label: str) -> float:
    try:
        return float(row.get(key, "0"))  # the columns of the lens may be left out
    except ValueError as error:
        raise SceneError(f"{label}: expected a number as {key}, got {excerpt(row[key])}; correct the file.") from error
