"""A finished run's results for other tools, again or somewhere else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import torch

from unscene.files import atomic_write
from unscene.geometry.cameras import orbit_path
from unscene.jobs.running import drain
from unscene.results.export import write_points, write_video
from unscene.results.run import PATH_FRAMES, Run
from unscene.training.events import Watch, ignore
from unscene.training.run import RunError

Format = Literal["dataset", "ply", "video"]
FILES: dict[Format, str] = {"dataset": "dataset", "ply": "scene.ply", "video": "video.mp4"}
POINTS = 200_000


def export(run: Run, format: Format, out: Path | None = None, *, watch: Watch = ignore) -> Path:
    """Write the cleaned data set, coloured points or an orbit as video to ``out``, by default to where the run keeps
    it; returns the path. Raises RunError for a run without a data set and for a data set's folder that exists."""
    path = out or run.folder / FILES[format]
    if format == "dataset":
        _copy_dataset(run.folder / "dataset", path)
    elif format == "video":
        drain(write_video(path, run.field, orbit_path(run.cameras[run.train], PATH_FRAMES)), watch, resumable=False)
    else:
        generator, cameras = torch.Generator().manual_seed(0), run.cameras[run.train]
        points = write_points(path, run.field, cameras, points=POINTS, generator=generator, origin=run.origin)
        drain(points, watch, resumable=False)
    return path


def _copy_dataset(dataset: Path, out: Path) -> None:
    if not (dataset / "transforms.json").is_file():
        raise RunError(f"{dataset}: expected the cleaned data set of a finished `remove`, found none.")
    if out.resolve() == dataset.resolve():
        return
    if out.exists():
        raise RunError(f"{out}: expected a new folder for the data set, but it exists; choose another --out.")
    with atomic_write(out) as temporary:
        shutil.copytree(dataset, temporary)
