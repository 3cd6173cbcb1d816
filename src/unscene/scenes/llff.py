"""LLFF captures: ``poses_bounds.npy`` beside a folder of photos, as LLFF and SPIn-NeRF publish them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unscene.scenes.capture import Capture, Frame, inside, scene_path
from unscene.scenes.image_files import image_folder, image_size, list_images
from unscene.scenes.image_formats import images_below
from unscene.scenes.mask_pairing import masks_beside
from unscene.scenes.scene import SceneError

POSES_FILE = "poses_bounds.npy"


def read_llff(root: Path, *, scale: float) -> Capture:
    """Frames of poses_bounds.npy, whose rows belong to the photos in name order.

    A row holds a 3 5 matrix, [down, right, back, position, (height, width, focal)], and two depth bounds, not used.
    """
    rows = _read_rows(root)
    folder = image_folder(root, scale)
    files = list_images(folder)
    masks = masks_beside([file.name for file in files])
    files = [file for file in files if file.name not in masks]
    for foreign in images_below(folder) if not files else ():
        image_size(foreign, scene_path(root, foreign))  # whose error says what they are
    if len(files) != len(rows):
        raise SceneError(
            f"{POSES_FILE}: expected one row per photo in {folder.name}/, got {len(rows)} rows for "
            f"{len(files)} photos; add the missing photos or remove the extra ones (rows belong to them in name order)."
        )
    matrices = rows[:, :15].reshape(-1, 3, 5)
    paths = [inside(root, file, f"{folder.name}/{file.name}") for file in files]
    return Capture(tuple(_to_frame(m, p, scene_path(root, p)) for m, p in zip(matrices, paths, strict=True)))


def _read_rows(root: Path) -> np.ndarray:
    try:
        rows = np.load(root / POSES_FILE, allow_pickle=False)
    except Exception as error:  # NumPy parses the header as Python: a broken one fails in any way that code does
        raise SceneError(
            f"{POSES_FILE}: expected an array of N rows with 17 numbers, but the file is truncated or no NumPy array; "
            "copy it again."
        ) from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind not in "fiu":
        got = f"shape {rows.shape}, {rows.dtype}" if isinstance(rows, np.ndarray) else "an archive of arrays"
        raise SceneError(f"{POSES_FILE}: expected an array of N rows with 17 numbers, got {got}; export it again.")
    return rows.astype(np.float64)


def _to_frame(matrix: np.ndarray, path: Path, label: str) -> Frame:
    down, right, back, position, (height, width, focal) = matrix.T
    return Frame(
        label=label,
        path=path,
        T_world_camera=np.stack([right, down, -back, position], 1),
        focal=(focal, focal),
        principal=(width / 2, height / 2),
        width=width,
        height=height,
    )
