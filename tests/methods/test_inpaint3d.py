"""Inpaint3D as a whole on a tiny room."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from tests.methods.resuming import check_that_a_killed_run_goes_on, uninterrupted
from tests.stages.test_score_distillation import Expecting
from unscene.fields.field import render_view
from unscene.fields.nerf import Nerf
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import VisibilityConfig
from unscene.methods.inpaint3d import Inpaint3dConfig, check_inpaint3d, inpaint3d
from unscene.priors.classical import TeleaInpainter
from unscene.priors.depth.completion import Estimate
from unscene.priors.inpainter import Inpainter
from unscene.priors.prior_error import PriorError
from unscene.scenes.scene import Scene
from unscene.stages.hidden_depths import complete_depths
from unscene.stages.masked_rendering import masks_only
from unscene.stages.method_error import MethodError
from unscene.stages.removal import Removal
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, StageDone, StageStarted, StepDone
from unscene.training.fit import FitConfig

pytestmark = pytest.mark.usefixtures("one_thread", "report_every_step")

CONFIG = Inpaint3dConfig(
    nerf=TINY_NERF,
    reconstruction=FitConfig(steps=4, checkpoint_seconds=0),
    distillation=FitConfig(steps=6, checkpoint_seconds=0),
    rays=64, known_rays=32, window=32,
)  # fmt: skip
FORGETFUL = Checkpoints(None, 0)


def start(
    scene: Scene, prior: Inpainter, config: Inpaint3dConfig = CONFIG, checkpoints: Checkpoints | None = None,
    **more: Any,
) -> Generator[Event, None, Removal]:  # fmt: skip
    more = {"fill": "mask"} | more
    return inpaint3d(scene, prior, lambda images: [images], config, checkpoints or Checkpoints(None, 0), **more)


def run(scene: Scene, prior: Inpainter, config: Inpaint3dConfig = CONFIG, **more: Any) -> tuple[Removal, list[Event]]:
    return drained(start(scene, prior, config, **more))


def drained(events: Generator[Event, None, Any]) -> tuple[Any, list[Event]]:
    log = []
    while True:
        try:
            log.append(next(events))
        except StopIteration as done:
            return done.value, log


def field(room: BoxScene) -> Nerf:
    return Nerf.around(room.scene.cameras, TINY_NERF, torch.Generator().manual_seed(0))


def notes(log: list[Event]) -> str:
    return "\n".join(event.text for event in log if isinstance(event, Note))


def test_the_object_goes_and_everything_else_stays(room_with_tests: BoxScene) -> None:
    scene, prior = room_with_tests.scene, Expecting()
    assert scene.masks is not None
    removal, log = run(scene, prior)
    assert torch.equal(removal.scene.images[~scene.masks], scene.images[~scene.masks])
    assert torch.equal(removal.scene.images[scene.test], scene.images[scene.test])
    changed = (removal.scene.images != scene.images).any(-1)[scene.train]
    assert changed[scene.masks[scene.train]].float().mean() > 0.8
    assert torch.equal(removal.filled, masks_only(scene.train, scene.masks))
    started = [event.stage for event in log if isinstance(event, StageStarted)]
    assert started == [event.stage for event in log if isinstance(event, StageDone)] == [
        "reconstruction", "look behind the object", "depth maps", "depths behind the object", "score distillation",
        "render the cleaned views",
    ]  # fmt: skip
    steps = [event for event in log if isinstance(event, StepDone) and event.stage == "score distillation"]
    assert {"score distillation", "depth", "reconstruction"} <= set(steps[-1].losses)
    wanted = [0.98 - 0.96 * (k / 6) ** 0.5 for k in range(6)]
    assert prior.levels == pytest.approx(wanted)  # t = 980 - 960 sqrt(k / K)


def test_it_takes_the_colour_that_the_inpainter_expects(room: BoxScene) -> None:
    config = replace(CONFIG, distillation=FitConfig(steps=150), weight=0.02, known_rays=64)
    removal, _ = run(room.scene, Expecting(), config)
    assert room.scene.masks is not None
    color = render_view(removal.field, room.scene.cameras, 2).color
    assert (color[room.scene.masks[2]] - 0.75).abs().mean() < 0.08


def test_the_inpainter_never_sees_the_object(room: BoxScene) -> None:
    """The box is the only thing that is dark in green and blue; what it hides is rendered over it."""
    assert room.scene.masks is not None
    red = room.scene.images.clone()
    red[room.scene.masks] = torch.tensor([255, 0, 255], dtype=torch.uint8)
    prior = Expecting()
    run(replace(room.scene, images=red), prior)
    for told in prior.told:
        assert not (told == torch.tensor([1.0, 0.0, 1.0])).all(-1).any()


def test_it_runs_with_the_bundled_latent_diffusion_prior(room: BoxScene) -> None:
    from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter

    config = replace(CONFIG, distillation=FitConfig(steps=2), weight=1.0)
    removal, _ = run(room.scene, LatentDiffusionInpainter.load(), config)
    without, _ = run(room.scene, LatentDiffusionInpainter.load(), replace(config, weight=0.0))
    assert all(value.isfinite().all() for value in removal.field.state_dict().values())
    assert not torch.equal(removal.field.grid.table, without.field.grid.table)


def test_only_what_no_view_has_seen_is_filled(room: BoxScene) -> None:
    config = replace(CONFIG, visibility=VisibilityConfig(depth_tolerance=1e9))
    removal, log = run(room.scene, Expecting(), config, fill="unseen")
    assert room.scene.masks is not None
    assert removal.filled.sum() < room.scene.masks.sum() and "of the masked pixels" in notes(log)


def test_few_views_may_teach(room: BoxScene) -> None:
    prior = Expecting()
    _, log = run(room.scene, prior, replace(CONFIG, most_views=2, distillation=FitConfig(steps=12)))
    assert "2 of 8 views teach" in notes(log)
    assert {event.total for event in log if isinstance(event, ItemDone) and event.stage.startswith("depths")} == {2}


@pytest.mark.parametrize("change", [{"weight": 0.0}, {"depth_weight": 0.0}, {"window": 20}, {"weakest": 0.5}])
def test_what_acts_changes_the_field(room: BoxScene, change: dict[str, Any]) -> None:
    whole, changed = (run(room.scene, Expecting(), replace(CONFIG, **c))[0].field for c in ({"weight": 0.1}, change))
    assert not torch.equal(whole.grid.table, changed.grid.table)


def test_depths_are_those_of_each_views_surface(room: BoxScene) -> None:
    """A plane, from maps of half the size that show something else in the holes, in any unit."""
    masks, cameras, views = room.scene.masks, room.scene.cameras, torch.tensor([1, 4, 6])
    assert masks is not None

    def plane(cameras: Cameras, view: int) -> Tensor:
        rays = cameras.image_rays(view)
        away = (torch.tensor([0.0, 0.6, 0.8]) * (torch.tensor([0.0, 1.5, 4.0]) - rays.origins)).sum(-1)
        along = away / (rays.directions * torch.tensor([0.0, 0.6, 0.8])).sum(-1)
        return (along * rays.depth_per_distance).view(cameras.height, cameras.width)

    touched = torch.nn.functional.max_pool2d(masks[:, None].float(), 2)[:, 0] > 0
    halves = torch.stack([plane(cameras.resized(24, 18), view) for view in range(8)]).masked_fill(touched, 1.0)
    found, log = drained(complete_depths(field(room), room.scene, views, masks, halves, Expecting(), None, FORGETFUL))
    truth = torch.cat([plane(cameras, view)[masks[view]] for view in views.tolist()])
    assert (truth > 0).all() and "the plane around it" in notes(log)
    torch.testing.assert_close(found, truth, rtol=0.01, atol=0)


def test_a_depth_network_is_asked_about_inpainted_views(room: BoxScene) -> None:
    asked: list[Tensor] = []

    def estimate(image: Tensor) -> Estimate:
        asked.append(image)
        return Estimate(torch.linspace(1, 2, image.shape[1]).expand(image.shape[:2]), True, "ramp")

    _, log = run(room.scene, Expecting(), estimate_depth=estimate)
    assert room.scene.masks is not None
    assert len(asked) == 8 and "ramp, aligned" in notes(log)
    assert all((image[mask] == 0.75).all() for image, mask in zip(asked, room.scene.masks, strict=True))


def test_what_cannot_work_is_refused_in_words(room: BoxScene) -> None:
    with pytest.raises(PriorError, match="expected a diffusion prior, got 'telea'; choose --prior bundled"):
        check_inpaint3d(TeleaInpainter(), CONFIG)
    with pytest.raises(PriorError, match="leave out --diffusion"):
        check_inpaint3d(Expecting(), CONFIG, offload="model")
    with pytest.raises(MethodError, match="expected noise that falls"):
        check_inpaint3d(Expecting(), replace(CONFIG, weakest=0.99))
    with pytest.raises(MethodError, match=r"--inpaint3d\.window"):
        check_inpaint3d(Expecting(), replace(CONFIG, window=4))
    with pytest.raises(ValueError, match="needs a scene with masks"):
        next(start(room.scene.with_masks(None), Expecting()))


def test_mvip_nerfs_values() -> None:
    paper = Inpaint3dConfig.paper()
    levels = [paper.strongest - (paper.strongest - paper.weakest) * progress**0.5 for progress in (0.0, 0.25, 1.0)]
    assert levels == pytest.approx([0.98 - 0.96 * (k / 20_000) ** 0.5 for k in (0, 2500, 10_000)])
    assert (paper.weight, paper.window, paper.distillation.steps, paper.rays) == (1e-4, 512, 10_000, 1024)
    assert paper.paper_diffusion().guidance == 7.5


KILLS: dict[str, Callable[[Event], bool]] = {
    "reconstruction": lambda e: isinstance(e, StepDone) and e.stage == "reconstruction" and e.step == 3,
    "between views": lambda e: isinstance(e, ItemDone) and e.stage == "depths behind the object",
    "score distillation": lambda e: isinstance(e, StepDone) and e.stage == "score distillation" and e.step == 4,
}


@pytest.fixture(scope="module")
def whole(room: BoxScene, one_thread: None) -> Removal:
    return uninterrupted(lambda checkpoints: start(room.scene, Expecting(), checkpoints=checkpoints))


@pytest.mark.parametrize("reached", KILLS.values(), ids=KILLS.keys())
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    room: BoxScene, tmp_path: Path, whole: Removal, reached: Callable[[Event], bool]
) -> None:
    def begin(checkpoints: Checkpoints) -> Generator[Event, None, Removal]:
        return start(room.scene, Expecting(), checkpoints=checkpoints)

    check_that_a_killed_run_goes_on(begin, reached, tmp_path, steps=10, whole=whole)  # of 4 + 6
