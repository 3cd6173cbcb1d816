"""Scenes without photos: poses, and masks named like them. What views show is rendered, of a splat that is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unscene.scenes.baseline import check_baseline
from unscene.scenes.capture import Frame, build_cameras, inside, listing, size_text
from unscene.scenes.colmap import read_colmap_poses
from unscene.scenes.colmap_folders import find_models
from unscene.scenes.json_files import excerpt, number, read_json
from unscene.scenes.load import FEWEST_VIEWS, names_of
from unscene.scenes.mask_files import read_masks
from unscene.scenes.mask_search import find_masks
from unscene.scenes.origin import choose_origin
from unscene.scenes.pinhole import to_pinhole
from unscene.scenes.scene import Scene, SceneError
from unscene.scenes.transforms import read_poses

FILES = ("transforms.json", "cameras.json")


def load_posed_masks(
    path: Path | str, *, scale: float = 1, masks: Path | str | None = None, mask_label: int | None = None
) -> Scene:
    """A scene of poses and masks alone, whose images are black: a transforms.json with sizes, a COLMAP model, or the
    cameras.json that 3DGS (Kerbl et al. 2023) and many after it write beside a splat.

    path: that file, or the folder with it or with sparse/; the rest as in `load_scene`, with all views for training.
    Masks are named like the photos that the poses were of. Raises SceneError, in words for the user, for input that
    cannot be used.
    """
    if not math.isfinite(scale) or scale < 1:
        raise SceneError(f"scale: expected a number of at least 1 (4: a quarter of the width), got {scale:g}.")
    root, source, posed, pose_notes = _read_poses(Path(path))
    frames, resamplings, notes = to_pinhole(posed)
    original = _common_size(frames, source)
    size = (max(1, round(original[0] / scale)), max(1, round(original[1] / scale)))
    if len(frames) < FEWEST_VIEWS:
        raise SceneError(f"{source}: expected at least {FEWEST_VIEWS} cameras, got {len(frames)}; add some.")
    check_baseline(frames, None)
    origin, origin_notes = choose_origin(frames)
    names, train = names_of(frames), torch.arange(len(frames))
    folder = None if masks is None else Path(masks)
    files = find_masks(root, [frame.path for frame in frames], scale=scale, folder=folder)
    if files is None:
        raise SceneError(
            f"{source}: expected masks of the object to remove, found none; put one per camera (white = remove) "
            f"into {root / 'masks'}, named like {names[0]}, or name their folder with --masks."
        )
    removed, mask_notes = read_masks(
        files, names, train, resamplings, size=size, original=original, label=mask_label
    )  # fmt: skip
    black = torch.zeros(1, 1, 1, 3, dtype=torch.uint8).expand(len(frames), size[1], size[0], 3)
    return Scene(
        name=root.name, cameras=build_cameras(frames, *size, origin), images=black, names=names, train=train,
        test=torch.arange(0), masks=removed, notes=(*pose_notes, *notes, *origin_notes, *mask_notes), origin=origin,
    )  # fmt: skip


def _read_poses(path: Path) -> tuple[Path, str, list[Frame], tuple[str, ...]]:
    """The scene's folder, what the poses are from, the cameras, and notes."""
    file = path if path.is_file() else next((path / name for name in FILES if (path / name).is_file()), None)
    if file is None and (models := find_models(root := path.resolve())):
        return root, "the COLMAP model", *read_colmap_poses(root, models)
    if file is None or file.suffix != ".json":
        places = f"{', a '.join(FILES)} or a COLMAP model in sparse/"
        raise SceneError(f"{path}: expected cameras in a {places}, found none; check the path.")
    root, content = file.parent.resolve(), read_json(file)
    frames = _frames(root, content, file.name) if isinstance(content, list) else read_poses(root, file)
    return root, file.name, frames, ()


def _frames(root: Path, content: list[Any], source: str) -> list[Frame]:
    """The cameras of a cameras.json of 3DGS: camera centres and the axes of OpenCV's cameras in the world, as columns;
    principal points in the middle."""
    if not content or not all(isinstance(entry, dict) for entry in content):
        raise SceneError(f"{source}: expected a list of cameras, got something else; export it again.")
    frames = []
    for index, entry in enumerate(content):
        label = str(entry.get("img_name", f"camera {index}"))
        width, height, fx, fy = (number(entry, key, label) for key in ("width", "height", "fx", "fy"))
        pose = np.concatenate([_matrix(entry, "rotation", (3, 3), label), _matrix(entry, "position", (3, 1), label)], 1)
        path = inside(root, root / label, label)
        frames.append(Frame(label, path, pose, (fx, fy), (width / 2, height / 2), width, height))
    return sorted(frames, key=lambda frame: frame.path)


def _matrix(entry: dict[str, Any], key: str, shape: tuple[int, int], label: str) -> np.ndarray:
    try:
        return np.array(entry.get(key), dtype=np.float64).reshape(shape)
    except (OverflowError, TypeError, ValueError) as error:
        raise SceneError(
            f"{label}: expected {shape[0] * shape[1]} numbers as {key}, got {excerpt(entry.get(key))}; correct it."
        ) from error


def _common_size(frames: Sequence[Frame], source: str) -> tuple[float, float]:
    sizes = sorted({(frame.width, frame.height) for frame in frames})
    if len(sizes) > 1:
        got = listing([size_text(size) for size in sizes])
        raise SceneError(f"{source}: expected one image size for all cameras, got {got}; make them equal.")
    width, height = sizes[0]
    if not (math.isfinite(width) and math.isfinite(height) and min(width, height) >= 1):
        raise SceneError(f"{source}: expected an image size of at least 1x1, got {size_text(sizes[0])}; correct it.")
    return sizes[0]
