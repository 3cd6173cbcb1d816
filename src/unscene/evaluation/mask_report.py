"""The report of masks: every photo with its objects tinted, on one sheet and as a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from unscene.evaluation.report import Comparison, Report, read_events, read_previews, write_report
from unscene.scenes.scene import Scene
from unscene.training.run import RunFolder

THUMBNAIL = 256  # pixels, the longer side of a photo on the sheet
SHEET_SHAPE = 1.5  # width over height
COMPARISONS = 6
TINTS = ((230, 40, 25), (30, 90, 255), (20, 160, 60), (240, 160, 0), (170, 40, 200), (0, 170, 190))  # RGB


def overlay(image: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
    """A photo (H W 3 uint8) with each object's mask (H W bool) tinted and outlined in a colour of its own."""
    picture = image.cpu().numpy().copy()
    for tint, mask in zip(_tints(len(masks)), masks.values(), strict=True):
        inside = mask.cpu().numpy()
        picture[inside] = (0.55 * picture[inside] + 0.45 * tint).astype(np.uint8)
        contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, tuple(int(value) for value in tint), 1)
    return torch.from_numpy(picture)


def contact_sheet(scene: Scene, objects: Mapping[str, Tensor]) -> bytes:
    """The `mask_sheet` as JPEG."""
    sheet = mask_sheet(scene, objects)[..., ::-1]
    return cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def mask_sheet(scene: Scene, objects: Mapping[str, Tensor]) -> np.ndarray:
    """All training views with the objects' masks (N H W bool each) on one picture, H W 3 uint8."""
    pictures = (
        overlay(scene.images[view], {name: masks[view] for name, masks in objects.items()})
        for view in scene.train.tolist()
    )
    return side_by_side([picture.numpy() for picture in pictures], THUMBNAIL)


def side_by_side(pictures: Sequence[np.ndarray], longest: int) -> np.ndarray:
    """Pictures of one shape (H W 3 uint8) in rows on one, each with a longer side of ``longest`` pixels at most."""
    height, width = pictures[0].shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    columns = max(1, round(math.sqrt(len(pictures) * SHEET_SHAPE * size[1] / size[0])))
    cells = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[first : first + columns]) for first in range(0, len(cells), columns)])


def report_masks(folder: RunFolder, scene: Scene, objects: Mapping[str, Tensor], summary: dict[str, str]) -> Path:
    """Write ``report.html`` into the folder; returns its path. objects: name -> N H W bool."""
    log = read_events(folder.path / "events.jsonl")
    views = scene.train.tolist()
    shown = views[:: max(1, len(views) // COMPARISONS)][:COMPARISONS]
    pictures = {view: overlay(scene.images[view], {n: masks[view] for n, masks in objects.items()}) for view in views}
    report = Report(
        title=f"Masks of {', '.join(objects)} in {scene.name}",
        summary={**summary, "views": f"{len(views)} of {scene.cameras.width}x{scene.cameras.height}"},
        comparisons=[
            Comparison(scene.names[v], scene.images[v].cpu(), pictures[v], after_label="what goes") for v in shown
        ],
        gallery=[*read_previews(folder.path), *((scene.names[view], pictures[view]) for view in views)],
        metrics={},
        losses=log.losses,
        timings=log.timings,
        notes=log.notes,
    )
    path = folder.path / "report.html"
    write_report(path, report)
    return path


def _tints(count: int) -> list[np.ndarray]:
    return [np.array(TINTS[index % len(TINTS)], np.float32) for index in range(count)]
