"""The report of a capture: how many photos have a pose, how well they fit together, the cameras from above."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import torch
from torch import Tensor

from unscene.capture.database import working_name
from unscene.capture.diagnosis import Evidence
from unscene.evaluation.report import Report, read_events, write_report
from unscene.files import read_pixels
from unscene.training.run import RunFolder

MOST_PHOTOS = 24  # of those with a pose that are shown; those without are all


def report_capture(
    folder: RunFolder,
    above: Tensor,
    views: Mapping[int, pycolmap.Image],
    evidence: Evidence,
    figures: dict[str, dict[str, float | str]],
) -> Path:
    """Write ``report.html`` into the scene's folder; returns its path.

    above: the picture of cameras and points. views: the scene's photos with a pose. figures: rows of the page's table,
    that of the scene first.
    """
    log = read_events(folder.path / "events.jsonl")
    missing = [view for view in range(len(evidence.names)) if view not in views]
    matched = {view: sum(view in pair for pair in evidence.pairs) for view in range(len(evidence.names))}
    shown = list(views)[:: math.ceil(len(views) / MOST_PHOTOS)]
    lacking = [
        (
            f"no pose: {evidence.names[view]}, {evidence.features[view]} features, matches {matched[view]} photos",
            picture,
        )
        for view in missing
        if (picture := _picture(folder.path / "checkpoint" / "photos" / working_name(view))) is not None
    ]
    placed = [
        (f"{evidence.names[view]}: {views[view].num_points3D} points, matches {matched[view]} photos", picture)
        for view in shown
        if (picture := _picture(folder.path / "images" / views[view].name)) is not None
    ]
    scene = next(iter(figures.values()))
    report = Report(
        title="Photos become a scene",
        summary={
            "photos with a pose": f"{len(views)} of {len(evidence.names)}",
            **{name: value if isinstance(value, str) else f"{value:g}" for name, value in scene.items()},
            "time": f"{sum(seconds for _, seconds in log.timings):.0f} s",
        },
        comparisons=[],
        gallery=[("cameras and points from above", above), *lacking, *placed],
        metrics=figures,
        losses=log.losses,
        timings=log.timings,
        notes=log.notes,
    )
    path = folder.path / "report.html"
    write_report(path, report)
    return path


def model_figures(model: pycolmap.Reconstruction) -> dict[str, float | str]:
    """What a model consists of and how well it fits its photos, for the report's table."""
    observations = [model.image(number).num_points3D for number in model.reg_image_ids()]
    return {
        "photos": model.num_reg_images(),
        "points": model.num_points3D(),
        "points seen by a photo (mean)": round(float(np.mean(observations))),
        "photos that see a point (mean)": round(model.compute_mean_track_length(), 1),
        "reprojection error (pixels)": round(model.compute_mean_reprojection_error(), 2),
    }


def _picture(file: Path) -> Tensor | None:
    pixels = read_pixels(file, cv2.IMREAD_REDUCED_COLOR_2)
    return None if pixels is None else torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1]))
