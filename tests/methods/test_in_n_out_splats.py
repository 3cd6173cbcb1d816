"""In-N-Out on Gaussians, as a whole on a tiny room: of photos, and of a given splat."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.box_scene import BoxScene
from tests.methods.resuming import check_that_a_killed_run_goes_on, finish
from tests.methods.test_in_n_out import CONFIG, RecordingInpainter, losses_of, notes_of, pixels_as_features, stages_of
from tests.splat_room import room_gaussians
from unscene.fields.splats import Splats
from unscene.geometry.gaussians import Gaussians
from unscene.jobs.running import with_grown_masks
from unscene.methods.in_n_out_splats import in_n_out_splats
from unscene.priors.classical import ExemplarInpainter
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages import splat_learner
from unscene.stages.removal import Removal
from unscene.stages.splat_learner import SplatRemovalConfig
from unscene.stages.splat_reconstruction import SplatConfig, learn_photos
from unscene.stages.splat_start import gaussians_at_depths
from unscene.stages.splat_surroundings import rendered_scene
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, StepDone
from unscene.training.fit import FitConfig

module = importlib.import_module("unscene.methods.in_n_out_splats")  # the package gives its name to the function
pytestmark = pytest.mark.usefixtures("one_thread", "report_every_step")

FEW = FitConfig(steps=3, learning_rate=1e-2, checkpoint_seconds=0)
SPLATS = SplatRemovalConfig(
    gaussians=SplatConfig(count=900, most=900), photos=FEW, surroundings=FEW, prior=FEW, joint=FEW
)


def start(
    scene: Scene, prior: Inpainter, checkpoints: Checkpoints | None = None, **more: Any
) -> Generator[Event, None, Removal]:
    checkpoints = checkpoints or Checkpoints(None, 0)
    return in_n_out_splats(scene, prior, pixels_as_features, CONFIG, SPLATS, checkpoints, **more)


@pytest.mark.parametrize("prior", [RecordingInpainter(), ExemplarInpainter()], ids=lambda prior: prior.name)
def test_the_object_goes_and_everything_else_stays(room_with_tests: BoxScene, prior: Inpainter) -> None:
    scene = room_with_tests.scene
    assert scene.masks is not None
    removal, log = finish(start(scene, prior))
    train, masks = scene.train, scene.masks
    assert torch.equal(removal.scene.images[~masks], scene.images[~masks])
    assert torch.equal(removal.scene.images[scene.test], scene.images[scene.test])
    changed = (removal.scene.images[train] != scene.images[train]).any(-1)
    assert changed[masks[train]].float().mean() > 0.8
    assert removal.filled[train].any(2).any(1).all() and not (removal.filled & ~masks).any()
    assert isinstance(removal.field, Splats) and all(t.isfinite().all() for t in removal.field.state_dict().values())
    aligned = ["aligned inpainting"] if isinstance(prior, RecordingInpainter) else []
    assert stages_of(log) == [
        "reconstruction", "views between", "splats", "look behind the object", "depth maps",
        "find what no view has seen", "base view", "surfaces behind the object", "single-view prior", *aligned,
        "joint optimisation", "render the cleaned views",
    ]  # fmt: skip
    first, last = losses_of(log, "single-view prior"), losses_of(log, "joint optimisation")
    assert first == {"reconstruction", "opacity", "prior colour", "prior depth"}
    assert last == first | {"patch L1", "patch perceptual", "patch adversarial"}
    assert any("new Gaussians begin at the surfaces" in note for note in notes_of(log))
    assert any("few photos: Gaussians learn" in note for note in notes_of(log))


def test_of_many_photos_gaussians_learn_nothing_else(room: BoxScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unscene.training.photo_depths.FEW", len(room.scene) - 1)
    _, log = finish(start(room.scene, ExemplarInpainter()))
    assert stages_of(log)[:2] == ["reconstruction", "splats"]


def test_a_run_that_was_killed_goes_on(room: BoxScene, tmp_path: Path) -> None:
    def reached(event: Event) -> bool:
        return isinstance(event, StepDone) and event.stage == "joint optimisation" and event.step == 2

    check_that_a_killed_run_goes_on(
        lambda checkpoints: start(room.scene, ExemplarInpainter(), checkpoints), reached, tmp_path, steps=13
    )


def test_the_object_is_taken_out_of_a_splat(room: BoxScene) -> None:
    """Of the box hardly anything is left, the walls stay, and the hole shows walls."""
    gaussians, is_box = room_gaussians(room)
    scene, _ = finish(rendered_scene(gaussians, room.scene))  # pyright: ignore[reportArgumentType]
    assert isinstance(scene, Scene) and scene.masks is not None
    scene = with_grown_masks(scene, 2)  # Gaussians are wider than the box
    assert scene.masks is not None
    red = (scene.images[..., 0].float() - scene.images[..., 1].float())[scene.masks]
    assert red.mean() > 50  # the renders show it
    removal, log = finish(
        start(
            scene, ExemplarInpainter(), given=gaussians, object_masks=with_grown_masks(room.scene, 1).masks, fill="mask"
        )
    )
    assert removal.rows is not None and stages_of(log)[:2] == ["select the object's Gaussians", "surroundings"]
    kept = removal.rows[removal.rows >= 0]
    assert len(kept.unique()) == len(kept)
    assert is_box[kept].float().sum() < 0.05 * is_box.sum()
    assert (~is_box)[kept].sum() > 0.8 * (~is_box).sum()
    place = {int(row): index for index, row in enumerate(removal.rows.tolist()) if row >= 0}
    same = [torch.equal(removal.field.means[place[row]], gaussians.means[row]) for row in kept.tolist()]
    assert sum(same) > 0.5 * len(kept)
    shown = torch.stack([removal.field.draw(scene.cameras, view).color for view in range(8)])
    left = (shown[..., 0] - shown[..., 1])[scene.masks] * 255
    truth = (room.truth[..., 0].float() - room.truth[..., 1].float())[scene.masks]
    assert abs(left.mean() - truth.mean()) < 30


def test_gaussians_begin_and_learn_outside_the_masks_alone(room: BoxScene, monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[torch.Tensor | None] = []

    def begin(*arguments: Any) -> Gaussians:
        known.append(arguments[-1])
        return gaussians_at_depths(*arguments)

    def learn(*arguments: Any) -> Generator[Event, None, Splats]:
        known.append(arguments[-1])
        return learn_photos(*arguments)

    monkeypatch.setattr(splat_learner, "gaussians_at_depths", begin)
    monkeypatch.setattr(splat_learner, "learn_photos", learn)
    finish(start(room.scene, ExemplarInpainter()))
    assert room.scene.masks is not None and len(known) == 2
    own = slice(len(room.scene))  # behind them come views between, which have no masks
    assert all(each is not None and torch.equal(each[own], ~room.scene.masks) for each in known)
