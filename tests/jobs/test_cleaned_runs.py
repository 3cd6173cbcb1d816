"""`unscene remove --clean`: the cells that a field keeps go with it wherever it goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import unscene
from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from unscene.fields.field import render_view
from unscene.methods import InNOutConfig, NaiveConfig, SpinNerfConfig
from unscene.results.run import open_run, open_under_way
from unscene.training.events import Event, ItemDone, Note, StageDone, StageStarted
from unscene.training.fit import FitConfig

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = FitConfig(steps=3)
OPTIONS = unscene.RemoveOptions(
    prior="telea", fill="mask", video_frames=3, clean=True,
    in_n_out=InNOutConfig(
        nerf=TINY_NERF, reconstruction=FitConfig(steps=20, learning_rate=3e-2), prior=STEPS, joint=STEPS, rays=256,
        prior_rays=32, candidates=2, patch_loss=False, restart=True,
    ),
    naive=NaiveConfig(nerf=TINY_NERF, fit=STEPS, rays=64),
    spin_nerf=SpinNerfConfig(nerf=TINY_NERF, with_object=STEPS, fit=STEPS, most_views=2),
)  # fmt: skip


class Killed(BaseException):
    """Stands for a kill in mid-run."""


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unscene.jobs.removal_results.write_points", lambda *_, **__: iter(()))


def test_a_cleaned_run_is_the_same_when_it_goes_on_and_when_it_is_opened_again(room: BoxScene, tmp_path: Path) -> None:
    def kill(event: Event) -> None:
        if isinstance(event, ItemDone) and event.stage == "depth maps":
            raise Killed

    out = tmp_path / "run"
    with pytest.raises(Killed):
        unscene.remove(room.scene, out, OPTIONS, watch=kill)
    log: list[Event] = []
    run = unscene.remove(room.scene, out, OPTIONS, resume=True, watch=log.append)
    assert "cleaning" not in [event.stage for event in log if isinstance(event, StageStarted)], "it was done"
    assert any("cleaning at the end: no photo" in event.text for event in log if isinstance(event, Note))
    assert (out / "previews" / "before-and-after-cleaning.png").is_file()
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "before and after cleaning (left: with haze and floaters" in report
    assert "orange: this one invented it" in report and "of what the object hides there photos show" in report

    occupancy = run.field.state_dict()["occupancy"]
    assert occupancy.any() and not (occupancy == -1).all()
    for opened in (open_run(out, "cpu"), open_under_way(out, "cpu")):
        assert opened is not None and torch.equal(opened.field.state_dict()["occupancy"], occupancy)
        ours, theirs = (render_view(field, run.cameras, 0).color for field in (run.field, opened.field))
        assert torch.equal(ours, theirs)
    assert run.metrics["outside_of_photos"].keys() == {"frame-0", "frame-1", "frame-2"}


def test_a_run_under_way_shows_its_field_cleaned(room: BoxScene, tmp_path: Path) -> None:
    def kill(event: Event) -> None:
        if isinstance(event, StageDone) and event.stage == "single-view prior":
            raise Killed

    with pytest.raises(Killed):
        unscene.remove(room.scene, tmp_path / "run", OPTIONS, watch=kill)
    run = open_under_way(tmp_path / "run", "cpu")
    assert run is not None and "occupancy" in run.field.state_dict()


@pytest.mark.parametrize("method", ["naive", "spin-nerf"])
def test_methods_without_a_reconstruction_are_cleaned_at_the_end(room: BoxScene, tmp_path: Path, method: str) -> None:
    run = unscene.remove(room.scene, tmp_path / "run", replace(OPTIONS, method=method, video_frames=0))  # pyright: ignore[reportArgumentType]
    assert "occupancy" in run.field.state_dict()
    assert run.metrics["outside_of_photos"] == {}
