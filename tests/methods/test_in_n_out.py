"""In-N-Out as a whole on a tiny room: what it returns, what its flags switch, how it survives a kill."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
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
from unscene.geometry.masks import VisibilityConfig
from unscene.methods.in_n_out import InNOutConfig, check_in_n_out, in_n_out
from unscene.priors.classical import ExemplarInpainter, TeleaInpainter
from unscene.priors.depth.completion import Estimate
from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.scenes.scene import Scene, SceneError
from unscene.stages.method_error import MethodError
from unscene.stages.patches import PatchConfig, PatchGame
from unscene.stages.removal import Removal
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Picture, Provenance, StageDone, StageStarted, StepDone
from unscene.training.fit import FitConfig

module = importlib.import_module("unscene.methods.in_n_out")  # the package gives its name to the function
pytestmark = pytest.mark.usefixtures("one_thread", "report_every_step")

NOTHING_SEEN = VisibilityConfig(depth_tolerance=0.0)
ALL_SEEN = VisibilityConfig(views=1, depth_tolerance=1e6)  # whatever falls into another view outside its mask
CONFIG = InNOutConfig(
    nerf=TINY_NERF,
    reconstruction=FitConfig(steps=4, checkpoint_seconds=0),
    prior=FitConfig(steps=3, checkpoint_seconds=0),
    joint=FitConfig(steps=5, checkpoint_seconds=0),
    rays=64, prior_rays=32, joint_prior_rays=32, visibility=NOTHING_SEEN, candidates=2, base_views=1, views_at_once=3,
    patch=PatchConfig(size=16),
)  # fmt: skip
SHORT = replace(CONFIG, reconstruction=FitConfig(steps=1), prior=FitConfig(steps=1), joint=FitConfig(steps=1))


@dataclass(frozen=True)
class Call:
    """What a latent inpainter was asked."""

    images: Tensor
    masks: Tensor
    noise: Tensor
    start: Tensor
    strength: float
    base: int | None
    own_weight: float


@dataclass
class RecordingInpainter:
    """A latent inpainter that returns what it should start from, and remembers the calls.

    Its latents have as many channels as it takes to tell related noise from unrelated by their correlation.
    """

    calls: list[Call] = field(default_factory=list)
    name: str = "recording"
    guide: None = None
    latent_channels: int = 256
    downscale: int = 4
    strength: float = 0.6
    steps: int = 2

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        return -(-height // self.downscale), -(-width // self.downscale)

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        raise AssertionError("a latent inpainter is asked through its latents")

    def inpaint_latent(
        self, images: Tensor, masks: Tensor, *, noise: Tensor, start: Tensor | None = None, strength: float = 1.0,
        steps: int = 20, base: int | None = None, own_weight: float = 1.0,
    ) -> Tensor:  # fmt: skip
        assert noise.shape == (len(images), self.latent_channels, *self.latent_size(*images.shape[1:3]))
        assert steps == self.steps and (start is None) == (strength == 1)
        start = torch.full_like(images, 0.25) if start is None else start
        self.calls.append(Call(images, masks, noise, start, strength, base, own_weight))
        return torch.where(masks[..., None], start, images)

    @property
    def aligned(self) -> list[Call]:
        """The calls with the base view and others in one batch."""
        return [call for call in self.calls if len(call.images) > 1]


def pixels_as_features(images: Tensor) -> list[Tensor]:
    return [images]


def start(
    scene: Scene, prior: Inpainter, config: InNOutConfig = CONFIG, checkpoints: Checkpoints | None = None, **more: Any
) -> Generator[Event, None, Removal]:
    return in_n_out(scene, prior, pixels_as_features, config, checkpoints or Checkpoints(None, 0), **more)


def run(scene: Scene, prior: Inpainter, config: InNOutConfig = CONFIG, **more: Any) -> tuple[Removal, list[Event]]:
    return finish(start(scene, prior, config, **more))


def losses_of(log: list[Event], stage: str) -> set[str]:
    return {name for event in log if isinstance(event, StepDone) and event.stage == stage for name in event.losses}


def notes_of(log: list[Event]) -> list[str]:
    return [event.text for event in log if isinstance(event, Note)]


def stages_of(log: list[Event]) -> list[str]:
    return [event.stage for event in log if isinstance(event, StageStarted)]


@pytest.fixture(scope="module")
def bundled() -> LatentInpainter:
    from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter

    return LatentDiffusionInpainter.load().with_settings(steps=2)


@pytest.fixture(params=["bundled", "exemplar"])
def real_prior(request: pytest.FixtureRequest) -> Inpainter:
    return request.getfixturevalue("bundled") if request.param == "bundled" else ExemplarInpainter()


def test_the_object_goes_and_everything_else_stays(room_with_tests: BoxScene, real_prior: Inpainter) -> None:
    scene = room_with_tests.scene
    assert scene.masks is not None
    removal, log = run(scene, real_prior)
    train, masks = scene.train, scene.masks
    outside = ~masks
    assert torch.equal(removal.scene.images[outside], scene.images[outside])
    assert torch.equal(removal.scene.images[scene.test], scene.images[scene.test])
    changed = (removal.scene.images[train] != scene.images[train]).any(-1)
    assert changed[masks[train]].float().mean() > 0.8
    assert removal.filled[train].any(2).any(1).all() and not removal.filled[scene.test].any()
    assert not (removal.filled & ~masks).any()
    assert all(value.isfinite().all() for value in removal.field.state_dict().values())
    assert any(isinstance(event, Picture) for event in log)
    aligned = ["aligned inpainting"] if isinstance(real_prior, LatentInpainter) else []
    assert stages_of(log) == [
        "reconstruction", "look behind the object", "depth maps", "find what no view has seen", "base view",
        "surfaces behind the object", "single-view prior",
        *aligned, "joint optimisation", "render the cleaned views",
    ]  # fmt: skip


def test_every_stage_that_starts_ends(room: BoxScene) -> None:
    _, log = run(room.scene, RecordingInpainter())
    assert [event.stage for event in log if isinstance(event, StageDone)] == stages_of(log)


def test_the_input_scene_is_not_touched(room: BoxScene) -> None:
    assert room.scene.masks is not None
    images, masks = room.scene.images.clone(), room.scene.masks.clone()
    run(room.scene, RecordingInpainter())
    assert torch.equal(room.scene.images, images) and torch.equal(room.scene.masks, masks)


def test_the_prior_never_sees_the_object(room: BoxScene) -> None:
    """Not in what it starts from, nor outside the holes of what it completes."""
    assert room.scene.masks is not None
    prior = RecordingInpainter()
    run(room.scene, prior, fill="mask")
    inside = room.scene.masks
    red = room.scene.images.float() / 255

    def looks_like_the_box(images: Tensor) -> bool:
        return any(
            (image[mask] - photo[mask]).abs().mean() < 0.02
            for image in images
            for photo, mask in zip(red, inside, strict=True)
        )

    assert looks_like_the_box(red)  # the measure can tell
    assert not any(looks_like_the_box(call.start) or looks_like_the_box(call.images) for call in prior.calls)


def closest_relative(noise: Tensor, base: Tensor) -> Tensor:
    """For every cell of a view's noise (C h w) the highest correlation over channels with any cell of the base's."""
    a, b = (torch.nn.functional.normalize(n.flatten(1), dim=0) for n in (noise, base))
    return (a.T @ b).amax(1)


@pytest.mark.parametrize("ela", [True, False])
def test_ela_ties_the_views_noise_to_the_base_views(room: BoxScene, ela: bool) -> None:
    prior = RecordingInpainter()
    run(room.scene, prior, replace(CONFIG, ela=ela))
    assert sum(len(call.images) - 1 for call in prior.aligned) == 7
    for call in prior.aligned:
        torch.testing.assert_close(call.noise.std(), torch.tensor(1.0), atol=0.03, rtol=0)
        for noise in call.noise[1:]:
            relative = closest_relative(noise, call.noise[0]).median()
            assert (relative > 0.5) if ela else (relative < 0.3)


def test_priors_that_cannot_heed_what_is_expected_are_asked_once_a_candidate(room: BoxScene) -> None:
    asked: list[Tensor] = []

    class Counting(TeleaInpainter):
        def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
            asked.append(masks)
            return super().inpaint(images, masks, generator=generator)

    _, log = run(room.scene, Counting())
    assert len(asked) == CONFIG.candidates
    assert not any(isinstance(event, Note) and "filled again" in event.text for event in log)


def test_candidates_made_from_noise_alone_are_noised_again_beside_the_other_views(room: BoxScene) -> None:
    prior = RecordingInpainter()
    run(room.scene, prior, replace(CONFIG, base_strength=1.0))
    alone = [call for call in prior.calls if len(call.images) == 1]
    assert [call.strength for call in alone] == [1.0] * CONFIG.candidates
    for call in prior.aligned:
        assert call.strength == prior.strength
        made = torch.where(call.masks[0][..., None], 0.25, call.images[0])
        assert torch.equal(call.start[0], made)


def test_the_field_starts_anew_before_the_second_and_third_fit(
    room: BoxScene, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    fields: list[Nerf] = []
    monkeypatch.setattr(Nerf, "start_anew", lambda nerf, generator: fields.append(nerf))
    run(room.scene, RecordingInpainter())
    assert not fields
    removal, _ = run(room.scene, RecordingInpainter(), replace(CONFIG, restart=True))
    assert fields == [removal.field] * 2


def test_steps_may_alternate_between_the_base_view_and_patches(room: BoxScene) -> None:
    _, log = run(room.scene, RecordingInpainter(), replace(CONFIG, alternate=3))
    steps = [event for event in log if isinstance(event, StepDone) and event.stage == "joint optimisation"]
    kinds = ["base" if "prior colour" in event.losses else "patch" for event in steps]
    assert kinds == ["base", "patch", "patch", "base", "patch"]
    assert all(("patch L1" in event.losses) == (kind == "patch") for event, kind in zip(steps, kinds, strict=True))
    assert all("reconstruction" in event.losses for event in steps)


@pytest.mark.parametrize("ila", [True, False])
def test_ila_lets_views_attend_to_the_base_view(room: BoxScene, ila: bool) -> None:
    prior = RecordingInpainter()
    run(room.scene, prior, replace(CONFIG, ila=ila, own_weight=0.35))
    assert all(call.base == (0 if ila else None) for call in prior.aligned)
    assert not ila or all(call.own_weight == 0.35 for call in prior.aligned)


def test_the_base_view_is_in_every_batch_as_it_was_inpainted(room: BoxScene) -> None:
    """Its own latent, start and masked image again, so that its keys and values are those of its own inpainting; the
    elected image is that of the vote, not another one made afterwards."""
    prior = RecordingInpainter()
    removal, log = run(room.scene, prior)
    candidates = [call for call in prior.calls if len(call.images) == 1]
    assert len(candidates) == CONFIG.candidates
    assert not any(isinstance(event, Note) and "filled again" in event.text for event in log)
    (alone,) = [call for call in candidates if torch.equal(call.noise[0], prior.aligned[0].noise[0])]
    for call in prior.aligned:
        assert len(call.images) <= 1 + CONFIG.views_at_once and call.strength == prior.strength
        for name in ("images", "masks", "noise", "start"):
            assert torch.equal(getattr(call, name)[0], getattr(alone, name)[0]), name
    asked = torch.cat([call.masks[1:] for call in prior.aligned])
    base = next(v for v in range(8) if torch.equal(removal.filled[v], alone.masks[0]))
    assert torch.equal(asked, removal.filled[[v for v in range(8) if v != base]])


def test_other_views_start_from_the_field_inside_and_the_photo_outside(room: BoxScene) -> None:
    prior = RecordingInpainter()
    run(room.scene, prior)
    for call in prior.aligned:
        outside = ~call.masks[..., None].expand_as(call.images)
        assert torch.equal(call.start[outside], call.images[outside])
        assert not torch.equal(call.start[~outside], call.images[~outside])


def test_the_ablation_without_patches_leaves_stage_3_out(room: BoxScene) -> None:
    _, log = run(room.scene, RecordingInpainter(), replace(CONFIG, patch_loss=False))
    assert "joint optimisation" not in stages_of(log) and "single-view prior" in stages_of(log)


@pytest.mark.parametrize("term", ["perceptual", "adversarial"])
def test_a_patch_term_can_be_left_out(room: BoxScene, term: str) -> None:
    terms = {"patch L1", "patch perceptual", "patch adversarial"}
    _, with_all = run(room.scene, ExemplarInpainter())
    assert terms <= losses_of(with_all, "joint optimisation")
    _, without = run(room.scene, ExemplarInpainter(), replace(CONFIG, patch=replace(CONFIG.patch, **{term: False})))
    assert losses_of(without, "joint optimisation") & terms == terms - {f"patch {term}"}


def test_every_term_of_the_paper_is_in_the_stage_it_belongs_to(room: BoxScene) -> None:
    _, log = run(room.scene, RecordingInpainter())
    reconstruction, prior, joint = (
        losses_of(log, stage) for stage in ("reconstruction", "single-view prior", "joint optimisation")
    )
    assert "reconstruction" in reconstruction
    assert prior > reconstruction and {"prior colour", "prior depth"} <= prior
    assert joint > prior


def test_fill_mask_inpaints_the_whole_mask(room_with_tests: BoxScene) -> None:
    scene = room_with_tests.scene
    assert scene.masks is not None
    prior = RecordingInpainter()
    removal, log = run(scene, prior, replace(CONFIG, visibility=ALL_SEEN), fill="mask")
    assert torch.equal(removal.filled[scene.train], scene.masks[scene.train])
    assert not removal.filled[scene.test].any()
    assert "find what no view has seen" not in stages_of(log)


def test_what_other_views_see_needs_no_inpainting(room: BoxScene) -> None:
    """Masks in another corner of every view: each masked surface is in plain sight of the others."""
    masks = torch.zeros_like(room.scene.masks)
    for view in range(8):
        masks[view, 4 + 3 * view : 10 + 3 * view, 5 * view : 5 * view + 8] = True
    prior = RecordingInpainter()
    scene = room.scene.with_masks(masks)
    removal, log = run(scene, prior, replace(CONFIG, visibility=ALL_SEEN))
    assert not prior.calls and not removal.filled.any()
    assert "base view" not in stages_of(log)
    assert any(isinstance(event, Note) and "nothing needs inpainting" in event.text for event in log)
    assert torch.equal(removal.scene.images[~masks], scene.images[~masks])
    assert (removal.scene.images != scene.images).any(-1)[masks].float().mean() > 0.8


@pytest.mark.parametrize("prior", [RecordingInpainter(), ExemplarInpainter()], ids=lambda prior: prior.name)
def test_a_hole_in_a_single_view_is_enough(room: BoxScene, prior: Inpainter) -> None:
    """Then the base view is all there is to inpaint."""
    assert room.scene.masks is not None
    masks = torch.zeros_like(room.scene.masks)
    masks[3] = room.scene.masks[3]
    removal, _ = run(room.scene.with_masks(masks), prior, fill="mask")
    assert torch.equal(removal.filled, masks)


def test_a_scene_without_masks_is_refused(room: BoxScene) -> None:
    with pytest.raises(ValueError, match="masks"):
        run(room.scene.with_masks(None), RecordingInpainter())


@pytest.mark.parametrize("name", ["001.png", "001", "1"])
def test_a_base_view_chosen_by_hand_is_the_only_one_that_is_inpainted_alone(room: BoxScene, name: str) -> None:
    prior = RecordingInpainter()
    removal, log = run(room.scene, prior, replace(SHORT, base_view=name))
    (alone,) = [call for call in prior.calls if len(call.images) == 1]
    assert torch.equal(alone.masks[0], removal.filled[1])
    for call in prior.aligned:
        assert torch.equal(call.noise[0], alone.noise[0]) and torch.equal(call.start[0], alone.start[0])
    assert "base view: 001.png, chosen by hand" in notes_of(log)
    assert [event.name for event in log if isinstance(event, Picture) and event.view == "001.png"][:1] == ["base-view"]
    assert not any(isinstance(event, Picture) and event.name == "candidate" for event in log)


def own_picture(folder: Path, width: int = 96, height: int = 72) -> Path:
    pixels = torch.tensor([200, 40, 120], dtype=torch.uint8).expand(height, width, 3)
    return write_png(folder / "my cat.png", pixels.numpy())


def test_a_picture_of_the_users_own_takes_the_inpaintings_place(room: BoxScene, tmp_path: Path) -> None:
    """In the hole alone; other views are aligned with it, a depth network looks at it."""
    prior, asked = RecordingInpainter(), list[Tensor]()

    def estimate(image: Tensor) -> Estimate:
        asked.append(image)
        return Estimate(image.mean(-1), True, "a network")

    config = replace(SHORT, base_view="002", base_picture=own_picture(tmp_path))
    removal, log = run(room.scene, prior, config, estimate_depth=estimate)
    assert not [call for call in prior.calls if len(call.images) == 1] and prior.aligned
    hole, colour = removal.filled[2], torch.tensor([200.0, 40.0, 120.0]) / 255
    for call in prior.aligned:
        assert torch.equal(call.masks[0], hole) and call.noise[0].std() > 0.9
        torch.testing.assert_close(call.start[0][hole], colour.expand(int(hole.sum()), 3), atol=1e-3, rtol=0)
        assert torch.equal(call.start[0][~hole], room.scene.image(2)[~hole])
    assert [torch.equal(image, prior.aligned[0].start[0]) for image in asked] == [True]
    said = [event.text for event in log if isinstance(event, Provenance)]
    assert said == ["the base view's picture: the user's own, my cat.png"]
    assert "depth behind the object: a network, aligned" in notes_of(log)


def test_an_own_picture_goes_before_an_inpainting_of_the_same_view(
    room: BoxScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[tuple[Scene, Tensor]] = []

    def playing(nerf: Nerf, filled: Scene, subset: Tensor, *rest: Any) -> PatchGame:
        learnt.append((filled, subset))
        return PatchGame(nerf, filled, subset, *rest)

    monkeypatch.setattr(module, "PatchGame", playing)
    (tmp_path / "made").mkdir()
    for name in ("002.png", "003.png"):
        write_png(tmp_path / "made" / name, torch.full((36, 48, 3), 77, dtype=torch.uint8).numpy())
    config = replace(SHORT, base_view="002.png", base_picture=own_picture(tmp_path, 48, 36))
    removal, _ = run(room.scene, FilesInpainter(tmp_path / "made"), config)
    ((filled, subset),) = learnt
    assert subset.tolist() == [2, 3]
    assert (filled.images[2][removal.filled[2]] == torch.tensor([200, 40, 120])).all()
    assert (filled.images[3][removal.filled[3]] == 77).all()


def test_base_views_that_cannot_be_are_refused_in_words(room_with_tests: BoxScene, tmp_path: Path) -> None:
    scene, picture = room_with_tests.scene, own_picture(tmp_path)
    assert scene.masks is not None
    masks = scene.masks.clone()
    masks[1] = False
    (tmp_path / "none.png").write_bytes(b"no image")
    wrong = [
        ({"base_view": "nobody"}, r"--in-n-out\.base-view: expected .* 000\.png, .* 'nobody', none of that name"),
        ({"base_view": scene.names[7]}, r"--in-n-out\.base-view: expected .* one training photo"),
        ({"base_view": "1"}, r"something to inpaint, but '1' hides nothing .* such as 000\.png, 002\.png"),
        ({"base_picture": picture}, r"--in-n-out\.base-picture: expected the view .*--in-n-out\.base-view"),
        ({"base_view": "2", "base_picture": tmp_path}, r"--in-n-out\.base-picture: expected an image file"),
        ({"base_view": "2", "base_picture": tmp_path / "none.png"}, r"base-picture .*none\.png: expected a readable"),
        (
            {"base_view": "2", "base_picture": own_picture(tmp_path, 72, 96)},
            r"shape of 002\.png, 48x36 or a multiple, got 72x96",
        ),
    ]
    for change, told in wrong:
        with pytest.raises((MethodError, SceneError), match=told):
            check_in_n_out(scene.with_masks(masks), replace(SHORT, **change))


def test_a_base_view_of_which_there_is_no_inpainting_is_refused(room: BoxScene, tmp_path: Path) -> None:
    write_png(tmp_path / "003.png", room.truth[3].numpy())
    with pytest.raises(MethodError, match=r"'002' hides nothing .* or the prior has none of it; .* such as 003\.png"):
        run(room.scene, FilesInpainter(tmp_path), replace(SHORT, base_view="002"))


def test_another_base_seed_changes_the_base_views_numbers_alone(room: BoxScene) -> None:
    """And 0 is what runs had before there was a choice."""

    class Listening(Checkpoints):
        def generator(self, stage: str, device: torch.device | str = "cpu") -> torch.Generator:
            asked[-1].append(stage)
            return super().generator(stage, device)

    asked, noises = list[list[str]](), list[Tensor]()
    for seed in (0, 3):
        asked.append([])
        prior = RecordingInpainter()
        run(room.scene, prior, replace(SHORT, base_seed=seed), checkpoints=Listening(None, 0))
        noises.append(prior.calls[0].noise)
    assert [(a, b) for a, b in zip(*asked, strict=True) if a != b] == [("base view", "base view, seed 3")]
    assert not torch.equal(*noises)


KILLS: dict[str, Callable[[Event], bool]] = {
    "in stage 1": lambda e: isinstance(e, StepDone) and e.stage == "reconstruction" and e.step == 3,
    "between candidates": lambda e: isinstance(e, ItemDone) and e.stage == "base view",
    "with the base view": lambda e: isinstance(e, StepDone) and e.stage == "single-view prior" and e.step == 2,
    "between views": lambda e: isinstance(e, ItemDone) and e.stage == "aligned inpainting",
    "in stage 3": lambda e: isinstance(e, StepDone) and e.stage == "joint optimisation" and e.step == 3,
    "at the end": lambda e: isinstance(e, StageStarted) and e.stage == "render the cleaned views",
}


@pytest.fixture(scope="module")
def whole(room: BoxScene, one_thread: None) -> Removal:
    return uninterrupted(lambda checkpoints: start(room.scene, RecordingInpainter(), checkpoints=checkpoints))


@pytest.mark.parametrize("reached", KILLS.values(), ids=KILLS.keys())
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    room: BoxScene, tmp_path: Path, whole: Removal, reached: Callable[[Event], bool]
) -> None:
    def begin(checkpoints: Checkpoints) -> Generator[Event, None, Removal]:
        return start(room.scene, RecordingInpainter(), checkpoints=checkpoints)

    check_that_a_killed_run_goes_on(begin, reached, tmp_path, steps=12, whole=whole)  # of 4 + 3 + 5


SEVERAL = replace(CONFIG, base_views=3)


def test_further_base_views_inpaint_what_the_first_does_not_look_at(room: BoxScene) -> None:
    prior = RecordingInpainter()
    removal, log = run(room.scene, prior, SEVERAL)
    assert "further base views" in stages_of(log)
    told = [note for note in notes_of(log) if note.startswith("base view 2: ")]
    assert len(told) == 1
    alone = [call for call in prior.calls if len(call.images) == 1]
    further = alone[SEVERAL.candidates :]
    assert 1 <= len(further) <= 2
    for call in further:
        view = int((call.images[0] == room.scene.images.float() / 255).flatten(1).float().mean(1).argmax())
        assert 0 < call.masks.sum() < removal.filled[view].sum()  # the rest is carried over
    assert sum(isinstance(e, Picture) and e.name == "origin" for e in log) == 1 + len(further)


def test_a_killed_run_of_several_base_views_goes_on(room: BoxScene, tmp_path: Path) -> None:
    def begin(checkpoints: Checkpoints) -> Generator[Event, None, Removal]:
        return start(room.scene, RecordingInpainter(), SEVERAL, checkpoints=checkpoints)

    def after_them(event: Event) -> bool:
        return isinstance(event, StepDone) and event.stage == "single-view prior" and event.step == 1

    check_that_a_killed_run_goes_on(begin, after_them, tmp_path, steps=12)


def test_the_exemplar_fill_does_not_depend_on_what_ran_before() -> None:
    """The same on another thread, or deep in a stack that others have used: or a resumed run is another run."""
    coarse = torch.rand(6, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(coarse, (36, 48), mode="bicubic").clamp(0, 1).permute(0, 2, 3, 1)
    holes = torch.zeros(6, 36, 48, dtype=torch.bool)
    holes[:, 12:26, 16:32] = True

    def fill() -> Tensor:
        return ExemplarInpainter().inpaint(images, holes, generator=torch.Generator().manual_seed(0))

    def deep(level: int) -> Tensor:
        torch.linalg.svd(torch.rand(40, 40))
        return deep(level - 1) if level else fill()

    here = fill()
    with ThreadPoolExecutor(1) as other_thread:
        assert torch.equal(other_thread.submit(fill).result(), here)
    assert torch.equal(deep(50), here)


def test_the_seed_decides(room: BoxScene) -> None:
    fields = [run(room.scene, RecordingInpainter(), checkpoints=Checkpoints(None, seed))[0].field for seed in (1, 1, 2)]
    tables = [field.grid.table for field in fields]
    assert torch.equal(tables[0], tables[1]) and not torch.equal(tables[0], tables[2])
