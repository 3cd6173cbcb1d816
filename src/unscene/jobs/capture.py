"""From photos or a video to a scene: poses, undistorted photos, sparse points, and a report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unscene.capture.capture_error import CaptureError
from unscene.capture.database import LensKind, create_database, feature_counts, matched_points, verified_pairs
from unscene.capture.diagnosis import Evidence, missing_notes, models_note, no_model, turned_camera
from unscene.capture.features import STAGE as FEATURES
from unscene.capture.features import extract_features, working_size
from unscene.capture.ignored import Ignored
from unscene.capture.mapping import STAGE as POSES
from unscene.capture.mapping import Model, map_photos, model_figures, registered_views
from unscene.capture.matching import match_pairs
from unscene.capture.pairs import first_pairs, loop_pairs
from unscene.capture.photos import PhotoFolder, find_photos
from unscene.capture.plan_view import plan_view
from unscene.capture.scene_files import STAGE as UNDISTORTED
from unscene.capture.scene_files import publish, write_scene
from unscene.capture.turning import MatchedPair, only_turned
from unscene.capture.undistortion import choose_pinholes
from unscene.capture.video import STAGE as FRAMES
from unscene.capture.video import is_video, sharpest_frames
from unscene.evaluation.capture_report import report_capture
from unscene.files import delete_leftovers, write_json
from unscene.memory import peak_memory_gb
from unscene.ranges import check_ranges
from unscene.training.events import Note, Picture, StageDone, StageStarted, Watch, ignore
from unscene.training.run import RunFolder

MATCHES, LOOPS = "matches", "matches around loops"


@dataclass(frozen=True)
class CaptureOptions:
    """Photos or a video become a scene."""

    frames: int = 60
    """Frames to take of a video: the sharpest of each stretch of it."""
    masks: Path | None = None
    """Masks of what must not guide the poses, as people who walk about, white = ignore: a folder with files called like
    the photos, or one file for all of them. The photos of a video are not known before: one file for all."""
    lens: LensKind = "perspective"
    """How the lens distorts; fisheye for views wider than about 120 degrees."""
    size: int = 1000
    """Longer side in pixels at which features are looked for; the scene's photos keep their own."""
    features: int = 2000
    """Features to keep of each photo, the largest; more take longer and seldom help."""
    model: int = 1
    """Which model to take where photos fall into several that do not connect: 1 is that of most photos. With --resume a
    finished scene is replaced by another model's."""
    seed: int = 0
    """Of all random numbers."""


@dataclass(frozen=True)
class Captured:
    """What came out. folder: the scene, for `load_scene`. photos, missing: names of those with a pose and without.
    reprojection_error: mean, in pixels at the size features were looked for. models: photos of each model found."""

    folder: Path
    photos: tuple[str, ...]
    missing: tuple[str, ...]
    points: int
    reprojection_error: float
    models: tuple[int, ...]


def capture_scene(source: Path | str, out: Path | str, options: CaptureOptions = CaptureOptions(), *,
                  resume: bool = False, watch: Watch = ignore) -> Captured:  # fmt: skip
    """Estimate where photos (a folder), or the sharpest frames of a video, were taken from, and write the scene.

    It holds undistorted photos in ``images/``, a COLMAP model in ``sparse/0/``, ``transforms.json`` of the same cameras
    and ``report.html``; what is in the source stays as it is. Each photo's features, each batch of matches, the models
    and each undistorted photo are kept in ``checkpoint/``, and a run that was killed goes on from there.

    Raises CaptureError for photos of which no scene comes, with the reason; SceneError for files that cannot be read.
    """
    source, started = Path(source), time.monotonic()
    _check(source, Path(out), options)
    RunFolder.check_free(Path(out), resume=resume)
    found = None if is_video(source) else find_photos(source)
    folder = RunFolder.create(Path(out), _record(source, found, options), resume=resume)
    if (finished := _finished(folder, options.model)) is not None:
        return finished
    watch, work = folder.logging(watch), folder.path / "checkpoint"
    delete_leftovers(work)
    if found is None:
        with _stage(FRAMES, watch):
            sharpest_frames(source, work / "frames", options.frames, watch)
        found = find_photos(work / "frames")
    for note in found.notes:
        watch(Note(note))
    models, evidence = _place(found, work, source, options, watch)
    if not models:
        raise no_model(evidence)
    if options.model > len(models):
        sizes = ", ".join(str(model.num_reg_images()) for model in models)
        raise CaptureError(f"--model: expected 1 to {len(models)} (models of {sizes} photos), got {options.model}.")
    result = _finish(found, models, evidence, folder, options, watch)
    seconds = round(time.monotonic() - started, 1)
    figures = {key: value for key, value in dataclasses.asdict(result).items() if key != "folder"}
    figures |= {"model": options.model, "seconds": seconds, "peak_memory_gb": round(peak_memory_gb(), 3)}
    write_json(folder.path / "metrics.json", figures)
    watch(Note(f"report: {folder.path / 'report.html'}"))
    return result


def _place(
    found: PhotoFolder, work: Path, source: Path, options: CaptureOptions, watch: Watch
) -> tuple[list[Model], Evidence]:
    """Structure from motion: features, matches, models, the largest first."""
    photos, database = found.photos, work / "database.db"
    ignored = None if options.masks is None else Ignored(options.masks, photos, source)
    if ignored is not None:
        watch(Note(ignored.note))
    sizes = [working_size(photo.size, options.size) for photo in photos]
    create_database(database, photos, sizes, options.lens)
    with _stage(FEATURES, watch):
        extract_features(database, photos, sizes, ignored, most=options.features, watch=watch)
    pairs = first_pairs(len(photos), in_sequence=is_video(source))
    with _stage(MATCHES, watch):
        match_pairs(database, pairs, stage=MATCHES, seed=options.seed, watch=watch)
    if loops := loop_pairs(len(photos), verified_pairs(database), pairs):
        with _stage(LOOPS, watch):
            match_pairs(database, loops, stage=LOOPS, seed=options.seed, watch=watch)
    with _stage(POSES, watch):
        models = map_photos(database, len(photos), seed=options.seed, watch=watch)
    evidence = Evidence([photo.name for photo in photos], feature_counts(database), verified_pairs(database))
    if evidence.looks_flat() and only_turned(_matched(database, evidence, sizes)):
        raise turned_camera(evidence)
    return models, evidence


def _matched(database: Path, evidence: Evidence, sizes: list[tuple[int, int]]) -> list[MatchedPair]:
    points = matched_points(database, evidence.pairs)
    return [
        MatchedPair(both, (sizes[first], sizes[second]))
        for (first, second), both in zip(evidence.pairs, points, strict=True)
    ]


def _finish(
    found: PhotoFolder, models: list[Model], evidence: Evidence, folder: RunFolder,
    options: CaptureOptions, watch: Watch,
) -> Captured:  # fmt: skip
    """Write the scene of the chosen model and its report."""
    model, sizes = models[options.model - 1], [each.num_reg_images() for each in models]
    figures = {f"model {number}": model_figures(each) for number, each in enumerate(models, start=1)}
    figures = {f"model {options.model}, the scene": model_figures(model)} | {
        name: row for name, row in figures.items() if name != f"model {options.model}"
    }
    views, error = registered_views(model), model.compute_mean_reprojection_error()
    watch(Note(f"{len(views)} of {len(found.photos)} photos have a pose, with a mean reprojection error of {error:.2f} "
               f"pixels at {options.size}"))  # fmt: skip
    if len(models) > 1:
        watch(Note(models_note(sizes, options.model)))
    for note in missing_notes(evidence, views.keys()):
        watch(Note(note))
    staged = folder.path / "checkpoint" / f"scene-{options.model}"
    with _stage(UNDISTORTED, watch):
        write_scene(staged, model, found.photos, choose_pinholes(model, found.size), watch)
        publish(staged, folder.path)
    above = torch.from_numpy(plan_view(model))
    watch(Picture("cameras and points from above", above))
    placed = {view: (image.name, image.num_points3D) for view, image in views.items()}
    report_capture(folder, above, placed, evidence, figures)
    return Captured(
        folder.path,
        tuple(evidence.names[view] for view in views),
        tuple(name for view, name in enumerate(evidence.names) if view not in views),
        model.num_points3D(),
        round(error, 4),
        tuple(sizes),
    )


def _finished(folder: RunFolder, model: int) -> Captured | None:
    """What a finished run has left, if it is of the model that is asked for."""
    kept = folder.path / "metrics.json"
    if not (kept.is_file() and (folder.path / "transforms.json").is_file()):
        return None
    metrics = json.loads(kept.read_text(encoding="utf-8"))
    if metrics["model"] != model:
        return None
    return Captured(
        folder.path,
        tuple(metrics["photos"]),
        tuple(metrics["missing"]),
        metrics["points"],
        metrics["reprojection_error"],
        tuple(metrics["models"]),
    )


@contextlib.contextmanager
def _stage(name: str, watch: Watch) -> Iterator[None]:
    started = time.monotonic()
    watch(StageStarted(name))
    yield
    watch(StageDone(name, time.monotonic() - started))


def _record(source: Path, found: PhotoFolder | None, options: CaptureOptions) -> dict[str, Any]:
    """What config.json says of a capture; a run goes on with equal photos and settings only, but for the model."""
    files = {source.name: source} if found is None else {photo.name: photo.path for photo in found.photos}
    settings = {key: value for key, value in dataclasses.asdict(options).items() if key != "model"}
    return {
        "job": "capture",
        "source": source.resolve(),
        "options": settings | {"masks": options.masks and options.masks.resolve()},
        "photos": {name: file.stat().st_size for name, file in files.items()},
    }


def _check(source: Path, out: Path, options: CaptureOptions) -> None:
    """Raise CaptureError for settings that mean nothing, and for a scene inside the folder of the photos."""
    ranges: dict[str, tuple[float | None, float, float]] = {
        "frames": (options.frames, 3, 10_000),
        "size": (options.size, 100, 10_000),
        "features": (options.features, 100, 100_000),
        "model": (options.model, 1, 1000),
    }
    check_ranges(ranges, CaptureError)
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise CaptureError(f"--out: expected a folder outside that of the photos, got {out}, which is in {source}.")
    if is_video(source) and options.masks is not None and options.masks.is_dir():
        raise CaptureError(
            f"--masks: expected one file for all frames of a video, got the folder {options.masks}; for a mask for "
            "each of them, capture the video first, then the images/ of that scene, with masks called like them."
        )
