"""Gaussian splats from photos to files: fitted, opened again, exported, shown while they are fitted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

import unscene
from tests.box_scene import BoxScene, write_capture
from tests.conftest import TINY_NERF
from unscene.cli import main
from unscene.fields.field import render_pixels, render_view
from unscene.fields.splats import Splats
from unscene.jobs import export as export_job
from unscene.jobs.export import export
from unscene.jobs.fit import FitOptions
from unscene.results.run import Run, open_run, open_under_way
from unscene.splat_files.formats import read_splats
from unscene.splat_files.splat_error import SplatError
from unscene.stages.splat_reconstruction import SplatConfig
from unscene.training.events import Event, Note, StageStarted
from unscene.training.fit import FitConfig
from unscene.training.run import RunError
from unscene.training.splats import SplatGrowthConfig

pytestmark = pytest.mark.usefixtures("one_thread")
SPLATS = SplatConfig(count=900, most=1000, degree=1, depth_share=0.6, growth=SplatGrowthConfig(interval=10))
OPTIONS = FitOptions(field="splats", splats=SPLATS, nerf=TINY_NERF, fit=FitConfig(steps=500))


@pytest.fixture(scope="module")
def fitted(room_with_tests: BoxScene, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[Event]]:
    events: list[Event] = []
    run = unscene.fit(room_with_tests.scene, tmp_path_factory.mktemp("runs") / "fit", OPTIONS, watch=events.append)
    return run, events


def test_splats_learn_the_photos(fitted: tuple[Run, list[Event]], room_with_tests: BoxScene) -> None:
    run, events = fitted
    assert [event.stage for event in events if isinstance(event, StageStarted)] == ["depth", "splats"]
    assert isinstance(run.field, Splats) and 900 < len(run.field.means) <= 1000  # some were added
    scene = room_with_tests.scene
    errors = [render_view(run.field, run.cameras, view).color - scene.image(view) for view in scene.train.tolist()]
    assert torch.stack(errors).square().mean() < 10**-2.5  # 25 dB
    assert run.metrics["psnr"] > 13 and run.metrics["held_out_views"] == 2  # beyond the others, to the side


def test_a_run_is_opened_as_it_was(fitted: tuple[Run, list[Event]]) -> None:
    run, _ = fitted
    again = open_run(run.folder, "cpu")
    ours, theirs = (render_view(each.field, run.cameras, 1) for each in (run, again))
    assert torch.equal(ours.color, theirs.color) and torch.equal(ours.depth, theirs.depth)
    xy = torch.tensor([[3.5, 7.5], [40.2, 20.9]])
    some = render_pixels(again.field, run.cameras, 1, xy)
    assert torch.equal(some.color, ours.color[[7, 20], [3, 40]]) and torch.equal(
        some.depth, ours.depth[[7, 20], [3, 40]]
    )


def test_every_format_is_written(fitted: tuple[Run, list[Event]], tmp_path: Path) -> None:
    run, _ = fitted
    kept = read_splats(run.folder / "splats.ply").gaussians
    for format, name in (("splats", "a.ply"), ("splat", "a.splat"), ("spz", "a.spz")):
        path = export(run, format, tmp_path / name)
        assert len(read_splats(path).gaussians) == len(kept)
    assert torch.equal(read_splats(tmp_path / "a.ply").gaussians.means, kept.means)
    cloud = trimesh.load(export(run, "ply", tmp_path / "points.ply"))
    inside = (np.abs(np.asarray(cloud.vertices) - [0, 0, 1]) < [2.5, 2.0, 3.5]).all(1)
    assert inside.mean() > 0.9
    with pytest.raises(SplatError, match=r"ends in \.spz"):
        export(run, "spz", tmp_path / "a.ply")


def test_a_radiance_field_is_distilled(room: BoxScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = unscene.fit(room.scene, tmp_path / "nerf", FitOptions(nerf=TINY_NERF, fit=FitConfig(steps=150)))
    monkeypatch.setattr(export_job, "DISTILLING", FitConfig(steps=120))
    monkeypatch.setattr(export_job, "SplatConfig", lambda: SPLATS)
    path = export(open_run(run.folder, "cpu"), "splats", tmp_path / "out.ply")
    splats = Splats.around(run.cameras, read_splats(path).gaussians)
    pictures = [[render_view(field, run.cameras, view).color for view in range(8)] for field in (splats, run.field)]
    ours, theirs = (torch.stack(views) for views in pictures)
    assert (ours - theirs).square().mean() < 0.1 * (theirs - theirs.mean((0, 1, 2))).square().mean()


def test_splats_far_from_the_origin_say_where(room: BoxScene, tmp_path: Path, fitted: tuple[Run, list[Event]]) -> None:
    run, said = fitted[0], []
    far = dataclasses.replace(run, origin=torch.tensor([5e5, 4e6, 100.0], dtype=torch.float64))
    content = read_splats(export(far, "splats", tmp_path / "a.ply", watch=said.append))
    assert "scene_origin 500000 4000000 100" in content.comments
    assert any(isinstance(event, Note) and "500000 4000000 100" in event.text for event in said)


def test_a_killed_fit_goes_on(room_with_tests: BoxScene, tmp_path: Path) -> None:
    """What it shows meanwhile: first the radiance field, then the splats."""
    options = dataclasses.replace(OPTIONS, fit=FitConfig(steps=60, checkpoint_seconds=0))
    shown = set()

    def killed(event: Event) -> None:
        if (run := open_under_way(tmp_path / "run", "cpu")) is not None:
            shown.add(type(run.field).__name__)
        if type(event).__name__ == "StepDone" and event.stage == "splats" and event.progress > 0.5:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unscene.training.meter.REPORT_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            unscene.fit(room_with_tests.scene, tmp_path / "run", options, watch=killed)
    assert shown == {"Nerf", "Splats"}
    resumed = unscene.fit(room_with_tests.scene, tmp_path / "run", options, resume=True)
    whole = unscene.fit(room_with_tests.scene, tmp_path / "whole", options)
    assert isinstance(resumed.field, Splats) and isinstance(whole.field, Splats)
    torch.testing.assert_close(resumed.field.used.means, whole.field.used.means, atol=1e-3, rtol=1e-3)


def test_sparse_points_are_where_splats_begin(room: BoxScene, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(500, 3, generator=generator) * torch.tensor([3.8, 2.8, 5.8]) - torch.tensor([1.9, 1.4, 1.9])
    scene = dataclasses.replace(room.scene, points=points, point_colors=torch.full((500, 3), 90, dtype=torch.uint8))
    events: list[Event] = []
    options = dataclasses.replace(OPTIONS, fit=FitConfig(steps=3))
    unscene.fit(scene, tmp_path / "run", options, watch=events.append)
    assert [event.stage for event in events if isinstance(event, StageStarted)] == ["splats"]
    splats = dataclasses.replace(SPLATS, start="depth")
    unscene.fit(scene, tmp_path / "depth", dataclasses.replace(options, splats=splats), watch=events.append)
    assert "depth" in [event.stage for event in events if isinstance(event, StageStarted)]


def test_numbers_that_mean_nothing_are_refused(room: BoxScene, tmp_path: Path) -> None:
    for splats in (SplatConfig(degree=4), SplatConfig(count=0), SplatConfig(depth_share=1.5)):
        with pytest.raises(RunError, match=r"--splats\.\S+: expected"):
            unscene.fit(room.scene, tmp_path / "run", FitOptions(field="splats", splats=splats))


def test_the_command_line(room: BoxScene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_capture(tmp_path / "scene", room.scene)
    command = ["fit", str(tmp_path / "scene"), "--out", str(tmp_path / "run"), "--field", "splats", "--steps", "4"]
    assert main([*command, "--splats.count", "300", "--holdout", "4"]) == 0
    assert main(["export", str(tmp_path / "run"), "--format", "splat"]) == 0
    assert (tmp_path / "run" / "scene.splat").stat().st_size % 32 == 0
    assert main(["render", str(tmp_path / "run"), "--out", str(tmp_path / "views")]) == 0
    removal = ["remove", str(tmp_path / "scene"), "--out", str(tmp_path / "r"), "--start-from", str(tmp_path / "run")]
    assert main(removal) == 1
    assert "Traceback" not in capsys.readouterr().err
