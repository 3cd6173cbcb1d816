"""SPIn-NeRF as a whole on a tiny room, and each term of its loss against a slow reference."""

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
from unscene.fields.nerf import Nerf
from unscene.files import write_png
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import bounding_box
from unscene.methods.spin_nerf import InpaintedViewsLoss, SpinNerfConfig, spin_nerf
from unscene.priors.classical import TeleaInpainter
from unscene.priors.depth.completion import Estimate
from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.inpainted_disparity import inpaint_disparity
from unscene.stages.masked_rendering import masks_only
from unscene.stages.patches import Patch
from unscene.stages.removal import Removal
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Picture, StageDone, StageStarted, StepDone
from unscene.training.fit import FitConfig

module = importlib.import_module("unscene.methods.spin_nerf")  # the package gives its name to the function
pytestmark = pytest.mark.usefixtures("one_thread", "report_every_step")

LAST_FIT = "reconstruction without the object"
CONFIG = SpinNerfConfig(
    nerf=TINY_NERF,
    with_object=FitConfig(steps=4, checkpoint_seconds=0),
    fit=FitConfig(steps=8, checkpoint_seconds=0),
    rays=64, masked_rays=32, anchor_rays=16, patches=2, patch=8, perceptual_from=0.4,
)  # fmt: skip


@dataclass
class BrighteningInpainter:
    """Fills holes with the mean around them, brighter by one tenth, and remembers what it was shown."""

    shown: list[Tensor] = field(default_factory=list)
    holes: list[Tensor] = field(default_factory=list)
    name: str = "brightening"

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        torch.rand(1, generator=generator)
        self.shown += list(images)
        self.holes += list(masks)
        around = torch.stack([image[~mask].mean(0) for image, mask in zip(images, masks, strict=True)])
        return torch.where(masks[..., None], around[:, None, None] + 0.1, images).clamp(0, 1)


def pixels_as_features(images: Tensor) -> list[Tensor]:
    return [images]


def start(
    scene: Scene, prior: Inpainter, config: SpinNerfConfig = CONFIG, checkpoints: Checkpoints | None = None, **more: Any
) -> Generator[Event, None, Removal]:
    return spin_nerf(scene, prior, pixels_as_features, config, checkpoints or Checkpoints(None, 0), **more)


def run(scene: Scene, prior: Inpainter, config: SpinNerfConfig = CONFIG, **more: Any) -> tuple[Removal, list[Event]]:
    events, log = start(scene, prior, config, **more), []
    while True:
        try:
            log.append(next(events))
        except StopIteration as done:
            return done.value, log


def losses_of(log: list[Event]) -> set[str]:
    return {name for event in log if isinstance(event, StepDone) and event.stage == LAST_FIT for name in event.losses}


def test_the_object_goes_and_everything_else_stays(room_with_tests: BoxScene) -> None:
    scene = room_with_tests.scene
    assert scene.masks is not None
    removal, log = run(scene, TeleaInpainter())
    assert torch.equal(removal.scene.images[~scene.masks], scene.images[~scene.masks])
    assert torch.equal(removal.scene.images[scene.test], scene.images[scene.test])
    changed = (removal.scene.images != scene.images).any(-1)[scene.train]
    assert changed[scene.masks[scene.train]].float().mean() > 0.8
    assert torch.equal(removal.filled, masks_only(scene.train, scene.masks))
    assert all(value.isfinite().all() for value in removal.field.state_dict().values())
    started = [event.stage for event in log if isinstance(event, StageStarted)]
    assert started == [event.stage for event in log if isinstance(event, StageDone)] == [
        "reconstruction with the object", "inpaint photos and disparities", LAST_FIT, "render the cleaned views",
    ]  # fmt: skip
    assert [event.name for event in log if isinstance(event, Picture)] == ["inpainted", "disparity"]


def test_it_runs_with_the_bundled_latent_diffusion_prior(room: BoxScene) -> None:
    from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter

    removal, _ = run(room.scene, LatentDiffusionInpainter.load().with_settings(steps=2), replace(CONFIG, most_views=2))
    assert [int(filled.any()) for filled in removal.filled] == [1, 0, 0, 0, 0, 0, 0, 1]


SWITCHES = {  # off -> what goes, what comes
    "perceptual": ({"anchor colour", "patch perceptual"}, {"masked colour"}),
    "inpaint_disparity": (set(), set()),
}


@pytest.mark.parametrize(("switch", "terms"), SWITCHES.items(), ids=SWITCHES.keys())
def test_what_acts_changes_the_result_when_it_is_switched_off(
    room: BoxScene, switch: str, terms: tuple[set[str], set[str]]
) -> None:
    gone, come = terms
    whole, with_all = run(room.scene, BrighteningInpainter())
    assert gone <= losses_of(with_all) and not come & losses_of(with_all)
    less, without = run(room.scene, BrighteningInpainter(), replace(CONFIG, **{switch: False}))
    assert losses_of(without) == (losses_of(with_all) - gone) | come
    assert not torch.equal(whole.field.grid.table, less.field.grid.table)


@pytest.mark.parametrize("weight", ["disparity_weight", "perceptual_weight"])
def test_weights_act(room: BoxScene, weight: str) -> None:
    fields = [run(room.scene, BrighteningInpainter(), replace(CONFIG, **{weight: w}))[0].field for w in (0.0, 5.0)]
    assert not torch.equal(fields[0].grid.table, fields[1].grid.table)


def test_patches_are_compared_from_their_time_on(room: BoxScene) -> None:
    _, log = run(room.scene, BrighteningInpainter())
    steps = [event for event in log if isinstance(event, StepDone) and event.stage == LAST_FIT]
    assert [event.step for event in steps if "patch perceptual" in event.losses] == [5, 6, 7, 8]  # progress 0.4 of 8


def test_the_prior_sees_photos_and_their_disparities_and_never_the_objects_disparity(room: BoxScene) -> None:
    assert room.scene.masks is not None
    prior = BrighteningInpainter()
    _, log = run(room.scene, prior)
    photos, disparities = prior.shown[::2], prior.shown[1::2]
    assert len(photos) == len(disparities) == 8
    for view in range(8):
        hole = room.scene.masks[view]
        assert torch.equal(prior.holes[2 * view], hole) and torch.equal(prior.holes[2 * view + 1], hole)
        assert torch.equal(photos[view], room.scene.image(view))
        assert (disparities[view] == disparities[view][..., :1]).all() and (disparities[view][hole] == 0).all()
        assert 0.9 < disparities[view].max() <= 1
    assert any(isinstance(e, Note) and "inpainted by 'brightening', as photos are" in e.text for e in log)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_disparity_survives_the_picture_in_any_unit(unit: float) -> None:
    """Of a slanted plane with a speck in front of the camera; the filler knows the plane's value on either side."""
    disparity = torch.linspace(0.5, 1.0, 30).expand(20, 30) / unit
    speck = disparity.clone()
    speck[0, 0] *= 50
    hole = torch.zeros(20, 30, dtype=torch.bool)
    hole[5:15, 10:20] = True

    class Interpolating(BrighteningInpainter):
        def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
            self.shown += list(images)
            left, right = images[:, :, 9:10], images[:, :, 20:21]
            across = ((torch.arange(30) - 9) / 11)[None, None, :, None]
            return torch.where(masks[..., None], left + (right - left) * across, images)

    prior = Interpolating()
    filled = inpaint_disparity(prior, 1 / speck, hole, torch.Generator())
    assert prior.shown[0][0, 29].min() > 0.9  # the speck does not darken the rest
    assert torch.allclose(filled[hole], disparity[hole], rtol=1e-4)
    assert torch.allclose(filled[~hole], speck[~hole])


def test_a_depth_network_takes_the_place_of_inpainted_disparities(room: BoxScene) -> None:
    asked: list[Tensor] = []

    def estimate(image: Tensor) -> Estimate:
        asked.append(image)
        return Estimate(torch.linspace(1, 2, image.shape[1]).expand(image.shape[:2]), True, "ramp")

    prior = BrighteningInpainter()
    _, log = run(room.scene, prior, estimate_depth=estimate)
    assert len(asked) == len(prior.shown) == 8
    assert any(isinstance(event, Note) and "ramp" in event.text for event in log)


def test_inpaintings_made_elsewhere_are_enough_for_the_views_they_are_of(room: BoxScene, tmp_path: Path) -> None:
    for view in (1, 4):
        write_png(tmp_path / room.scene.names[view], room.truth[view].numpy())
    removal, log = run(room.scene, FilesInpainter(tmp_path))
    assert removal.filled.flatten(1).any(1).nonzero()[:, 0].tolist() == [1, 4]
    assert any(isinstance(event, Note) and "continued smoothly" in event.text for event in log)


def test_masks_that_hide_nothing_leave_the_scene_as_it_is(room: BoxScene) -> None:
    prior = BrighteningInpainter()
    removal, log = run(room.scene.with_masks(torch.zeros_like(room.scene.masks)), prior)
    assert not prior.shown and torch.equal(removal.scene.images, room.scene.images)
    assert any(isinstance(event, Note) and "nothing needs inpainting" in event.text for event in log)


def test_a_scene_without_masks_is_refused(room: BoxScene) -> None:
    with pytest.raises(ValueError, match="masks"):
        run(room.scene.with_masks(None), BrighteningInpainter())


class Recorded:
    """What a loss drew: pixels in the order in which rays were made of them, and patches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, loss: InpaintedViewsLoss):
        self.pixels: list[tuple[Tensor, Tensor]] = []
        self.patches: list[Patch] = []
        rays, draw = Cameras.rays, loss.patches.draw

        def recording(cameras: Cameras, view: Tensor, xy: Tensor):
            self.pixels.append((view, xy))
            return rays(cameras, view, xy)

        def drawing(generator: torch.Generator) -> Patch:
            self.patches.append(draw(generator))
            return self.patches[-1]

        monkeypatch.setattr(Cameras, "rays", recording)
        monkeypatch.setattr(loss.patches, "draw", drawing)


def lost(room: BoxScene, config: SpinNerfConfig) -> tuple[InpaintedViewsLoss, Tensor, Tensor, Tensor]:
    """A loss, its inpainted images N H W 3 and disparities N H W, and the region."""
    assert room.scene.masks is not None
    views, region = torch.tensor([1, 2, 3, 5, 6, 7]), masks_only(torch.tensor([1, 2, 3, 5, 6, 7]), room.scene.masks)
    nerf = Nerf.around(room.scene.cameras, TINY_NERF, torch.Generator().manual_seed(3))
    images, disparity = room.truth, 1 / room.depth
    loss = InpaintedViewsLoss(
        nerf, room.scene, views, region, images[region], disparity[region], pixels_as_features, config
    )
    return loss, torch.where(region[..., None], images, room.scene.images).float() / 255, disparity, region


def test_every_term_is_the_papers(room: BoxScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each term again, ray by ray and patch by patch, without jitter."""
    monkeypatch.setattr(module, "uniform", lambda n, *_: torch.full((n,), 0.5))
    monkeypatch.setattr("unscene.stages.patches.uniform", lambda n, *_: torch.full((n,), 0.5))
    config = replace(CONFIG, rays=20, masked_rays=15, anchor_rays=10, disparity_weight=0.7, perceptual_weight=0.3)
    loss, images, disparity, region = lost(room, config)
    seen = Recorded(monkeypatch, loss)
    terms = loss(7, 0.5, torch.Generator().manual_seed(0))
    monkeypatch.undo()
    behind, known, anchor, _ = seen.pixels
    masks, cameras, nerf = room.scene.masks, room.scene.cameras, loss.nerf
    assert masks is not None

    def at(pixels: tuple[Tensor, Tensor]) -> tuple[list[tuple[int, int, int]], Tensor, Tensor]:
        view, xy = pixels
        places = [(int(v), int(y), int(x)) for v, (x, y) in zip(view, xy, strict=True)]
        rays = cameras.rays(view, xy)
        render = nerf.render(rays)
        return places, render.color, render.distance * rays.depth_per_distance

    def squared_error(pixels: tuple[Tensor, Tensor]) -> Tensor:
        places, colors, _ = at(pixels)
        return sum(((c - images[p]) ** 2).sum() / 3 for p, c in zip(places, colors, strict=True)) / len(places)

    assert all(not masks[p] for p in at(known)[0]) and len(at(known)[0]) == 20
    assert torch.allclose(terms["reconstruction"], squared_error(known), rtol=1e-4)
    places, _, depth = at(behind)
    assert all(region[p] for p in places) and len({p[0] for p in places}) > 2
    expected = sum((nerf.radius / d - nerf.radius * disparity[p]) ** 2 for p, d in zip(places, depth, strict=True))
    assert torch.allclose(terms["disparity"], 0.7 * expected / 15, rtol=1e-4)
    assert all(region[p] and p[0] == 2 for p in at(anchor)[0])  # the fifth from last of 1 2 3 5 6 7
    assert torch.allclose(terms["anchor colour"], squared_error(anchor), rtol=1e-4)

    distances = []
    for patch in seen.patches:
        top, left, bottom, right = bounding_box(region[patch.view])
        assert top <= patch.top + 4 < bottom and left <= patch.left + 4 < right
        for row in range(patch.top, patch.top + 8):
            for column in range(patch.left, patch.left + 8):
                xy = torch.tensor([[column + 0.5, row + 0.5]])
                ours = nerf.render(cameras.rays(torch.tensor([patch.view]), xy)).color[0]
                theirs = images[patch.view, row, column]
                distances.append((ours / ours.norm() - theirs / theirs.norm()).square().sum())
    assert len(seen.patches) == 2 and len(distances) == 128
    assert torch.allclose(terms["patch perceptual"], 0.3 * torch.stack(distances).mean(), rtol=1e-3)


def test_looks_do_not_move_surfaces(room: BoxScene) -> None:
    """Anchor and patches reach the outputs that are colours, and not the one that is density; disparity does."""
    loss, *_ = lost(room, CONFIG)
    terms = loss(7, 0.5, torch.Generator().manual_seed(0))

    def reaches(name: str) -> tuple[bool, bool]:
        (gradient,) = torch.autograd.grad(terms[name], loss.nerf.network.weight_output, retain_graph=True)
        return bool(gradient[0].any()), bool(gradient[1:4].any())

    assert reaches("anchor colour") == reaches("patch perceptual") == (False, True)
    assert reaches("disparity") == (True, False) and reaches("reconstruction") == (True, True)


KILLS: dict[str, Callable[[Event], bool]] = {
    "with the object": lambda e: (
        isinstance(e, StepDone) and e.stage == "reconstruction with the object" and e.step == 3
    ),
    "between views": lambda e: isinstance(e, ItemDone) and e.stage == "inpaint photos and disparities",
    "without the object": lambda e: isinstance(e, StepDone) and e.stage == LAST_FIT and e.step == 6,
    "at the end": lambda e: isinstance(e, StageStarted) and e.stage == "render the cleaned views",
}


@pytest.mark.parametrize("reached", KILLS.values(), ids=KILLS.keys())
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    room: BoxScene, tmp_path: Path, reached: Callable[[Event], bool]
) -> None:
    whole, _ = run(room.scene, BrighteningInpainter(), checkpoints=Checkpoints(None, 5))
    killed = start(room.scene, BrighteningInpainter(), checkpoints=Checkpoints(tmp_path, 5))
    assert any(reached(event) for event in killed)
    killed.close()
    resumed, log = run(room.scene, BrighteningInpainter(), checkpoints=Checkpoints(tmp_path, 5))
    assert sum(isinstance(event, StepDone) for event in log) < 12  # of 4 + 8
    for name, value in whole.field.state_dict().items():
        assert torch.equal(value, resumed.field.state_dict()[name]), name
    assert torch.equal(whole.scene.images, resumed.scene.images) and torch.equal(whole.filled, resumed.filled)
