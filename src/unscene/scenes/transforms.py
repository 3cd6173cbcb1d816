"""``transforms.json``: nerfstudio and instant-ngp captures, Blender's synthetic scenes, and camera paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from unscene.file_names import distinct
from unscene.files import write_json, write_png
from unscene.geometry.cameras import Cameras
from unscene.scenes.capture import (
    OPENCV_FROM_OPENGL,
    Capture,
    Frame,
    build_cameras,
    inside,
    listing,
    size_text,
    usable_files,
)
from unscene.scenes.image_files import DECODING_THREADS, image_size
from unscene.scenes.json_files import number, read_json
from unscene.scenes.photo_names import PhotoNames
from unscene.scenes.pinhole import to_pinhole
from unscene.scenes.scene import NO_ORIGIN, Scene, SceneError
from unscene.scenes.sparse_points import read_sparse_points
from unscene.scenes.wide_lenses import FisheyeLens, RationalLens, WideLens

DISTORTION = ("k1", "k2", "p1", "p2", "k3")
NO_DISTORTION = (0.0, 0.0, 0.0, 0.0, 0.0)
PERSPECTIVE_MODELS = (None, "PERSPECTIVE", "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
FISHEYE_MODELS = ("OPENCV_FISHEYE", "RADIAL_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE")

Entry = dict[str, Any]


def read_transforms(root: Path, file: Path) -> Capture:
    """Frames of one transforms.json, with the split that its ``train_filenames`` and ``test_filenames`` may give, and
    the points that it names."""
    content, entries = _read_entries(file)
    capture = _to_capture(root, content, entries, None, file.name)
    points, colors, notes = read_sparse_points(root, content.get("ply_file_path"))
    return replace(capture, points=points, point_colors=colors, notes=(*capture.notes, *notes))


def read_blender(root: Path) -> Capture:
    """Frames of transforms_train.json for training and of transforms_test.json (else _val.json) for testing."""
    held_out = next((name for name in ("test", "val") if (root / f"transforms_{name}.json").is_file()), None)
    entries, splits = [], []
    for name in ("train", held_out):
        if name:
            _, listed = _read_entries(root / f"transforms_{name}.json")
            entries += listed
            splits += ["train" if name == "train" else "test"] * len(listed)
    return _to_capture(root, {}, entries, splits, "transforms_train.json")


def read_cameras(path: Path | str, origin: Tensor = NO_ORIGIN) -> Cameras:
    """Cameras of a transforms.json (or of the folder with one) whose frames need no images, in frame order.

    origin: 3 float64, that of the scene or run they belong to, which is taken from their positions. Wide lenses become
    the pinhole cameras that `load_scene` would make of them. Raises SceneError if sizes are missing or differ, and for
    everything that is wrong with a pose or a lens.
    """
    file = Path(path) / "transforms.json" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise SceneError(f"{file}: expected a transforms.json with cameras, found no such file; check the path.")
    entries = _sized_entries(file)
    sizes = {(_number(entry, "w"), _number(entry, "h")) for entry in entries}
    if len(sizes) > 1:
        got = listing([size_text(size) for size in sorted(sizes)])
        raise SceneError(f"{file.name}: expected one image size for all frames, got {got}; make them equal.")
    frames = [_to_frame(entry, Path(), None, None) for entry in entries]
    pinholes, _, _ = to_pinhole(frames)
    return build_cameras(pinholes, int(frames[0].width), int(frames[0].height), origin)


def read_poses(root: Path, file: Path) -> list[Frame]:
    """Frames of a transforms.json whose photos need not be there; raises SceneError for sizes that are missing."""
    entries = _sized_entries(file)
    listed = [_listed_photo(entry.get("file_path"), entry["label"]) for entry in entries]
    return [
        _to_frame(entry, inside(root, root / name, name), None, None)
        for entry, name in zip(entries, listed, strict=True)
    ]


def write_transforms(folder: Path | str, scene: Scene) -> Path:
    """Write ``scene`` as ``images/*.png`` and ``transforms.json``, loadable by `load_scene` and nerfstudio.

    The split is kept as file lists; masks, if the scene has them, go to ``keep_masks/`` in nerfstudio's sense (black =
    ignored). Cameras are in the world of the input, origin included. Each file appears under its name only when
    complete, transforms.json last. Returns its path.
    """
    folder = Path(folder)
    files = [f"images/{name}" for name in png_names(scene.names)]
    masks = [f"keep_masks/{name}" for name in png_names(scene.names)] if scene.masks is not None else None

    def write_view(view: int) -> None:
        write_png(folder / files[view], scene.images[view].cpu().numpy())
        if masks and scene.masks is not None:
            write_png(folder / masks[view], np.where(scene.masks[view].cpu().numpy(), 0, 255).astype(np.uint8))

    with ThreadPoolExecutor(DECODING_THREADS) as threads:
        list(threads.map(write_view, range(len(scene))))
    write_frames(folder / "transforms.json", scene, files, masks)
    return folder / "transforms.json"


def write_frames(file: Path, scene: Scene, files: list[str], masks: list[str] | None = None) -> None:
    """Write a transforms.json that names ``files`` as the scene's images, whether they exist or not.

    Poses are those of the input's world. What was taken from them while working is kept as ``scene_origin``, if any.
    """
    content, cameras = _camera_entries(scene.cameras, scene.origin)
    if scene.origin.any():
        content["scene_origin"] = scene.origin.tolist()
    content["frames"] = [
        {"file_path": files[view], **({"mask_path": masks[view]} if masks else {}), **cameras[view]}
        for view in range(len(scene))
    ]
    train, test = ([files[view] for view in views.tolist()] for views in (scene.train, scene.test))
    # nerfstudio wants all three lists as soon as there is one, and draws from val while training: never empty.
    content |= {"train_filenames": train, "val_filenames": test or train, "test_filenames": test}
    write_json(file, content)


def _read_entries(file: Path) -> tuple[Entry, list[Entry]]:
    """The whole content, and its frames with the top-level values filled in."""
    content = read_json(file)
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise SceneError(f"{file.name}: expected a list 'frames' of cameras, found none; export the file again.")
    shared = {key: value for key, value in content.items() if key != "frames"}
    labels = [frame.get("file_path") or f"frame {i}" for i, frame in enumerate(frames)]
    return content, [{**shared, **frame, "label": str(label)} for frame, label in zip(frames, labels, strict=True)]


def _sized_entries(file: Path) -> list[Entry]:
    """Its frames, each with the size of its image."""
    _, entries = _read_entries(file)
    if not all("w" in entry and "h" in entry for entry in entries):
        raise SceneError(f"{file.name}: expected the image size as w and h, found none; add it at the top level.")
    return entries


def _to_capture(root: Path, content: Entry, entries: list[Entry], splits: list[Any] | None, source: str) -> Capture:
    """Frames of ``entries`` with ``splits``, by default those that ``content`` lists."""
    photos = PhotoNames(root, root)
    paths = photos.find([_listed_photo(entry.get("file_path"), entry["label"]) for entry in entries])
    splits = _listed_splits(photos, content, paths) if splits is None else splits
    kept, notes = usable_files(root, paths, source)
    masks = _mask_paths(root, [entries[i].get("mask_path") for i in kept])
    frames = [_to_frame(entries[i], paths[i], mask, splits[i]) for i, mask in zip(kept, masks, strict=True)]
    return Capture(tuple(frames), (*photos.notes, *notes))


def _listed_photo(listed: object, label: str) -> str:
    if not isinstance(listed, str) or not listed:
        raise SceneError(f"{label}: expected the photo's path as file_path, got {listed!r}; add it to the frame.")
    return listed


def _mask_paths(root: Path, listed: Sequence[object]) -> list[Path | None]:
    """Where the masks are, or would be, of frames that name one; never one that merely has a photo's name."""
    names = [name for name in listed if isinstance(name, str)]
    found = iter(PhotoNames(root, root, bare_in=()).find(names))
    return [next(found) if isinstance(name, str) else None for name in listed]


def _listed_splits(photos: PhotoNames, content: Entry, paths: list[Path]) -> list[str | None]:
    """The split of each frame. The test list wins over the training list, which wins over the validation list."""
    if "train_filenames" not in content and "test_filenames" not in content:
        return [None] * len(paths)
    train = _listed_photos(photos, content, "train_filenames")
    validation = (_listed_photos(photos, content, "val_filenames") or set()) - (train or set())
    test = _listed_photos(photos, content, "test_filenames") or validation
    return ["test" if path in test else "train" if train is None or path in train else None for path in paths]


def _listed_photos(photos: PhotoNames, content: Entry, key: str) -> set[Path] | None:
    listed = content.get(key)
    if listed is not None and not isinstance(listed, list):
        raise SceneError(f"{key}: expected a list of photos, got {listed!r}; correct the transforms file.")
    return None if listed is None else set(photos.find([_listed_photo(name, str(name)) for name in listed]))


def _to_frame(entry: Entry, path: Path, mask_path: Path | None, split: Literal["train", "test"] | None) -> Frame:
    label = entry["label"]
    distortion, wide_lens = _lens(entry)
    sized = "w" in entry and "h" in entry
    width, height = (_number(entry, "w"), _number(entry, "h")) if sized else image_size(path, label)
    return Frame(
        label=label,
        path=path,
        T_world_camera=_pose(entry),
        focal=_focal_lengths(entry, width, height),
        principal=(_number(entry, "cx", width / 2), _number(entry, "cy", height / 2)),
        width=width,
        height=height,
        distortion=distortion,  # pyright: ignore[reportArgumentType]
        mask_path=mask_path,
        split=split,
        wide_lens=wide_lens,
    )


def _lens(entry: Entry) -> tuple[tuple[float, ...], WideLens | None]:
    """Distortion, and the lens where that does not describe it: nerfstudio's and instant-ngp's fisheyes, and OpenCV's
    rational model. A k4 means something else in each, and nothing in a perspective lens without its own model."""
    label, model = entry["label"], entry.get("camera_model")
    k1, k2, p1, p2, k3, k4, k5, k6 = (_number(entry, key, 0.0) for key in RationalLens.names)
    if model in FISHEYE_MODELS or entry.get("is_fisheye"):
        if p1 or p2:
            raise SceneError(
                f"{label}: expected a fisheye lens of k1, k2, k3, k4 (OpenCV's), got p1 = {p1:g}, p2 = {p2:g} besides; "
                "undistort the photos first in the program that calibrated it."
            )
        return NO_DISTORTION, FisheyeLens((k1, k2, k3, k4))
    if model == "FULL_OPENCV" and (k4 or k5 or k6):
        return NO_DISTORTION, RationalLens((k1, k2, p1, p2, k3, k4, k5, k6))
    if model not in (*PERSPECTIVE_MODELS, "FULL_OPENCV"):
        raise SceneError(
            f"{label}: expected a perspective or fisheye lens as camera_model (OPENCV, OPENCV_FISHEYE, FULL_OPENCV and "
            f"their simpler forms), got {model}; undistort the photos first."
        )
    if k4 or k5 or k6:
        got = ", ".join(f"{name} = {value:g}" for name, value in (("k4", k4), ("k5", k5), ("k6", k6)) if value)
        raise SceneError(
            f"{label}: expected a perspective lens of k1, k2, p1, p2, k3, got one with {got} besides; export "
            "undistorted photos, or calibrate the lens without it (if it is a fisheye, its camera_model is "
            "OPENCV_FISHEYE; if OpenCV's rational model, FULL_OPENCV)."
        )
    return (k1, k2, p1, p2, k3), None


def _focal_lengths(entry: Entry, width: float, height: float) -> tuple[float, float]:
    """Focal lengths in pixels from fl_x and fl_y, else from the fields of view; one of two is enough."""
    given = [_number(entry, key) for key in ("fl_x", "fl_y") if key in entry]
    for key, size in (("camera_angle_x", width), ("camera_angle_y", height)):
        if key in entry and "fl_x" not in entry:
            angle = _number(entry, key)
            if not 0 < angle < math.pi:
                raise SceneError(
                    f"{entry['label']}: expected {key} between 0 and pi radians, got {angle:g}; correct it."
                )
            given.append(size / 2 / math.tan(angle / 2))
    if not given:
        raise SceneError(
            f"{entry['label']}: expected fl_x or camera_angle_x, found neither; add it to the transforms file."
        )
    return given[0], given[-1]


def _number(entry: Entry, key: str, default: float | None = None) -> float:
    return number(entry, key, entry["label"], default)


def _pose(entry: Entry) -> np.ndarray:
    try:
        matrix = np.array(entry.get("transform_matrix"), dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape not in {(3, 4), (4, 4)}:
        raise SceneError(
            f"{entry['label']}: expected transform_matrix as 4 rows of 4 numbers, got something else; "
            "correct it or remove the frame."
        )
    return matrix @ OPENCV_FROM_OPENGL


def png_names(names: tuple[str, ...]) -> list[str]:
    """Names with the extension .png, the old one kept in front of it where that would make two of them equal."""
    stems = [PurePosixPath(name).with_suffix("").as_posix() for name in names]
    return [f"{stem}.png" for stem in distinct(stems if len(set(stems)) == len(names) else names)]


def _camera_entries(cameras: Cameras, origin: Tensor) -> tuple[Entry, list[Entry]]:
    """Values for the top level and for each frame; lenses go to the top level if they are all one."""
    keys = ("fl_x", "fl_y", "cx", "cy", *DISTORTION)
    rows = torch.cat([cameras.focal, cameras.principal, cameras.distortion], 1).tolist()
    lenses = [dict(zip(keys, row, strict=True)) for row in rows]
    shared: Entry = {"camera_model": "OPENCV", "w": cameras.width, "h": cameras.height}
    T_world_camera = cameras.T_world_camera.double().cpu().numpy()
    T_world_camera[:, :, 3] += origin.numpy()
    poses = [np.concatenate([T, [[0, 0, 0, 1]]]) @ OPENCV_FROM_OPENGL for T in T_world_camera]
    matrices = [{"transform_matrix": pose.tolist()} for pose in poses]
    if all(lens == lenses[0] for lens in lenses):
        return shared | lenses[0], matrices
    return shared, [lens | matrix for lens, matrix in zip(lenses, matrices, strict=True)]
