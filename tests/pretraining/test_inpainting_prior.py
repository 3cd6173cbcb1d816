"""Training of the bundled prior, at a size that takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file

from unscene.objects.textures import PAINTERS, procedural_image
from unscene.pretraining import inpainting_prior as prior
from unscene.pretraining.inpainting_prior import PriorTraining, train_prior
from unscene.pretraining.prior_data import PhotoFolder, draw_batch, random_mask
from unscene.pretraining.prior_export import (
    _logged_stages,
    export_pipeline,
    learning_curve,
    load_parts,
    whiten_latents,
)
from unscene.pretraining.prior_objectives import OWN_WEIGHT, VGG_LAYERS, DenoisingObjective
from unscene.pretraining.training_schedule import draw_times, learning_rate_factor
from unscene.priors.diffusion.architecture import build_autoencoder, build_parts, build_tokenizer
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.priors.diffusion.vocabulary import WORDS


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(4):
        image, _ = procedural_image(64, np.random.default_rng(index))
        cv2.imwrite(str(folder / f"n0000000{index}_garden_hose.png"), image)
    return folder


@pytest.fixture
def blank_sheets(monkeypatch):
    """Drawing takes longer than training here."""
    monkeypatch.setattr(prior, "inpainting_sheet", lambda *_: np.zeros((8, 8, 3), np.uint8))


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """accelerate keeps its state for the whole process; leave none behind."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def tiny(photos: Path, out: Path) -> PriorTraining:
    return PriorTraining(
        photos=[photos], out=out, width=0.25, autoencoder_steps=5, unet_steps=5, batch=2, crops=[32], warmup=2,
        checkpoint_every=2, mixed_precision="no",
    )  # fmt: skip


def test_a_killed_run_resumes_to_the_same_weights(photos, tmp_path, monkeypatch, request):
    whole = train_prior(tiny(photos, tmp_path / "whole"))
    request.getfixturevalue("blank_sheets")  # of those of the whole run

    drawn = 0

    def draw_until_killed(*args, **kwargs):
        nonlocal drawn
        drawn += 1
        if drawn in (4, 11):  # once in each stage, one step after a checkpoint
            raise KeyboardInterrupt
        return draw_batch(*args, **kwargs)

    monkeypatch.setattr(prior, "evaluation_images", evaluation_images_uncounted)
    monkeypatch.setattr(prior, "draw_batch", draw_until_killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_prior(tiny(photos, tmp_path / "killed"))
    resumed = train_prior(tiny(photos, tmp_path / "killed"))

    for part in ("vae/diffusion_pytorch_model", "unet/diffusion_pytorch_model", "text_encoder/model"):
        expected, got = (load_file(folder / f"{part}.safetensors") for folder in (whole, resumed))
        assert all(torch.equal(expected[name], got[name]) for name in expected), part
    stages = [json.loads(line)["stage"] for line in (tmp_path / "killed" / "losses.jsonl").read_text().splitlines()]
    assert stages == ["autoencoder", "unet"]
    assert len(list((tmp_path / "whole" / "samples").glob("*.png"))) == 6
    assert not list((tmp_path / "killed").rglob("*.partial*"))

    model = LatentDiffusionInpainter.load(resumed)
    images, masks = torch.rand(1, 32, 32, 3), torch.zeros(1, 32, 32, dtype=torch.bool)
    masks[:, 8:20, 8:20] = True
    assert model.inpaint(images, masks, generator=torch.Generator().manual_seed(0)).isfinite().all()


@pytest.mark.usefixtures("blank_sheets")
def test_a_stage_killed_before_its_last_sheet_is_completed_once(photos, tmp_path, monkeypatch):
    config = tiny(photos, tmp_path / "run")
    config.autoencoder_steps = config.unet_steps = 1
    write_png, written = prior.write_png, []

    def write_until_killed(path, pixels):
        written.append(path.name)
        if len(written) == 1:  # the autoencoder's only checkpoint is written, its sheet is not
            raise KeyboardInterrupt
        return write_png(path, pixels)

    monkeypatch.setattr(prior, "write_png", write_until_killed)
    with pytest.raises(KeyboardInterrupt):
        train_prior(config)
    for _ in range(2):  # the second finds both stages complete, and must not export what only one has learnt
        AcceleratorState._reset_state(reset_partial_state=True)
        train_prior(config)
    assert written == ["autoencoder-0000001.png", "autoencoder-0000001.png", "unet-0000001.png"]


DRAW_AHEAD = """
import sys
from pathlib import Path
from unscene.pretraining.inpainting_prior import PriorTraining, train_prior
train_prior(PriorTraining(
    photos=[Path(sys.argv[1])], out=Path(sys.argv[2]), width=0.25, autoencoder_steps=3, unet_steps=0, batch=2,
    crops=[32, 64], mixed_precision="no", workers=2,
))
"""


def test_batches_drawn_ahead_are_the_same_batches(photos, tmp_path):
    # in a process of its own: forking is not for processes that have run everything else
    arguments = [sys.executable, "-c", DRAW_AHEAD, str(photos), str(tmp_path / "ahead")]
    subprocess.run(arguments, check=True, timeout=120, capture_output=True)
    config = tiny(photos, tmp_path / "alone")
    config.autoencoder_steps, config.unet_steps, config.crops, config.warmup = 3, 0, [32, 64], 200
    train_prior(config)
    logs = [
        [json.loads(line)["loss"] for line in (tmp_path / run / "losses.jsonl").read_text().splitlines()]
        for run in ("ahead", "alone")
    ]
    assert logs[0] == pytest.approx(logs[1], rel=1e-4)


@pytest.mark.usefixtures("blank_sheets")
def test_a_finished_model_can_be_trained_further(photos, tmp_path):
    first = tiny(photos, tmp_path / "first")
    first.autoencoder_steps = first.unet_steps = 1
    finished = train_prior(first)
    further = tiny(photos, tmp_path / "further")
    further.initial, further.autoencoder_steps, further.unet_steps = finished, 0, 1
    vae = "vae/diffusion_pytorch_model.safetensors"
    unet = "unet/diffusion_pytorch_model.safetensors"
    folder = train_prior(further)
    before, after = (load_file(f / vae) for f in (finished, folder))
    assert all(torch.equal(before[name], after[name]) for name in before)
    before, after = (load_file(f / unet) for f in (finished, folder))
    assert 0 < max((before[name] - after[name]).abs().max() for name in before) < 0.01


def evaluation_images_uncounted(run, count):
    rng = np.random.default_rng([run.config.seed, 999])
    return draw_batch(run.photos, batch=count, crop=32, procedural=run.config.procedural, rng=rng).floats()


def test_a_time_limit_leaves_a_checkpoint(photos, tmp_path):
    config = tiny(photos, tmp_path / "run")
    config.minutes = 1e-6
    folder = train_prior(config)
    assert (folder / "model_index.json").is_file()
    assert not (tmp_path / "run" / "checkpoints" / "unet").exists()


def test_learning_rate_rises_stays_and_falls():
    factors = [learning_rate_factor(step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and factors[9:80] == [1.0] * 71
    assert factors[-1] == pytest.approx(0.05) and all(np.diff(factors[80:]) < 0)


def test_times_follow_the_logit_normal_draw():
    times = draw_times(4096, -0.4, 1.0, np.random.default_rng(0))
    logits = torch.logit(times)
    assert times.min() > 0 and times.max() < 1
    assert logits.mean() == pytest.approx(-0.4, abs=0.02) and logits.std() == pytest.approx(1.0, abs=0.02)


def test_the_denoising_loss_learns_a_single_batch():
    parts = build_parts(width=0.25)
    objective = DenoisingObjective(parts, None, unmasked_weight=0.2, perceptual=0.0)
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "images": torch.rand(4, 3, 32, 32, generator=generator),
        "masks": (torch.rand(4, 1, 32, 32, generator=generator) > 0.9).float(),
        "tokens": parts.tokenizer(["a photo"] * 4, padding="max_length", return_tensors="pt").input_ids,
        "noise": torch.randn(4, 4, 8, 8, generator=generator),
        "times": torch.tensor([100, 400, 700, 950]),
    }
    optimizer = torch.optim.Adam(objective.network.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = objective(**inputs)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert all(p.grad is not None for n, p in objective.network.named_parameters() if "text_encoder" in n)
    assert all(p.grad is None for p in objective.autoencoder.parameters())


def test_a_perfect_velocity_denoises_to_the_truth_at_any_noise_level():
    parts = build_parts(width=0.25)
    objective = DenoisingObjective(parts, None, unmasked_weight=0.2, perceptual=0.0)
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 4, 8, 8, generator=generator) for _ in range(2))
    times = torch.tensor([1, 500, 999])
    noisy = parts.scheduler.add_noise(latents, noise, times)
    velocity = parts.scheduler.get_velocity(latents, noise, times)
    torch.testing.assert_close(objective._denoised(noisy, velocity, times), latents, rtol=0, atol=1e-5)


def test_the_perceptual_term_looks_into_the_hole_alone_and_teaches_the_unet(tmp_path):
    parts = build_parts(width=0.25)
    weights = random_vgg(tmp_path / "vgg.safetensors")
    objective = DenoisingObjective(parts, weights, unmasked_weight=0.2, perceptual=1.0)
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(2, 1, 32, 32)
    masks[..., :16] = 1
    inputs = {
        "images": torch.rand(2, 3, 32, 32, generator=generator),
        "masks": masks,
        "tokens": parts.tokenizer(["a photo"] * 2, padding="max_length", return_tensors="pt").input_ids,
        "noise": torch.randn(2, 4, 8, 8, generator=generator),
        "times": torch.tensor([300, 800]),
    }
    terms = objective(**inputs)
    terms["perceptual"].backward()
    gradients = [p.grad for p in objective.network.parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients) and any(g.abs().max() > 0 for g in gradients)
    plain = DenoisingObjective(parts, None, unmasked_weight=0.2, perceptual=1.0)(**inputs)
    torch.testing.assert_close(terms["loss"], plain["loss"] + terms["perceptual"] + OWN_WEIGHT * terms["own"])
    with torch.no_grad():
        nothing = objective(**inputs | {"masks": torch.zeros_like(masks)})
    assert nothing["perceptual"] == 0


def random_vgg(path):
    """Weights of the first VGG19 layers with their true shapes, drawn at random."""
    generator, state, channels = torch.Generator().manual_seed(0), {}, 3
    for layer, width in zip(VGG_LAYERS, (64, 64, 128, 128, 256, 256), strict=True):
        state[f"{layer}.weight"] = torch.randn(width, channels, 3, 3, generator=generator) / (9 * channels) ** 0.5
        state[f"{layer}.bias"] = torch.zeros(width)
        channels = width
    save_file(state, str(path))
    return path


def test_a_learning_curve_falls_where_the_loss_falls():
    entries = [{"step": 10 * i, "seconds": 1.0, "loss": 2.0 - i / 50, "other": 1.0} for i in range(1, 101)]
    picture = learning_curve(entries).astype(int)
    blue = (picture[..., 2] > picture[..., 0] + 60).nonzero()
    inside = blue[0] < 235
    rows, columns = blue[0][inside], blue[1][inside]
    assert rows[columns < 60].mean() < 60 and rows[columns > 580].mean() > 180


def test_a_resumed_run_s_log_counts_each_step_once(tmp_path):
    log = tmp_path / "losses.jsonl"
    lines = [
        {"stage": "unet", "step": step, "seconds": 1, "loss": loss} for step, loss in ((10, 3.0), (20, 9.0), (20, 1.0))
    ]
    log.write_text("\n".join(json.dumps(line) for line in lines))
    assert [entry["loss"] for entry in _logged_stages(log)["unet"]] == [3.0, 1.0]


def test_whitened_latents_decode_to_the_same_image():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        autoencoder = build_autoencoder(0.25).requires_grad_(False)
        images = torch.rand(8, 3, 32, 32) ** 2
    before = autoencoder.encode(images * 2 - 1).latent_dist
    decoded = autoencoder.decode(before.mean).sample
    whiten_latents(autoencoder, images)
    after = autoencoder.encode(images * 2 - 1).latent_dist
    torch.testing.assert_close(autoencoder.decode(after.mean).sample, decoded, rtol=0, atol=1e-4)
    flat = after.mean.transpose(0, 1).flatten(1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(4), rtol=0, atol=1e-3)
    torch.testing.assert_close(torch.cov(flat), torch.eye(4), rtol=0, atol=1e-2)
    assert after.std.isfinite().all() and not torch.equal(after.std, before.std)


def test_batches_depend_on_the_seed_alone(photos):
    folder = PhotoFolder([photos])
    assert folder.names == ["garden hose"] * 4
    first, second, other = (
        draw_batch(folder, batch=6, crop=48, procedural=0.5, rng=np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(first.images, second.images) and torch.equal(first.masks, second.masks)
    assert first.captions == second.captions
    assert not torch.equal(first.images, other.images)
    assert {"a photo of a garden hose"} < set(first.captions)
    assert first.images.shape == (6, 3, 48, 48) and first.images.dtype == torch.uint8
    images, masks = first.floats()
    assert images.max() > 0.5 and torch.equal(images * 255, first.images.float())
    assert masks.unique().tolist() == [0, 1] and masks.shape == (6, 1, 48, 48)


def test_masks_cover_what_was_asked():
    rng = np.random.default_rng(0)
    coverages = np.array([random_mask(64, 96, rng).mean() for _ in range(200)])
    assert ((coverages >= 0.05) & (coverages <= 0.45)).mean() > 0.97
    assert coverages.std() > 0.05


@pytest.mark.parametrize("subject", PAINTERS)
def test_painters_draw_finite_pictures_with_content(subject):
    image = PAINTERS[subject](64, np.random.default_rng(1))
    assert image.shape == (64, 64, 3) and np.isfinite(image).all() and image.std() > 0.01


def test_an_empty_photo_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="found none"):
        PhotoFolder([tmp_path])


def test_listed_words_are_one_token_and_any_text_can_be_spelled():
    tokenizer = build_tokenizer()
    assert all(len(tokenizer(word).input_ids) == 3 for word in WORDS)  # begin, word, end
    text = "zürich's 7 quokkas"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).replace(" ", "") == text.replace(
        " ", ""
    )
    assert tokenizer.unk_token_id not in tokenizer(text).input_ids[:-1]


def test_an_exported_pipeline_does_not_tell_where_its_parts_came_from(tmp_path):
    first = export_pipeline(build_parts(width=0.25), tmp_path / "first")
    again = export_pipeline(load_parts(first), tmp_path / "again")
    configs = list(again.rglob("config.json"))
    assert len(configs) == 3 and not any(str(tmp_path) in config.read_text() for config in configs)
