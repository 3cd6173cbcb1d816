"""The methods on Gaussians, each as a whole on a tiny room; In-N-Out has a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from tests.methods import test_infusion, test_inpaint3d, test_inpaint_nerf360, test_mald_nerf, test_nerfiller
from tests.methods import test_spin_nerf as spin
from tests.methods.resuming import check_that_a_killed_run_goes_on, finish
from tests.methods.test_in_n_out import losses_of, pixels_as_features, stages_of
from tests.methods.test_inpaint3d import Expecting
from tests.methods.test_mald_nerf import DarkeningInpainter
from tests.methods.test_nerfiller import JointlyDarkeningInpainter
from tests.splat_room import room_gaussians, wall_gaussians
from unscene.fields.field import Window
from unscene.fields.splats import Splats, TracedGaussians
from unscene.geometry.gaussians import Y00
from unscene.methods.infusion import infusion
from unscene.methods.inpaint3d import inpaint3d
from unscene.methods.inpaint_nerf360 import inpaint_nerf360
from unscene.methods.mald_nerf import mald_nerf
from unscene.methods.naive import NaiveConfig, naive
from unscene.methods.nerfiller import nerfiller
from unscene.methods.spin_nerf import spin_nerf
from unscene.priors.classical import TeleaInpainter
from unscene.stages.masked_rendering import masks_only
from unscene.stages.patches import Patch
from unscene.stages.removal import Removal
from unscene.stages.splat_learner import SplatLearner, SplatRemovalConfig
from unscene.stages.splat_reconstruction import SplatConfig
from unscene.stages.splat_selection import rendered_weights
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note, StepDone
from unscene.training.fit import FitConfig
from unscene.training.pixels import PixelSampler

pytestmark = pytest.mark.usefixtures("one_thread", "report_every_step")

SPLATS = SplatRemovalConfig(
    gaussians=SplatConfig(count=900, most=900), photos=FitConfig(steps=3, learning_rate=1e-2, checkpoint_seconds=0)
)
NAIVE = NaiveConfig(nerf=TINY_NERF, fit=FitConfig(steps=8, checkpoint_seconds=0), rays=64)
KNOWN = {"reconstruction", "opacity"}
ON_SPLATS: dict[str, tuple[Callable[..., Generator[Event, None, Removal]], Any, Callable[[], Any], str, set[str]]] = {
    "naive": (naive, NAIVE, TeleaInpainter, "splats", {"colour", "structure"}),
    "infusion": (
        infusion, test_infusion.CONFIG, TeleaInpainter, "fine-tuning", KNOWN | {"prior colour", "prior depth"}
    ),
    "inpaint3d": (
        inpaint3d, test_inpaint3d.CONFIG, Expecting, "score distillation", KNOWN | {"score distillation", "depth"}
    ),
    "inpaint-nerf360": (
        inpaint_nerf360, test_inpaint_nerf360.CONFIG, TeleaInpainter, "perceptual optimisation",
        KNOWN | {"disparity", "patch perceptual"},
    ),
    "mald-nerf": (
        mald_nerf, test_mald_nerf.CONFIG, DarkeningInpainter, "masked adversarial training",
        KNOWN | {"adversarial", "feature matching", "depth"},
    ),
    "nerfiller": (
        nerfiller, test_nerfiller.CONFIG, JointlyDarkeningInpainter, "training with jointly inpainted views",
        KNOWN | {"patch perceptual", "depth ranking"},
    ),
    "spin-nerf": (
        spin_nerf, spin.CONFIG, TeleaInpainter, "reconstruction without the object",
        KNOWN | {"disparity", "patch perceptual", "anchor colour"},
    ),
}  # fmt: skip


def start(room: BoxScene, name: str, checkpoints: Checkpoints | None = None) -> Generator[Event, None, Removal]:
    method, config, prior, *_ = ON_SPLATS[name]
    return method(
        room.scene, prior(), pixels_as_features, config, checkpoints or Checkpoints(None, 0), fill="mask", splats=SPLATS
    )


@pytest.mark.parametrize("name", ON_SPLATS)
def test_the_object_goes_and_everything_else_stays(room: BoxScene, name: str) -> None:
    removal, log = finish(start(room, name))
    scene, (*_, last, terms) = room.scene, ON_SPLATS[name]
    assert scene.masks is not None
    assert torch.equal(removal.scene.images[~scene.masks], scene.images[~scene.masks])
    changed = (removal.scene.images != scene.images).any(-1)
    assert changed[scene.masks].float().mean() > 0.8
    assert isinstance(removal.field, Splats) and removal.field.kept is None  # a run is opened without anything else
    assert all(tensor.isfinite().all() for tensor in removal.field.state_dict().values())
    assert stages_of(log)[-2:] == [last, "render the cleaned views"] and "splats" in stages_of(log)
    assert terms <= losses_of(log, last)


@pytest.mark.parametrize("name", ["mald-nerf", "spin-nerf"])
def test_a_run_that_was_killed_goes_on(room: BoxScene, name: str, tmp_path: Path) -> None:
    last, whole = ON_SPLATS[name][3], finish(start(room, name, Checkpoints(None, 5)))
    steps = sum(isinstance(event, StepDone) for event in whole[1])

    def reached(event: Event) -> bool:
        return isinstance(event, StepDone) and event.stage == last and event.progress > 0.5

    check_that_a_killed_run_goes_on(
        lambda checkpoints: start(room, name, checkpoints), reached, tmp_path, steps, whole[0]
    )  # fmt: skip


@pytest.fixture
def learner(room: BoxScene) -> SplatLearner:
    """All of the room's Gaussians learn, the box's too."""
    assert room.scene.masks is not None
    traced = TracedGaussians.of_file(room_gaussians(room)[0])
    return SplatLearner(room.scene, traced, SPLATS, torch.ones(len(traced), dtype=torch.bool), room.scene.masks)


def test_patches_show_what_the_whole_view_does(learner: SplatLearner) -> None:
    patches = [Patch(1, 3, 5, 8), Patch(4, 10, 20, 8)]
    terms, shown = learner.terms_and_patches(0, torch.Generator().manual_seed(0), 0, patches)
    views = [learner.field.draw(learner.scene.cameras, patch.view) for patch in patches]
    expected = torch.cat([view.color[patch.window].flatten(0, 1) for view, patch in zip(views, patches, strict=True)])
    torch.testing.assert_close(shown.color.clamp(0, 1), expected, atol=1e-5, rtol=0)
    assert terms.keys() >= KNOWN
    where = torch.tensor([0, 70, 127])
    _, some = learner.terms_and_patches(0, torch.Generator().manual_seed(0), 0, patches, where)
    assert torch.equal(some.color, shown.color[where]) and torch.equal(some.depth, shown.depth[where])


def test_depth_is_that_of_the_walls(room: BoxScene, learner: SplatLearner) -> None:
    """The mean depth of what stops the light, beside the true depth of what the view shows outside the box."""
    patch = Patch(2, 0, 0, 12)
    assert room.scene.masks is not None and not room.scene.masks[2][patch.window].any()
    _, shown = learner.terms_and_patches(0, torch.Generator().manual_seed(0), 0, [patch])
    off = (shown.depth / room.depth[2][patch.window].flatten() - 1).abs()
    assert off.median() < 0.03


def test_hidden_pixels_are_those_of_one_view(room: BoxScene, learner: SplatLearner) -> None:
    assert room.scene.masks is not None
    hidden = PixelSampler(room.scene, masks_only(torch.tensor([2, 5]), room.scene.masks))
    _, shown, places = learner.terms_and_hidden(0, torch.Generator().manual_seed(1), 0, hidden, 7)
    view = int(hidden.at(places).view[0])
    mask = room.scene.masks[view]
    assert view in (2, 5) and len(places) == int(mask.sum()) and (hidden.at(places).view == view).all()
    drawn = learner.field.draw(room.scene.cameras, view).color[mask]
    torch.testing.assert_close(shown.color.clamp(0, 1), drawn, atol=1e-5, rtol=0)
    both = {int(hidden.of_a_view(torch.Generator().manual_seed(seed))[0]) for seed in range(20)}
    assert len(both) == 2


def test_colours_alone_do_not_move_surfaces(room: BoxScene, learner: SplatLearner) -> None:
    assert room.scene.masks is not None
    hidden = PixelSampler(room.scene, room.scene.masks)
    color, _ = learner.colors_of_hidden(hidden, 7, torch.Generator().manual_seed(1))
    color.sum().backward()
    field = learner.field
    assert field.base.grad is not None and field.base.grad.any()
    assert all(part.grad is None for part in (field.means, field.log_scales, field.quaternions, field.opacity_logits))


def test_colours_stay_in_range(learner: SplatLearner) -> None:
    with torch.no_grad():
        learner.field.base += 9
    learner.terms_and_patches(0, torch.Generator().manual_seed(0), 0, [Patch(1, 3, 5, 8)])
    assert (learner.field.base * Y00 + 0.5).max() <= 1 + 1e-6


def test_gaussians_learn_as_long_as_the_method_says_and_as_fast_as_they_do(learner: SplatLearner) -> None:
    """A radiance field's step size would move them a tenth of a scene at a time."""
    before = learner.field.means.detach().clone()
    method = FitConfig(steps=4, learning_rate=5.0, final_learning_rate=5.0, warmup_steps=1)
    _, log = finish(learner.learn("fit", learner.filling, method, Checkpoints(None, 0), known=0, more=0))  # pyright: ignore[reportArgumentType]
    assert sum(isinstance(event, StepDone) for event in log) == 4
    moved = (learner.field.means - before).norm(dim=1).max()
    assert 0 < moved < 0.01 * learner.field.radius


def test_new_gaussians_begin_at_the_surfaces_behind(room: BoxScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of walls without what mostly the masks show: light passes there unless new ones begin."""
    scene, passing = room.scene, []
    assert scene.masks is not None
    walls, whole = wall_gaussians(room), Window(0, 0, scene.cameras.width, scene.cameras.height)
    seen = rendered_weights(walls, scene.cameras, scene.train, scene.masks).share < 0.3
    before = SplatLearner(scene, TracedGaussians.of_file(walls[seen]), SPLATS)
    for mending in (True, False):
        if not mending:
            monkeypatch.setattr("unscene.stages.splat_learner.mend", lambda traced, *_: traced)
        beginning = before.begin_behind(scene, scene.masks, room.depth, [], Checkpoints(None, 0))
        learner, log = finish(beginning)  # pyright: ignore[reportArgumentType]
        shown = [learner.field.show(scene.cameras, view, whole).transmittance for view in range(len(scene))]
        passing.append(float((torch.stack(shown)[scene.masks] > 0.5).float().mean()))
        assert any("new Gaussians begin at the surfaces" in event.text for event in log if isinstance(event, Note))
    assert passing[0] < 0.1 and passing[1] > 0.4
