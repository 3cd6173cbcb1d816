"""A run can be looked at while it goes on: its newest checkpoint of a field, whatever else is saved beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY_NERF
from unscene.fields.nerf import Nerf
from unscene.jobs.fit import FitOptions
from unscene.jobs.remove_options import RemoveOptions
from unscene.methods import InNOutConfig
from unscene.results.run import keep_cameras, keep_run, open_under_way
from unscene.training.run import RunError, RunFolder


def nerf(room, seed: int) -> Nerf:
    return Nerf.around(room.scene.cameras, TINY_NERF, torch.Generator().manual_seed(seed))


def save(folder: RunFolder, stage: str, tensors: dict[str, torch.Tensor], *, age: float) -> None:
    """Save a stage as if it had been so many seconds ago."""
    folder.checkpoints(0).save(stage, tensors, finished=False)
    file = folder.path / "checkpoint" / f"{stage}.safetensors"
    os.utime(file, (file.stat().st_mtime - age,) * 2)


def fitted(field: Nerf) -> dict[str, torch.Tensor]:
    return {f"model.{name}": tensor for name, tensor in field.state_dict().items()} | {"exp_avg": torch.zeros(1)}


def same(first: Nerf, second: Nerf) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("job", "options"),
    [("fit", FitOptions(nerf=TINY_NERF)), ("remove", RemoveOptions(in_n_out=InNOutConfig(nerf=TINY_NERF)))],
)
def test_the_newest_field_is_shown(tmp_path: Path, room, job: str, options) -> None:
    folder = RunFolder.create(tmp_path / "run", {"job": job, "options": options}, resume=False)
    assert open_under_way(folder.path, "cpu") is None
    keep_cameras(folder, room.scene)
    assert open_under_way(folder.path, "cpu") is None
    old, new = nerf(room, 1), nerf(room, 2)
    save(folder, "reconstruction", fitted(old), age=60)
    save(folder, "base-view", {"image": torch.zeros(2, 2, 3)}, age=5)  # newer, and no field
    run = open_under_way(folder.path, "cpu")
    assert run is not None and same(run.field, old) and run.names == room.scene.names
    save(folder, "joint", fitted(new), age=0)
    (folder.path / "checkpoint" / "half.safetensors").write_bytes(b"\x10")  # as a full disk leaves one
    run = open_under_way(folder.path, "cpu")
    assert run is not None and same(run.field, new)

    last = nerf(room, 3)
    keep_run(folder, last, room.scene)
    run = open_under_way(folder.path, "cpu")
    assert run is not None and same(run.field, last)


def test_a_job_without_a_field_has_none_to_show(tmp_path: Path, room) -> None:
    folder = RunFolder.create(tmp_path / "run", {"job": "mask", "options": {"rays": 3}}, resume=False)
    keep_cameras(folder, room.scene)
    save(folder, "fit", fitted(nerf(room, 1)), age=0)
    assert open_under_way(folder.path, "cpu") is None
    with pytest.raises(RunError, match=r"expected a run folder with a config\.json"):
        open_under_way(tmp_path, "cpu")
