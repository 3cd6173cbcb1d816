"""The report of a removal: which pictures and numbers of a run go onto the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unscene.evaluation.report import Comparison, Report, read_events, read_previews, write_report
from unscene.fields.field import render_view
from unscene.geometry.cameras import orbit_path
from unscene.memory import peak_memory_gb
from unscene.scenes.scene import Scene
from unscene.stages.removal import Removal
from unscene.stages.view_choice import spread
from unscene.training.run import RunFolder

COMPARISONS = 6
NOVEL_VIEWS = 3  # on the orbit
LEGENDS = {  # of pictures that a run keeps, by how their captions begin
    "origin": "green: photos show it, blue: another base view told it, orange: this one invented it",
    "masks and shadows": "red: the masks, blue: the shadow that they grow over",
    "before and after cleaning": "left: with haze and floaters, right: without",
    "outside of photos": "red: no photo shows it, blue: hidden by the object in all that do",
}


def report_run(
    folder: RunFolder,
    scene: Scene,
    removal: Removal,
    metrics: dict[str, dict[str, Any]],
    summary: dict[str, str],
    seed: int,
    deviations: list[tuple[str, str, str]],
    differences: Sequence[str],
) -> Path:
    """Write ``report.html`` into the run folder; returns its path.

    summary: method, preset and prior; deviations: option, value, the paper's value; differences from the paper that no
    option changes.
    """
    log = read_events(folder.path / "events.jsonl")
    video = folder.path / "video.mp4"
    report = Report(
        title=f"{scene.name} without the object",
        headline=_headline(scene, removal, summary, log.provenance),
        summary={
            **summary,
            "views": f"{len(scene.train)} of {scene.cameras.width}x{scene.cameras.height}",
            "seed": str(seed),
            "time": f"{sum(seconds for _, seconds in log.timings):.0f} s",
            "peak memory": f"{peak_memory_gb():.1f} GB",
        },
        comparisons=[_comparison(scene, removal, view) for view in spread(scene.train, COMPARISONS).tolist()],
        gallery=_gallery(folder.path, scene, removal),
        metrics=_without_gaps(metrics),
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


def _comparison(scene: Scene, removal: Removal, view: int) -> Comparison:
    before, after = scene.images[view], removal.scene.images[view]
    return Comparison(scene.names[view], before, after, start=_left_of_the_object(scene, view))


def _left_of_the_object(scene: Scene, view: int) -> float:
    """Where to put the slider, as a share of the width, so that the first look shows the object's place without it."""
    columns = torch.zeros(0) if scene.masks is None else scene.masks[view].any(0).nonzero()
    return 0.5 if not len(columns) else max(0.02, columns.min().item() / scene.cameras.width - 0.02)


def _headline(scene: Scene, removal: Removal, summary: dict[str, str], provenance: list[str]) -> str:
    """What was done and by which part, in a sentence."""
    filled, hidden = removal.filled[scene.train], removal.filled[scene.train]
    if scene.masks is not None:
        hidden = scene.masks[scene.train].to(filled.device)
    invented = (filled & hidden).sum().item() / max(1, hidden.sum().item())
    done = f"{summary['method']} took the object out of {len(scene.train)} photos"
    if not filled.any():
        return f"{done}; other photos show all that it hid, so nothing was invented."
    by = "; ".join(provenance) or f"invented by {summary['prior']}"
    if invented > 0.995:
        return f"{done} and invented all that it hid; {by}."
    return f"{done}: other photos show {1 - invented:.0%} of what it hid, {invented:.0%} was invented; {by}."


def _gallery(run: Path, scene: Scene, removal: Removal) -> list[tuple[str, Tensor]]:
    """What was hidden and invented, views nobody photographed, and the pictures that the method kept on its way."""
    view = next((v for v in spread(scene.train, 5).tolist() if removal.filled[v].any()), int(scene.train[0]))
    pictures = [("removed (red) and invented (blue)", _tinted(scene, removal, view))]
    path = orbit_path(scene.cameras[scene.train], NOVEL_VIEWS)
    for index in range(NOVEL_VIEWS):
        pictures.append((f"novel view {index + 1}", render_view(removal.field, path, index).color))
    return [*pictures, *((_with_legend(caption), picture) for caption, picture in read_previews(run))]


def _with_legend(caption: str) -> str:
    legend = next((text for start, text in LEGENDS.items() if caption.startswith(start)), None)
    return caption if legend is None else f"{caption} ({legend})"


def _tinted(scene: Scene, removal: Removal, view: int) -> Tensor:
    image = scene.image(view)
    tints = torch.tensor([[0.9, 0.15, 0.1], [0.1, 0.35, 1.0]], device=image.device)
    if scene.masks is not None:
        image = torch.where(scene.masks[view][..., None], image * 0.5 + tints[0] * 0.5, image)
    return torch.where(removal.filled[view][..., None], scene.image(view) * 0.4 + tints[1] * 0.6, image)


def _without_gaps(table: dict[str, dict[str, Any]]) -> dict[str, dict[str, float | str]]:
    return {
        row: {column: value for column, value in cells.items() if value is not None} for row, cells in table.items()
    }
