"""COLMAP's database of a capture: cameras, photos, features and matches, which is also what a killed run goes on from.

Whatever is in it is complete: SQLite undoes a transaction that a kill cut short.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pycolmap

from unscene.capture.photos import Photo
from unscene.files import atomic_write

pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value  # what goes wrong is raised, or said in our own words

FEWEST_INLIERS = 15  # matches that a geometry has to explain, as COLMAP counts it

Pair = tuple[int, int]
LensKind = Literal["perspective", "fisheye"]

_MODELS = {"perspective": pycolmap.CameraModelId.RADIAL, "fisheye": pycolmap.CameraModelId.OPENCV_FISHEYE}


def working_name(view: int) -> str:
    """What COLMAP calls the photo of a view: any name of a user's would have to survive its text files."""
    return f"{view:05}.png"


def view_of(name: str) -> int:
    """The view that a working name stands for."""
    return int(name.removesuffix(".png"))


def create_database(path: Path, photos: Sequence[Photo], sizes: Sequence[tuple[int, int]], kind: LensKind) -> None:
    """A database with a camera for each lens and no features yet; one that is there stays as it is.

    sizes: (width, height) that COLMAP sees of each photo. kind: how lenses distort.
    """
    if path.is_file():
        return
    with atomic_write(path) as temporary, contextlib.closing(pycolmap.Database.open(temporary)) as database:
        rigs: dict[object, tuple[int, int]] = {}
        for view, (photo, (width, height)) in enumerate(zip(photos, sizes, strict=True)):
            lens = (photo.lens, width, height)
            if lens not in rigs:
                focal = photo.lens.first_focal * max(width, height)
                camera = pycolmap.Camera.create_from_model_id(1, _MODELS[kind], focal, width, height)
                camera.has_prior_focal_length = photo.lens.focal is not None
                camera.camera_id = database.write_camera(camera)
                rig = pycolmap.Rig()
                rig.add_ref_sensor(camera.sensor_id)
                rigs[lens] = camera.camera_id, database.write_rig(rig)
            camera_id, rig_id = rigs[lens]
            image = pycolmap.Image(name=working_name(view), camera_id=camera_id)
            image.image_id = database.write_image(image)
            frame = pycolmap.Frame()
            frame.rig_id = rig_id
            frame.add_data_id(image.data_id)
            database.write_frame(frame)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[pycolmap.Database]:
    """The database, closed at the end of the block."""
    with contextlib.closing(pycolmap.Database.open(path)) as database:
        yield database


def image_ids(database: pycolmap.Database) -> dict[int, int]:
    """COLMAP's number of each view."""
    return {view_of(image.name): image.image_id for image in database.read_all_images()}


def feature_counts(path: Path) -> dict[int, int]:
    """Features of each view; none for those without."""
    with opened(path) as database:
        return {view: database.num_keypoints_for_image(image) for view, image in image_ids(database).items()}


def verified_pairs(path: Path) -> dict[Pair, pycolmap.TwoViewGeometry]:
    """The geometry of each pair of views, the smaller first, that show the same things."""
    with opened(path) as database:
        views = {image: view for view, image in image_ids(database).items()}
        ids, geometries = database.read_two_view_geometries()
    found = {}
    for pair_id, geometry in zip(ids, geometries, strict=True):
        if len(geometry.inlier_matches) < FEWEST_INLIERS:
            continue
        first, second = sorted(views[image] for image in pycolmap.pair_id_to_image_pair(pair_id))
        found[first, second] = geometry
    return found


def matched_points(path: Path, pairs: Mapping[Pair, pycolmap.TwoViewGeometry]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Where in both photos of each pair the same things are, M 2 each, in pixels of the size features were found at."""
    with opened(path) as database:
        ids = image_ids(database)
        points = {
            view: database.read_keypoints(ids[view])[:, :2].astype(float) for view in {v for p in pairs for v in p}
        }
    found = []
    for (first, second), geometry in pairs.items():
        # COLMAP's own order is that of its numbers, which follow the views
        matches = geometry.inlier_matches
        found.append((points[first][matches[:, 0]], points[second][matches[:, 1]]))
    return found


def compared_pairs(path: Path) -> set[Pair]:
    """All pairs of views, the smaller first, that were matched and verified, whether anything was found or not."""
    with opened(path) as database:
        views = {image: view for view, image in image_ids(database).items()}
        ids, _ = database.read_two_view_geometry_num_inliers()
        pairs = [pycolmap.pair_id_to_image_pair(pair_id) for pair_id in ids]
    return {(min(views[a], views[b]), max(views[a], views[b])) for a, b in pairs}
