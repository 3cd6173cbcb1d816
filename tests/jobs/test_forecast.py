"""What a large prior says before it runs on a processor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import unscene
from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from unscene.jobs.customize import CustomizeOptions, customize
from unscene.jobs.forecast import Work, customization_work, duration, forecast, removal_work
from unscene.methods import (
    InfusionConfig,
    InNOutConfig,
    Inpaint3dConfig,
    InpaintNerf360Config,
    MaldNerfConfig,
    NaiveConfig,
    NerfillerConfig,
    SpinNerfConfig,
)
from unscene.priors.diffusion.config import CustomizeConfig, DiffusionConfig, GridPriorConfig
from unscene.priors.diffusion.cost import image_step_operations
from unscene.priors.diffusion.grid_prior import canvas_size
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.scenes.scene import Scene
from unscene.stages.customization import CustomizationConfig
from unscene.stages.dataset_update import UpdateConfig
from unscene.stages.inpainted_disparity import DisparityConfig
from unscene.stages.joint_inpainting import JointUpdateConfig
from unscene.training.events import Event, Note, StageStarted
from unscene.training.fit import FitConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def prior(*, guided: bool = False, guidance: float = 7.5, strength: float = 0.9, steps: int = 20) -> SimpleNamespace:
    return SimpleNamespace(is_guided=guided, guidance=guidance, strength=strength, steps=steps, is_bundled=False)


def with_masks_in(room: BoxScene, views: list[int]) -> Scene:
    masks = torch.zeros_like(room.scene.images[..., 0], dtype=torch.bool)
    masks[views, 3:9, 4:20] = True
    return room.scene.with_masks(masks)


def test_in_n_out_inpaints_candidates_and_the_rest_with_the_base_view_in_every_batch(room: BoxScene) -> None:
    scene = with_masks_in(room, [0, 1, 2, 4, 5, 7])
    config = InNOutConfig(candidates=3, views_at_once=2)
    assert removal_work(prior(), scene, config, taught=False) == [
        Work(3 * 18), Work((5 + 3) * 18, aligned=True)
    ]  # fmt: skip
    few = replace(config, most_views=2, ila=False)
    assert removal_work(prior(), scene, few, taught=False)[1] == Work((2 + 1) * 18)


def test_a_single_candidate_is_inpainted_once(room: BoxScene) -> None:
    work = removal_work(prior(), with_masks_in(room, [3]), InNOutConfig(), taught=False)
    assert work == [Work(18), Work(0, aligned=True)]


def test_a_base_view_by_hand_is_inpainted_once_or_never(room: BoxScene) -> None:
    scene, chosen = with_masks_in(room, [0, 2, 3]), InNOutConfig(base_view="2")
    assert removal_work(prior(), scene, chosen, taught=False)[0] == Work(18)
    drawn = replace(chosen, base_picture=Path("mine.png"))
    assert removal_work(prior(), scene, drawn, taught=False)[0] == Work(0)


def test_mald_nerf_inpaints_again_and_again(room: BoxScene) -> None:
    """Of 100 steps the 40th, 60th and 80th replace three views, three and two: two rounds over four."""
    update = UpdateConfig(every=20, first=0.4, rounds=2, strongest=0.9, weakest=0.1)
    config = MaldNerfConfig(training=FitConfig(steps=100), update=update)
    levels = [0.9 - 0.8 * since**0.5 for since in (0, 1 / 3, 2 / 3)]
    counts = (3, 3, 2)
    expected = 4 * 18 + sum(count * round(20 * level) for count, level in zip(counts, levels, strict=True))
    scene = with_masks_in(room, [0, 2, 3, 6])
    assert removal_work(prior(guided=True), scene, config, taught=False) == [Work(expected, guided=True)]


def test_the_naive_baseline_inpaints_every_training_view(room_with_tests: BoxScene) -> None:
    work = removal_work(prior(), room_with_tests.scene, NaiveConfig(), taught=False)
    assert work == [Work(6 * 18)]


def test_spin_nerf_inpaints_disparities_beside_photos_and_half_as_large(room: BoxScene) -> None:
    scene = with_masks_in(room, [0, 2, 3, 6])
    work = removal_work(prior(), scene, SpinNerfConfig(), taught=False)
    assert work == [Work(4 * 18), Work(4 * 18, downscale=2)]
    few = SpinNerfConfig(most_views=3, disparity=DisparityConfig(inpaint=False))
    assert removal_work(prior(), scene, few, taught=False) == [Work(3 * 18)]


def test_inpaint_nerf360_inpaints_views_once(room: BoxScene) -> None:
    scene = with_masks_in(room, [0, 2, 3, 6])
    assert removal_work(prior(guided=True), scene, InpaintNerf360Config(), taught=False) == [Work(4 * 18, guided=True)]
    assert removal_work(prior(), scene, InpaintNerf360Config(most_views=3), taught=False) == [Work(3 * 18)]


def test_infusion_inpaints_one_view(room: BoxScene) -> None:
    assert removal_work(prior(), with_masks_in(room, [0, 2, 3]), InfusionConfig(), taught=False) == [Work(18)]
    assert removal_work(prior(), with_masks_in(room, []), InfusionConfig(), taught=False) == [Work(0)]


def test_score_distillation_asks_about_a_window_in_every_step(room: BoxScene) -> None:
    scene = with_masks_in(room, [0, 2])
    config = Inpaint3dConfig(distillation=FitConfig(steps=50), window=30)
    assert removal_work(prior(guided=True), scene, config, taught=False) == [Work(50, guided=True, side=30)]
    large = replace(config, window=512)  # than the photo of 48 x 36
    assert removal_work(prior(), scene, large, taught=False) == [Work(50, side=36)]
    assert removal_work(prior(), with_masks_in(room, []), config, taught=False) == [Work(0, side=30)]


def test_nerfiller_denoises_views_together_again_and_again(room: BoxScene) -> None:
    """Of 100 steps the first, the 41st and the 81st draw three views; a hub's model is asked twice, the release's way,
    and the small one takes fewer steps from less noise."""
    update = JointUpdateConfig(every=40, views=3, strongest=1.0, weakest=0.4, grid=GridPriorConfig(shuffles=2))
    config = NerfillerConfig(training=FitConfig(steps=100), update=update)
    scene = with_masks_in(room, [0, 2, 3, 6])
    assert removal_work(prior(), scene, config, taught=False) == [
        Work(3 * 2 * 3 * 20, grid=update.grid, passes=2)
    ]  # fmt: skip
    small = prior()
    small.is_bundled = True
    steps = 20 + round(20 * (1 - 0.6 * 0.4)) + round(20 * (1 - 0.6 * 0.8))
    assert removal_work(small, scene, config, taught=False) == [Work(3 * 2 * steps, grid=update.grid, passes=1)]


def test_views_in_a_canvas_are_counted_by_the_canvas(room: BoxScene, large: None) -> None:
    """Four to a canvas, which is asked as often as the guidance needs."""
    model, grid = LatentDiffusionInpainter.load(), GridPriorConfig()
    on_processor = DiffusionConfig().on("cpu")
    one = image_step_operations(model, 2 * 48, 2 * 48)  # of views of 36 x 48 pixels, padded to 48
    assert canvas_size(model, 36, 48, grid) == (96, 96)
    words = forecast(model, room.scene, on_processor, [Work(40, grid=grid, passes=2)], "nothing")
    assert f"{20 * one / 1e12:,.3g} tera-operations" in str(words) and "up to 40 images times steps" in str(words)


@pytest.mark.parametrize(("guidance", "guided"), [(7.5, True), (1.0, False)])
def test_a_prior_that_is_taught_the_scene_has_a_prompt_from_then_on(
    room: BoxScene, guidance: float, guided: bool
) -> None:
    work = removal_work(prior(guidance=guidance), room.scene, InNOutConfig(), taught=True)
    assert [part.guided for part in work] == [guided, guided]


def test_teaching_takes_crops_forward_and_back() -> None:
    config = CustomizationConfig(CustomizeConfig(batch=3, crop=64), hub_fit=FitConfig(steps=10))
    assert customization_work(prior(), config) == Work(30, side=64, passes=2)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 seconds"), (70, "70 seconds"), (600, "10 minutes"), (9000, "2.5 hours"), (3.6e6, "1,000 hours")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bundled model pass for a large one, on a slow processor."""
    monkeypatch.setattr("unscene.priors.diffusion.cost.LARGE", 1_000_000)
    monkeypatch.setattr("unscene.priors.diffusion.cost.processor_speed", lambda dtype: 1e7)


def test_the_words(room: BoxScene, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "unscene.priors.diffusion.cost.image_step_operations", lambda *_, **more: 10**9 + more["guided"]
    )
    model, on_processor = LatentDiffusionInpainter.load(), DiffusionConfig().on("cpu")
    work = [Work(100), Work(1000, side=64, passes=2), Work(0, aligned=True)]
    assert forecast(model, room.scene, on_processor, work, "--prior bundled") == (
        "'bundled-diffusion' (11 M parameters) runs on the processor: up to 1,100 images times steps, "
        "2.1 tera-operations, which this processor needs 58 hours or more for; to wait less: --prior bundled"
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "to wait less: --device cuda, --prior" in str(forecast(model, room.scene, on_processor, work, "--prior"))


def test_small_pictures_are_counted_as_small(room: BoxScene, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "unscene.priors.diffusion.cost.image_step_operations",
        lambda prior, height, width, **_: sizes.append((height, width)) or 1,
    )
    work = [Work(1), Work(1, downscale=2), Work(1, side=64)]
    forecast(LatentDiffusionInpainter.load(), room.scene, DiffusionConfig().on("cpu"), work, "")
    assert sizes == [(36, 48), (18, 24), (64, 64)]


def test_small_models_and_accelerators_need_no_words(room: BoxScene, large: None) -> None:
    model, work = LatentDiffusionInpainter.load(), [Work(10)]
    assert forecast(model, room.scene, DiffusionConfig().on("cuda:0"), work, "") is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unscene.priors.diffusion.cost.LARGE", 100_000_000)
        assert forecast(model, room.scene, DiffusionConfig().on("cpu"), work, "") is None


class Stop(Exception):
    """Enough has been seen."""


def before_the_first_stage(started: list[str]):
    def watch(event: Event) -> None:
        if isinstance(event, Note):
            started.append(event.text)
        if isinstance(event, StageStarted):
            raise Stop

    return watch


@pytest.mark.parametrize(("method", "instead"), [
    ("in-n-out", "--prior bundled, --prior guided-exemplar, or fewer views with --in-n-out.most-views"),
    ("inpaint-nerf360", "--prior bundled, --prior guided-exemplar, or fewer views with --inpaint-nerf360.most-views"),
    ("mald-nerf", "--prior bundled, or fewer views with --mald-nerf.most-views"),
    ("nerfiller", "--prior bundled, or fewer views with --nerfiller.update.views"),
    ("spin-nerf", "--prior bundled, --prior guided-exemplar, or fewer views with --spin-nerf.most-views"),
    ("infusion", "--prior bundled, --prior guided-exemplar, or fewer steps with --diffusion.steps"),
    ("inpaint3d", "--prior bundled, or fewer steps with --inpaint3d.distillation.steps"),
    ("naive", "--prior bundled, --prior guided-exemplar, or fewer views with --holdout"),
])  # fmt: skip
def test_a_removal_says_so_before_it_starts(
    room: BoxScene, tmp_path: Path, large: None, method: str, instead: str
) -> None:
    notes: list[str] = []
    options = unscene.RemoveOptions(method=method, prior="bundled", in_n_out=InNOutConfig(nerf=TINY_NERF), device="cpu")
    with pytest.raises(Stop):
        unscene.remove(room.scene, tmp_path / "run", options, watch=before_the_first_stage(notes))
    (warning,) = [note for note in notes if "runs on the processor" in note]
    assert warning.endswith(instead) and "images times steps" in warning and "or more" in warning
    assert warning in (tmp_path / "run" / "events.jsonl").read_text()


def test_customisation_says_so_before_it_starts(room: BoxScene, tmp_path: Path, large: None) -> None:
    notes: list[str] = []
    with pytest.raises(Stop):
        customize(room.scene, tmp_path / "run", CustomizeOptions(device="cpu"), watch=before_the_first_stage(notes))
    (warning,) = [note for note in notes if "runs on the processor" in note]
    assert "up to 500 images times steps" in warning  # 125 steps of 4 crops
    assert warning.endswith("--prior bundled, or fewer steps with --customization.hub-fit.steps")


def test_priors_without_a_network_say_nothing(room: BoxScene, tmp_path: Path, large: None) -> None:
    notes: list[str] = []
    options = unscene.RemoveOptions(prior="exemplar", in_n_out=InNOutConfig(nerf=TINY_NERF), device="cpu")
    with pytest.raises(Stop):
        unscene.remove(room.scene, tmp_path / "run", options, watch=before_the_first_stage(notes))
    assert not [note for note in notes if "runs on the processor" in note]
