"""iNVS's model, on tiny checkpoints with the true layout."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.priors.tiny_checkpoints import tiny_checkpoint
from unscene.geometry.turntable import pose_numbers
from unscene.priors.diffusion.checkpoints import BUNDLED, load_checkpoint
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.novel_views.sampler import sample
from unscene.priors.novel_views.view_inpainter import (
    ViewInpainter,
    context_states,
    initial_view_inpainter,
    load_view_inpainter,
    predict_completion,
    view_context,
)
from unscene.priors.novel_views.zero123 import initial_zero123
from unscene.priors.prior_error import PriorError

SIZE = 32


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("sd-1.5", tmp_path_factory.mktemp("sd"))


@pytest.fixture
def model(checkpoint: Path) -> ViewInpainter:
    return initial_view_inpainter(checkpoint, size=SIZE, seed=0, told_photo=True)


def some_views(model: ViewInpainter, count: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "partial": torch.rand(count, SIZE, SIZE, 3, generator=generator),
        "soft_masks": torch.rand(count, SIZE, SIZE, generator=generator),
        "epipolar_masks": (torch.arange(SIZE) < SIZE // 2).expand(count, SIZE, SIZE),
        "source": torch.rand(count, SIZE, SIZE, 3, generator=generator),
        "poses": torch.rand(count, 4, generator=generator),
        "noise": torch.randn(count, *model.latent_shape, generator=generator),
    }


def test_the_epipolar_channel_changes_nothing_at_first(checkpoint: Path) -> None:
    model = initial_view_inpainter(checkpoint, size=SIZE, seed=0, told_photo=False)
    original = load_checkpoint(checkpoint, DiffusionConfig()).pipeline.unet
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, *model.latent_shape, generator=generator)
    context = torch.randn(2, 6, *model.latent_shape[1:], generator=generator)
    states = model.prompt.expand(2, -1, -1)
    time = torch.tensor(500)
    ours = predict_completion(model.unet, latents, time, context, states)
    theirs = original(torch.cat([latents, context[:, :5]], 1), time, states).sample
    torch.testing.assert_close(ours, theirs)
    assert model.unet.config.in_channels == 10
    assert initial_view_inpainter(checkpoint, size=SIZE, seed=0, told_photo=True).unet.config.in_channels == 14


def test_the_noisiest_level_is_noise_alone(checkpoint: Path) -> None:
    model = initial_view_inpainter(checkpoint, size=SIZE, seed=0, told_photo=True)
    original = load_checkpoint(checkpoint, DiffusionConfig()).pipeline.scheduler
    predicts_noise = original.config.prediction_type == "epsilon"
    assert (float(model.scheduler.alphas_cumprod[-1]) > 1e-4) == predicts_noise
    ours = initial_view_inpainter(BUNDLED, size=128, seed=0, told_photo=False).scheduler
    assert ours.config.prediction_type == "v_prediction" and float(ours.alphas_cumprod[-1]) < 1e-6


def test_pin_holes_survive_the_way_to_latents(model: ViewInpainter) -> None:
    soft, epipolar = torch.zeros(1, 1, SIZE, SIZE), torch.zeros(1, 1, SIZE, SIZE)
    soft[0, 0, 13, 21] = epipolar[0, 0, 13, 21] = 1
    context = view_context(model.autoencoder, torch.rand(1, 3, SIZE, SIZE), soft, epipolar, None)
    channels, height, width = model.latent_shape
    assert context.shape == (1, channels + 2, height, width)
    cell = SIZE // height
    for mask in (context[0, 0], context[0, -1]):  # in the places of the inpainting mask and of the new channel
        assert mask[13 // cell, 21 // cell] == 1 and mask.sum() == 1


def test_views_are_finite_repeatable_and_follow_every_condition(model: ViewInpainter) -> None:
    with torch.no_grad():  # let the new channels matter, as after training
        model.unet.conv_in.weight[:, 9:].normal_(0, 0.5, generator=torch.Generator().manual_seed(0))
    views = some_views(model)
    first = model.complete(**views, steps=3)
    assert first.shape == (2, SIZE, SIZE, 3) and first.isfinite().all() and first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, model.complete(**views, steps=3))
    changes = {
        "partial": 1 - views["partial"], "soft_masks": 1 - views["soft_masks"],
        "epipolar_masks": ~views["epipolar_masks"], "source": 1 - views["source"], "poses": views["poses"] + 1,
        "noise": -views["noise"],
    }  # fmt: skip
    for name, value in changes.items():
        assert not torch.equal(first, model.complete(**views | {name: value}, steps=3)), name


def test_the_photo_is_one_token_after_the_prompt(model: ViewInpainter) -> None:
    source, poses = torch.rand(2, 3, SIZE, SIZE), pose_numbers(*(torch.rand(2) for _ in range(3)))
    states = context_states(model.prompt, model.photo_token, source, poses)
    assert states.shape == (2, len(model.prompt) + 1, model.prompt.shape[1])
    assert torch.equal(states[:, :-1], model.prompt.expand(2, -1, -1))
    assert torch.equal(context_states(model.prompt, None, source, poses), model.prompt.expand(2, -1, -1))


def test_sdxl_is_refused_in_words(tmp_path: Path) -> None:
    folder = tiny_checkpoint("sdxl", tmp_path / "xl")
    with pytest.raises(PriorError, match=r"got SDXL's, whose U-Net wants more conditions; start from bundled, sd-1.5"):
        initial_view_inpainter(folder, size=SIZE, seed=0, told_photo=True)


@pytest.mark.parametrize("told_photo", [True, False])
def test_a_saved_model_is_the_same_model(checkpoint: Path, tmp_path: Path, told_photo: bool) -> None:
    model = initial_view_inpainter(checkpoint, size=SIZE, seed=0, told_photo=told_photo, told_symmetry=told_photo)
    loaded = load_view_inpainter(model.save(tmp_path / "model"))
    views = some_views(model)
    # weights travel in half precision
    torch.testing.assert_close(loaded.complete(**views, steps=2), model.complete(**views, steps=2), atol=0.02, rtol=0)
    assert (loaded.photo_token is not None) == told_photo == loaded.told_symmetry and loaded.size == SIZE
    text = "".join(file.read_text() for file in (tmp_path / "model").rglob("*.json"))
    assert str(tmp_path) not in text and str(checkpoint) not in text
    assert all(file.suffix in (".json", ".safetensors") for file in (tmp_path / "model").rglob("*") if file.is_file())


def test_saving_keeps_the_model_card(model: ViewInpainter, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "model")
    (folder / "README.md").write_text("card")
    model.save(folder)
    assert (folder / "README.md").read_text() == "card"


def test_folders_that_hold_no_such_model_are_named(model: ViewInpainter, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PriorError, match=r"empty: expected a novel-view model with a novel_view.json, found none"):
        load_view_inpainter(tmp_path / "empty")
    folder = model.save(tmp_path / "model")
    settings = json.loads((folder / "novel_view.json").read_text())
    (folder / "novel_view.json").write_text(json.dumps(settings | {"kind": "zero123"}))
    with pytest.raises(PriorError, match="expected a model of kind invs, got zero123; use or train it as zero123"):
        load_view_inpainter(folder)


def test_a_unet_of_another_kind_is_refused(checkpoint: Path, model: ViewInpainter, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "model")
    other = initial_view_inpainter(checkpoint, size=SIZE, seed=0, told_photo=False).save(tmp_path / "other")
    shutil.rmtree(folder / "unet")
    shutil.copytree(other / "unet", folder / "unet")
    with pytest.raises(PriorError, match="expected a U-Net with 14 input channels for this kind of model, got 10"):
        load_view_inpainter(folder)


def test_sampling_starts_at_the_noisiest_level(model: ViewInpainter) -> None:
    """Whatever the checkpoint it started from did: published ones leave out the last levels."""
    model.scheduler.set_timesteps(20)
    assert int(model.scheduler.timesteps[0]) == model.scheduler.config.num_train_timesteps - 1


@pytest.mark.parametrize(("strength", "expected"), [(0.01, 1), (0.3, 3), (0.99, 10), (1.0, 10)])
def test_a_guess_is_noised_as_far_as_the_remaining_steps_take_away(
    model: ViewInpainter, strength: float, expected: int
) -> None:
    """A predictor that knows the truth gives it back from any beginning, up to what the last level leaves."""
    scheduler, asked = model.scheduler, []
    generator = torch.Generator().manual_seed(0)
    truth, guess, noise = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(3))

    def knows(latents: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        asked.append(int(time))
        signal = scheduler.alphas_cumprod[time].sqrt()
        spread = (1 - scheduler.alphas_cumprod[time]).sqrt()
        seen_noise = (latents - signal * truth) / spread
        if not told_velocity:
            return seen_noise
        return signal * seen_noise - spread * truth

    told_velocity = scheduler.config.prediction_type == "v_prediction"
    done = sample(knows, scheduler, noise, 10, start=guess, strength=strength)
    assert len(asked) == expected and asked == sorted(asked, reverse=True)
    level, last = scheduler.alphas_cumprod[asked[0]], scheduler.final_alpha_cumprod
    begun = noise if strength == 1 else level.sqrt() * guess + (1 - level).sqrt() * noise
    left = (begun - level.sqrt() * truth) / (1 - level).sqrt()
    torch.testing.assert_close(done, last.sqrt() * truth + (1 - last).sqrt() * left, atol=1e-4, rtol=0)


def test_views_begin_at_a_guess_if_there_is_one(model: ViewInpainter) -> None:
    views, guess = some_views(model), torch.rand(2, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(3))
    begun, from_noise = model.complete(**views, steps=5, start=guess, strength=0.4), model.complete(**views, steps=5)
    assert not torch.equal(begun, from_noise)
    assert not torch.equal(begun, model.complete(**views, steps=5, start=1 - guess, strength=0.4))
    assert torch.equal(model.complete(**views, steps=5, start=guess, strength=1.0), from_noise)


def test_both_models_learn_about_as_many_weights() -> None:
    """The bundled model's size: what is compared in the benchmark differs by less than a thousandth."""
    ours = initial_view_inpainter(BUNDLED, size=128, seed=0, told_photo=True)
    peer = initial_zero123(BUNDLED, size=128, seed=0)
    counts = [
        sum(weight.numel() for part in (model.unet, model.photo_token) for weight in part.parameters())
        for model in (ours, peer)
    ]
    assert counts[0] == pytest.approx(counts[1], rel=1e-3)


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "tensors"])
def test_damaged_weights_name_file_and_tensor(model: ViewInpainter, tmp_path: Path, part: str) -> None:
    folder = model.save(tmp_path / "model")
    file = folder / f"{part}.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    with pytest.raises(PriorError, match=rf"{file.name}: expected \d+ bytes, got \d+; it ends in tensor '"):
        load_view_inpainter(folder)
    file.write_bytes(whole)
    tensors = load_file(str(file))
    name = "prompt" if part == "tensors" else sorted(tensors)[0]
    del tensors[name]
    save_file(tensors, str(file))
    with pytest.raises(PriorError, match=f"expected tensor '{name}'"):
        load_view_inpainter(folder)
