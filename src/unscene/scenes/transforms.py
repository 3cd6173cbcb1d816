"""``transforms.json``: nerfstudio and instant-ngp captures, Blender's synthetic scenes, and camera paths."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import torch

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
from unscene.scenes.image_files import DECODING_THREADS, find_image, image_size
from unscene.scenes.json_files import number, read_json
from unscene.scenes.scene import Scene, SceneError

DISTORTION = ("k1", "k2", "p1", "p2", "k3")
PERSPECTIVE_MODELS = (None, "PERSPECTIVE", "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")

Entry = dict[str, Any]


def read_transforms(root: Path, file: Path) -> Capture:
    """Frames of one transforms.json, with the split that its ``train_filenames`` and ``test_filenames`` may give."""
    content, entries = _read_entries(file)
    return _to_capture(root, entries, _listed_splits(root, content, entries), file.name)


def read_blender(root: Path) -> Capture:
    """Frames of transforms_train.json for training and of transforms_test.json (else _val.json) for testing."""
    held_out = next((name for name in ("test", "val") if (root / f"transforms_{name}.json").is_file()), None)
    entries, splits = [], []
    for name in ("train", held_out):
        if name:
            _, listed = _read_entries(root / f"transforms_{name}.json")
            entries += listed
            splits += ["train" if name == "train" else "test"] * len(listed)
    return _to_capture(root, entries, splits, "transforms_train.json")


def read_cameras(path: Path | str) -> Cameras:
    """Cameras of a transforms.json (or of the folder with one) whose frames need no images, in frame order.

    Raises SceneError if sizes are missing or differ, and for everything that is wrong with a pose or a lens.
    """
    file = Path(path) / "transforms.json" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise SceneError(f"{file}: expected a transforms.json with cameras, found no such file; check the path.")
    _, entries = _read_entries(file)
    if not all("w" in entry and "h" in entry for entry in entries):
        raise SceneError(f"{file.name}: expected the image size as w and h, found none; add it at the top level.")
    sizes = {(_number(entry, "w"), _number(entry, "h")) for entry in entries}
    if len(sizes) > 1:
        got = listing([size_text(size) for size in sorted(sizes)])
        raise SceneError(f"{file.name}: expected one image size for all frames, got {got}; make them equal.")
    frames = [_to_frame(entry, Path(), None, None) for entry in entries]
    return build_cameras(frames, int(frames[0].width), int(frames[0].height))


def write_transforms(folder: Path | str, scene: Scene) -> Path:
    """Write ``scene`` as ``images/*.png`` and ``transforms.json``, loadable by `load_scene` and nerfstudio.

    The split is kept as file lists; masks, if the scene has them, go to ``keep_masks/`` in nerfstudio's sense (black =
    ignored). Each file appears under its name only when complete, transforms.json last. Returns its path.
    """
    folder = Path(folder)
    files = [f"images/{name}" for name in _png_names(scene.names)]
    masks = [f"keep_masks/{name}" for name in _png_names(scene.names)] if scene.masks is not None else None

    def write_view(view: int) -> None:
        write_png(folder / files[view], scene.images[view].cpu().numpy())
        if masks and scene.masks is not None:
            write_png(folder / masks[view], np.where(scene.masks[view].cpu().numpy(), 0, 255).astype(np.uint8))

    with ThreadPoolExecutor(DECODING_THREADS) as threads:
        list(threads.map(write_view, range(len(scene))))
    write_frames(folder / "transforms.json", scene, files, masks)
    return folder / "transforms.json"


def write_frames(file: Path, scene: Scene, files: list[str], masks: list[str] | None = None) -> None:
    """Write a transforms.json that names ``files`` as the scene's images, whether they exist or not."""
    content, cameras = _camera_entries(scene.cameras)
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


def _to_capture(root: Path, entries: list[Entry], splits: list[Any], source: str) -> Capture:
    paths = [_photo_path(root, entry.get("file_path"), entry["label"]) for entry in entries]
    kept, notes = usable_files(root, paths, source)
    frames = []
    for i in kept:
        listed = entries[i].get("mask_path")
        mask = inside(root, Path(listed), listed) if isinstance(listed, str) else None
        frames.append(_to_frame(entries[i], paths[i], mask, splits[i]))
    return Capture(tuple(frames), notes)


def _photo_path(root: Path, listed: object, label: str) -> Path:
    if not isinstance(listed, str) or not listed:
        raise SceneError(f"{label}: expected the photo's path as file_path, got {listed!r}; add it to the frame.")
    # Checked before and after the search for the extension, as either may be a link.
    return inside(root, find_image(inside(root, Path(listed), listed)), listed)


def _listed_splits(root: Path, content: Entry, entries: list[Entry]) -> list[str | None]:
    """The split of each frame. The test list wins over the training list, which wins over the validation list."""
    if "train_filenames" not in content and "test_filenames" not in content:
        return [None] * len(entries)
    train = _listed_photos(root, content, "train_filenames")
    validation = (_listed_photos(root, content, "val_filenames") or set()) - (train or set())
    test = _listed_photos(root, content, "test_filenames") or validation
    paths = [_photo_path(root, entry.get("file_path"), entry["label"]) for entry in entries]
    return ["test" if path in test else "train" if train is None or path in train else None for path in paths]


def _listed_photos(root: Path, content: Entry, key: str) -> set[Path] | None:
    listed = content.get(key)
    if listed is not None and not isinstance(listed, list):
        raise SceneError(f"{key}: expected a list of photos, got {listed!r}; correct the transforms file.")
    return None if listed is None else {_photo_path(root, name, str(name)) for name in listed}


def _to_frame(entry: Entry, path: Path, mask_path: Path | None, split: Literal["train", "test"] | None) -> Frame:
    label, model = entry["label"], entry.get("camera_model")
    if model not in PERSPECTIVE_MODELS or entry.get("is_fisheye") or entry.get("k4"):
        raise SceneError(
            f"{label}: expected a perspective camera with k1, k2, p1, p2, k3, got {model or 'a fisheye lens'}; "
            "undistort the photos first (colmap image_undistorter)."
        )
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
        distortion=tuple(_number(entry, key, 0.0) for key in DISTORTION),  # pyright: ignore[reportArgumentType]
        mask_path=mask_path,
        split=split,
    )


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


def _png_names(names: tuple[str, ...]) -> list[str]:
    """Names with the extension .png, the old one kept in front of it where that would make two of them equal."""
    stems = [PurePosixPath(name).with_suffix("").as_posix() for name in names]
    return [f"{stem}.png" for stem in distinct(stems if len(set(stems)) == len(names) else names)]


def _camera_entries(cameras: Cameras) -> tuple[Entry, list[Entry]]:
    """Values for the top level and for each frame; lenses go to the top level if they are all one."""
    keys = ("fl_x", "fl_y", "cx", "cy", *DISTORTION)
    rows = torch.cat([cameras.focal, cameras.principal, cameras.distortion], 1).tolist()
    lenses = [dict(zip(keys, row, strict=True)) for row in rows]
    shared: Entry = {"camera_model": "OPENCV", "w": cameras.width, "h": cameras.height}
    poses = [
        np.concatenate([T, [[0, 0, 0, 1]]]) @ OPENCV_FROM_OPENGL for T in cameras.T_world_camera.double().cpu().numpy()
    ]
    matrices = [{"transform_matrix": pose.tolist()} for pose in poses]
    if all(lens == lenses[0] for lens in lenses):
        return shared | lenses[0], matrices
    return shared, [lens | matrix for lens, matrix in zip(lenses, matrices, strict=True)]
