"""A finished run's results for other tools, again or somewhere else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import torch

from unscene.fields.field import render_view
from unscene.fields.nerf import Nerf
from unscene.fields.splats import Splats
from unscene.files import atomic_write, to_uint8
from unscene.geometry.cameras import orbit_path
from unscene.jobs.running import drain
from unscene.results.export import write_points, write_video
from unscene.results.run import PATH_FRAMES, SPLATS, Run
from unscene.scenes.scene import Scene
from unscene.splat_files.formats import write_splats
from unscene.splat_files.splat_error import SplatError
from unscene.splat_files.splat_file import SplatFile
from unscene.stages.splat_reconstruction import SplatConfig, distilled_splats
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import ItemDone, Note, StageStarted, Watch, ignore
from unscene.training.fit import FitConfig
from unscene.training.run import RunError

Format = Literal["dataset", "ply", "video", "splats", "splat", "spz"]
FILES: dict[Format, str] = {
    "dataset": "dataset", "ply": "scene.ply", "video": "video.mp4", "splats": SPLATS, "splat": "scene.splat",
    "spz": "scene.spz",
}  # fmt: skip
POINTS = 200_000
DISTILLING = FitConfig(steps=1500, seconds=180)


def export(run: Run, format: Format, out: Path | None = None, *, watch: Watch = ignore) -> Path:
    """Write the cleaned data set, coloured points, an orbit as video or Gaussian splats to ``out``, by default to where
    the run keeps it; returns the path.

    A radiance field is distilled into splats first. Raises RunError for a run without a data set and for a data set's
    folder that exists, SplatError for a name of splats that does not end as their format does.
    """
    path = out or run.folder / FILES[format]
    if format == "dataset":
        _copy_dataset(run.folder / "dataset", path)
    elif format == "video":
        drain(write_video(path, run.field, orbit_path(run.cameras[run.train], PATH_FRAMES)), watch, resumable=False)
    elif format in ("splats", "splat", "spz"):
        _write_splats(run, format, path, watch)
    else:
        generator, cameras = torch.Generator().manual_seed(0), run.cameras[run.train]
        points = write_points(path, run.field, cameras, points=POINTS, generator=generator, origin=run.origin)
        drain(points, watch, resumable=False)
    return path


def _write_splats(run: Run, format: Format, path: Path, watch: Watch) -> None:
    suffix = Path(FILES[format]).suffix
    if path.suffix.lower() != suffix:
        raise SplatError(f"{path}: expected a name that ends in {suffix} for --format {format}; choose another --out.")
    write_run_splats(
        run, run.field if isinstance(run.field, Splats) else _distilled(run.field, run, watch), path, watch
    )


def write_run_splats(run: Run, splats: Splats, path: Path, watch: Watch) -> None:
    """Write a run's Gaussians for other tools: those that can be seen, and in words which way their axes point."""
    comments = ("axes: right, down, forward, as in COLMAP",)
    if run.origin.any():
        place = " ".join(f"{value:.12g}" for value in run.origin.tolist())
        comments += (f"scene_origin {place}",)
        watch(Note(f"the splats' coordinates begin at {place} of the input's world, or float would round them"))
    write_splats(path, SplatFile(splats.used.to("cpu"), comments=comments))


def _distilled(field: Nerf, run: Run, watch: Watch) -> Splats:
    """Gaussians that look like a run's radiance field from where its photos were taken."""
    watch(Note("the run's field is no splats: Gaussians begin at its depths and learn its renders"))
    cameras = run.cameras[run.train if len(run.train) else run.test]
    stage = "renders"
    watch(StageStarted(stage))
    images = []
    for view in range(len(cameras)):
        images.append(to_uint8(render_view(field, cameras, view).color))
        watch(ItemDone(stage, view + 1, len(cameras)))
    names = tuple(f"{view:05d}.png" for view in range(len(cameras)))
    scene = Scene("renders", cameras, torch.stack(images), names, torch.arange(len(cameras)), torch.arange(0))
    learning = distilled_splats(field, scene, SplatConfig(), DISTILLING, Checkpoints(None, 0))
    return drain(learning, watch, resumable=False)


def _copy_dataset(dataset: Path, out: Path) -> None:
    if not (dataset / "transforms.json").is_file():
        raise RunError(f"{dataset}: expected the cleaned data set of a finished `remove`, found none.")
    if out.resolve() == dataset.resolve():
        return
    if out.exists():
        raise RunError(f"{out}: expected a new folder for the data set, but it exists; choose another --out.")
    with atomic_write(out) as temporary:
        shutil.copytree(dataset, temporary)
