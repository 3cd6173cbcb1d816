"""Per-scene customisation on every family's layout: what learns, what does not, and what diffusers can read of it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline
from safetensors.torch import load_file

from tests.priors.tiny_checkpoints import tiny_checkpoint
from unscene.priors.diffusion.config import CustomizeConfig
from unscene.priors.diffusion.customize import (
    SCENE_PROMPT,
    SCENE_TOKEN,
    TOKEN_FILE,
    SceneCustomization,
    draw_crops,
    draw_rectangles,
    load_customization,
)
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.priors.prior_error import PriorError

CONFIG = CustomizeConfig(rank=2, batch=2, crop=64, mixed_precision=False)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=["sd-1.5", "sd-2", "sdxl"])
def folder(request, tmp_path_factory):
    return tiny_checkpoint(request.param, tmp_path_factory.mktemp("customize") / request.param)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(count=2, size=64):
    photos = torch.rand(count, size, size, 3, generator=generator())
    objects = torch.zeros(count, size, size, dtype=torch.bool)
    objects[:, :24, :24] = True
    return photos, objects, draw_rectangles(count, size, size, generator(1))


def train(customization, steps, rate=2e-2):
    optimizer = torch.optim.Adam(customization.learnt.parameters(), lr=rate)
    photos, objects, holes = batch()
    for _ in range(steps):
        optimizer.zero_grad()
        customization.loss(photos, objects, holes, generator(5)).backward()
        optimizer.step()


def test_adapters_and_token_learn_and_nothing_else_does(folder):
    model = LatentDiffusionInpainter.load(folder)
    before = {n: p.clone() for n, p in model.pipeline.unet.state_dict().items()}
    customization = SceneCustomization(model, CONFIG, generator())
    photos, objects, holes = batch()
    first = customization.validation_loss(photos, objects, holes, generator(5))
    tokens = [token.detach().clone() for token in customization.tokens.values()]
    train(customization, 8)
    assert customization.validation_loss(photos, objects, holes, generator(5)) < first
    encoders = 2 if folder.name == "sdxl" else 1
    assert len(tokens) == encoders
    assert all(not torch.equal(a, b) for a, b in zip(tokens, customization.tokens.values(), strict=True))
    after = model.pipeline.unet.state_dict()
    for name, value in before.items():
        base = after.get(
            name, after.get(name.replace(".weight", ".base_layer.weight").replace(".bias", ".base_layer.bias"))
        )
        assert torch.equal(base, value), name


def test_before_learning_it_changes_nothing(folder):
    photos, _, holes = batch()
    plain = LatentDiffusionInpainter.load(folder)
    noise = torch.randn(2, 4, *plain.latent_size(64, 64), generator=generator(3))
    expected = plain.inpaint_latent(photos, holes, noise=noise, steps=2)
    customised = SceneCustomization(LatentDiffusionInpainter.load(folder), CONFIG, generator()).model
    torch.testing.assert_close(
        customised.inpaint_latent(photos, holes, noise=noise, steps=2), expected, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("quick", [True, False])
def test_networks_compute_in_bfloat16_where_that_saves_time(folder, monkeypatch, quick):
    monkeypatch.setattr("unscene.priors.diffusion.customize.is_quick_in_bfloat16", lambda device: quick)
    config = dataclasses.replace(CONFIG, mixed_precision=True)
    customization, seen = SceneCustomization(LatentDiffusionInpainter.load(folder), config, generator()), []
    customization.model.pipeline.unet.conv_in.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    customization.loss(*batch(), generator(5))
    assert seen == [torch.bfloat16 if quick else torch.float32] and customization.in_bfloat16 == quick


def test_nothing_is_learnt_from_inside_the_object(folder):
    """Whatever is painted over the object, the loss and its gradients stay as they are."""
    customization = SceneCustomization(LatentDiffusionInpainter.load(folder), CONFIG, generator())
    photos, objects, holes = batch()
    losses, gradients = [], []
    for paint in (0.0, 1.0):
        customization.learnt.zero_grad()
        repainted = torch.where(objects[..., None], paint, photos)
        losses.append(customization.loss(repainted, objects, holes, generator(5)))
        losses[-1].backward()
        gradients.append([p.grad.clone() for p in customization.learnt if p.grad is not None])
    assert losses[0] == losses[1] > 0
    assert gradients[0] and all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert any(gradient.abs().sum() > 0 for gradient in gradients[0])
    everything = torch.ones_like(objects)
    assert customization.loss(photos, everything, holes, generator(5)) == 0


def test_cells_beside_the_object_are_excluded_too(folder):
    """Their latents hold some of what the object was replaced by."""
    customization = SceneCustomization(LatentDiffusionInpainter.load(folder), CONFIG, generator())
    photos, objects, holes = batch()
    side = customization.model.downscale
    objects[:] = False
    objects[:, 2 * side : 3 * side, 3 * side : 5 * side] = True
    _, _, excluded = customization._errors(customization.model.pipeline, photos, objects, holes, generator(5))
    expected = torch.zeros_like(excluded)
    expected[..., 1:4, 2:6] = 1
    assert torch.equal(excluded, expected)


@pytest.mark.parametrize("strongest", [0.3, 0.9])
def test_levels_are_those_that_the_sampler_starts_from_and_passes(folder, strongest):
    customization = SceneCustomization(LatentDiffusionInpainter.load(folder), CONFIG, generator(), strongest=strongest)
    times = torch.cat([customization.draw_times(4, generator(seed)) for seed in range(500)]) / 1000
    assert 0 <= times.min() < 0.01 and strongest - 0.01 < times.max() < strongest
    shares = torch.histc(times, 10, 0, strongest) / len(times)
    assert (shares - 0.1).abs().max() < 0.02  # evenly, as the sampler's steps


def test_a_share_of_the_schedule_that_is_none_is_refused(folder):
    with pytest.raises(PriorError, match=r"above 0 and at most 1, got 1\.5; see --customization"):
        SceneCustomization(LatentDiffusionInpainter.load(folder), CONFIG, generator(), strongest=1.5)


def test_a_model_that_says_what_it_expects_is_taught_that_too():
    customization = SceneCustomization(LatentDiffusionInpainter.load(), CONFIG, generator(), strongest=0.3)
    times = torch.cat([customization.draw_times(4, generator(seed)) for seed in range(100)])
    assert (times == 999).float().mean() == 0.5 and times[times != 999].max() < 300


def test_diffusers_reads_what_is_saved_and_paints_the_same(folder, tmp_path):
    model = LatentDiffusionInpainter.load(folder)
    customization = SceneCustomization(model, CONFIG, generator())
    train(customization, 3)
    customization.save(tmp_path / "scene")
    finished = customization.finish()
    assert finished.prompt == SCENE_PROMPT  # what was taught, not what the family is asked by default
    photos, _, holes = batch()
    noise = torch.randn(2, 4, *finished.latent_size(64, 64), generator=generator(3))
    expected = finished.inpaint_latent(photos, holes, noise=noise, steps=2)
    plain = LatentDiffusionInpainter.load(folder)
    untouched = plain.inpaint_latent(photos, holes, noise=noise, steps=2)
    assert (expected - untouched).abs().max() > 1e-4
    loaded = load_customization(plain, tmp_path / "scene")
    torch.testing.assert_close(loaded.inpaint_latent(photos, holes, noise=noise, steps=2), expected, rtol=0, atol=1e-4)

    # and by hand, as diffusers' documentation tells
    large = folder.name == "sdxl"
    pipeline = (StableDiffusionXLInpaintPipeline if large else StableDiffusionInpaintPipeline).from_pretrained(folder)
    pipeline.load_lora_weights(tmp_path / "scene")
    tokens = load_file(str(tmp_path / "scene" / TOKEN_FILE))
    if large:
        for key, name in (("clip_l", "text_encoder"), ("clip_g", "text_encoder_2")):
            parts = {"text_encoder": getattr(pipeline, name), "tokenizer": getattr(pipeline, f"tokenizer{name[12:]}")}
            pipeline.load_textual_inversion(tokens[key], token=SCENE_TOKEN, **parts)
    else:
        pipeline.load_textual_inversion(tmp_path / "scene" / TOKEN_FILE, token=SCENE_TOKEN)
    ids = pipeline.tokenizer(SCENE_PROMPT).input_ids
    assert pipeline.tokenizer.convert_tokens_to_ids(SCENE_TOKEN) in ids


def test_the_same_seed_starts_and_learns_the_same(folder):
    losses = []
    for _ in range(2):
        torch.rand(3)  # the global random state must not matter
        customization = SceneCustomization(LatentDiffusionInpainter.load(folder), CONFIG, generator(7))
        train(customization, 2)
        losses.append(customization.validation_loss(*batch(), generator(5)))
    assert losses[0] == losses[1]


def test_a_customised_model_is_not_customised_again(folder):
    model = LatentDiffusionInpainter.load(folder)
    SceneCustomization(model, CONFIG, generator())
    with pytest.raises(PriorError, match="as it was published"):
        SceneCustomization(model, CONFIG, generator())


def test_a_customisation_of_another_family_is_refused(tmp_path):
    small, large = (tiny_checkpoint(family, tmp_path / family) for family in ("sd-1.5", "sd-2"))
    SceneCustomization(LatentDiffusionInpainter.load(small), CONFIG, generator()).save(tmp_path / "scene")
    with pytest.raises(PriorError, match="made for another model than sd-2"):
        load_customization(LatentDiffusionInpainter.load(large), tmp_path / "scene")
    with pytest.raises(PriorError, match="found no scene_token"):
        load_customization(LatentDiffusionInpainter.load(large), tmp_path / "nowhere")


def test_the_bundled_model_is_customised_too():
    model = LatentDiffusionInpainter.load()
    customization = SceneCustomization(model, CustomizeConfig(batch=2), generator())
    loss = customization.loss(*batch(), generator(5))  # in bfloat16
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in customization.learnt)
    assert all(p.dtype == torch.float32 for p in customization.learnt)


def test_rectangles_cover_a_fair_share_and_repeat_with_their_seed():
    holes = draw_rectangles(200, 40, 60, generator())
    assert torch.equal(holes, draw_rectangles(200, 40, 60, generator()))
    share = holes.float().mean((1, 2))
    assert share.min() > 0.05 and share.max() < 0.8 and 0.2 < share.mean() < 0.4


def test_crops_keep_photo_and_mask_together():
    image = torch.rand(100, 140, 3, generator=generator()) * 0.5
    mask = torch.zeros(100, 140, dtype=torch.bool)
    mask[20:60, 40:100] = True
    image[mask] = 1.0
    photos, objects = draw_crops(lambda view: (image, mask), 20, [0], 48, 0.5, generator(2))
    assert photos.shape == (20, 48, 48, 3) and objects.any()
    repainted = torch.where(mask[..., None], 0.0, image)
    same, _ = draw_crops(lambda view: (repainted, mask), 20, [0], 48, 0.5, generator(2))
    assert torch.equal(photos[~objects], same[~objects])  # nothing of the object is left outside its mask
    small = draw_crops(lambda view: (image[:20, :20], mask[:20, :20]), 2, [0], 48, 0.5, generator(2))
    assert small[0].shape == (2, 48, 48, 3)  # photos smaller than the crop are enlarged
