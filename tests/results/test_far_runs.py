"""Runs in survey coordinates: reopened, rendered from cameras of the world, exported as points."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from unscene.fields.nerf import Nerf
from unscene.jobs.export import export
from unscene.results.run import Run, keep_run, open_run
from unscene.scenes.transforms import read_cameras
from unscene.training.run import RunFolder

ORIGIN = torch.tensor([441547.0, 5121945.0, 2345.0], dtype=torch.float64)


def kept(room: BoxScene, folder: Path, origin: torch.Tensor) -> Run:
    scene = replace(room.scene, origin=origin)
    nerf = Nerf.around(scene.cameras, TINY_NERF, torch.Generator().manual_seed(0))
    return keep_run(RunFolder.create(folder, {}, resume=False), nerf, scene)


@pytest.fixture
def run(room: BoxScene, tmp_path: Path) -> Run:
    return kept(room, tmp_path / "run", ORIGIN)


def test_a_run_opens_as_it_was_kept(run: Run) -> None:
    opened = open_run(run.folder, "cpu")
    assert torch.equal(opened.origin, ORIGIN) and opened.origin.dtype == torch.float64
    torch.testing.assert_close(opened.cameras.T_world_camera, run.cameras.T_world_camera, atol=1e-7, rtol=1e-6)


def test_its_cameras_are_listed_in_the_world(run: Run) -> None:
    listed = json.loads((run.folder / "cameras.json").read_text())["frames"]
    positions = np.array([np.array(frame["transform_matrix"])[:3, 3] for frame in listed])
    expected = run.cameras.positions.double().numpy() + ORIGIN.numpy()
    np.testing.assert_allclose(positions, expected, atol=1e-8, rtol=0)


def test_cameras_of_the_world_render_what_its_own_do(run: Run, tmp_path: Path) -> None:
    opened = open_run(run.folder, "cpu")
    cameras = read_cameras(run.folder / "cameras.json", opened.origin)[opened.train]
    own = [file.read_bytes() for file in run.render("test", tmp_path / "own")]
    assert [file.read_bytes() for file in opened.render(cameras, tmp_path / "world")] == own


def test_points_are_in_the_world_to_the_last_digit(room: BoxScene, run: Run, tmp_path: Path, few_points: None) -> None:
    near = kept(room, tmp_path / "near", torch.zeros(3, dtype=torch.float64))
    clouds = [trimesh.load(export(made, "ply", tmp_path / f"{i}.ply")) for i, made in enumerate((near, run))]
    positions = [np.asarray(cloud.vertices) for cloud in clouds]  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(positions[1] - ORIGIN.numpy(), positions[0], atol=1e-5, rtol=1e-6)
    headers = [(tmp_path / f"{i}.ply").read_bytes()[:120] for i in range(2)]
    assert b"property float x" in headers[0] and b"property double x" in headers[1]


@pytest.fixture
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unscene.jobs.export.POINTS", 2000)


def test_runs_written_before_there_was_an_origin_open(room: BoxScene, tmp_path: Path) -> None:
    run = kept(room, tmp_path / "run", torch.zeros(3, dtype=torch.float64))
    assert "scene_origin" not in json.loads((run.folder / "cameras.json").read_text())
    opened = open_run(run.folder, "cpu")
    assert not opened.origin.any() and torch.equal(opened.cameras.positions, run.cameras.positions)
