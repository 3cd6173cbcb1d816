"""Masks from clicks and boxes against silhouettes that are known: intersection over union, and times.

    python benchmarks/masks_from_clicks.py --out DIR [--statue data/statue] [--starts 8] [--objects teapot,cup]

The still life's silhouettes are rendered anew from its geometry, as its own masks hold a margin and the shadow (needs
`pip install '.[render]'`). With --statue also SPIn-NeRF's statue at a quarter of its size, against its masks. Fields
and depths are kept in DIR. Corrections are placed where a user would: in the middle of the largest wrong region.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from unscene.geometry.masks import dilate
from unscene.jobs.mask import open_surfaces
from unscene.jobs.mask_options import MaskOptions
from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene
from unscene.scenes.still_life import still_life
from unscene.segmentation.prompts import Box, Click
from unscene.segmentation.session import Selection, Session
from unscene.training.checkpoints import Checkpoints

SCRIPTS = Path(__file__).parents[1] / "scripts"
THINGS = {  # beginnings of the names of an object's parts
    "teapot": ("teapot",),
    "bottle": ("bottle",),
    "cup": ("cup",),
    "picture": ("picture",),
    "lemon": ("fruit_7",),
    "orange": ("fruit_8",),
    "apple": ("fruit_9", "stem_9"),
    "pear": ("fruit_10", "stem_10"),
}
MARGIN = 2  # pixels by which `unscene remove` grows masks
CORRECTIONS = 3
SMALLEST_ERROR = 3.0  # pixels: radius of a wrong region that a user would still click into
PADDING = 0.05  # of a box's sides
IN_FULL_VIEW = 0.3  # of an object's largest area: views that show less are not clicked


def still_life_silhouettes(views: list[int]) -> dict[str, np.ndarray]:
    """Where each thing is seen in views of the still life, N H W bool."""
    sys.path.insert(0, str(SCRIPTS))
    import mitsuba as mi
    import render_scene as renderer
    import scene_parts
    import still_life_scene

    parts = still_life_scene.build()
    scene = scene_parts.load(parts, still_life_scene.lights())
    number = {part.name: index for index, part in enumerate(parts)}
    y, x = np.mgrid[0.5 : renderer.HEIGHT, 0.5 : renderer.WIDTH]
    seen = []
    for pose in still_life_scene.cameras()[views]:
        focal = renderer.Camera(pose, still_life_scene.FIELD_OF_VIEW).focal
        local = np.stack([x - renderer.WIDTH / 2, renderer.HEIGHT / 2 - y, np.full_like(x, -focal)], -1)
        origin, rays = mi.Point3f(pose[:3, 3].tolist()), local.reshape(-1, 3) @ pose[:3, :3].T
        hits = [scene.ray_intersect(mi.Ray3f(origin, mi.Vector3f(ray))) for ray in rays.tolist()]
        seen.append([number[hit.shape.id()] if hit.is_valid() else -1 for hit in hits])
    part = np.array(seen).reshape(len(views), renderer.HEIGHT, renderer.WIDTH)
    return {
        thing: np.isin(part, [index for name, index in number.items() if name.startswith(beginnings)])
        for thing, beginnings in THINGS.items()
    }


def scenes(arguments: argparse.Namespace) -> Iterator[tuple[str, Scene, dict[str, np.ndarray]]]:
    """Name, scene and the objects' true masks."""
    if arguments.statue:
        scene = load_scene(arguments.statue, scale=4, holdout=0)
        assert scene.masks is not None
        yield "statue", scene, {"statue": scene.masks.numpy()}
    scene = still_life()
    yield "still-life", scene.subset(scene.train), still_life_silhouettes(scene.train.tolist())


def overlap(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each view that shows the object."""
    pairs = [(mask, true) for mask, true in zip(masks, truth, strict=True) if true.any()]
    return np.array([(mask & true).sum() / (mask | true).sum() for mask, true in pairs])


def inner_point(region: np.ndarray) -> tuple[int, int, float]:
    """Column and row of a region's pixel that is farthest from its outline, and how far."""
    distance = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(distance.argmax(), distance.shape)
    return int(column), int(row), float(distance.max())


def well_seen(truth: np.ndarray) -> np.ndarray:
    """The views that show the object in full or nearly."""
    area = truth.sum((1, 2))
    return np.flatnonzero(area > IN_FULL_VIEW * area.max())


def central_click(truth: np.ndarray) -> Click:
    view = int(well_seen(truth)[len(well_seen(truth)) // 2])
    column, row, _ = inner_point(truth[view])
    return Click(view, column + 0.5, row + 0.5)


def random_clicks(truth: np.ndarray, count: int, seed: int) -> list[Click]:
    generator, clicks = np.random.default_rng(seed), []
    for view in generator.choice(well_seen(truth), count):
        rows, columns = np.nonzero(truth[view])
        pick = generator.integers(len(rows))
        clicks.append(Click(int(view), float(columns[pick]) + 0.5, float(rows[pick]) + 0.5))
    return clicks


def box_around(truth: np.ndarray) -> Box:
    view = central_click(truth).view
    rows, columns = np.flatnonzero(truth[view].any(1)), np.flatnonzero(truth[view].any(0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    across, down = PADDING * (right - left), PADDING * (bottom - top)
    height, width = truth.shape[1:]
    return Box(
        view, max(0.0, left - across), max(0.0, top - down), min(width, right + across), min(height, bottom + down)
    )


def correction(masks: np.ndarray, truth: np.ndarray) -> Click | None:
    """In the middle of the largest wrong region of any view, None if all are thin."""
    best: tuple[int, Click] | None = None
    for view, (mask, true) in enumerate(zip(masks, truth, strict=True)):
        for wrong, wanted in ((true & ~mask, True), (mask & ~true, False)):
            count, piece, facts, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=4)
            for index in range(1, count):
                area = int(facts[index, cv2.CC_STAT_AREA])
                if best and area <= best[0]:
                    continue
                column, row, radius = inner_point(piece == index)
                if radius >= SMALLEST_ERROR:
                    best = (area, Click(view, column + 0.5, row + 0.5, wanted))
    return best[1] if best else None


class Stopwatch:
    """Seconds of each kind of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def __call__(self, kind: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        self.seconds.setdefault(kind, []).append(time.perf_counter() - began)
        return result


def measure_object(session: Session, truth: np.ndarray, starts: int, seed: int, watch: Stopwatch) -> dict[str, float]:
    """The figures of one object."""
    views, figures = range(len(truth)), dict[str, float]()

    def judge(selection: Selection) -> np.ndarray:
        return overlap(watch("all masks", lambda: session.masks(selection)), truth)

    for kind, prompt in (("click", central_click(truth)), ("box", box_around(truth))):
        selection = watch("prompt", lambda prompt=prompt: session.select(prompt))
        masks = watch("all masks", lambda selection=selection: session.masks(selection))
        each = overlap(masks, truth)
        grown = dilate(torch.from_numpy(masks), MARGIN).numpy()
        recall = (grown & truth).sum() / truth.sum()
        figures |= {kind: each.mean(), f"{kind} worst": each.min(), f"{kind} recall": recall}
    scales, corrected = [], []
    for click in random_clicks(truth, starts, seed):
        selection = watch("prompt", lambda click=click: session.select(click))
        offered = [dataclasses.replace(selection, labels=scale.labels) for scale in selection.scales]
        rough = [overlap(session.rough_masks(scale, views), truth).mean() for scale in offered]
        scales.append(judge(offered[int(np.argmax(rough))]).mean())
        for _ in range(CORRECTIONS):
            edit = correction(session.rough_masks(selection, views), truth)
            if edit is None:
                break
            selection = watch("edit", lambda selection=selection, edit=edit: session.edit(selection, edit))
        corrected.append(judge(selection).mean())
    figures |= {"one of the scales >= .9": float(np.mean(np.array(scales) >= 0.9)), "scales": float(np.mean(scales))}
    return figures | {"corrected": float(np.mean(corrected)), "corrected worst": float(np.min(corrected))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for fields and figures")
    parser.add_argument("--statue", type=Path, help="SPIn-NeRF's statue")
    parser.add_argument("--starts", type=int, default=8, help="random clicks an object")
    parser.add_argument("--objects", default="", help="only these, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    watch, table = Stopwatch(), dict[str, dict[str, float]]()
    for name, scene, truths in scenes(arguments):
        wanted = arguments.objects.split(",") if arguments.objects else list(truths)
        chosen = {thing: truth for thing, truth in truths.items() if thing in wanted}
        if not chosen:
            continue
        session = Session(_opened(scene, arguments.out / name))
        for thing, truth in chosen.items():
            table[thing] = measure_object(session, truth, arguments.starts, arguments.seed, watch)
            print(thing, {key: round(float(value), 3) for key, value in table[thing].items()}, flush=True)
    seconds = {kind: {"median": float(np.median(s)), "most": max(s)} for kind, s in watch.seconds.items()}
    for kind, figures in seconds.items():
        print(f"{kind}: {figures['median']:.1f} s in the median, {figures['most']:.1f} s at most")
    figures = {thing: {key: float(value) for key, value in row.items()} for thing, row in table.items()}
    (arguments.out / "figures.json").write_text(json.dumps({"overlap": figures, "seconds": seconds}, indent=1) + "\n")


def _opened(scene: Scene, folder: Path):
    """The scene's surfaces, their field fitted now or before."""
    events = open_surfaces(scene, MaskOptions(), Checkpoints(folder, 0))
    while True:
        try:
            next(events)
        except StopIteration as finished:
            return finished.value


if __name__ == "__main__":
    main()
