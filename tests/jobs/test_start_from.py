"""A removal that starts from another's reconstruction: what is taken over, what comes of it, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import unscene
from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from unscene import commands
from unscene.jobs.running import with_grown_masks
from unscene.jobs.start_from import RECORD, borrow, reconstruction_inputs
from unscene.losses.oriented_energies import OrientedEnergies
from unscene.methods import (
    METHODS,
    InfusionConfig,
    InNOutConfig,
    Inpaint3dConfig,
    InpaintNerf360Config,
    MaldNerfConfig,
    NerfillerConfig,
)
from unscene.priors.choose import load_prior
from unscene.results.export import write_points
from unscene.scenes.scene import Scene
from unscene.stages.inpainted_views import InpaintedViewsConfig
from unscene.stages.patches import PatchConfig
from unscene.stages.reconstruction import UnmaskedReconstruction
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note, StageDone, StageStarted
from unscene.training.fit import FitConfig
from unscene.training.run import RunError

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = FitConfig(steps=3)
SETTINGS = InNOutConfig(
    nerf=TINY_NERF, reconstruction=STEPS, prior=STEPS, joint=STEPS, rays=64, prior_rays=32, joint_prior_rays=32,
    candidates=2, patch=PatchConfig(size=16),
)  # fmt: skip
OPTIONS = unscene.RemoveOptions(prior="telea", fill="mask", video_frames=0, in_n_out=SETTINGS)
OTHER_VIEW = replace(OPTIONS, in_n_out=replace(SETTINGS, base_view="5"))


@pytest.fixture(scope="module", autouse=True)
def few_points() -> Iterator[None]:
    """Point clouds of less than the usual 200,000 points, which take as long as all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        few = lambda *a, **more: write_points(*a, **more | {"points": 100})  # noqa: E731
        patch.setattr("unscene.jobs.removal_results.write_points", few)
        yield


class Killed(BaseException):
    """Stands for a kill in mid-run."""


def kill_after(stage: str) -> Callable[[Event], None]:
    def watch(event: Event) -> None:
        if isinstance(event, StageDone) and event.stage == stage:
            raise Killed

    return watch


def begin(scene: Scene, out: Path, options: unscene.RemoveOptions, until: str, **more: Any) -> Path:
    """A run that is killed once a stage is done."""
    with pytest.raises(Killed):
        unscene.remove(scene, out, options, watch=kill_after(until), **more)
    return out


@pytest.fixture(scope="module")
def lender(one_thread: None, few_points: None, room: BoxScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Killed after its base view."""
    return begin(room.scene, tmp_path_factory.mktemp("runs") / "lender", OPTIONS, "base view")


def listen(log: list[Event]) -> tuple[list[str], list[str]]:
    """Stages that began, and notes."""
    return (
        [event.stage for event in log if isinstance(event, StageStarted)],
        [event.text for event in log if isinstance(event, Note)],
    )


def test_another_base_view_needs_no_other_reconstruction(room: BoxScene, lender: Path, tmp_path: Path) -> None:
    """The run is the one that all of it would have made, and may lend in its turn."""
    log: list[Event] = []
    taken = unscene.remove(room.scene, tmp_path / "taken", OTHER_VIEW, start_from=lender, watch=log.append)
    stages, notes = listen(log)
    assert "reconstruction" not in stages and {"base view", "single-view prior", "joint optimisation"} <= set(stages)
    assert f"'reconstruction' is taken over from {lender}" in notes and "base view: 005.png, chosen by hand" in notes
    assert taken.folder != lender and json.loads((taken.folder / "config.json").read_text())["start_from"] == str(
        lender
    )
    whole = unscene.remove(room.scene, tmp_path / "whole", OTHER_VIEW)
    for name, value in whole.field.state_dict().items():
        assert torch.equal(value, taken.field.state_dict()[name]), name
    for file in sorted((whole.folder / "dataset" / "images").iterdir()):
        assert file.read_bytes() == (taken.folder / "dataset" / "images" / file.name).read_bytes(), file.name
    begin(room.scene, tmp_path / "third", OPTIONS, "look behind the object", start_from=taken.folder)


def test_a_run_that_has_taken_over_goes_on_without_the_lender(room: BoxScene, lender: Path, tmp_path: Path) -> None:
    borrowed = shutil.copytree(lender, tmp_path / "lender")
    begin(room.scene, tmp_path / "run", OTHER_VIEW, "depth maps", start_from=borrowed)
    shutil.rmtree(borrowed)
    log: list[Event] = []
    with pytest.raises(Killed):
        unscene.remove(
            room.scene, tmp_path / "run", OTHER_VIEW, start_from=borrowed, resume=True,
            watch=lambda event: (log.append(event), kill_after("depth maps")(event)),
        )  # fmt: skip
    assert "reconstruction" not in listen(log)[0]
    begin(room.scene, tmp_path / "run", OTHER_VIEW, "depth maps", resume=True)


def test_a_run_may_start_from_another_methods(room: BoxScene, lender: Path, tmp_path: Path) -> None:
    infusion = InfusionConfig(nerf=TINY_NERF, reconstruction=STEPS, rays=64)
    options = replace(OPTIONS, method="infusion", infusion=infusion)
    out = begin(room.scene, tmp_path / "run", options, "look behind the object", start_from=lender)
    assert '"reconstruction"' not in (out / "events.jsonl").read_text()


def other_photos(scene: Scene) -> Scene:
    images = scene.images.clone()
    images[3, 0, 0] ^= 1
    return replace(scene, images=images)


def other_masks(scene: Scene) -> Scene:
    assert scene.masks is not None
    return scene.with_masks(scene.masks.roll(1, 2))


def moved_cameras(scene: Scene) -> Scene:
    return replace(scene, cameras=replace(scene.cameras, focal=scene.cameras.focal * 1.01))


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        (other_photos, {}, "photos;"),
        (other_masks, {}, "masks or --mask-margin;"),
        (moved_cameras, {}, "poses or lenses;"),
        (lambda scene: scene.with_holdout(4), {}, "photos, poses or lenses, masks or --mask-margin;"),
        (None, {"mask_margin": 3}, "masks or --mask-margin;"),
        (None, {"seed": 1}, "--seed;"),
        (None, {"effort": 2.0}, "steps of the reconstruction or --effort;"),
        (None, {"in_n_out": replace(SETTINGS, rays=65, pixel_error="squared")}, "rays, pixel error;"),
        (None, {"in_n_out": replace(SETTINGS, nerf=replace(TINY_NERF, hidden=32))}, "nerf;"),
    ],
)
def test_what_is_not_the_same_reconstruction_is_refused(
    room: BoxScene, lender: Path, tmp_path: Path, change: Callable[[Scene], Scene] | None, options: dict[str, Any],
    told: str,
) -> None:  # fmt: skip
    """In words, and before anything is written."""
    scene = change(room.scene) if change else room.scene
    with pytest.raises(RunError, match=f"got one with other {told} ask for the same"):
        unscene.remove(scene, tmp_path / "run", replace(OPTIONS, **options), start_from=lender)
    assert not (tmp_path / "run").exists()


def test_runs_that_have_nothing_to_lend_are_refused(room: BoxScene, lender: Path, tmp_path: Path) -> None:
    def refused(run: Path, told: str, options: unscene.RemoveOptions = OPTIONS, out: str = "run", **more: Any) -> None:
        with pytest.raises(RunError, match=told):
            unscene.remove(room.scene, tmp_path / out, options, start_from=run, **more)
        assert not (tmp_path / "run").exists()

    refused(tmp_path, r"expected a run folder with a config\.json")
    refused(lender, "expected a method that reconstructs first", replace(OPTIONS, method="naive"))
    early = shutil.copytree(lender, tmp_path / "early")
    (early / "checkpoint" / RECORD).unlink()
    refused(early, "got one of an earlier version")
    (early / "checkpoint" / RECORD).write_text("[]")
    refused(early, "got one of an earlier version")
    (early / "checkpoint" / "reconstruction.safetensors").write_bytes(b"cut off")
    refused(early, "has finished its reconstruction, got one that has not")
    refused(early, "expected another run to start from", out="early", resume=True)


def test_what_is_recorded_is_what_the_reconstruction_was_begun_with(room: BoxScene, tmp_path: Path) -> None:
    """Photos that changed while the run was stopped do not count if its finished reconstruction has not seen them."""
    out = begin(room.scene, tmp_path / "run", OPTIONS, "reconstruction")
    begin(other_photos(room.scene), out, OPTIONS, "look behind the object", resume=True)
    before, now = (
        reconstruction_inputs(with_grown_masks(scene, OPTIONS.mask_margin), SETTINGS, 0)
        for scene in (room.scene, other_photos(room.scene))
    )
    assert borrow(out, tmp_path / "new", before) is not None
    with pytest.raises(RunError, match="other photos;"):
        borrow(out, tmp_path / "new", now)


RECONSTRUCTING = {
    "in-n-out": replace(SETTINGS, pixel_error="squared"),
    "infusion": InfusionConfig(nerf=TINY_NERF, reconstruction=STEPS, rays=65),
    "inpaint3d": Inpaint3dConfig(nerf=TINY_NERF, reconstruction=STEPS, rays=66),
    "inpaint-nerf360": InpaintNerf360Config(
        nerf=TINY_NERF, reconstruction=STEPS, rays=67, loss=InpaintedViewsConfig(pixel_error="squared")
    ),
    "mald-nerf": MaldNerfConfig(nerf=TINY_NERF, reconstruction=STEPS, rays=68),
    "nerfiller": NerfillerConfig(nerf=TINY_NERF, reconstruction=STEPS, rays=69),
}


@pytest.mark.parametrize("method", METHODS)
def test_the_inputs_are_what_each_method_reconstructs_with(
    method: str, room: BoxScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method not in RECONSTRUCTING:
        settings = unscene.RemoveOptions(method=method).settings  # pyright: ignore[reportArgumentType]
        assert reconstruction_inputs(room.scene, settings, 0) is None
        return
    settings, used = RECONSTRUCTING[method], dict[str, Any]()

    def making(known: UnmaskedReconstruction, *given: Any, **named: Any) -> None:
        real(known, *given, **named)
        used.update(nerf=known.nerf.config, rays=known.rays, regularizer=known.regularizer)
        used["pixel error"] = known.error
        raise Killed

    real = UnmaskedReconstruction.__init__
    monkeypatch.setattr(UnmaskedReconstruction, "__init__", making)
    prior = load_prior("bundled" if method in ("inpaint3d", "mald-nerf", "nerfiller") else "telea")
    events = METHODS[method](
        room.scene, prior, OrientedEnergies(torch.device("cpu")), settings, Checkpoints(None, 0), fill="mask"
    )
    with pytest.raises(Killed):
        list(events)
    inputs = reconstruction_inputs(room.scene, settings, 0)
    assert inputs is not None and used == {name: inputs[name] for name in used}
    assert inputs["reconstruction"] == settings.reconstruction


def test_the_command_starts_from_a_run(room: BoxScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(commands, "load_scene", lambda *given, **named: room.scene)
    monkeypatch.setattr(
        commands, "remove", lambda scene, out, options, **named: asked.update(named, options=options) or run
    )
    run = type("Run", (), {"metrics": {}})
    commands.run("remove", [
        "captures/room", "--out", str(tmp_path / "b"), "--start-from", "runs/a", "--in-n-out.base-view", "004",
        "--in-n-out.base-picture", "mine.png", "--in-n-out.base-seed", "3",
    ])  # fmt: skip
    settings = asked["options"].in_n_out
    assert asked["start_from"] == Path("runs/a")
    assert (settings.base_view, settings.base_picture, settings.base_seed) == ("004", Path("mine.png"), 3)
