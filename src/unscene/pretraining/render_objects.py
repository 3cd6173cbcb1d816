"""Render training data of novel-view models: procedural objects, or a folder of meshes, into WebDataset shards."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unscene.files import write_json
from unscene.geometry.cameras import Cameras
from unscene.geometry.turntable import object_cameras
from unscene.objects.mesh import TexturedMesh, normalized
from unscene.objects.mesh_files import find_meshes, load_mesh
from unscene.objects.object_error import ObjectError
from unscene.objects.procedural import procedural_object
from unscene.objects.ray_tracer import RayTracer, random_lighting
from unscene.pretraining.object_shards import ObjectSample, write_index, write_shard
from unscene.ranges import check_ranges
from unscene.training.events import ItemDone, Note, StageDone, StageStarted, Watch, ignore

FIELD_OF_VIEW = 45.0  # degrees
STAGE = "objects"
FREE = ("out", "objects", "workers")  # settings that a later call may change


@dataclass(frozen=True)
class ObjectRendering:
    """What to render."""

    out: Path
    """Folder for the shards; those that are there already are kept, so a killed run goes on."""
    meshes: Path | None = None
    """Folder of .glb, .gltf and .obj files, searched recursively; without it objects are procedural."""
    objects: int = 1000
    """How many procedural objects; of meshes, at most how many."""
    views: int = 10
    """Views of each."""
    size: int = 128
    """Side of a view, pixels."""
    samples: int = 2
    """Rays per pixel along each axis."""
    per_shard: int = 50
    """Objects in a shard."""
    seed: int = 0
    """Of objects, lights and cameras. Objects of different seeds are different: keep one for testing."""
    workers: int = 1
    """Processes, a shard each at a time."""


def render_objects(config: ObjectRendering, watch: Watch = ignore) -> Path:
    """Render all objects; returns the folder. A mesh that cannot be read is named and left out. Raises ObjectError."""
    check_settings(config)
    found = find_meshes(config.meshes) if config.meshes else []
    files = found[: config.objects]
    count = len(files) or config.objects
    _check_as_begun(config, found)
    chunks = [range(first, min(first + config.per_shard, count)) for first in range(0, count, config.per_shard)]
    counts: dict[str, int] = {}
    watch(StageStarted(STAGE))
    began = time.monotonic()
    # Warp and OpenCV do not survive a fork
    with ProcessPoolExecutor(config.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_render_shard, config, files, number, chunk) for number, chunk in enumerate(chunks)]
        try:
            for done, job in enumerate(jobs, start=1):
                name, written, notes = job.result()
                counts[name] = written
                for note in notes:
                    watch(Note(note))
                watch(ItemDone(STAGE, min(done * config.per_shard, count), count))
        except BrokenProcessPool as error:
            raise ObjectError(_suspects(config, files, chunks, jobs)) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or it would render all the rest first
            raise
    counts = {name: written for name, written in counts.items() if written}
    if not counts:
        raise ObjectError(f"{config.meshes}: expected at least one mesh that can be read, found none.")
    write_index(config.out, counts)
    watch(StageDone(STAGE, time.monotonic() - began))
    return config.out


def check_settings(config: ObjectRendering) -> None:
    """Raise ObjectError for numbers that mean nothing."""
    ranges: dict[str, tuple[int, float, float]] = {
        "objects": (config.objects, 1, 1e9),
        "views": (config.views, 2, 1000),  # two make a pair
        "size": (config.size, 1, 16_384),
        "samples": (config.samples, 1, 64),
        "per-shard": (config.per_shard, 1, 1e9),
        "seed": (config.seed, 0, 1e18),
        "workers": (config.workers, 1, 10_000),
    }
    check_ranges(ranges, ObjectError)


def _suspects(config: ObjectRendering, files: list[Path], chunks: list[range], jobs: list[Future]) -> str:
    """What to say when a worker was killed: only those that were being rendered can have been its end."""
    unfinished = [chunk for chunk, job in zip(chunks, jobs, strict=True) if not job.done() or job.exception()]
    named = []
    for chunk in unfinished[: config.workers]:
        first, last = (str(files[index]) if files else str(index) for index in (chunk[0], chunk[-1]))
        named.append(first if first == last else f"{first} to {last}")
    kind = "meshes" if files else "objects"
    out_of_meshes = ", or take the largest of them out of the folder and choose another --out" if files else ""
    return (
        f"{config.out}: expected a whole shard from every worker, but one was killed, as when memory runs out, at "
        f"{kind} {'; '.join(named)}; repeat the command with fewer --workers{out_of_meshes}. Finished shards are kept."
    )


def _check_as_begun(config: ObjectRendering, meshes: list[Path]) -> None:
    """Note what the folder's shards are made with. Raises ObjectError if that was something else."""
    settings = {f.name: str(getattr(config, f.name)) for f in dataclasses.fields(config) if f.name not in FREE}
    # objects are numbered by their mesh's place in this list
    files = [path.relative_to(config.meshes).as_posix() for path in meshes] if config.meshes else []
    noted = config.out / "settings.json"
    now: dict[str, Any] = settings | {"mesh_files": files}
    before = json.loads(noted.read_text(encoding="utf-8")) if noted.is_file() else now
    differing = sorted(name for name in settings if before.get(name) != settings[name])
    if differing:
        raise ObjectError(
            f"{config.out}: expected the settings its shards were begun with, got other values for "
            f"{', '.join(differing)}; choose another --out, or delete it."
        )
    _check_mesh_files(config, before.get("mesh_files", []), files)
    write_json(noted, now)


def _check_mesh_files(config: ObjectRendering, before: list[str], now: list[str]) -> None:
    added, gone = sorted(set(now) - set(before)), sorted(set(before) - set(now))
    if added or gone:
        changes = [f"{len(names)} {verb} ({names[0]})" for verb, names in (("more", added), ("gone", gone)) if names]
        raise ObjectError(
            f"{config.out}: expected the mesh files its shards were begun with in {config.meshes}, got "
            f"{' and '.join(changes)}; restore that folder, or choose another --out."
        )


def object_views(
    mesh: TexturedMesh, cameras: Cameras, rng: np.random.Generator, *, samples: int, key: str
) -> ObjectSample:
    """All views of one object under one light."""
    tracer = RayTracer(mesh, random_lighting(rng))
    views = [tracer.render(cameras, view, samples=samples) for view in range(len(cameras))]
    colors = [torch.cat([view.color, view.alpha[..., None]], -1) for view in views]
    return ObjectSample(
        key=key,
        colors=(torch.stack(colors).clamp(0, 1) * 255).round().to(torch.uint8),
        depths=torch.stack([view.depth for view in views]),
        cameras=cameras,
    )


def random_cameras(views: int, size: int, rng: np.random.Generator) -> Cameras:
    """Cameras all around, from a little below the horizon to well above; every tenth of the circle gets its share."""
    azimuth = (np.arange(views) + rng.random(views)) * 360 / views + rng.uniform(0, 360)
    return object_cameras(
        torch.from_numpy(azimuth),
        torch.from_numpy(rng.uniform(-10, 50, views)),
        torch.from_numpy(rng.uniform(2.7, 3.3, views)),
        field_of_view=FIELD_OF_VIEW,
        size=size,
    )


def _render_shard(config: ObjectRendering, files: list[Path], number: int, chunk: range) -> tuple[str, int, list[str]]:
    torch.set_num_threads(1)
    path, notes = config.out / f"objects-{config.seed}-{number:05}.tar", []
    tally = path.with_suffix(".count")
    covered = [chunk.start, chunk.stop]
    noted = json.loads(tally.read_text(encoding="utf-8")) if path.is_file() and tally.is_file() else None
    if isinstance(noted, dict) and noted["objects"] == covered:  # with more objects the last shard may have grown
        return path.name, noted["samples"], notes

    def samples() -> Iterator[ObjectSample]:
        for index in chunk:
            rng = np.random.default_rng([config.seed, index])
            try:
                mesh = normalized(load_mesh(files[index])) if files else procedural_object(rng)
            except ObjectError as error:
                notes.append(f"left out: {error}")
                continue
            cameras = random_cameras(config.views, config.size, rng)
            yield object_views(mesh, cameras, rng, samples=config.samples, key=f"object-{config.seed}-{index:07}")

    tally.unlink(missing_ok=True)  # killed between the two writes, it would pass off the new shard as the old
    written = write_shard(path, samples())
    write_json(tally, {"objects": covered, "samples": written})
    return path.name, written, notes
