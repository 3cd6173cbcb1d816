"""The report of an orbit: the photo beside its novel views, what the photo showed of each, and the video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from unscene.evaluation.report import Comparison, Report, read_events, read_previews, write_report
from unscene.geometry.turntable import RelativePose
from unscene.memory import peak_memory_gb
from unscene.training.run import RunFolder

COMPARISONS, CONDITIONS = 6, 4


def report_orbit(
    folder: RunFolder,
    photo: Tensor,
    poses: list[RelativePose],
    images: list[Tensor],
    summary: dict[str, str],
    seed: int,
    deviations: list[tuple[str, str, str]],
    differences: Sequence[str],
) -> Path:
    """Write ``report.html`` into the run folder; returns its path.

    summary: method, preset and model; deviations, differences: as `Report` has them.
    """
    log = read_events(folder.path / "events.jsonl")
    video = folder.path / "orbit.mp4"
    shown = range(0, len(images), max(1, len(images) // COMPARISONS))
    previews = read_previews(folder.path)  # what the photo shows of each view, the masks, and the view
    views = [(_caption(pose), image) for pose, image in zip(poses, images, strict=True)]
    report = Report(
        title="Novel views of one photo",
        summary={
            **summary,
            "views": f"{len(images)} of {photo.shape[1]}x{photo.shape[0]}",
            "seed": str(seed),
            "time": f"{sum(seconds for _, seconds in log.timings):.0f} s",
            "peak memory": f"{peak_memory_gb():.1f} GB",
        },
        comparisons=[Comparison(_caption(poses[i]), photo, images[i], "photo", "novel view") for i in shown],
        gallery=[*previews[:: max(1, len(previews) // CONDITIONS)][:CONDITIONS], *views],
        metrics={},
        losses=log.losses,
        timings=log.timings,
        notes=log.notes,
        deviations=deviations,
        differences=list(differences),
        video=video.read_bytes() if video.is_file() else None,
    )
    path = folder.path / "report.html"
    write_report(path, report)
    return path


def _caption(pose: RelativePose) -> str:
    distance = f", {pose.distance:g} times as far" if pose.distance != 1 else ""
    return f"{pose.azimuth:+g}° around, {pose.elevation:+g}° up{distance}"
