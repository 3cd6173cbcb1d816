"""Poses and sparse points from matches: incremental structure from motion (Schoenberger and Frahm 2016)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypeAlias

import pycolmap

from unscene.capture.database import view_of
from unscene.files import atomic_write
from unscene.training.events import ItemDone, Watch

STAGE = "poses"
Model: TypeAlias = pycolmap.Reconstruction
SMALLEST_MODEL, FEWEST_POINTS = 3, 30  # photos and points: less is no scene, but what chance has matched


def map_photos(database: Path, photos: int, *, seed: int, watch: Watch) -> list[Model]:
    """All models that the photos fall into, the one of most photos first; none if not two photos could be placed.

    They are kept beside the database, in ``models/``; a run that has them does not map again.
    """
    kept = database.with_name("models")
    if not kept.is_dir():
        with atomic_write(kept) as folder:
            folder.mkdir()
            _map(database, folder, photos, seed, watch)
    models = [pycolmap.Reconstruction(folder) for folder in sorted(kept.iterdir())]
    models = [model for model in models if model.num_points3D() >= FEWEST_POINTS]
    return sorted(models, key=lambda model: (-model.num_reg_images(), -model.num_points3D()))


def registered_views(model: Model) -> dict[int, pycolmap.Image]:
    """The photos that have a pose, by view."""
    return {view_of(model.image(number).name): model.image(number) for number in sorted(model.reg_image_ids())}


def parallax(model: Model) -> float:
    """Degrees between the rays to a point from the two of its cameras farthest apart, in the median over the points."""
    centres = {number: model.image(number).projection_center() for number in model.reg_image_ids()}
    angles = []
    for point in model.points3D.values():
        rays = [point.xyz - centres[element.image_id] for element in point.track.elements]
        first = rays[0]
        angles.append(max((_angle(first, ray) for ray in rays[1:]), default=0.0))
    return sorted(angles)[len(angles) // 2] if angles else 0.0


def model_figures(model: Model) -> dict[str, float | str]:
    """What a model consists of and how well it fits its photos, for a table."""
    observations = sum(model.image(number).num_points3D for number in model.reg_image_ids())
    return {
        "photos": model.num_reg_images(),
        "points": model.num_points3D(),
        "points seen by a photo (mean)": round(observations / model.num_reg_images()),
        "photos that see a point (mean)": round(model.compute_mean_track_length(), 1),
        "parallax (degrees, median)": round(parallax(model), 1),
        "reprojection error (pixels)": round(model.compute_mean_reprojection_error(), 2),
    }


def _map(database: Path, folder: Path, photos: int, seed: int, watch: Watch) -> None:
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1  # more are not faster here, and which pair comes first then depends on who is done first
    options.min_model_size = SMALLEST_MODEL
    options.extract_colors = False  # they come from the photos in full size
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = seed
    pycolmap.set_random_seed(seed)
    placed = 0

    def count() -> None:
        nonlocal placed
        placed += 1 if placed else 2  # the first two are placed at once
        watch(ItemDone(STAGE, min(placed, photos), photos))

    pycolmap.incremental_mapping(
        database,
        folder,  # no photo is read
        folder,
        options,
        initial_image_pair_callback=count,
        next_image_callback=count,
    )


def _angle(first, second) -> float:
    cosine = float(first @ second) / (math.sqrt(float(first @ first) * float(second @ second)) or 1.0)
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
