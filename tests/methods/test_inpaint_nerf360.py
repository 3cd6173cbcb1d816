"""InpaintNeRF360 as a whole on a tiny room."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from unscene.files import write_png
from unscene.methods.inpaint_nerf360 import InpaintNerf360Config, inpaint_nerf360
from unscene.priors.classical import ExemplarInpainter, TeleaInpainter
from unscene.priors.depth.completion import Estimate
from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.inpainted_views import InpaintedViewsConfig, InpaintedViewsLoss
from unscene.stages.masked_rendering import masks_only
from unscene.stages.removal import Removal
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, StageDone, StageStarted, StepDone, ViewUpdated
from unscene.training.fit import FitConfig

pytestmark = pytest.mark.usefixtures("one_thread", "report_every_step")

LAST_FIT = "perceptual optimisation"
CONFIG = InpaintNerf360Config(
    nerf=TINY_NERF,
    reconstruction=FitConfig(steps=4, checkpoint_seconds=0),
    rays=64,
    fit=FitConfig(steps=6, checkpoint_seconds=0),
    loss=InpaintedViewsConfig(
        rays=32, masked_rays=32, patches=2, patch=8, perceptual_from=0.0, patches_move_surfaces=True
    ),
)


def pixels_as_features(images: Tensor) -> list[Tensor]:
    return [images]


def run(
    scene: Scene, prior: Inpainter, config: InpaintNerf360Config = CONFIG, *, checkpoints: Checkpoints | None = None,
    until: Callable[[Event], bool] = lambda event: False, **more: Any,
) -> tuple[Removal | None, list[Event]]:  # fmt: skip
    """What it leaves, None if it was killed; what it said."""
    more = {"fill": "mask"} | more
    events = inpaint_nerf360(scene, prior, pixels_as_features, config, checkpoints or Checkpoints(None, 0), **more)
    log: list[Event] = []
    while True:
        try:
            log.append(next(events))
        except StopIteration as done:
            return done.value, log
        if until(log[-1]):
            events.close()
            return None, log


def test_the_object_goes_and_everything_else_stays(room_with_tests: BoxScene) -> None:
    scene = room_with_tests.scene
    assert scene.masks is not None
    removal, log = run(scene, TeleaInpainter())
    assert removal is not None
    assert torch.equal(removal.scene.images[~scene.masks], scene.images[~scene.masks])
    assert torch.equal(removal.scene.images[scene.test], scene.images[scene.test])
    changed = (removal.scene.images != scene.images).any(-1)[scene.train]
    assert changed[scene.masks[scene.train]].float().mean() > 0.8
    assert torch.equal(removal.filled, masks_only(scene.train, scene.masks))
    assert all(value.isfinite().all() for value in removal.field.state_dict().values())
    started = [event.stage for event in log if isinstance(event, StageStarted)]
    assert started == [event.stage for event in log if isinstance(event, StageDone)] == [
        "reconstruction", "look behind the object", "depth maps", "inpaint every view", LAST_FIT,
        "render the cleaned views",
    ]  # fmt: skip
    losses = {name for event in log if isinstance(event, StepDone) and event.stage == LAST_FIT for name in event.losses}
    assert losses == {"reconstruction", "disparity", "patch perceptual", "interlevel", "hash decay"}


def test_it_runs_with_the_bundled_latent_diffusion_prior_on_few_views(room: BoxScene) -> None:
    from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter

    prior = LatentDiffusionInpainter.load().with_settings(steps=2)
    _, log = run(room.scene, prior, replace(CONFIG, most_views=2))
    assert [event.view for event in log if isinstance(event, ViewUpdated)] == ["000.png", "007.png"]
    assert any(isinstance(e, Note) and "2 of 8 views" in e.text and "most-views" in e.text for e in log)


def test_depth_is_a_network_s_where_one_is_named_and_else_the_surface_s(
    room: BoxScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it reaches the loss as disparity, pixel by pixel."""
    given: list[Tensor] = []
    make = InpaintedViewsLoss.__init__

    def watching(self: Any, known: Any, filled: Any, views: Any, region: Any, disparities: Tensor, *more: Any):
        given.append(disparities)
        make(self, known, filled, views, region, disparities, *more)

    monkeypatch.setattr(InpaintedViewsLoss, "__init__", watching)
    asked: list[Tensor] = []

    def estimate(image: Tensor) -> Estimate:
        asked.append(image)
        return Estimate(torch.linspace(1, 2, image.shape[1]).expand(image.shape[:2]), True, "ramp")

    assert room.scene.masks is not None
    colours = torch.full_like(room.scene.images, 128)
    scene = replace(room.scene, images=torch.where(room.scene.masks[..., None], room.scene.images, colours))
    _, by_network = run(scene, TeleaInpainter(), estimate_depth=estimate)
    assert len(asked) == 8 and any(isinstance(event, Note) and "ramp" in event.text for event in by_network)
    _, by_surface = run(scene, TeleaInpainter())
    remarks = [event.text for event in by_surface if isinstance(event, Note)]
    assert any("no depth network" in text for text in remarks)
    assert len(given[0]) == len(given[1]) == int(room.scene.masks.sum())
    assert (given[0] > 0).all() and not torch.equal(given[0], given[1])


def test_depths_are_learnt_as_disparities_and_colours_as_they_were_inpainted(
    room: BoxScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room.scene.masks is not None
    count = int(room.scene.masks.sum())

    def made(*_: object):
        yield Note("made elsewhere")
        return torch.full((count, 3), 77, dtype=torch.uint8), torch.full((count,), 4.0)

    module = importlib.import_module("unscene.methods.inpaint_nerf360")  # the package gives its name to the function
    monkeypatch.setattr(module, "inpaint_every_view", made)
    given: list[InpaintedViewsLoss] = []
    make = InpaintedViewsLoss.__init__
    monkeypatch.setattr(
        InpaintedViewsLoss, "__init__", lambda self, *arguments: (given.append(self), make(self, *arguments))[1]
    )
    run(room.scene, TeleaInpainter())
    (loss,) = given
    torch.testing.assert_close(loss.disparities, torch.full((count,), 0.25) * loss.known.field.radius)
    assert (loss.filled.images[room.scene.masks] == 77).all()


def test_what_other_views_have_seen_is_not_inpainted_unless_asked_for(
    room: BoxScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room.scene.masks is not None
    half = room.scene.masks.clone()
    half[:, ::2] = False
    monkeypatch.setattr("unscene.stages.visibility.tidy", lambda hidden, within, radius: within & half[0])
    unseen, _ = run(room.scene, TeleaInpainter(), fill="unseen")
    whole, _ = run(room.scene, TeleaInpainter(), fill="mask")
    assert unseen is not None and whole is not None
    assert torch.equal(unseen.filled, room.scene.masks & half[0]) and torch.equal(whole.filled, room.scene.masks)


def test_inpaintings_made_elsewhere_are_enough_for_the_views_they_are_of(room: BoxScene, tmp_path: Path) -> None:
    for view in (1, 4):
        write_png(tmp_path / room.scene.names[view], room.truth[view].numpy())
    _, log = run(room.scene, FilesInpainter(tmp_path))
    assert [event.view for event in log if isinstance(event, ViewUpdated)] == ["001.png", "004.png"]


def test_masks_that_hide_nothing_leave_the_scene_as_it_is(room: BoxScene) -> None:
    scene = room.scene.with_masks(torch.zeros(room.scene.images.shape[:3], dtype=torch.bool))
    removal, log = run(scene, ExemplarInpainter())
    assert removal is not None and torch.equal(removal.scene.images, scene.images)
    assert not any(isinstance(event, ItemDone) and event.stage == "inpaint every view" for event in log)


def test_a_scene_without_masks_is_refused(room: BoxScene) -> None:
    with pytest.raises(ValueError, match="masks"):
        run(room.scene.with_masks(None), TeleaInpainter())


def test_the_paper_s_settings_are_what_is_known_of_them() -> None:
    paper, ours = InpaintNerf360Config.paper(), InpaintNerf360Config()
    assert (paper.most_views, paper.loss.pixel_error) == (None, "squared")
    assert paper.loss.patches_move_surfaces and ours.loss.patches_move_surfaces


KILLS: dict[str, Callable[[Event], bool]] = {
    "first fit": lambda e: isinstance(e, StepDone) and e.stage == "reconstruction" and e.step == 3,
    "between views": lambda e: isinstance(e, ItemDone) and e.stage == "inpaint every view",
    "last fit": lambda e: isinstance(e, StepDone) and e.stage == LAST_FIT and e.step == 4,
}


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS.keys())
def test_a_killed_run_goes_on_to_the_same_end(room: BoxScene, tmp_path: Path, kill: Callable[[Event], bool]) -> None:
    whole, _ = run(room.scene, TeleaInpainter(), checkpoints=Checkpoints(None, 5))
    killed, _ = run(room.scene, TeleaInpainter(), checkpoints=Checkpoints(tmp_path, 5), until=kill)
    assert killed is None
    resumed, _ = run(room.scene, TeleaInpainter(), checkpoints=Checkpoints(tmp_path, 5))
    assert whole is not None and resumed is not None
    for name, value in whole.field.state_dict().items():
        assert torch.equal(value, resumed.field.state_dict()[name]), name
