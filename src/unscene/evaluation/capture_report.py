"""The report of a capture: how many photos have a pose, how well they fit together, the cameras from above."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
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
    placed: Mapping[int, tuple[str, int]],
    evidence: Evidence,
    figures: dict[str, dict[str, float | str]],
) -> Path:
    """Write ``report.html`` into the scene's folder; returns its path.

    above: the picture of cameras and points. placed: of each view with a pose the photo's name below images/ and how
    many points it sees. figures: rows of the page's table, that of the scene first.
    """
    log = read_events(folder.path / "events.jsonl")
    missing = [view for view in range(len(evidence.names)) if view not in placed]
    matched = {view: sum(view in pair for pair in evidence.pairs) for view in range(len(evidence.names))}
    shown = list(placed)[:: math.ceil(len(placed) / MOST_PHOTOS)]
    lacking = [
        (
            f"no pose: {evidence.names[view]}, {evidence.features[view]} features, matches {matched[view]} photos",
            picture,
        )
        for view in missing
        if (picture := _picture(folder.path / "checkpoint" / "photos" / working_name(view))) is not None
    ]
    posed = [
        (f"{evidence.names[view]}: {placed[view][1]} points, matches {matched[view]} photos", picture)
        for view in shown
        if (picture := _picture(folder.path / "images" / placed[view][0])) is not None
    ]
    scene = next(iter(figures.values()))
    report = Report(
        title="Photos become a scene",
        summary={
            "photos with a pose": f"{len(placed)} of {len(evidence.names)}",
            **{name: value if isinstance(value, str) else f"{value:g}" for name, value in scene.items()},
            "time": f"{sum(seconds for _, seconds in log.timings):.0f} s",
        },
        comparisons=[],
        gallery=[("cameras and points from above", above), *lacking, *posed],
        metrics=figures,
        losses=log.losses,
        timings=log.timings,
        notes=log.notes,
    )
    path = folder.path / "report.html"
    write_report(path, report)
    return path


def _picture(file: Path) -> Tensor | None:
    pixels = read_pixels(file, cv2.IMREAD_REDUCED_COLOR_2)
    return None if pixels is None else torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1]))
