"""The latent diffusion inpainter and cross-view attention, on a tiny untrained model of the bundled architecture."""

import dataclasses

import pytest
import torch
from diffusers import EulerDiscreteScheduler, PNDMScheduler, StableDiffusionInpaintPipeline
from PIL import Image

from tests.priors.tiny_checkpoints import tiny_checkpoint
from unscene.pretraining.prior_export import as_pipeline
from unscene.priors.diffusion.architecture import build_parts
from unscene.priors.diffusion.attention import CrossViewAttention, cross_view_attention
from unscene.priors.diffusion.checkpoints import BUNDLED, Checkpoint
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.priors.diffusion.mask_blending import composite, mask_to_latent
from unscene.priors.inpainter import LatentInpainter

HEIGHT, WIDTH = 45, 53


@pytest.fixture(scope="module")
def model() -> LatentDiffusionInpainter:
    parts = build_parts(width=0.25, seed=3)
    for part in (parts.unet, parts.autoencoder, parts.text_encoder):
        part.requires_grad_(False).eval()
    return LatentDiffusionInpainter(Checkpoint(as_pipeline(parts), "tiny"), DiffusionConfig(prompt=""))


@pytest.fixture
def views() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three images, their masks and initial latents."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, HEIGHT, WIDTH, 3, generator=generator)
    masks = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.bool)
    masks[:, 10:30, 15:40] = True
    return images, masks, torch.randn(3, 4, 12, 16, generator=generator)


def test_it_satisfies_the_contract_and_keeps_unmasked_pixels(model, views):
    images, masks, noise = views
    assert isinstance(model, LatentInpainter)
    assert model.latent_size(HEIGHT, WIDTH) == (12, 16)
    filled = model.inpaint_latent(images, masks, noise=noise, steps=3)
    assert filled.shape == images.shape
    assert torch.equal(filled[~masks], images[~masks])
    assert not torch.equal(filled[masks], images[masks])
    assert filled.min() >= 0 and filled.max() <= 1


def test_what_lies_under_the_mask_has_no_influence(model, views):
    images, masks, noise = views
    repainted = torch.where(masks[..., None], 1 - images, images)
    for start in (None, torch.full_like(images, 0.4)):
        first, second = (
            model.inpaint_latent(i, masks, noise=noise, steps=3, start=start, strength=1.0 if start is None else 0.5)
            for i in (images, repainted)
        )
        assert torch.equal(first, second)


def test_same_generator_same_fill(model, views):
    images, masks, _ = views
    model = model.with_settings(strength=0.5)
    fills = [model.inpaint(images, masks, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(fills[0], fills[1])
    assert not torch.equal(fills[0], fills[2])


def test_the_expected_fill_averages_one_step_predictions_of_what_lies_around(model, views):
    images, masks, _ = views
    repainted = torch.where(masks[..., None], 1 - images, images)
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
    first, second, other = (
        model.expected_fill(i, masks, generator=g) for i, g in zip((images, repainted, images), generators, strict=True)
    )
    assert torch.equal(first, second) and torch.equal(first[~masks], images[~masks])

    config = model.pipeline.scheduler.config
    for scheduler in (EulerDiscreteScheduler, PNDMScheduler):  # the sampler has no part in it
        parts = {**model.pipeline.components, "scheduler": scheduler.from_config(config)}
        pipeline = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
        sampled = dataclasses.replace(model, checkpoint=Checkpoint(pipeline, "tiny"))
        assert torch.equal(sampled.expected_fill(images, masks, generator=torch.Generator().manual_seed(1)), first)

    def spread(draws: int) -> float:
        one_of = dataclasses.replace(model, expectation_draws=draws)
        one, another = (one_of.expected_fill(images, masks, generator=generators[2]) for _ in range(2))
        return (one - another).abs()[masks].mean().item()

    assert 0 < spread(32) < 0.7 * spread(1)  # the mean of more draws depends less on them
    assert (first - other).abs().max() > 0


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_own_weight_one_is_plain_inpainting_bit_for_bit(model, views, guidance):
    images, masks, noise = views
    model = model.with_settings(guidance=guidance, prompt="a photo of a wall")
    plain = model.inpaint_latent(images, masks, noise=noise, steps=2)
    shared = model.inpaint_latent(images, masks, noise=noise, steps=2, base=1, own_weight=1.0)
    assert torch.equal(plain, shared)
    # and the processor itself, once installed, agrees with diffusers' own
    unet = model.pipeline.unet
    latents, text = torch.randn(6, 9, 12, 16), torch.randn(6, 32, unet.config.cross_attention_dim)
    expected = unet(latents, 500, text).sample
    processor = CrossViewAttention(base=1, views=3, own_weight=1.0)
    original = dict(unet.attn_processors)
    unet.set_attn_processor({n: processor if ".attn1." in n else p for n, p in original.items()})
    torch.testing.assert_close(unet(latents, 500, text).sample, expected, rtol=0, atol=0)
    unet.set_attn_processor(original)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_identical_views_get_identical_fills_and_the_base_keeps_its_own(model, views, guidance):
    images, masks, noise = views
    images, noise = images.clone(), noise.clone()
    images[2], noise[2] = images[0], noise[0]
    model = model.with_settings(guidance=guidance, prompt="a photo of a wall")
    plain = model.inpaint_latent(images, masks, noise=noise, steps=2)
    shared = model.inpaint_latent(images, masks, noise=noise, steps=2, base=2, own_weight=0.2)
    torch.testing.assert_close(shared[0], shared[2], rtol=0, atol=1e-5)
    torch.testing.assert_close(shared[2], plain[2], rtol=0, atol=1e-5)
    assert (shared[1] - plain[1]).abs().max() > 1e-3  # a different view does feel the base


def test_each_guidance_half_attends_to_its_own_base(model):
    attention = model.pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn1
    states = torch.randn(4, 12, attention.to_q.in_features)
    processor = CrossViewAttention(base=0, views=2, own_weight=0.2)
    before = processor(attention, states)
    states[2] += 1.0  # the conditional base
    after = processor(attention, states)
    assert torch.equal(before[:2], after[:2])
    assert not torch.equal(before[3], after[3])


def test_processors_are_restored_after_an_error(model):
    unet = model.pipeline.unet
    before = {name: id(processor) for name, processor in unet.attn_processors.items()}
    with pytest.raises(RuntimeError, match="stop"), cross_view_attention(unet, base=0, views=2, own_weight=0.2):
        swapped = [name for name, p in unet.attn_processors.items() if isinstance(p, CrossViewAttention)]
        assert swapped == [name for name in before if ".attn1." in name]
        raise RuntimeError("stop")
    assert {name: id(processor) for name, processor in unet.attn_processors.items()} == before


def test_a_pin_hole_reaches_the_latent_mask():
    holes = torch.zeros(1, 1, 16, 16)
    holes[0, 0, 5, 10] = 1
    assert mask_to_latent(holes, 4).nonzero().tolist() == [[0, 0, 1, 2]]


def test_detail_the_autoencoder_loses_comes_back_where_the_latent_stayed(model, views):
    start = views[0][:1, :32, :48].permute(0, 3, 1, 2)
    origin = model.encode(start)
    restored = model.decode(origin) + model.lost_detail(start, origin, origin)
    torch.testing.assert_close(restored, start, rtol=0, atol=1e-5)
    assert model.lost_detail(start, origin, origin + 10).abs().max() < 1e-3


def test_composite_meets_the_image_at_the_rim_and_the_fill_inside():
    images, filled = torch.full((1, 20, 20, 3), 0.4), torch.full((1, 20, 20, 3), 0.6)
    masks = torch.zeros(1, 20, 20, dtype=torch.bool)
    masks[:, 4:16, 4:16] = True
    images[masks] = 0.9  # the object
    row = composite(images, filled, masks, feather=3)[0, 10, :, 0]
    torch.testing.assert_close(row[3:8], torch.tensor([0.4, 0.45, 0.5, 0.55, 0.6]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": torch.zeros(3, 4, 5, 5)}, "expected noise of shape"),
        ({"strength": 0.5}, "pass start"),
        ({"strength": 0.0}, "strength in"),
        ({"base": 3, "own_weight": 0.2}, "base view's index"),
        ({"masks": torch.zeros(3, HEIGHT, WIDTH)}, "threshold"),
    ],
)
def test_errors_say_what_was_expected(model, views, change, message):
    images, masks, noise = views
    with pytest.raises(ValueError, match=message):
        model.inpaint_latent(**{"images": images, "masks": masks, "noise": noise, "steps": 1} | change)


def test_the_bundled_folder_is_a_stable_diffusion_pipeline():
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*.safetensors")) <= 25e6
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(BUNDLED, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    image, mask = Image.new("RGB", (256, 192), "gray"), Image.new("L", (256, 192))
    mask.paste(255, (60, 60, 120, 120))
    result = pipeline("a photo", image=image, mask_image=mask, height=192, width=256, num_inference_steps=2)
    assert result.images[0].size == (256, 192)


def test_the_bundled_model_loads_as_an_inpainter():
    model = LatentDiffusionInpainter.load(config=DiffusionConfig(prompt="a photo"))
    assert (model.name, model.latent_size(189, 252), model.prompt) == ("bundled-diffusion", (48, 64), "a photo")


def test_models_of_the_hub_are_asked_for_what_in_n_outs_release_asks_for(tmp_path):
    """Its prompts end so; guidance has something to guide then. What a user asks for is asked for as it is."""
    model = LatentDiffusionInpainter.load(tiny_checkpoint("sd-2", tmp_path / "sd-2"))
    assert (model.prompt, model.guidance, model.is_guided) == ("photorealistic 8k", 7.5, True)
    asked = model.with_settings(prompt="a red fence")
    assert (asked.prompt, asked.is_guided) == ("a red fence", True)
    silent = model.with_settings(prompt="")
    assert (silent.prompt, silent.is_guided) == ("", False)
    images, masks = torch.rand(1, 64, 64, 3), torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[:, 16:48, 16:48] = True
    noise = torch.randn(1, 4, *model.latent_size(64, 64), generator=torch.Generator().manual_seed(0))
    fills = [each.inpaint_latent(images, masks, noise=noise, steps=2) for each in (model, silent)]
    assert (fills[0] - fills[1]).abs().max() > 1e-4


def test_the_bundled_model_is_asked_for_nothing():
    model = LatentDiffusionInpainter.load()
    assert (model.prompt, model.is_guided) == ("", False)
