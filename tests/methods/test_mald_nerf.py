"""MALD-NeRF as a whole on a tiny room, and each of its claims on its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from tests.methods.resuming import check_that_a_killed_run_goes_on, finish, uninterrupted
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import VisibilityConfig
from unscene.methods.mald_nerf import MaldNerfConfig, MaskedAdversarialTraining, mald_nerf
from unscene.priors.classical import TeleaInpainter
from unscene.priors.depth.completion import Estimate
from unscene.priors.inpainter import Inpainter
from unscene.priors.prior_error import PriorError
from unscene.scenes.scene import Scene
from unscene.stages.dataset_update import UpdateConfig, UpdatedDataset, noise_level
from unscene.stages.method_error import MethodError
from unscene.stages.patches import Patch
from unscene.stages.reconstruction import Shown
from unscene.stages.removal import Removal
from unscene.training.adversary import Adversary, Health
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, GameHealth, Note, StageDone, StageStarted, StepDone, ViewUpdated
from unscene.training.fit import DivergedError, FitConfig

module = importlib.import_module("unscene.methods.mald_nerf")  # the package gives its name to the function
pytestmark = pytest.mark.usefixtures("one_thread", "report_every_step")

CONFIG = MaldNerfConfig(
    nerf=TINY_NERF,
    reconstruction=FitConfig(steps=4, checkpoint_seconds=0),
    training=FitConfig(steps=24, checkpoint_seconds=0),
    rays=64, patch=16, visibility=VisibilityConfig(depth_tolerance=0.0), patience=1000,
    update=UpdateConfig(every=2, first=0, rounds=1, strongest=0.8, weakest=0.2),
)  # fmt: skip


@dataclass
class DarkeningInpainter:
    """A latent inpainter that returns what it should start from, a little darker, and remembers what it was asked."""

    strengths: list[float] = field(default_factory=list)
    starts: list[Tensor] = field(default_factory=list)
    noises: list[Tensor] = field(default_factory=list)
    name: str = "darkening"
    guide: None = None
    latent_channels: int = 4
    downscale: int = 4
    strength: float = 0.6
    steps: int = 20

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        return -(-height // self.downscale), -(-width // self.downscale)

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        raise AssertionError("a latent inpainter is asked through its latents")

    def inpaint_latent(
        self, images: Tensor, masks: Tensor, *, noise: Tensor, start: Tensor | None = None, strength: float = 1.0,
        steps: int = 20, base: int | None = None, own_weight: float = 1.0,
    ) -> Tensor:  # fmt: skip
        assert start is not None and steps == self.steps and base is None
        self.strengths.append(strength)
        self.starts.append(start[0])
        self.noises.append(noise[0])
        return torch.where(masks[..., None], 0.9 * start, images)


def pixels_as_features(images: Tensor) -> list[Tensor]:
    return [images]


def start(
    scene: Scene, prior: Inpainter, config: MaldNerfConfig = CONFIG, checkpoints: Checkpoints | None = None, **more
) -> Generator[Event, None, Removal]:
    return mald_nerf(scene, prior, pixels_as_features, config, checkpoints or Checkpoints(None, 0), **more)


def run(scene: Scene, prior: Inpainter, config: MaldNerfConfig = CONFIG, **more) -> tuple[Removal, list[Event]]:
    return finish(start(scene, prior, config, **more))


def losses_of(log: list[Event]) -> set[str]:
    return {n for event in log if isinstance(event, StepDone) and event.stage == module.STAGE for n in event.losses}


def test_the_object_goes_and_everything_else_stays(room_with_tests: BoxScene) -> None:
    from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter

    scene = room_with_tests.scene
    assert scene.masks is not None
    prior = LatentDiffusionInpainter.load().with_settings(steps=2)
    removal, log = run(scene, prior, replace(CONFIG, training=FitConfig(steps=6), most_views=3))
    assert torch.equal(removal.scene.images[~scene.masks], scene.images[~scene.masks])
    changed = (removal.scene.images != scene.images).any(-1)[scene.train]
    assert changed[scene.masks[scene.train]].float().mean() > 0.8
    assert removal.filled[scene.train].any() and not removal.filled[scene.test].any()
    assert all(value.isfinite().all() for value in removal.field.state_dict().values())
    started = [event.stage for event in log if isinstance(event, StageStarted)]
    assert started == [event.stage for event in log if isinstance(event, StageDone)]
    assert module.STAGE in started


def test_every_term_of_the_paper_and_no_other(room: BoxScene) -> None:
    _, log = run(room.scene, DarkeningInpainter())
    terms = losses_of(log)
    assert {"reconstruction", "interlevel", "adversarial", "feature matching", "depth"} <= terms
    assert not terms & {"patch L1", "patch perceptual"}


ROWS = {  # of the paper's ablation
    "no adversarial + L1": ({"adversarial": False, "pixel_loss": "l1"}, {"patch L1"}),
    "no adversarial + perceptual": ({"adversarial": False, "pixel_loss": "perceptual"}, {"patch perceptual"}),
    "full + L1": ({"pixel_loss": "l1"}, {"patch L1", "adversarial", "feature matching"}),
    "full + perceptual": ({"pixel_loss": "perceptual"}, {"patch perceptual", "adversarial", "feature matching"}),
}


@pytest.mark.parametrize(("flags", "wanted"), ROWS.values(), ids=ROWS.keys())
def test_flags_give_the_papers_ablations(room: BoxScene, flags: dict, wanted: set[str]) -> None:
    _, log = run(room.scene, DarkeningInpainter(), replace(CONFIG, training=FitConfig(steps=3), **flags))
    chosen = {"patch L1", "patch perceptual", "adversarial", "feature matching"}
    assert losses_of(log) & chosen == wanted


def test_noise_falls_with_the_square_root_of_progress() -> None:
    levels = [noise_level(k / 4, 0.8, 0.2) for k in range(5)]
    assert levels == pytest.approx([0.8, 0.5, 0.8 - 0.6 * 0.5**0.5, 0.8 - 0.6 * 0.75**0.5, 0.2])
    assert noise_level(-1, 0.8, 0.2) == 0.8 and noise_level(2, 0.8, 0.2) == pytest.approx(0.2)


def test_views_are_inpainted_again_in_turn_from_less_and_less_noise(room: BoxScene) -> None:
    prior = DarkeningInpainter()
    _, log = run(room.scene, prior)
    updates = [event for event in log if isinstance(event, ViewUpdated)]
    first, later = updates[:8], updates[8:]
    assert [event.view for event in first] == list(room.scene.names) and {e.update for e in first} == {0}
    assert all(event.step == 0 and event.change is None and event.timestep == 0.6 for event in first)
    assert [event.step for event in later] == list(range(2, 24, 2))
    assert [event.view for event in later] == [room.scene.names[i % 8] for i in range(11)]
    assert [event.update for event in later] == [1 + i // 8 for i in range(11)]
    exact = [noise_level((step - 2) / 22, 0.8, 0.2) for step in range(2, 24, 2)]
    wanted = [round(20 * level) / 20 for level in exact]  # the sampler knows no levels between its steps
    assert len(set(wanted)) > 5
    assert [event.timestep for event in later] == pytest.approx(wanted) == prior.strengths[8:]
    assert all(event.change is not None and event.change > 0 for event in later)
    assert not torch.equal(prior.noises[0], prior.noises[8])  # fresh noise each time


@pytest.mark.parametrize(("first", "rounds", "steps"), [(0.0, 2, 24), (0.4, 2, 24), (0.5, 3, 30), (0.3, 2, 17)])
def test_noise_falls_from_the_first_update_on_and_every_view_has_its_rounds(
    room: BoxScene, first: float, rounds: int, steps: int
) -> None:
    update = replace(CONFIG.update, first=first, rounds=rounds)
    _, log = run(room.scene, DarkeningInpainter(), replace(CONFIG, training=FitConfig(steps=steps), update=update))
    later = [event for event in log if isinstance(event, ViewUpdated)][8:]
    begun = min(event.step for event in later)
    assert begun == min(step for step in range(2, steps, 2) if step >= first * steps)
    exact = [0.8 - 0.6 * ((event.step - begun) / (steps - begun)) ** 0.5 for event in later]
    assert [event.timestep for event in later] == pytest.approx([round(20 * level) / 20 for level in exact])
    assert later[0].timestep == 0.8  # t_max
    times = [sum(event.view == name for event in later) for name in room.scene.names]
    assert min(times) >= rounds and max(times) <= rounds + 1


def test_a_run_of_few_updates_replaces_each_view_once_an_update_at_most(room: BoxScene) -> None:
    update = replace(CONFIG.update, every=10, rounds=5)
    _, log = run(room.scene, DarkeningInpainter(), replace(CONFIG, training=FitConfig(steps=24), update=update))
    later = [event for event in log if isinstance(event, ViewUpdated)][8:]
    assert [(event.step, event.view) for event in later] == [(s, n) for s in (10, 20) for n in room.scene.names]


def test_updates_start_from_the_field_inside_and_the_photo_outside(room: BoxScene) -> None:
    assert room.scene.masks is not None
    prior = DarkeningInpainter()
    _, log = run(room.scene, prior, fill="mask")
    shown = [event for event in log if isinstance(event, ViewUpdated) and event.exemplary]
    assert {event.view for event in shown} == {room.scene.names[i] for i in (0, 4, 7)}  # a few, not all
    assert all(event.image.shape == (36, 48, 3) for event in log if isinstance(event, ViewUpdated))
    for index, begun in enumerate(prior.starts[8:16]):
        mask = room.scene.masks[index]
        assert torch.equal(begun[~mask], room.scene.image(index)[~mask])
        assert not torch.equal(begun[mask], room.scene.image(index)[mask])


def test_the_prior_never_sees_the_object(room: BoxScene) -> None:
    assert room.scene.masks is not None
    prior = DarkeningInpainter()
    run(room.scene, prior, fill="mask")
    for index, begun in enumerate(prior.starts[:8]):
        mask = room.scene.masks[index]
        assert (begun[mask] - room.scene.image(index)[mask]).abs().mean() > 0.02


def test_a_depth_network_is_asked_about_every_new_inpainting(room: BoxScene) -> None:
    asked: list[Tensor] = []

    def estimate(image: Tensor) -> Estimate:
        asked.append(image)
        return Estimate(torch.linspace(1, 2, image.shape[1]).expand(image.shape[:2]), True, "ramp")

    _, log = run(room.scene, DarkeningInpainter(), estimate_depth=estimate)
    assert len(asked) == sum(isinstance(event, ViewUpdated) for event in log)


def test_priors_without_latents_and_scenes_without_masks_are_refused(room: BoxScene) -> None:
    with pytest.raises(PriorError, match=r"mald-nerf: expected a diffusion prior, got 'telea'"):
        run(room.scene, TeleaInpainter())
    with pytest.raises(ValueError, match="masks"):
        run(room.scene.with_masks(None), DarkeningInpainter())


def test_settings_that_cannot_work_are_refused_before_anything_runs(room: BoxScene) -> None:
    with pytest.raises(MethodError, match="weakest <= strongest"):
        next(start(room.scene, DarkeningInpainter(), replace(CONFIG, update=UpdateConfig(strongest=0.2, weakest=0.5))))
    for wrong in ({"every": 0}, {"rounds": -1}, {"first": 1.0}, {"first": float("nan")}):
        with pytest.raises(MethodError, match=rf"--mald-nerf\.update\.{next(iter(wrong))}: expected"):
            next(start(room.scene, DarkeningInpainter(), replace(CONFIG, update=UpdateConfig(**wrong))))
    with pytest.raises(MethodError, match=r"neither .* add --mald-nerf.pixel-loss"):
        next(start(room.scene, DarkeningInpainter(), replace(CONFIG, adversarial=False)))


KILLS: dict[str, Callable[[Event], bool]] = {
    "in the reconstruction": lambda e: isinstance(e, StepDone) and e.stage == "reconstruction" and e.step == 3,
    "between first inpaintings": lambda e: isinstance(e, ViewUpdated) and e.step == 0 and e.view == "004.png",
    "after a step": lambda e: isinstance(e, StepDone) and e.stage == module.STAGE and e.step == 7,
    "after an update": lambda e: isinstance(e, ViewUpdated) and e.step == 12,
    "at the end": lambda e: isinstance(e, StageStarted) and e.stage == "render the cleaned views",
}


@pytest.fixture(scope="module")
def whole(room: BoxScene, one_thread: None) -> Removal:
    return uninterrupted(lambda checkpoints: start(room.scene, DarkeningInpainter(), checkpoints=checkpoints))


@pytest.mark.parametrize("reached", KILLS.values(), ids=KILLS.keys())
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    room: BoxScene, tmp_path: Path, whole: Removal, reached: Callable[[Event], bool]
) -> None:
    def begin(checkpoints: Checkpoints) -> Generator[Event, None, Removal]:
        return start(room.scene, DarkeningInpainter(), checkpoints=checkpoints)

    check_that_a_killed_run_goes_on(begin, reached, tmp_path, steps=28, whole=whole)


def test_health_is_reported(room: BoxScene) -> None:
    _, log = run(room.scene, DarkeningInpainter())
    reports = [event for event in log if isinstance(event, GameHealth)]
    assert [event.step for event in reports] == [10, 20]
    assert all(0 <= event.accuracy <= 1 for event in reports)
    assert all(event.gradient_norm > 0 and event.gradient_penalty > 0 for event in reports)


def test_a_discriminator_that_always_wins_sends_the_run_back(room: BoxScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Adversary, "train_on", lambda self, real, fake: Health(*torch.ones(3)))
    monkeypatch.setattr(module, "MEMORY", 0.0)
    _, log = run(room.scene, DarkeningInpainter(), replace(CONFIG, patience=5))
    notes = [event.text for event in log if isinstance(event, Note)]
    back = [note for note in notes if "back to step 0 with half the step size" in note]
    assert len(back) == 3 and "has been right about nearly every patch for 5 steps" in back[0]
    assert any("nothing tried has changed that, the run goes on" in note for note in notes)
    assert max(e.step for e in log if isinstance(e, StepDone) and e.stage == module.STAGE) == 24


def test_a_loss_that_is_no_number_sends_the_run_back_and_is_stated(
    room: BoxScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, rates = Adversary.judge_with_features, []

    def broken(self: Adversary, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        rates.append(self.rate)
        adversarial, matching = judge(self, fake, real)
        return (adversarial * torch.nan if len(rates) == 9 else adversarial), matching

    monkeypatch.setattr(Adversary, "judge_with_features", broken)
    removal, log = run(room.scene, DarkeningInpainter())
    notes = [event.text for event in log if isinstance(event, Note)]
    (told,) = [note for note in notes if "adversarial = nan" in note]
    assert "back to step 8 with half the step size (1 of 3" in told
    assert rates[8] == 1.0 and rates[9] == 0.5  # the discriminator learns half as fast from then on
    assert all(value.isfinite().all() for value in removal.field.state_dict().values())
    monkeypatch.setattr(Adversary, "judge_with_features", lambda *_: (torch.tensor(torch.nan),) * 2)
    with pytest.raises(DivergedError, match="not finite"):
        run(room.scene, DarkeningInpainter())


def test_the_field_stays_finite_when_the_adversary_sees_the_surroundings(room: BoxScene) -> None:
    """Outside of what was inpainted there is no depth to learn from, nor a gradient."""
    removal, log = run(room.scene, DarkeningInpainter(), replace(CONFIG, masked=False))
    assert all(parameter.isfinite().all() for parameter in removal.field.parameters())
    assert not [event.text for event in log if isinstance(event, Note) and "back to step" in event.text]


SIDE, COUNT = 32, 120


def seam_accuracy(monkeypatch: pytest.MonkeyPatch, *, masked: bool) -> float:
    """How often the discriminator is right at last, when inpainted and rendered images are alike inside the mask but
    the inpainted ones' surroundings have passed through an autoencoder that shifts their texture."""
    generator = torch.Generator().manual_seed(0)
    poses = torch.eye(4)[:3].expand(COUNT, 3, 4)
    focal, principal = torch.full((COUNT, 2), 30.0), torch.full((COUNT, 2), SIDE / 2)
    cameras = Cameras(poses, focal, principal, torch.zeros(COUNT, 5), SIDE, SIDE)
    region = torch.zeros(COUNT, SIDE, SIDE, dtype=torch.bool)
    for hole in region:
        top, left = torch.randint(6, 14, (2,), generator=generator).tolist()
        hole[top : top + 12, left : left + 12] = True
    textures = torch.rand(2, COUNT, SIDE, SIDE, 3, generator=generator) * 0.5 + 0.25
    rendered, inpainted = textures
    shift = torch.where(region[..., None], 0.0, 0.15)
    names = tuple(f"{i}.png" for i in range(COUNT))
    scene = Scene("seams", cameras, torch.zeros(COUNT, SIDE, SIDE, 3, dtype=torch.uint8), names,
                  torch.arange(COUNT), torch.arange(0))  # fmt: skip

    def terms_and_patches(
        step: int, generator: torch.Generator, count: int, patches: list[Patch], where: Tensor
    ) -> tuple[dict[str, Tensor], Shown]:
        (patch,) = patches
        color = rendered[patch.view][patch.window].reshape(-1, 3)[where]
        return {}, Shown(color, torch.ones(len(color)))

    known = SimpleNamespace(scene=scene, terms_and_patches=terms_and_patches)
    config = replace(CONFIG, masked=masked, patch=32, patience=10**6)
    images = ((inpainted + shift).clamp(0, 1) * 255).round().to(torch.uint8)
    scene = replace(scene, images=images)
    dataset = UpdatedDataset(
        None, scene, torch.arange(COUNT), region, images[region], torch.ones(int(region.sum())),
        DarkeningInpainter(), None, config.update, stage="seams",
    )  # fmt: skip
    training = MaskedAdversarialTraining(known, dataset, pixels_as_features, config, generator)
    train_on, right = training.adversary.train_on, []
    monkeypatch.setattr(
        training.adversary, "train_on", lambda real, fake: (right.append((h := train_on(real, fake)).accuracy), h)[1]
    )
    for step in range(130):
        # fresh textures each time: there is nothing to learn by heart
        rendered.copy_(torch.rand(rendered.shape[1:], generator=generator) * 0.5 + 0.25)
        training(step, 0.0, generator)
    return sum(right[-60:]) / 60


def test_the_seam_gives_inpaintings_away_unless_it_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seam_accuracy(monkeypatch, masked=False) > 0.9
    assert 0.35 < seam_accuracy(monkeypatch, masked=True) < 0.65
