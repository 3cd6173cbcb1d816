"""Measuring a finished run by the papers' metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unscene.evaluation.choose import MetricName, load_metric
from unscene.evaluation.figures import NEEDS, Figure, figure
from unscene.evaluation.metric_error import MetricError
from unscene.evaluation.regions import Region
from unscene.results.run import Run
from unscene.results.truth import Truth, compared_views
from unscene.results.without_truth import photos_beside_the_object, rendered_views

WITH_TRUTH: tuple[MetricName, ...] = ("psnr", "ssim", "perceptual", "sharpness-ratio", "consistency")
WITHOUT: tuple[MetricName, ...] = ("sharpness", "consistency", "c-frechet", "c-kernel")


@dataclass(frozen=True)
class EvaluateOptions:
    """Which figures of a run to measure."""

    metrics: tuple[MetricName, ...] = ()
    """By default those that need no published weights. perceptual, frechet, kernel and their c- forms are distances in
    the bundled autoencoder's features; lpips-*, fid, kid, c-fid, c-kid and musiq need the published networks. c- forms
    compare patches at the mask's boundary with the photos and need no truth; nor do sharpness, consistency, musiq."""
    regions: tuple[Literal["image", "mask", "box"], ...] = ("image", "mask", "box")
    """The whole image, the object mask (M-LPIPS), the box around it (LPIPS and FID of In-N-Out and SPIn-NeRF)."""
    weights: Path | None = None
    """Folder in which published weights are looked for before the caches and the network."""


def measure(run: Run, truth: Truth | None = None, options: EvaluateOptions = EvaluateOptions()) -> list[Figure]:
    """Render a run's views and measure them, those of known truth if it is given, else the test views.

    Raises MetricError if published weights cannot be had, or nothing can be measured; SceneError if no name fits.
    """
    names = options.metrics or (WITH_TRUTH if truth is not None else WITHOUT)
    metrics = [load_metric(name, options.weights, run.cameras.focal.device) for name in dict.fromkeys(names)]
    views = rendered_views(run) if truth is None else compared_views(run, truth)
    if any("photos" in metric.needs for metric in metrics):
        views = dataclasses.replace(views, photos=photos_beside_the_object(run))
    regions: tuple[Region, ...] = (*dict.fromkeys(options.regions), "boundary")
    found = {metric.name: [figure(metric, views, region) for region in regions] for metric in metrics}
    figures = {name: [one for one in row if one is not None] for name, row in found.items()}
    missing = [metric for metric in metrics if not figures[metric.name]]
    if missing and (options.metrics or len(missing) == len(metrics)):
        first = missing[0]
        known = ", ".join(NEEDS[need] for need in first.needs)
        raise MetricError(
            f"{run.folder}: {first.name} needs {known} for at least {first.least_views} views that show one of the "
            f"regions {', '.join(options.regions)}; choose other --metrics or --regions."
        )
    return [one for row in figures.values() for one in row]


def as_record(figures: Iterable[Figure]) -> dict[str, Any]:
    """Figures as JSON has them."""
    return {"figures": [dataclasses.asdict(one) for one in figures]}


def as_text(figures: Iterable[Figure]) -> str:
    """Figures as a table, every one with its protocol."""
    signs = {"higher": "↑", "lower": "↓", "near 1": "→ 1"}
    rows = [
        (
            f"{one.metric}{one.unit and ', ' + one.unit} {signs[one.better]}",
            one.region,
            f"{one.value:.4g}",
            one.protocol,
        )
        for one in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{name:<{widths[0]}}  {region:<{widths[1]}}  {value:>{widths[2]}}  {protocol}"
        for name, region, value, protocol in rows
    )
