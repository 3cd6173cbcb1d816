"""One self-contained page about a run: before/after sliders, video, pictures, metrics, loss curves, timings."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import jinja2
import numpy as np
import torch
from torch import Tensor

from unscene.evaluation.curves import AXES, loss_charts, number_text, thin
from unscene.files import atomic_write, read_pixels

COMPARISON_SIDE, COMPARISON_BYTES = 1024, 270_000  # six comparisons stay below 5 MB even if they are pure noise
GALLERY_SIDE, GALLERY_BYTES = 640, 90_000
THUMBNAIL_SIDE, THUMBNAIL_BYTES = 200, 15_000
JPEG_QUALITIES = (90, 80, 65, 50, 30)
FACTS = 6  # settings that stand below the title; all are in the list at the end


@dataclass(frozen=True)
class Comparison:
    """A before/after slider. before, after: H W 3, uint8 or float in [0, 1], of one aspect ratio; start: where the
    difference begins, as a share of the width."""

    title: str
    before: Tensor
    after: Tensor
    before_label: str = "photo"
    after_label: str = "without the object"
    start: float = 0.5


@dataclass(frozen=True)
class Report:
    """What the page shows; a section without content is left out.

    summary: settings and totals, the most telling first. headline: what was done and by what, in a sentence. gallery:
    (caption, H W 3 picture). metrics: row -> column -> value. losses: stage -> [(step, {term: value})]. timings:
    (stage, seconds). video: an mp4 file. deviations: settings that are not the paper's (option, value, the paper's);
    differences: others, in words.
    """

    title: str
    summary: dict[str, str]
    comparisons: list[Comparison]
    gallery: list[tuple[str, Tensor]]
    metrics: dict[str, dict[str, float | str]]
    losses: dict[str, list[tuple[int, dict[str, float]]]]
    timings: list[tuple[str, float]]
    notes: list[str]
    video: bytes | None = None
    deviations: list[tuple[str, str, str]] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    headline: str = ""


class RunLog(NamedTuple):
    """The parts of an event log that a Report shows, under the names they have there."""

    losses: dict[str, list[tuple[int, dict[str, float]]]]
    timings: list[tuple[str, float]]
    notes: list[str]
    provenance: list[str]


def write_report(path: Path, report: Report) -> None:
    """Write the report as one HTML page that needs no other file and no network.

    Raises ValueError for a picture that is not H W 3.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        title=report.title,
        headline=report.headline,
        slider_start=round(100 * min((comparison.start for comparison in report.comparisons), default=0.5)),
        facts=list(report.summary.items())[:FACTS],
        settings=report.summary,
        sliders=[_slider(comparison) for comparison in report.comparisons],
        gallery=[(caption, _jpeg(image, GALLERY_SIDE, GALLERY_BYTES)) for caption, image in report.gallery],
        table=_table(report.metrics),
        charts=loss_charts(report.losses),
        axes=AXES,
        bars=_bars(report.timings),
        total_time=duration_text(sum(seconds for _, seconds in report.timings)),
        notes=report.notes,
        deviations=report.deviations,
        differences=report.differences,
        video=_data_uri("video/mp4", report.video) if report.video else None,
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def read_events(path: Path) -> RunLog:
    """Losses, timings, notes and what made the pictures, of a run's events.jsonl.

    A run may have been killed and resumed: half-written lines are skipped, steps that were taken again replace those
    of the first attempt, the seconds of a stage add up and a repeated note counts once.
    """
    losses: dict[str, list[tuple[int, dict[str, float]]]] = {}
    seconds: dict[str, float] = {}
    notes: dict[str, None] = {}
    provenance: dict[str, None] = {}
    for event in _readable_lines(path):
        match event:
            case {"event": "StepDone", "stage": stage, "step": step, "losses": terms}:
                _extend(losses.setdefault(stage, []), step, terms)
            case {"event": "GameHealth", "stage": stage, "step": step, **values}:
                shown = ("accuracy", "gradient_norm", "gradient_penalty")
                terms = {name.replace("_", " "): values[name] for name in shown if name in values}
                _extend(losses.setdefault(f"{stage}: the discriminator", []), step, terms)
            case {"event": "ViewUpdated", "stage": stage, "step": step, "timestep": timestep, "change": float(change)}:
                terms = {"timestep": timestep, "change of the inpainting": change}
                _extend(losses.setdefault(f"{stage}: views inpainted again", []), step, terms)
            case {"event": "StageDone", "stage": stage, "seconds": spent}:
                seconds[stage] = seconds.get(stage, 0.0) + spent
            case {"event": "Note" | "Provenance" as kind, "text": text}:
                notes[text] = None
                if kind == "Provenance":
                    provenance[text] = None
    curves = {stage: thin(curve) for stage, curve in losses.items()}
    return RunLog(curves, list(seconds.items()), list(notes), list(provenance))


def read_previews(run: Path) -> list[tuple[str, Tensor]]:
    """The pictures that a run kept on its way, H W 3 uint8, in order, each with its name."""
    read = ((file.stem.replace("-", " "), read_pixels(file)) for file in sorted((run / "previews").glob("*.png")))
    return [(name, torch.from_numpy(pixels[..., ::-1].copy())) for name, pixels in read if pixels is not None]


def _extend(curve: list[tuple[int, dict[str, float]]], step: int, terms: dict[str, float]) -> None:
    """Append a point; a step that was taken again replaces that of the first attempt and all after it."""
    while curve and curve[-1][0] >= step:
        curve.pop()
    curve.append((step, terms))


def duration_text(seconds: float) -> str:
    """'0.42 s', '12.3 s', '3 min 05 s', '2 h 10 min'."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _readable_lines(path: Path) -> Iterable[object]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


class _Slider(NamedTuple):
    comparison: Comparison
    before: str
    after: str
    thumbnail: str
    aspect: float


def _slider(comparison: Comparison) -> _Slider:
    return _Slider(
        comparison,
        before=_jpeg(comparison.before, COMPARISON_SIDE, COMPARISON_BYTES),
        after=_jpeg(comparison.after, COMPARISON_SIDE, COMPARISON_BYTES),
        thumbnail=_jpeg(comparison.after, THUMBNAIL_SIDE, THUMBNAIL_BYTES),
        aspect=comparison.before.shape[1] / comparison.before.shape[0],
    )


def _jpeg(image: Tensor, longest_side: int, most_bytes: int) -> str:
    """An H W 3 picture as a data URI, scaled down to ``longest_side`` and compressed to about ``most_bytes``."""
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"expected a picture H W 3, got {tuple(image.shape)}; permute or repeat its channels.")
    if image.is_floating_point():
        image = (image.float().nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8)
    pixels = np.ascontiguousarray(image.detach().cpu().numpy()[..., ::-1])  # OpenCV's channels are B G R
    height, width = pixels.shape[:2]
    scale = longest_side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    for quality in JPEG_QUALITIES:
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= most_bytes:
            break
    return _data_uri("image/jpeg", data)


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


class _Bar(NamedTuple):
    stage: str
    text: str
    percent: float


def _bars(timings: list[tuple[str, float]]) -> list[_Bar]:
    longest = max((seconds for _, seconds in timings), default=0) or 1
    return [_Bar(stage, duration_text(seconds), round(100 * seconds / longest, 2)) for stage, seconds in timings]


HIGHER, LOWER, NEAR_ONE = "↑", "↓", "→ 1"
KNOWN_METRICS = (  # word in the column's name, title, unit, better direction; the first that occurs counts
    ("psnr", "PSNR", "dB", HIGHER),
    ("ssim", "SSIM", "", HIGHER),
    ("perceptual", "perceptual", "", LOWER),
    ("sharpness_ratio", "sharpness ratio", "", NEAR_ONE),
)


class _Column(NamedTuple):
    title: str
    unit: str
    direction: str


class _Table(NamedTuple):
    """rows: name -> the text for each column."""

    columns: list[_Column]
    rows: dict[str, list[str]]


def _table(metrics: dict[str, dict[str, float | str]]) -> _Table | None:
    """Every column that a row has, in order of appearance."""
    names = list(dict.fromkeys(name for row in metrics.values() for name in row))
    rows = {title: [_cell(row.get(name, "–")) for name in names] for title, row in metrics.items()}
    return _Table([_column(name) for name in names], rows) if names else None


def _column(name: str) -> _Column:
    for word, title, unit, direction in KNOWN_METRICS:
        if word in name.lower():
            start = name.lower().index(word)
            shown = name[:start] + title + name[start + len(word) :]
            return _Column(shown.replace("_", " "), unit, direction)
    return _Column(name.replace("_", " "), "", "")


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else number_text(value)
