"""NeRFiller as a whole on a tiny room, and each of its claims on its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from tests.methods.resuming import check_that_a_killed_run_goes_on, finish, uninterrupted
from tests.methods.test_mald_nerf import DarkeningInpainter
from unscene.fields.nerf import Nerf
from unscene.geometry.masks import VisibilityConfig
from unscene.methods.nerfiller import (
    JointlyInpaintedPatches,
    NerfillerConfig,
    nerfiller,
)
from unscene.priors.classical import TeleaInpainter
from unscene.priors.depth.completion import Estimate
from unscene.priors.diffusion.config import GridPriorConfig
from unscene.priors.inpainter import Inpainter
from unscene.priors.prior_error import PriorError
from unscene.scenes.scene import Scene
from unscene.stages.joint_inpainting import JointlyUpdatedDataset, JointUpdateConfig, joint_noise_bounds
from unscene.stages.method_error import MethodError
from unscene.stages.patches import Patch
from unscene.stages.reconstruction import UnmaskedReconstruction
from unscene.stages.removal import Removal
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note, StageDone, StageStarted, StepDone, ViewUpdated
from unscene.training.fit import FitConfig
from unscene.training.pixels import RegularizerConfig

module = importlib.import_module("unscene.methods.nerfiller")  # the package gives its name to the function
pytestmark = pytest.mark.usefixtures("one_thread", "report_every_step")

CONFIG = NerfillerConfig(
    nerf=TINY_NERF,
    reconstruction=FitConfig(steps=4, checkpoint_seconds=0),
    training=FitConfig(steps=10, checkpoint_seconds=0),
    rays=64, known_rays=32, patches=2, patch=8, visibility=VisibilityConfig(depth_tolerance=0.0),
    update=JointUpdateConfig(every=4, views=5, strongest=1.0, weakest=0.4),
)  # fmt: skip


@dataclass
class JointlyDarkeningInpainter(DarkeningInpainter):
    """Makes of views what they start from, a little darker, or grey of nothing, and remembers what it was asked."""

    asked: list[dict[str, Any]] = field(default_factory=list)

    def inpaint_jointly(
        self, images: Tensor, masks: Tensor, *, start: Tensor | None, level: float, grid: GridPriorConfig,
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        self.asked.append({"images": images, "masks": masks, "start": start, "level": level, "grid": grid})
        grey = 0.3 + 0.4 * torch.rand(images.shape, generator=generator)
        return torch.where(masks[..., None], grey if start is None else 0.9 * start, images)


def pixels_as_features(images: Tensor) -> list[Tensor]:
    return [images]


def start(
    scene: Scene, prior: Inpainter, config: NerfillerConfig = CONFIG, checkpoints: Checkpoints | None = None,
    **more: Any,
) -> Generator[Event, None, Removal]:  # fmt: skip
    return nerfiller(scene, prior, pixels_as_features, config, checkpoints or Checkpoints(None, 0), **more)


def run(scene: Scene, prior: Inpainter, config: NerfillerConfig = CONFIG, **more: Any) -> tuple[Removal, list[Event]]:
    return finish(start(scene, prior, config, **more))


def notes(log: list[Event]) -> list[str]:
    return [event.text for event in log if isinstance(event, Note)]


def steps(log: list[Event]) -> list[StepDone]:
    return [event for event in log if isinstance(event, StepDone) and event.stage == module.STAGE]


def test_the_object_goes_and_everything_else_stays(room_with_tests: BoxScene) -> None:
    """By the bundled model, with the settings that suit it; three views do not fill a grid."""
    from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter

    scene = room_with_tests.scene
    assert scene.masks is not None
    prior = LatentDiffusionInpainter.load()
    config = replace(CONFIG, training=FitConfig(steps=2), update=JointUpdateConfig(every=4, views=3))
    removal, log = run(scene, prior, config)
    assert torch.equal(removal.scene.images[~scene.masks], scene.images[~scene.masks])
    changed = (removal.scene.images != scene.images).any(-1)[scene.train]
    assert changed[scene.masks[scene.train]].float().mean() > 0.8
    assert removal.filled[scene.train].any() and not removal.filled[scene.test].any()
    assert all(value.isfinite().all() for value in removal.field.state_dict().values())
    started = [event.stage for event in log if isinstance(event, StageStarted)]
    assert started == [event.stage for event in log if isinstance(event, StageDone)]
    assert module.STAGE in started
    drawn = "3 of 6 views are drawn and inpainted together every 4 steps"
    assert f"{drawn}, from noise of 0.3 of the schedule, falling to 0.1" in notes(log)


def test_every_term_and_the_order_of_depths_from_its_time_on(room: BoxScene) -> None:
    _, log = run(room.scene, JointlyDarkeningInpainter(), replace(CONFIG, ranking_from=0.5))
    taken = steps(log)
    assert len(taken) == 10
    for step in taken:
        assert {"reconstruction", "interlevel", "patch perceptual"} <= step.losses.keys()
        assert ("depth ranking" in step.losses) == (step.step > 5)


def test_views_are_drawn_anew_and_inpainted_together_from_noise_that_falls_linearly(room: BoxScene) -> None:
    assert room.scene.masks is not None
    prior = JointlyDarkeningInpainter()
    _, log = run(room.scene, prior)
    assert [asked["level"] for asked in prior.asked] == pytest.approx([1.0, 1 - 0.6 * 0.4, 1 - 0.6 * 0.8])
    assert [len(asked["images"]) for asked in prior.asked] == [5, 5, 5]
    assert prior.asked[0]["start"] is None  # noise alone
    updates = [event for event in log if isinstance(event, ViewUpdated)]
    assert [event.step for event in updates] == [0] * 5 + [4] * 5 + [8] * 5
    rounds = [[event.view for event in updates if event.step == step] for step in (0, 4, 8)]
    assert all(len(set(views)) == 5 for views in rounds) and len({tuple(views) for views in rounds}) > 1
    for views, asked in zip(rounds, prior.asked, strict=True):
        for name, mask in zip(views, asked["masks"], strict=True):
            assert not (mask & ~room.scene.masks[room.scene.names.index(name)]).any()
    seen: dict[str, int] = {}
    for event in updates:
        assert event.update == seen.get(event.view, 0) and (event.change is None) == (event.update == 0)
        seen[event.view] = event.update + 1


def test_later_starts_are_renders_and_first_ones_below_full_noise_are_copies(room: BoxScene) -> None:
    assert room.scene.masks is not None
    prior = JointlyDarkeningInpainter()
    update = replace(CONFIG.update, strongest=0.5, views=None)
    _, log = run(room.scene, prior, replace(CONFIG, update=update), fill="mask")
    assert len(prior.asked[0]["images"]) == 8
    for asked in prior.asked:
        for view, begun in enumerate(asked["start"]):
            mask, photo = room.scene.masks[view], room.scene.image(view)
            assert torch.equal(begun[~mask], photo[~mask])
            assert (begun[mask] - photo[mask]).abs().mean() > 0.02  # the prior never sees the object
    assert not torch.equal(prior.asked[0]["start"], prior.asked[1]["start"])
    assert any("no depth network" in note and "only its order is learnt" in note for note in notes(log))


def test_patches_come_from_the_views_drawn_at_present_alone(room: BoxScene, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[set[int]] = []
    draw = module.PatchSampler.draw_from

    def recording(sampler: Any, view: int, generator: torch.Generator) -> Patch:
        assert view in drawn[-1]
        used.add(view)
        return draw(sampler, view, generator)

    update = JointlyUpdatedDataset.before_step

    def updating(dataset: JointlyUpdatedDataset, step: int, *rest: Any):
        yield from update(dataset, step, *rest)
        if step % 4 == 0:
            drawn.append({dataset.views[index] for index in dataset.drawn.nonzero()[:, 0].tolist()})
            assert len(drawn[-1]) == 2

    used: set[int] = set()
    monkeypatch.setattr(module.PatchSampler, "draw_from", recording)
    monkeypatch.setattr(JointlyUpdatedDataset, "before_step", updating)
    run(room.scene, JointlyDarkeningInpainter(), replace(CONFIG, update=replace(CONFIG.update, views=2)))
    assert len(drawn) == 3 and used <= set.union(*drawn) and len(used) > 2


def objective(room: BoxScene, config: NerfillerConfig, **more: Any) -> JointlyInpaintedPatches:
    """The objective of a field that has learnt nothing, with its first inpaintings made."""
    masks, scene = room.scene.masks, room.scene
    assert masks is not None
    nerf = Nerf.around(scene.cameras, TINY_NERF, torch.Generator().manual_seed(3))
    known = UnmaskedReconstruction(nerf, scene, RegularizerConfig(), rays=64)
    dataset = JointlyUpdatedDataset(
        nerf, scene, scene.train, masks, room.depth, JointlyDarkeningInpainter(), more.get("estimate"), config.update,
        reach=config.patch, stage="stage",
    )  # fmt: skip
    training = JointlyInpaintedPatches(known, dataset, pixels_as_features, config)
    list(training.before_step(0, 0.0, torch.Generator().manual_seed(0)))
    return training


def test_a_step_is_what_a_slow_reading_gives(room: BoxScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Perceptual distance pixel by pixel, and the order of depths pair by pair, without jitter."""
    monkeypatch.setattr("unscene.stages.reconstruction.uniform", lambda n, *_: torch.full((n,), 0.5))
    config = replace(CONFIG, ranking_from=0.0, perceptual_weight=0.7, ranking_weight=0.3)
    truth = room.depth.flip(0)  # any order will do

    given = iter(truth)  # to the drawn views in turn
    training = objective(room, config, estimate=lambda _: Estimate(next(given), False, "told"))
    order = [training.dataset.views[index] for index in training.dataset.drawn.nonzero()[:, 0].tolist()]
    patches: list[Patch] = []
    draw = training.patches.draw_from
    monkeypatch.setattr(training.patches, "draw_from", lambda *a: patches.append(draw(*a)) or patches[-1])
    pairs: list[Tensor] = []
    ranking = module.depth_ranking

    def recording(depth: Tensor, estimates: Tensor, first: Tensor, second: Tensor) -> Tensor:
        pairs.extend([first, second])
        return ranking(depth, estimates, first, second)

    monkeypatch.setattr(module, "depth_ranking", recording)
    terms = training(3, 0.5, torch.Generator().manual_seed(1))
    nerf, cameras = training.known.nerf, room.scene.cameras
    distances, depths, estimates = [], [], []
    for patch in patches:
        index = training.dataset.views.index(patch.view)
        image = training.dataset.image(index).float() / 255
        values = truth[order.index(patch.view)]
        for row in range(patch.top, patch.top + 8):
            for column in range(patch.left, patch.left + 8):
                rays = cameras.rays(torch.tensor([patch.view]), torch.tensor([[column + 0.5, row + 0.5]]))
                render = nerf.render(rays, jitter=torch.tensor([0.5]))
                ours, theirs = render.color[0], image[row, column]
                distances.append((ours / ours.norm() - theirs / theirs.norm()).square().sum())
                depths.append(float(render.distance * rays.depth_per_distance / nerf.radius))
                estimates.append(float(values[row, column]))
    assert len(distances) == 2 * 64 and len({patch.view for patch in patches} - set(order)) == 0
    assert torch.allclose(terms["patch perceptual"], 0.7 * torch.stack(distances).mean(), rtol=1e-3)
    losses = []
    for i, j in zip(pairs[0].tolist(), pairs[1].tolist(), strict=True):
        assert i // 64 == j // 64 and i != j  # of one patch
        if estimates[i] != estimates[j]:
            near, far = (i, j) if estimates[i] < estimates[j] else (j, i)
            losses.append(max(0.0, depths[near] - depths[far] + 1e-4))
    assert len(losses) > 20
    assert terms["depth ranking"].item() == pytest.approx(0.3 * sum(losses) / len(losses), rel=1e-3)


@pytest.mark.parametrize("relative", [True, False])
def test_a_depth_network_tells_the_order(room: BoxScene, relative: bool) -> None:
    """Disparities the other way round; told apart from depths."""
    ramp = torch.linspace(1, 2, 48).expand(36, 48)
    training = objective(room, CONFIG, estimate=lambda image: Estimate(ramp, relative, "ramp"))
    index = int(training.dataset.drawn.nonzero()[0])
    values = training.dataset.depth(index)[training.dataset.around[index]]
    expected = ramp[training.dataset.around[index]]
    assert torch.equal(values, -expected if relative else expected)
    _, log = run(room.scene, JointlyDarkeningInpainter(), estimate_depth=lambda _: Estimate(ramp, relative, "ramp"))
    assert "depth behind the object: ramp; only its order is learnt" in notes(log)


def test_the_grid_prior_and_its_absence_are_passed_on_and_told(room: BoxScene) -> None:
    prior = JointlyDarkeningInpainter()
    update = replace(CONFIG.update, grid=GridPriorConfig(side=1, shuffles=3))
    _, log = run(room.scene, prior, replace(CONFIG, update=update))
    assert all(asked["grid"] == update.grid for asked in prior.asked)
    assert any("drawn and inpainted on their own" in note for note in notes(log))


@pytest.mark.parametrize("weight", ["perceptual_weight", "ranking_weight"])
def test_weights_act(room: BoxScene, weight: str) -> None:
    fields = [run(room.scene, JointlyDarkeningInpainter(), replace(CONFIG, **{weight: w}))[0].field for w in (0.0, 5.0)]
    assert not torch.equal(fields[0].grid.table, fields[1].grid.table)


def test_the_paper_is_what_the_release_runs_with() -> None:
    paper = NerfillerConfig.paper()
    assert (paper.training.steps, paper.rays, paper.patches, paper.patch) == (30_001, 4096, 32, 32)
    assert (paper.perceptual_weight, paper.ranking_weight) == (1.0, 0.1)
    assert round(paper.ranking_from * 30_001) == 3_000
    assert (paper.update.every, paper.update.views, paper.update.grid.side) == (1_000, 40, 2)
    assert (paper.update.strongest, paper.update.weakest) == (1.0, 0.4)
    assert (paper.update.grid.image_guidance, paper.update.grid.text_guidance) == (1.5, 0.0)
    rate = paper.reconstruction.final_learning_rate
    assert rate == pytest.approx(1e-2 * (1e-4 / 1e-2) ** (30_000 / 200_000)) == paper.training.learning_rate
    assert (NerfillerConfig.paper_diffusion().steps, NerfillerConfig.paper_diffusion().scheduler) == (
        20,
        "DDIMScheduler",
    )


def test_noise_suits_the_prior() -> None:
    large, small = JointlyDarkeningInpainter(strength=0.9), JointlyDarkeningInpainter(strength=0.1)
    assert joint_noise_bounds(large, JointUpdateConfig()) == (1.0, 0.4)  # the release's
    assert joint_noise_bounds(small, JointUpdateConfig()) == pytest.approx((0.3, 0.1))
    assert joint_noise_bounds(small, JointUpdateConfig(strongest=0.8, weakest=0.2)) == (0.8, 0.2)


def test_what_cannot_work_is_refused_before_anything_runs(room: BoxScene) -> None:
    with pytest.raises(PriorError, match=r"nerfiller: expected a diffusion prior, got 'telea'"):
        next(start(room.scene, TeleaInpainter()))
    with pytest.raises(PriorError, match="diffusion prior, got 'darkening'"):
        next(start(room.scene, DarkeningInpainter()))
    with pytest.raises(ValueError, match="masks"):
        next(start(room.scene.with_masks(None), JointlyDarkeningInpainter()))
    wrongs = {"every": 0, "views": 0, "grid": GridPriorConfig(side=0)}
    for name, value in wrongs.items():
        config = replace(CONFIG, update=replace(CONFIG.update, **{name: value}))
        with pytest.raises(MethodError, match=rf"--nerfiller\.update\.{name}.*: expected"):
            next(start(room.scene, JointlyDarkeningInpainter(), config))
    rising = replace(CONFIG, update=replace(CONFIG.update, strongest=0.2))
    with pytest.raises(MethodError, match="weakest <= strongest"):
        next(start(room.scene, JointlyDarkeningInpainter(), rising))


KILLS: dict[str, Callable[[Event], bool]] = {
    "in the reconstruction": lambda e: isinstance(e, StepDone) and e.stage == "reconstruction" and e.step == 3,
    "in the first update": lambda e: isinstance(e, ViewUpdated) and e.step == 0,
    "after a step": lambda e: isinstance(e, StepDone) and e.stage == module.STAGE and e.step == 6,
    "in a later update": lambda e: isinstance(e, ViewUpdated) and e.step == 8,
    "at the end": lambda e: isinstance(e, StageStarted) and e.stage == "render the cleaned views",
}


@pytest.fixture(scope="module")
def whole(room: BoxScene, one_thread: None) -> Removal:
    return uninterrupted(lambda checkpoints: start(room.scene, JointlyDarkeningInpainter(), checkpoints=checkpoints))


@pytest.mark.parametrize("reached", KILLS.values(), ids=KILLS.keys())
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    room: BoxScene, tmp_path: Path, whole: Removal, reached: Callable[[Event], bool]
) -> None:
    def begin(checkpoints: Checkpoints) -> Generator[Event, None, Removal]:
        return start(room.scene, JointlyDarkeningInpainter(), checkpoints=checkpoints)

    check_that_a_killed_run_goes_on(begin, reached, tmp_path, steps=14, whole=whole)  # of 4 + 10
