"""InFusion as a whole on a tiny room: which view it inpaints, whose depth it believes, what becomes of outliers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from tests.methods.resuming import check_that_a_killed_run_goes_on, finish, uninterrupted
from unscene.files import write_png
from unscene.geometry.masks import VisibilityConfig
from unscene.methods.infusion import InfusionConfig, check_infusion, infusion
from unscene.priors.classical import TeleaInpainter
from unscene.priors.depth.completion import Estimate
from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter
from unscene.priors.prior_error import PriorError
from unscene.scenes.scene import Scene
from unscene.stages.masked_rendering import masks_only
from unscene.stages.method_error import MethodError
from unscene.stages.removal import Removal
from unscene.stages.single_view_prior import SingleViewPrior
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Picture, StageDone, StageStarted, StepDone
from unscene.training.fit import FitConfig

module = importlib.import_module("unscene.methods.infusion")  # the package gives its name to the function
pytestmark = pytest.mark.usefixtures("one_thread", "report_every_step")

CONFIG = InfusionConfig(
    nerf=TINY_NERF,
    reconstruction=FitConfig(steps=4, checkpoint_seconds=0),
    fine_tuning=FitConfig(steps=6, checkpoint_seconds=0),
    rays=64, reference_rays=32, known_rays=32,
)  # fmt: skip
CENTRAL = 3  # the view nearest to the middle of all


def start(
    scene: Scene, prior: Inpainter, config: InfusionConfig = CONFIG, checkpoints: Checkpoints | None = None, **more: Any
) -> Generator[Event, None, Removal]:
    more = {"fill": "mask"} | more
    return infusion(scene, prior, lambda images: [images], config, checkpoints or Checkpoints(None, 0), **more)


def run(scene: Scene, prior: Inpainter, config: InfusionConfig = CONFIG, **more: Any) -> tuple[Removal, list[Event]]:
    return finish(start(scene, prior, config, **more))


def notes(log: list[Event]) -> str:
    return "\n".join(event.text for event in log if isinstance(event, Note))


@pytest.fixture
def tuned_on(monkeypatch: pytest.MonkeyPatch) -> list[SingleViewPrior]:
    """The objectives of fine-tuning that are made."""
    made: list[SingleViewPrior] = []

    def making(*given: Any, **named: Any) -> SingleViewPrior:
        made.append(SingleViewPrior(*given, **named))
        return made[-1]

    monkeypatch.setattr(module, "SingleViewPrior", making)
    return made


def test_the_object_goes_and_everything_else_stays(room_with_tests: BoxScene) -> None:
    scene = room_with_tests.scene
    assert scene.masks is not None
    removal, log = run(scene, TeleaInpainter())
    assert torch.equal(removal.scene.images[~scene.masks], scene.images[~scene.masks])
    assert torch.equal(removal.scene.images[scene.test], scene.images[scene.test])
    changed = (removal.scene.images != scene.images).any(-1)[scene.train]
    assert changed[scene.masks[scene.train]].float().mean() > 0.8
    assert torch.equal(removal.filled, masks_only(scene.train, scene.masks))
    started = [event.stage for event in log if isinstance(event, StageStarted)]
    assert started == [event.stage for event in log if isinstance(event, StageDone)] == [
        "reconstruction", "look behind the object", "depth maps", "reference view", "surfaces behind the object",
        "fine-tuning", "render the cleaned views",
    ]  # fmt: skip
    assert [event.view for event in log if isinstance(event, Picture)] == [scene.names[CENTRAL]]
    tuned = [event for event in log if isinstance(event, StepDone) and event.stage == "fine-tuning"]
    assert {"prior colour", "prior depth", "reconstruction"} <= set(tuned[-1].losses)


def test_only_what_no_view_has_seen_is_filled(room: BoxScene) -> None:
    config = replace(CONFIG, visibility=VisibilityConfig(depth_tolerance=1e9))  # any view that looks there has seen it
    removal, log = run(room.scene, TeleaInpainter(), config, fill="unseen")
    assert room.scene.masks is not None
    assert removal.filled.sum() < room.scene.masks.sum()
    assert (removal.filled & ~room.scene.masks).sum() == 0 and "of the masked pixels" in notes(log)


@pytest.mark.parametrize("name", ["001.png", "001"])
def test_a_photo_may_be_named_as_reference(room: BoxScene, tuned_on: list[SingleViewPrior], name: str) -> None:
    _, log = run(room.scene, TeleaInpainter(), replace(CONFIG, reference=name))
    assert int(tuned_on[0].own[0]) == 1 and "reference view: 001.png" in notes(log)


def test_references_that_cannot_be_are_refused_in_words(room_with_tests: BoxScene) -> None:
    scene = room_with_tests.scene
    for name in ("nothing.png", scene.names[7]):  # the latter is for testing
        with pytest.raises(MethodError, match=r"such as 000\.png, 001\.png, 002\.png"):
            check_infusion(scene, replace(CONFIG, reference=name))
    assert scene.masks is not None
    without = scene.masks.clone()
    without[2] = False
    with pytest.raises(MethodError, match=r"hides nothing .* such as 000.png, 001.png, 003.png"):
        run(scene.with_masks(without), TeleaInpainter(), replace(CONFIG, reference="002.png"))


@pytest.mark.parametrize(
    "change", [{"loops": 0}, {"denoising_steps": 0}, {"outlier_neighbours": 1}, {"outlier_deviations": -1.0}]
)
def test_numbers_that_mean_nothing_are_refused(room: BoxScene, change: dict[str, Any]) -> None:
    with pytest.raises(MethodError, match=f"--infusion.{next(iter(change)).replace('_', '-')}"):
        check_infusion(room.scene, replace(CONFIG, **change))


def test_a_depth_model_that_is_not_there_is_missed_before_anything_runs(room: BoxScene, tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="found none"):
        check_infusion(room.scene, replace(CONFIG, depth_completion=str(tmp_path)))


def test_an_inpainting_made_elsewhere_is_the_reference(
    room: BoxScene, tuned_on: list[SingleViewPrior], tmp_path: Path
) -> None:
    write_png(tmp_path / room.scene.names[6], room.truth[6].numpy())
    run(room.scene, FilesInpainter(tmp_path))
    assert room.scene.masks is not None
    assert int(tuned_on[0].own[0]) == 6
    assert torch.allclose(tuned_on[0].colors, room.truth[6][room.scene.masks[6]].float() / 255, atol=1e-3)
    with pytest.raises(MethodError, match="has none of it"):
        run(room.scene, FilesInpainter(tmp_path), replace(CONFIG, reference="002"))


def depths_seen(tuned: SingleViewPrior, scene: Scene) -> Tensor:
    """z-depths, in the reference view, of the points that the field is tuned on."""
    return scene.cameras.project(torch.full((len(tuned.points),), int(tuned.own[0])), tuned.points)[1]


def test_points_are_the_surfaces_without_its_outliers(
    room: BoxScene, tuned_on: list[SingleViewPrior], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A depth with a spike: the spike's pixel gets its neighbours', no other pixel changes."""
    assert room.scene.masks is not None
    hole = room.scene.masks[CENTRAL]
    rows, columns = hole.nonzero(as_tuple=True)
    middle = len(rows) // 2
    spiked = room.depth[CENTRAL].clone()
    spiked[rows[middle], columns[middle]] /= 8
    monkeypatch.setattr(module, "estimated_depth", lambda *_: (spiked, "spiked"))
    estimate = lambda image: Estimate(image[..., 0], True, "unused")  # noqa: E731
    _, log = run(room.scene, TeleaInpainter(), replace(CONFIG, reference="003"), estimate_depth=estimate)
    found, truth = depths_seen(tuned_on[0], room.scene), room.depth[CENTRAL][hole]
    others = torch.arange(len(found)) != middle
    torch.testing.assert_close(found[others], truth[others], rtol=1e-4, atol=1e-4)
    assert float(found[middle]) == pytest.approx(float(truth[middle]), rel=0.05)
    assert f"1 of {len(found)} points are outliers" in notes(log) and "spiked" in notes(log)


def test_without_models_the_surface_around_goes_on(room: BoxScene) -> None:
    _, log = run(room.scene, TeleaInpainter())
    assert "no depth network" in notes(log)


def test_a_depth_network_is_asked_about_the_inpainted_reference(
    room: BoxScene, tuned_on: list[SingleViewPrior]
) -> None:
    asked: list[Tensor] = []

    def estimate(image: Tensor) -> Estimate:
        asked.append(image)
        return Estimate(torch.linspace(1, 2, image.shape[1]).expand(image.shape[:2]), True, "ramp")

    _, log = run(room.scene, TeleaInpainter(), estimate_depth=estimate)
    assert len(asked) == 1 and "ramp, aligned" in notes(log)
    assert room.scene.masks is not None
    hole = room.scene.masks[int(tuned_on[0].own[0])]
    assert torch.allclose(asked[0][hole], tuned_on[0].colors)


def test_the_diffusion_model_of_depth_is_asked_before_the_network(
    room: BoxScene, tuned_on: list[SingleViewPrior], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.priors.tiny_checkpoints import tiny_pipeline
    from unscene.priors.depth import depth_diffusion

    pipeline, folder = tiny_pipeline("sd-2", channels=13), tmp_path / "tiny-infusion"
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        getattr(pipeline, part).save_pretrained(folder / part)
    monkeypatch.setattr(depth_diffusion.DepthDiffusion, "side", 64)
    given, complete = {}, depth_diffusion.DepthDiffusion.complete

    def completing(self: Any, image: Tensor, *more: Any, **settings: Any) -> Tensor:
        given.update(settings, image=image, depth=complete(self, image, *more, **settings))
        return given["depth"]

    monkeypatch.setattr(depth_diffusion.DepthDiffusion, "complete", completing)
    config = replace(
        CONFIG, depth_completion=str(folder), denoising_steps=2, loops=2, keep_known=False, outlier_deviations=1e6
    )
    _, log = run(room.scene, TeleaInpainter(), config, estimate_depth=lambda image: pytest.fail("asked in vain"))
    assert "completed by 'tiny-infusion'" in notes(log)
    assert (given["steps"], given["loops"], given["keep_known"]) == (2, 2, False)
    assert room.scene.masks is not None
    hole = room.scene.masks[int(tuned_on[0].own[0])]
    torch.testing.assert_close(depths_seen(tuned_on[0], room.scene), given["depth"][hole], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("change", [{"depth_weight": 0.0}, {"share_elsewhere": 0.0}, {"known_rays": 1}])
def test_what_acts_changes_the_field(room: BoxScene, change: dict[str, Any]) -> None:
    whole, changed = (run(room.scene, TeleaInpainter(), replace(CONFIG, **c))[0].field for c in ({}, change))
    assert not torch.equal(whole.grid.table, changed.grid.table)


def test_the_releases_values() -> None:
    paper = InfusionConfig.paper()
    assert (paper.reconstruction.steps, paper.fine_tuning.steps, paper.denoising_steps) == (30_000, 150, 20)
    assert (paper.outlier_neighbours, paper.outlier_deviations, paper.depth_completion) == (5, 4.0, "infusion")


def test_a_scene_without_masks_is_an_error_of_the_caller(room: BoxScene) -> None:
    with pytest.raises(ValueError, match="needs a scene with masks"):
        next(start(room.scene.with_masks(None), TeleaInpainter()))


KILLS: dict[str, Callable[[Event], bool]] = {
    "reconstruction": lambda e: isinstance(e, StepDone) and e.stage == "reconstruction" and e.step == 3,
    "looking behind": lambda e: isinstance(e, ItemDone) and e.stage == "look behind the object",
    "after the reference": lambda e: isinstance(e, StageDone) and e.stage == "reference view",
    "fine-tuning": lambda e: isinstance(e, StepDone) and e.stage == "fine-tuning" and e.step == 4,
}


@pytest.fixture(scope="module")
def whole(room: BoxScene, one_thread: None) -> Removal:
    return uninterrupted(lambda checkpoints: start(room.scene, TeleaInpainter(), checkpoints=checkpoints))


@pytest.mark.parametrize("reached", KILLS.values(), ids=KILLS.keys())
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    room: BoxScene, tmp_path: Path, whole: Removal, reached: Callable[[Event], bool]
) -> None:
    def begin(checkpoints: Checkpoints) -> Generator[Event, None, Removal]:
        return start(room.scene, TeleaInpainter(), checkpoints=checkpoints)

    check_that_a_killed_run_goes_on(begin, reached, tmp_path, steps=10, whole=whole)  # of 4 + 6
