"""The point cloud that a transforms.json names as ``ply_file_path``, as nerfstudio's converters write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unscene.scenes.capture import inside
from unscene.splat_files.ply_elements import read_elements, read_header
from unscene.splat_files.splat_error import SplatError

PLACE, COLOR = ("x", "y", "z"), ("red", "green", "blue")


def read_sparse_points(root: Path, listed: object) -> tuple[np.ndarray | None, np.ndarray | None, tuple[str, ...]]:
    """Points P 3 float64 and their colours P 3 uint8, each None where there are none, and notes.

    listed: the value of ``ply_file_path``. A scene is whole without its points: a file that is missing or cannot be
    read is told of and passed over. Raises SceneError for a path that leads out of the folder ``root``.
    """
    if listed is None:
        return None, None, ()
    if not isinstance(listed, str) or not (file := inside(root, Path(listed), "ply_file_path")).is_file():
        return None, None, (f"sparse points: there is no file {listed!r}; the scene goes without them",)
    try:
        header = read_header(file)
        vertices = read_elements(file, header, ["vertex"]).get("vertex", np.empty(0))
    except (SplatError, OSError) as error:
        return None, None, (f"sparse points are passed over: {error}",)
    names = vertices.dtype.names or ()
    if not len(vertices) or not set(PLACE) <= set(names):
        return None, None, (f"sparse points: {listed} holds no points with x, y, z; the scene goes without them",)
    points = np.stack([vertices[name].astype(np.float64) for name in PLACE], 1)
    finite = np.isfinite(points).all(1)
    if not finite.any():
        return None, None, (f"sparse points: no point of {listed} is finite; the scene goes without them",)
    colored = all(name in names and vertices.dtype[name] == np.uint8 for name in COLOR)
    colors = np.stack([vertices[name][finite] for name in COLOR], 1) if colored else None
    return points[finite], colors, ()
