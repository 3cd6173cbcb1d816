"""COLMAP models, binary or text, as captures."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from unscene.scenes.capture import Capture, Frame, inside, listing, scene_path, usable_files
from unscene.scenes.colmap_binary import read_binary_model
from unscene.scenes.colmap_folders import BINARY_FILES, TEXT_FILES, largest_model
from unscene.scenes.colmap_model import ColmapCamera, ColmapImage, ColmapModel
from unscene.scenes.colmap_text import read_text_model
from unscene.scenes.image_files import image_folder, list_images
from unscene.scenes.image_formats import name_without_suffix
from unscene.scenes.mask_search import MASK_FOLDERS
from unscene.scenes.photo_names import PhotoNames
from unscene.scenes.scene import SceneError
from unscene.scenes.wide_lenses import FisheyeLens, RationalLens, WideLens

NONE = (0.0, 0.0, 0.0, 0.0, 0.0)

Pair = tuple[float, float]
Distortion = tuple[float, float, float, float, float]


def read_colmap(root: Path, models: list[Path], *, scale: float) -> Capture:
    """Registered images in name order and sparse points of the largest model; photos from images/ (or images_K/)."""
    label, content, size_notes = _read_largest(root, models)
    folder, images = image_folder(root, scale), content.images
    names = PhotoNames(root, folder)
    paths = names.find([image.name for image in images])
    kept, notes = usable_files(root, paths, label)
    points = np.isfinite(content.points).all(1)
    return Capture(
        tuple(_to_frame(images[i], paths[i], f"{folder.name}/{images[i].name}") for i in kept),
        (*size_notes, *names.notes, *notes, *_unposed(root, folder, paths, label)),
        points=content.points[points] if points.any() else None,
        point_colors=content.point_colors[points] if points.any() else None,
    )


def read_colmap_poses(root: Path, models: list[Path]) -> tuple[list[Frame], tuple[str, ...]]:
    """The same of photos that need not be there, in images/, and notes."""
    label, content, notes = _read_largest(root, models)
    images = content.images
    return [_to_frame(image, inside(root, Path("images", image.name), label), image.name) for image in images], notes


def _read_largest(root: Path, models: list[Path]) -> tuple[str, ColmapModel, tuple[str, ...]]:
    """The largest model's name, its content with images in name order, and a note on the others."""
    model, notes = largest_model(root, models)
    label = model.relative_to(root).as_posix()
    content = _read_model(model, label)
    if not content.images:
        raise SceneError(f"{label}: expected images with poses, got none; run COLMAP's mapper again.")
    return label, replace(content, images=sorted(content.images, key=lambda image: image.name)), notes


def _read_model(model: Path, label: str) -> ColmapModel:
    try:
        if all((model / name).is_file() for name in BINARY_FILES):
            return read_binary_model(model)
        if all((model / name).is_file() for name in TEXT_FILES):
            return read_text_model(model, label)
    except SceneError:
        raise
    except (IndexError, KeyError, MemoryError, OSError, RuntimeError, ValueError) as error:
        raise _incomplete(label) from error
    raise _incomplete(label)


def _incomplete(label: str) -> SceneError:
    return SceneError(
        f"{label}: expected a complete COLMAP model (cameras and images, both .bin or both .txt; points3D where there "
        "are points), but it cannot be read; copy it again or export it with colmap model_converter."
    )


def _unposed(root: Path, folder: Path, posed: Sequence[Path], label: str) -> tuple[str, ...]:
    """A note on the photos that the model does not register."""
    known, stems = set(posed), {name_without_suffix(path.name) for path in posed}
    files = list_images(folder, recursive=True)
    photos = [file for file in files if file in known or _is_photo(file.relative_to(folder), stems)]
    left = [scene_path(root, file) for file in photos if file not in known]
    if not left:
        return ()
    return (
        f"{len(left)} of {len(photos)} photos in {folder.name}/ have no pose in {label} and are left out: "
        f"{listing(left)}",
    )


def _is_photo(file: Path, stems: Collection[str]) -> bool:
    """Whether an image is no mask, and nothing else that is called after a photo of ``stems``, as its depth is."""
    name = file.name
    beginnings = [name[: found.start()] for found in re.finditer(r"[._-]", name)]
    in_mask_folder = any(part.lower() in (*MASK_FOLDERS, "test_label") for part in file.parts[:-1])
    return not in_mask_folder and "mask" not in file.as_posix().lower() and not any(b in stems for b in beginnings)


def _to_frame(image: ColmapImage, path: Path, label: str) -> Frame:
    focal, principal, distortion, wide_lens = _lens(image.camera, label)
    return Frame(
        label=label,
        path=path,
        T_world_camera=image.T_world_camera,
        focal=focal,
        principal=principal,
        width=image.camera.width,
        height=image.camera.height,
        distortion=distortion,
        wide_lens=wide_lens,
    )


def _lens(camera: ColmapCamera, label: str) -> tuple[Pair, Pair, Distortion, WideLens | None]:
    """Focal lengths, principal point, OpenCV distortion, and the lens where that does not describe it; COLMAP's models
    with few parameters are cases of larger ones."""
    match camera.model, camera.params:
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
        f"got {camera.model}; undistort the photos first: "
        "colmap image_undistorter --image_path images --input_path sparse/0 --output_path undistorted"
    )
