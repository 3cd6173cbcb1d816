"""What a reader finds in a scene folder before any pixel is decoded, and the checks that all formats share."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.geometry.lenses import has_inverse
from unscene.scenes.image_formats import images_below
from unscene.scenes.scene import NO_ORIGIN, SceneError
from unscene.scenes.wide_lenses import WideLens

ROTATION_TOLERANCE = 1e-2  # largest entry of R^T R - I that still counts as drift of a rotation
ASPECT_TOLERANCE = 2.0  # pixels; covers the rounding of down-scaled photos and masks
LENS_TOLERANCE = 0.01  # pixels by which a ray may miss its own pixel
LENS_GRID = 21  # positions each way over a photo at which its lens must have an inverse
LENSES_AT_ONCE = 64  # that are examined
LARGEST_NUMBER = 1e15  # of a camera, in any unit: its square is still a float32
SHORTEST_FOCAL = 1e-3  # pixels; its inverse square is, too
LONGEST_NAME = 120  # characters of it in a message
OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # camera axes; the world stays as it is


class NoPhotosError(SceneError):
    """Poses that are known, of photos none of which is there."""


@dataclass(frozen=True)
class Frame:
    """One posed photo as its file lists it.

    label: how messages call it, the path within the scene folder. T_world_camera: 3 4, OpenCV axes. focal, principal:
    in pixels of a width x height image, which may differ from the photo at hand. distortion: k1, k2, p1, p2, k3.
    mask_path: nerfstudio mask, black = ignored. split: where the files themselves place the view, if they do.
    wide_lens: a lens of another model, in place of distortion.
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
    wide_lens: WideLens | None = None


@dataclass(frozen=True)
class Capture:
    """All frames of a scene folder, in view order, with sparse structure (points: P 3 float64, point_colors: P 3 uint8)
    in the world's own coordinates."""

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
    if not resolved.is_relative_to(root) and not _inside_linked_folder(root, listed, resolved):
        raise SceneError(
            f"{label}: expected a path inside the scene folder, got one that leads out of it to {resolved}; "
            "copy the file into the scene folder and correct the path."
        )
    # A link within the folder keeps its own name, which masks are matched by.
    return listed if listed.is_relative_to(root) else resolved


def is_linked_folder(root: Path, path: Path) -> bool:
    """Whether ``path`` is the scene's images/ or images_K/ and a link to a folder elsewhere, as on another disk."""
    linked = re.fullmatch(r"images(_[0-9.]+)?", path.name) and path.parent == root and path.is_symlink()
    return bool(linked) and path.is_dir() and not path.resolve().is_relative_to(root.resolve())


def link_notes(root: Path, paths: Sequence[Path]) -> tuple[str, ...]:
    """Notes on the linked folders that ``paths`` lie in."""
    root = root.resolve()
    tops = dict.fromkeys(root / path.relative_to(root).parts[0] for path in paths if path.is_relative_to(root))
    return tuple(f"{top.name} is a link to {top.resolve()}" for top in tops if is_linked_folder(root, top))


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
        raise NoPhotosError(
            f"{source}: expected the photos of {len(paths)} frames in {root}, found none of them "
            f"(the first is {scene_path(root, paths[0])}); {_what_is_there(root)}."
        )
    first = {path: i for i, path in reversed(list(enumerate(paths)))}
    repeated = [i for i, path in enumerate(paths) if first[path] != i and i not in set(missing)]
    notes = []
    if missing:
        names = listing([scene_path(root, paths[i]) for i in missing])
        notes.append(f"{len(missing)} of {len(paths)} frames have no image file and are skipped: {names}")
    if repeated:
        names = listing([scene_path(root, paths[i]) for i in repeated])
        notes.append(f"{len(repeated)} of {len(paths)} frames repeat an earlier photo and are skipped: {names}")
    skipped = {*missing, *repeated}
    return [i for i in range(len(paths)) if i not in skipped], tuple(notes)


def build_cameras(frames: Sequence[Frame], width: int, height: int, origin: Tensor = NO_ORIGIN) -> Cameras:
    """Cameras of ``frames`` with images of width x height, whatever resolution their intrinsics are given for.

    origin: 3 float64, what positions are relative to. Wide lenses must have become pinholes (`to_pinhole`). Raises
    SceneError for a lens without inverse inside its photo.
    """
    rows = []
    for frame in frames:
        assert frame.wide_lens is None
        check_intrinsics(frame)
        sx, sy = width / frame.width, height / frame.height
        (fx, fy), (cx, cy) = frame.focal, frame.principal
        rows.append([fx * sx, fy * sy, cx * sx, cy * sy, *frame.distortion])
    lens = torch.tensor(rows, dtype=torch.float64)
    _check_lenses(frames, lens, width, height)
    lens = lens.float()
    poses = np.stack([rigid_pose(frame.T_world_camera, frame.label) for frame in frames])
    poses[:, :, 3] -= origin.numpy()
    T_world_camera = torch.from_numpy(poses).float()
    return Cameras(T_world_camera, lens[:, :2].clone(), lens[:, 2:4].clone(), lens[:, 4:].clone(), width, height)


def folding_lens(label: str, values: Mapping[str, float], others: int = 0) -> SceneError:
    """The error for a lens whose distortion cannot be undone."""
    got = ", ".join(f"{name} = {value:g}" for name, value in values.items() if value or name in ("k1", "k2"))
    more = f" (and {others} other frames)" if others else ""
    return SceneError(
        f"{label}{more}: expected a lens whose distortion can be undone all over the photo, but this one folds back "
        f"inside it: {got}; calibrate it again with fewer parameters, or undistort the photos first."
    )


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


def _inside_linked_folder(root: Path, listed: Path, resolved: Path) -> bool:
    """Whether a path below the scene's linked images/ stays in the folder that this leads to."""
    if not listed.is_relative_to(root) or listed == root:
        return False
    top = root / listed.relative_to(root).parts[0]
    return is_linked_folder(root, top) and resolved.is_relative_to(top.resolve())


def _what_is_there(root: Path) -> str:
    """What to do about photos that are not where they are said to be, from the images that are."""
    folders = defaultdict[str, list[str]](list)
    for file in images_below(root):
        folders[f"{file.parent.relative_to(root).as_posix()}/"].append(file.name)
    if not folders:
        return "put the photos there"
    most = sorted(folders, key=lambda folder: -len(folders[folder]))
    there = [f"{len(folders[folder])} in {folder} ({listing(folders[folder])})" for folder in most]
    return f"the images there are {listing(there)}; put the photos there under the listed names"


def check_intrinsics(frame: Frame) -> None:
    """Raises SceneError for numbers that no camera has."""
    wide = frame.wide_lens.coefficients if frame.wide_lens else ()
    lens = (*frame.focal, *frame.principal, *frame.distortion, *wide, frame.width, frame.height)
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


def _check_lenses(frames: Sequence[Frame], lenses: Tensor, width: int, height: int) -> None:
    """A SceneError if a lens (N 9 float64: focal lengths, principal point, distortion) has no inverse somewhere in its
    photo. Equal lenses are examined once."""
    different, which = lenses.unique(dim=0, return_inverse=True)
    share = torch.linspace(0, 1, LENS_GRID, dtype=torch.float64)
    xy = torch.cartesian_prod(share * width, share * height)
    inverts = torch.cat([_inverts(part, xy) for part in different.split(LENSES_AT_ONCE)])
    folding = (~inverts[which]).nonzero()[:, 0].tolist()
    if folding:
        first = frames[folding[0]]
        values: dict[str, float] = dict(zip(("k1", "k2", "p1", "p2", "k3"), first.distortion, strict=True))
        raise folding_lens(first.label, values, len(folding) - 1)


def _inverts(lenses: Tensor, xy: Tensor) -> Tensor:
    """Whether each of the lenses N 9 has an inverse at all pixel positions P 2, N bool."""
    focal, principal, distortion = (part[:, None].expand(-1, len(xy), -1) for part in lenses.split([2, 2, 5], 1))
    plane, tolerance = (xy - principal) / focal, LENS_TOLERANCE / focal.amax(-1)
    found = has_inverse(plane.flatten(0, 1), distortion.flatten(0, 1), tolerance.flatten())
    return found.reshape(len(lenses), len(xy)).all(1) | ~lenses[:, 4:].any(1)
