"""SPIn-NeRF as a whole on a tiny room, and each term of its loss against a slow reference."""

from __future__ import annotations

import importlib
import math
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
from unscene.fields.nerf import Nerf
from unscene.files import write_png
from unscene.jobs.presets import removal_preset
from unscene.methods.spin_nerf import AnchorColors, SpinNerfConfig, spin_nerf
from unscene.priors.classical import ExemplarInpainter, TeleaInpainter
from unscene.priors.depth.completion import Estimate
from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages import independent_inpainting
from unscene.stages.inpainted_disparity import DisparityConfig, inpaint_disparity
from unscene.stages.inpainted_views import InpaintedViewsConfig, with_fills
from unscene.stages.masked_rendering import masks_only
from unscene.stages.reconstruction import UnmaskedReconstruction
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
    object_rays=64, anchor_rays=16, disparity=DisparityConfig(downscale=1, level=False),
    loss=InpaintedViewsConfig(rays=64, masked_rays=32, patches=2, patch=8, perceptual_from=0.4),
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
    return finish(start(scene, prior, config, **more))


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
        "reconstruction with the object", "depth maps", "inpaint photos and disparities", LAST_FIT,
        "render the cleaned views",
    ]  # fmt: skip
    assert [event.name for event in log if isinstance(event, Picture)] == ["inpainted", "disparity"]


def test_it_runs_with_the_bundled_latent_diffusion_prior(room: BoxScene) -> None:
    from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter

    removal, _ = run(room.scene, LatentDiffusionInpainter.load().with_settings(steps=2), replace(CONFIG, most_views=2))
    assert [int(filled.any()) for filled in removal.filled] == [1, 0, 0, 0, 0, 0, 0, 1]


SWITCHES: dict[str, tuple[SpinNerfConfig, set[str], set[str]]] = {  # name -> without, what goes, what comes
    "perceptual": (
        replace(CONFIG, loss=replace(CONFIG.loss, perceptual=False)),
        {"anchor colour", "patch perceptual"},
        {"masked colour"},
    ),
    "inpainted disparity": (replace(CONFIG, disparity=replace(CONFIG.disparity, inpaint=False)), set(), set()),
    "level": (replace(CONFIG, disparity=replace(CONFIG.disparity, level=True)), set(), set()),
    "full size": (replace(CONFIG, disparity=replace(CONFIG.disparity, downscale=2)), set(), set()),
    "squared": (replace(CONFIG, loss=replace(CONFIG.loss, pixel_error="charbonnier")), set(), set()),
    "disparity": (replace(CONFIG, loss=replace(CONFIG.loss, disparity_weight=0.0)), set(), set()),
    "weak patches": (replace(CONFIG, loss=replace(CONFIG.loss, perceptual_weight=5.0)), set(), set()),
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_what_acts_changes_the_result_when_it_is_switched_off(room: BoxScene, switch: str) -> None:
    config, gone, come = SWITCHES[switch]
    whole, with_all = run(room.scene, BrighteningInpainter())
    assert gone <= losses_of(with_all) and not come & losses_of(with_all)
    less, without = run(room.scene, BrighteningInpainter(), config)
    assert losses_of(without) == (losses_of(with_all) - gone) | come
    assert not torch.equal(whole.field.grid.table, less.field.grid.table)


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
    assert any(
        isinstance(e, Note) and "inpainted by 'brightening' in pictures as large as the photos" in e.text for e in log
    )


def test_pictures_of_disparities_are_as_small_as_asked_for(room: BoxScene) -> None:
    prior = BrighteningInpainter()
    config = replace(CONFIG, disparity=DisparityConfig(downscale=2, level=True))
    _, log = run(room.scene, prior, config)
    assert [tuple(image.shape) for image in prior.shown] == 8 * [(36, 48, 3), (18, 24, 3)]
    for hole, small in zip(prior.holes[::2], prior.holes[1::2], strict=True):
        assert torch.equal(small, hole.view(18, 2, 24, 2).any(3).any(1))
    assert any(isinstance(e, Note) and "of 1/2 of the photos' size, above the plane" in e.text for e in log)


@pytest.mark.parametrize(("fill", "says"), [("unseen", True), ("mask", False)])
def test_a_fill_that_has_no_say_is_named(room: BoxScene, fill: str, says: bool) -> None:
    _, log = run(room.scene, BrighteningInpainter(), fill=fill)
    assert any(isinstance(event, Note) and "--fill unseen" in event.text for event in log) == says


@pytest.mark.parametrize("along_surface", [True, False])
def test_priors_that_copy_look_at_the_surface_only_if_they_may(
    room: BoxScene, along_surface: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then they never copy from another view's mask, inpainted or not."""
    asked: list[Tensor] = []
    whole = independent_inpainting.fill_surface

    def watching(scene: Scene, view: int, region: Tensor, *more: Any, **options: Any) -> Tensor:
        asked.append(region)
        return whole(scene, view, region, *more, **options)

    monkeypatch.setattr(independent_inpainting, "fill_surface", watching)
    _, log = run(room.scene, ExemplarInpainter(), replace(CONFIG, most_views=3, along_surface=along_surface))
    assert len(asked) == (3 if along_surface else 0)
    assert all(torch.equal(region, room.scene.masks) for region in asked)
    assert any(isinstance(e, Note) and "each by itself" in e.text for e in log) != along_surface


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("level", [True, False])
def test_disparity_survives_the_picture_in_any_unit(unit: float, level: bool) -> None:
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
    slope = 0.5 * disparity.flip(0) + 0.1 / unit if level else torch.zeros_like(disparity)
    filled = inpaint_disparity(prior, 1 / speck, hole, slope, torch.Generator())
    assert prior.shown[0][0, 29].min() > 0.9 and prior.shown[0][1, 0].max() < 0.1  # the speck does not darken the rest
    assert (prior.shown[0][hole] == 0).all()
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


@pytest.mark.parametrize("squares", [True, False])
def test_the_anchor_is_the_fifth_view_from_last_and_moves_no_surface(
    room: BoxScene, squares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unscene.stages.reconstruction.uniform", lambda n, *_: torch.full((n,), 0.5))
    views = torch.tensor([1, 2, 3, 5, 6, 7])
    assert room.scene.masks is not None
    region = masks_only(views, room.scene.masks)
    filled = with_fills(room.scene, region, room.truth[region])
    config = replace(CONFIG, loss=replace(CONFIG.loss, pixel_error="squared" if squares else "charbonnier"))
    nerf = Nerf.around(room.scene.cameras, TINY_NERF, torch.Generator().manual_seed(3))
    known = UnmaskedReconstruction(nerf, room.scene, config.regularizer, rays=64)
    anchor = AnchorColors(known, filled, views, region, config)
    drawn = anchor.pixels.sample(16, torch.Generator().manual_seed(0))
    assert (drawn.view == 2).all()
    places = [(2, int(y), int(x)) for x, y in drawn.xy]
    assert all(region[place] for place in places)
    (value,) = anchor(torch.Generator().manual_seed(0)).values()
    errors = nerf.render(filled.cameras.rays(drawn.view, drawn.xy)).color - torch.stack(
        [room.truth[place] / 255 for place in places]
    )
    expected = errors.square() if squares else (errors.square() + 1e-6).sqrt()
    torch.testing.assert_close(value, expected.mean())
    (gradient,) = torch.autograd.grad(value, nerf.network.weight_output)
    assert not gradient[0].any() and gradient[1:4].any()


KILLS: dict[str, Callable[[Event], bool]] = {
    "with the object": lambda e: (
        isinstance(e, StepDone) and e.stage == "reconstruction with the object" and e.step == 3
    ),
    "between views": lambda e: isinstance(e, ItemDone) and e.stage == "inpaint photos and disparities",
    "without the object": lambda e: isinstance(e, StepDone) and e.stage == LAST_FIT and e.step == 6,
    "at the end": lambda e: isinstance(e, StageStarted) and e.stage == "render the cleaned views",
}


@pytest.fixture(scope="module")
def whole(room: BoxScene, one_thread: None) -> Removal:
    return uninterrupted(lambda checkpoints: start(room.scene, BrighteningInpainter(), checkpoints=checkpoints))


@pytest.mark.parametrize("reached", KILLS.values(), ids=KILLS.keys())
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    room: BoxScene, tmp_path: Path, whole: Removal, reached: Callable[[Event], bool]
) -> None:
    def begin(checkpoints: Checkpoints) -> Generator[Event, None, Removal]:
        return start(room.scene, BrighteningInpainter(), checkpoints=checkpoints)

    check_that_a_killed_run_goes_on(begin, reached, tmp_path, steps=12, whole=whole)  # of 4 + 8


def test_the_paper_is_what_the_release_runs_with() -> None:
    options = removal_preset("paper", "spin-nerf")
    paper, loss = options.spin_nerf, options.spin_nerf.loss
    assert (options.depth, options.mask_margin, options.fill, options.perceptual) == ("field", 10, "mask", "lpips-vgg")
    assert (paper.with_object.steps, paper.fit.steps, paper.most_views) == (4001, 10_001, None)
    assert (loss.rays, loss.masked_rays, paper.anchor_rays, paper.object_rays) == (1024, 1024, 1024, 1024)
    assert (loss.pixel_error, loss.disparity_weight, loss.perceptual_weight, loss.patches) == ("squared", 1, 0.01, 4)
    assert round(loss.perceptual_from * 10_001) == 300 and not loss.patches_move_surfaces
    assert paper.disparity == DisparityConfig(inpaint=True, downscale=1, level=False) and not paper.along_surface
    for stage in (paper.with_object, paper.fit):  # 0.03, a tenth after every 10,000 steps
        assert stage.steps is not None
        per_step = math.log(stage.learning_rate / stage.final_learning_rate) / stage.steps
        assert stage.learning_rate == 0.03 and per_step == pytest.approx(math.log(10) / 10_000, rel=1e-3)
