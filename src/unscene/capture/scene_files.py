"""The scene that a capture leaves: undistorted photos, a COLMAP model, transforms.json and coloured points."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pycolmap

from unscene.capture.mapping import registered_views
from unscene.capture.photos import Photo
from unscene.capture.undistortion import Pinhole
from unscene.file_names import distinct
from unscene.files import atomic_write, read_pixels, write_bytes, write_json
from unscene.scenes.capture import OPENCV_FROM_OPENGL
from unscene.training.events import ItemDone, Watch

STAGE = "undistorted photos"
JPEG_QUALITY = 95
POINTS = "sparse_pc.ply"  # nerfstudio's name for it
PARTS = ("images", "sparse", POINTS, "transforms.json")  # in the order in which they appear
THREADS = 2  # each holds a photo in full size


def write_scene(
    folder: Path, model: pycolmap.Reconstruction, photos: Sequence[Photo], pinholes: Mapping[int, Pinhole], watch: Watch
) -> list[str]:
    """Write the photos of a model and their cameras; returns the files' names below images/, by view.

    pinholes: of each of the model's cameras. Photos that are there are kept. The model becomes that of the new photos:
    its cameras, observations, names and the colours of its points change.
    """
    views = registered_views(model)
    names = scene_names([photos[view].name for view in views])
    colors = _PointColors(model)

    def undistorted(view: int, name: str) -> np.ndarray:
        file = folder / "images" / name
        pixels = read_pixels(file) if file.is_file() else None
        if pixels is None:
            pixels = pinholes[views[view].camera_id].photo(photos[view].read())[..., ::-1]
            encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            write_bytes(file, encoded.tobytes())
        return pixels

    with ThreadPoolExecutor(THREADS) as threads:
        waiting = list(zip(views, names, strict=True))
        for start in range(0, len(waiting), THREADS):  # a few at once: photos are large
            part = waiting[start : start + THREADS]
            for (view, name), pixels in zip(part, threads.map(lambda job: undistorted(*job), part), strict=True):
                _move_observations(views[view], pinholes[views[view].camera_id])
                colors.look(views[view], pixels)
                views[view].name = name
            watch(ItemDone(STAGE, start + len(part), len(waiting)))
    colors.keep()
    for number, pinhole in pinholes.items():
        camera = model.cameras[number]
        camera.model = pycolmap.CameraModelId.PINHOLE
        camera.params = [*pinhole.focal, *pinhole.principal]
        camera.width, camera.height = pinhole.size
    with atomic_write(folder / "sparse" / "0") as sparse:
        sparse.mkdir()
        model.write(sparse)
    with atomic_write(folder / POINTS) as points:
        model.export_PLY(points)
    write_json(folder / "transforms.json", _transforms(list(views.values()), pinholes))
    return names


def scene_names(photos: Sequence[str]) -> list[str]:
    """What photos are called below the scene's images/: as before, as JPEG, and distinct."""
    stems = [PurePosixPath(name).with_suffix("").as_posix() for name in photos]
    return [f"{stem}.jpg" for stem in distinct(stems)]


def publish(staged: Path, folder: Path) -> None:
    """Move a complete scene into ``folder``, in place of one that is there; transforms.json comes last."""
    (folder / "transforms.json").unlink(missing_ok=True)
    for part in PARTS:
        if not (staged / part).exists():
            continue  # moved before a kill
        if (folder / part).is_dir():
            shutil.rmtree(folder / part)
        (staged / part).replace(folder / part)
    shutil.rmtree(staged)


def _move_observations(image: pycolmap.Image, pinhole: Pinhole) -> None:
    """Give a photo's features the places where the pinhole camera sees them."""
    points = image.points2D
    moved = pinhole.points(np.array([point.xy for point in points]).reshape(-1, 2))
    for point, xy in zip(points, moved, strict=True):
        point.xy = xy


class _PointColors:
    """Colours of sparse points: the mean of what all photos show of them."""

    def __init__(self, model: pycolmap.Reconstruction):
        self._points = model.points3D
        self._sums = {number: np.zeros(4) for number in self._points}  # R, G, B and how often

    def look(self, image: pycolmap.Image, pixels: np.ndarray) -> None:
        """Add what a photo, h w 3 BGR uint8, shows."""
        height, width = pixels.shape[:2]
        for point in image.points2D:
            column, row = np.floor(point.xy).astype(int)
            if point.has_point3D() and 0 <= column < width and 0 <= row < height:
                self._sums[point.point3D_id] += (*pixels[row, column, ::-1].tolist(), 1)

    def keep(self) -> None:
        """Give the points their colours."""
        for number, total in self._sums.items():
            if total[3]:
                self._points[number].color = (total[:3] / total[3]).round().astype(np.uint8)


def _transforms(images: Sequence[pycolmap.Image], pinholes: Mapping[int, Pinhole]) -> dict[str, object]:
    """nerfstudio's file of the same cameras, in the same world."""
    frames: list[dict[str, object]] = []
    for image in images:
        (fx, fy), (cx, cy) = pinholes[image.camera_id].focal, pinholes[image.camera_id].principal
        pose = np.concatenate([np.asarray(image.cam_from_world().inverse().matrix()), [[0, 0, 0, 1]]])
        lens = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy}
        frames.append(
            {"file_path": f"images/{image.name}", **lens, "transform_matrix": (pose @ OPENCV_FROM_OPENGL).tolist()}
        )
    width, height = pinholes[images[0].camera_id].size
    return {"camera_model": "OPENCV", "w": width, "h": height, "ply_file_path": POINTS, "frames": frames}
