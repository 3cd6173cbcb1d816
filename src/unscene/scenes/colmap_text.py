"""Text COLMAP models as people and scripts write them: without point lines or points3D.txt, with spaces in names.

pycolmap takes every second line of images.txt for points, whatever it says, and a name to end at its first space.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from unscene.scenes.colmap_model import ColmapCamera, ColmapImage, ColmapModel
from unscene.scenes.scene import SceneError

PARAMETERS = {  # how many a camera has
    "SIMPLE_PINHOLE": 3, "PINHOLE": 4, "SIMPLE_RADIAL": 4, "RADIAL": 5, "OPENCV": 8, "OPENCV_FISHEYE": 8,
    "FULL_OPENCV": 12, "FOV": 5, "SIMPLE_RADIAL_FISHEYE": 4, "RADIAL_FISHEYE": 5, "THIN_PRISM_FISHEYE": 12,
    "SIMPLE_FISHEYE": 3, "FISHEYE": 4,
}  # fmt: skip
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text_model(folder: Path, label: str) -> ColmapModel:
    """The model of cameras.txt, images.txt and, where it is there, points3D.txt.

    Raises SceneError, which names file and line, for lines that mean nothing and images of cameras that are not there.
    """
    cameras = _read_cameras(folder / "cameras.txt", label)
    images = tuple(_read_images(folder / "images.txt", label, cameras))
    points = list(_read_points(folder / "points3D.txt", label)) if (folder / "points3D.txt").is_file() else []
    values = np.array(points, np.float64).reshape(-1, 6)
    return ColmapModel(images, values[:, :3], values[:, 3:].clip(0, 255).astype(np.uint8))


def count_text_images(folder: Path) -> int:
    """How many photos images.txt registers; 0 if it is no such file."""
    try:
        return sum(not _are_points(line.split()) for _, line in _lines(folder / "images.txt", ""))
    except SceneError:
        return 0


def _read_cameras(file: Path, label: str) -> dict[int, ColmapCamera]:
    """Lines of CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]."""
    cameras = {}
    for number, line in _lines(file, label):
        try:
            camera_id, model, width, height, *params = line.split()
            camera = ColmapCamera(model, float(width), float(height), tuple(map(float, params)))
            if len(params) != PARAMETERS.get(model, len(params)):
                raise ValueError
            cameras[int(camera_id)] = camera
        except ValueError as error:
            expected = "CAMERA_ID MODEL WIDTH HEIGHT and the model's parameters"
            raise _wrong_line(f"{label}/{file.name}", number, expected, line) from error
    return cameras


def _read_images(file: Path, label: str, cameras: dict[int, ColmapCamera]) -> Iterator[ColmapImage]:
    """Lines of IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, each with or without a line of points or an empty one."""
    points_may_follow = False
    for number, line in _lines(file, label):
        if points_may_follow and _are_points(line.split()):
            points_may_follow = False
            continue
        try:
            _, *pose, camera_id, name = line.split(maxsplit=9)
            qw, qx, qy, qz, *translation = map(float, pose)
            camera = cameras.get(int(camera_id))
        except ValueError as error:
            expected = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
            raise _wrong_line(f"{label}/{file.name}", number, expected, line) from error
        if camera is None:
            expected = f"a camera of cameras.txt for {name.strip()}"
            raise _wrong_line(f"{label}/{file.name}", number, expected, f"CAMERA_ID {camera_id}")
        yield ColmapImage(name.strip(), camera, _T_world_camera(np.array([qx, qy, qz, qw]), np.array(translation)))
        points_may_follow = True


def _read_points(file: Path, label: str) -> Iterator[list[float]]:
    """X Y Z R G B of lines of POINT3D_ID X Y Z R G B ERROR TRACK[]."""
    for number, line in _lines(file, label):
        try:
            _, *values = map(float, line.split(maxsplit=7)[:7])
            if len(values) != 6:
                raise ValueError
        except ValueError as error:
            expected = "POINT3D_ID X Y Z R G B ERROR TRACK[]"
            raise _wrong_line(f"{label}/{file.name}", number, expected, line) from error
        yield values


def _are_points(words: list[str]) -> bool:
    """Whether a line of images.txt holds X Y POINT3D_ID[], the ids whole numbers, which a quaternion's third is not."""
    try:
        return len(words) % 3 == 0 and [*map(int, words[2::3])] != [] and np.array(words, np.float64).size > 0
    except ValueError:
        return False


def _T_world_camera(quaternion: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """3 4 of the inverse pose that COLMAP writes, quaternion x, y, z, w; NaN, which is refused later, if it is none."""
    length = np.linalg.norm(quaternion)
    if not 0 < length < np.inf:
        return np.full((3, 4), np.nan)
    rotation = Rotation.from_quat(quaternion / length).as_matrix().T
    return np.concatenate([rotation, -rotation @ translation[:, None]], 1)


def _lines(file: Path, label: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, without comments and empty ones, whatever ends them and however the file begins."""
    content = file.read_bytes()
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise SceneError(f"{label}/{file.name}: expected text in UTF-8, got other bytes; save it as UTF-8.") from error
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def _wrong_line(file: str, number: int, expected: str, got: str) -> SceneError:
    got = got.strip()
    return SceneError(
        f"{file}, line {number}: expected {expected}, got {got[:80] + '...' if len(got) > 80 else got}; correct it or "
        "export the model again."
    )
