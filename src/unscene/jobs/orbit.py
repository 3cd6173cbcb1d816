"""The second job of the package: one photo of an object in, novel views out."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from unscene.device import choose_device, device_name
from unscene.evaluation.orbit_report import report_orbit
from unscene.files import write_json
from unscene.geometry.splatting import SurfacePoints
from unscene.geometry.turntable import RelativePose, turntable
from unscene.jobs.orbit_methods import Prepared, prepare
from unscene.jobs.orbit_options import OrbitOptions, check_options, with_example
from unscene.jobs.presets import orbit_deviations
from unscene.memory import peak_memory_gb
from unscene.results.animation import write_gif
from unscene.results.export import video_writer, write_ply
from unscene.scenes.image_files import image_size, read_image
from unscene.stages.method_error import MethodError
from unscene.stages.novel_view import NovelView
from unscene.training.events import ItemDone, Note, Picture, StageDone, StageStarted, Watch, ignore
from unscene.training.run import RunFolder

STAGE = "novel views"
MOST_TURN = 360.0  # degrees
NEAREST, FARTHEST = 0.3, 4.0  # multiples of the photo's distance
TURN_SECONDS = 3
DEFAULT = OrbitOptions()


@dataclass(frozen=True)
class Orbit:
    """What came out: the views' poses, their images H W 3 in [0, 1], the photo as the model saw it, the run folder."""

    poses: list[RelativePose]
    images: list[Tensor]
    photo: Tensor
    folder: Path


def orbit(photo: Path, out: Path | str, options: OrbitOptions = DEFAULT, *, resume: bool = False,
          watch: Watch = ignore) -> Orbit:  # fmt: skip
    """Novel views of the object in a photo, as images, grid, video and report in ``out``. A view that is there is kept.

    Raises ObjectError for photos that cannot be used, PriorError for models, MethodError for poses and depths.
    """
    photo, options = with_example(photo, options)
    check_options(options)
    device = choose_device(options.device)
    asked, options = options, dataclasses.replace(options, device=str(device))
    poses = [read_pose(text, options.known_elevation) for text in options.pose] or turntable(options.frames)
    started = time.monotonic()
    RunFolder.check_free(Path(out), resume=resume)
    prepared = prepare(photo, options)
    facts = {"model": prepared.model, **prepared.facts}
    record = {"job": "orbit", "photo": photo.resolve(), **facts, "options": asked, "device": device_name(device)}
    folder = RunFolder.create(Path(out), record, resume=resume)
    watch = folder.logging(watch)
    for note in prepared.notes:
        watch(Note(note))
    departures = orbit_deviations(asked)
    watch(Note(f"preset {options.preset}: {len(departures)} settings are not the paper's; the report lists them"))
    folder.write_image("photo.png", prepared.photo)
    watch(StageStarted(STAGE))
    images = _views(prepared, poses, folder, watch)
    watch(StageDone(STAGE, time.monotonic() - started))
    result = Orbit(poses, images, prepared.photo, folder.path)
    # a turn begins with the photo's own view
    folder.write_image("grid.png", grid([prepared.photo, *(images if options.pose else images[1:])]))
    if not options.pose:
        speed = max(1, round(len(images) / TURN_SECONDS))
        with video_writer(folder.path / "orbit.mp4", frames_per_second=speed) as append:
            for image in images:
                append(image)
        write_gif(folder.path / "orbit.gif", images, frames_per_second=speed)
    seconds = round(time.monotonic() - started, 1)
    write_json(folder.path / "metrics.json", {"seconds": seconds, "peak_memory_gb": round(peak_memory_gb(), 3)})
    summary = {"method": options.method, "preset": options.preset, "model": prepared.model}
    changed = [dataclasses.astuple(departure) for departure in departures]
    report_orbit(
        folder, prepared.photo, poses, images, summary, options.seed, changed, options.settings.DIFFERENCES
    )  # fmt: skip
    watch(Note(f"report: {folder.path / 'report.html'}"))
    return result


def _views(prepared: Prepared, poses: list[RelativePose], folder: RunFolder, watch: Watch) -> list[Tensor]:
    """All views, written as they are made; one that is there is kept. Views that build upon each other are all made
    anew, unless they all are there: the same ones, as nothing but the seed decides."""
    files = [folder.path / "views" / f"{index:03}_{pose_name(pose)}.png" for index, pose in enumerate(poses)]
    points = folder.path / "points.ply"
    absent = [index for index, file in enumerate(files) if not file.is_file()]
    todo = absent
    if prepared.known is not None and (absent or not points.is_file()):
        todo = list(range(len(poses)))
    known = [] if prepared.known is None else [prepared.known]
    for made, (place, view) in enumerate(prepared.views([poses[index] for index in todo]), start=1):
        index = todo[place]
        if index in absent:
            if view.partial is not None:
                watch(Picture(f"view {index:03} {pose_name(poses[index])}", conditions(view)))
            folder.write_image(files[index].relative_to(folder.path), view.image)
        known += [] if view.invented is None else [view.invented]
        watch(ItemDone(STAGE, len(poses) - len(todo) + made, len(poses)))
    if todo and prepared.known is not None:
        write_surface(points, known)
    return [torch.from_numpy(read_image(file, file.name, image_size(file, file.name))).float() / 255 for file in files]


def write_surface(path: Path, known: list[SurfacePoints]) -> None:
    """Write all points as a coloured PLY in the object's own space: centre at the origin, radius about 1, z up."""
    positions = torch.cat([points.positions for points in known]).double().cpu().numpy()
    colors = (torch.cat([points.colors for points in known]).clamp(0, 1) * 255).round().byte().cpu().numpy()
    write_ply(path, positions, colors, precise=False)


def read_pose(text: str, elevation: float) -> RelativePose:
    """AZIMUTH,ELEVATION,DISTANCE for a photo taken from `elevation`. Raises MethodError."""
    try:
        pose = RelativePose(*(float(number) for number in text.split(",")))
    except (TypeError, ValueError):
        raise MethodError(f"pose: expected AZIMUTH,ELEVATION,DISTANCE such as 30,10,1, got '{text}'.") from None
    if not all(math.isfinite(number) for number in dataclasses.astuple(pose)):
        raise MethodError(f"pose: expected finite numbers, got '{text}'.")
    if abs(elevation + pose.elevation) > 90:
        raise MethodError(
            f"pose: expected the camera between straight below and straight above, -90 to 90 degrees; the photo's "
            f"{elevation:g} and {pose.elevation:g} make {elevation + pose.elevation:g}."
        )
    if abs(pose.azimuth) > MOST_TURN:
        raise MethodError(f"pose: expected an azimuth within {MOST_TURN:g} degrees either way, got {pose.azimuth:g}.")
    if not NEAREST <= pose.distance <= FARTHEST:
        raise MethodError(
            f"pose: expected a distance of {NEAREST:g} to {FARTHEST:g} times the photo's, got {pose.distance:g}."
        )
    return pose


def pose_name(pose: RelativePose) -> str:
    """What files of a view are called: different for different poses."""
    return f"{pose.azimuth:+.6g}_{pose.elevation:+.6g}_{pose.distance:.6g}"


def conditions(view: NovelView) -> Tensor:
    """Side by side what was known of a view, the soft mask, the epipolar mask, and the view."""
    assert view.partial is not None
    masks = (view.partial.soft_mask, view.partial.epipolar_mask.float())
    shown = [view.partial.image(), *(mask[..., None].expand(-1, -1, 3) for mask in masks), view.image]
    return torch.cat(shown, 1)


def grid(images: list[Tensor]) -> Tensor:
    """Images as one picture, about three wide to two high."""
    columns = max(1, round(math.sqrt(len(images) * 1.5)))
    blank = [torch.ones_like(images[0])] * (-len(images) % columns)
    rows = [torch.cat(row, 1) for row in _chunks([*images, *blank], columns)]
    return torch.cat(rows, 0)


def _chunks(items: list[Tensor], size: int) -> list[list[Tensor]]:
    return [items[first : first + size] for first in range(0, len(items), size)]
