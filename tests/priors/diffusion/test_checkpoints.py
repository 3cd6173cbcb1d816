"""Every hub family's layout, loaded, run with both latent alignments, and damaged."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.priors.tiny_checkpoints import tiny_checkpoint, tiny_pipeline, write_single_file
from unscene.geometry.warped_noise import NoiseCorrespondence, carry_noise
from unscene.priors.classical import TeleaInpainter
from unscene.priors.diffusion import checkpoints as diffusion_checkpoints
from unscene.priors.diffusion.checkpoints import check_safetensors, load_checkpoint, locate_checkpoint
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.priors.diffusion.text_condition import text_condition
from unscene.priors.prior_error import PriorError

HEIGHT, WIDTH = 60, 70
PROMPTS = {"prompt": "a photo of a wall", "negative_prompt": "a statue"}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=["sd-1.5", "sd-2", "sdxl"])
def folder(request, tmp_path_factory):
    return tiny_checkpoint(request.param, tmp_path_factory.mktemp("checkpoints") / request.param)


@pytest.fixture
def sd(tmp_path):
    return tiny_checkpoint("sd-2", tmp_path / "sd-2")


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, HEIGHT, WIDTH, 3, generator=generator)
    masks = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.bool)
    masks[:, 16:44, 20:50] = True
    return images, masks


def noise_for(model, count=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, model.latent_channels, *model.latent_size(HEIGHT, WIDTH), generator=generator)


@pytest.mark.parametrize("settings", [{"guidance": 1.0}, {"guidance": 5.0, **PROMPTS}], ids=["plain", "guided"])
def test_every_family_inpaints_and_shares_attention(folder, views, settings):
    images, masks = views
    model = LatentDiffusionInpainter.load(folder, DiffusionConfig(**settings))
    assert model.name == folder.name and model.strength == 0.9
    noise = noise_for(model)
    plain = model.inpaint_latent(images, masks, noise=noise, steps=2)
    assert torch.equal(plain[~masks], images[~masks]) and plain.isfinite().all()
    assert torch.equal(plain, model.inpaint_latent(images, masks, noise=noise, steps=2, base=1, own_weight=1.0))
    images[2], noise[2] = images[0], noise[0]
    shared = model.inpaint_latent(images, masks, noise=noise, steps=2, base=2, own_weight=0.2)
    torch.testing.assert_close(shared[0], shared[2], rtol=0, atol=1e-5)
    assert (shared[1] - plain[1]).abs().max() > 1e-5


def test_partial_denoising_stays_near_its_start(folder, views):
    images, masks = views
    model = LatentDiffusionInpainter.load(folder)
    start = TeleaInpainter().inpaint(images, masks, generator=torch.Generator())
    pixels, holes = model.padded(images), model.padded(masks[..., None].float())
    origin, distances = model.encode(model.padded(start)), []
    for strength in (0.1, 0.5, 0.9):
        latents = model._sample(pixels, holes, noise_for(model), origin, strength, 10)
        distances.append((latents - origin).square().mean())
    assert distances[0] < distances[1] < distances[2]


def test_an_aligned_initial_latent_fits_every_family(folder, views):
    images, masks = views
    model = LatentDiffusionInpainter.load(folder)
    base, (rows, columns) = noise_for(model, 1)[0], model.latent_size(HEIGHT, WIDTH)
    itself = NoiseCorrespondence(torch.arange(rows * columns), torch.ones(rows * columns))
    carried = carry_noise(base, itself, torch.Generator().manual_seed(2)).view_as(base)
    torch.testing.assert_close(carried, base)  # every cell corresponds to itself
    both = torch.stack([base, carried])
    filled = model.inpaint_latent(images[:2], masks[:2], noise=both, steps=2, base=0, own_weight=0.2)
    assert filled.isfinite().all()


def test_guidance_without_prompts_costs_nothing_and_changes_nothing(folder, views):
    images, masks = views
    plain, guided = (LatentDiffusionInpainter.load(folder, DiffusionConfig(prompt="", guidance=g)) for g in (1.0, 7.5))
    condition = guided._text(torch.zeros(3, 3, 64, 64))
    assert condition.halves == 1
    noise = noise_for(plain)
    expected = plain.inpaint_latent(images, masks, noise=noise, steps=2)
    assert torch.equal(guided.inpaint_latent(images, masks, noise=noise, steps=2), expected)


def test_sdxl_gets_both_encoders_pooled_text_and_sizes():
    pipeline = tiny_pipeline("sdxl")
    condition = text_condition(pipeline, "a wall", "a statue", 3, (64, 96), guided=True)
    assert condition.states.shape == (6, 32, 40) and condition.halves == 2
    assert condition.added["text_embeds"].shape == (6, 24)
    assert condition.added["time_ids"].tolist() == [[64, 96, 0, 0, 64, 96]] * 6
    alone = text_condition(pipeline, "a wall", "", 1, (64, 96), guided=False)
    torch.testing.assert_close(condition.states[3:4], alone.states)  # the conditional half comes second
    torch.testing.assert_close(condition.added["text_embeds"][5:], alone.added["text_embeds"])
    pipeline.register_to_config(requires_aesthetics_score=True)
    scored = text_condition(pipeline, "a wall", "a statue", 2, (64, 96), guided=True)
    assert scored.added["time_ids"][:, 4].tolist() == [2.5, 2.5, 6.0, 6.0]


@pytest.mark.parametrize(
    "scheduler",
    ["DDIMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler",
     "HeunDiscreteScheduler", "UniPCMultistepScheduler", "PNDMScheduler", "LMSDiscreteScheduler", "DDPMScheduler"],
)  # fmt: skip
def test_any_scheduler_runs_whole_and_in_part_and_repeats_itself(sd, views, scheduler):
    images, masks = views
    model = LatentDiffusionInpainter.load(sd, DiffusionConfig(scheduler=scheduler))
    noise = noise_for(model)
    whole = [model.inpaint_latent(images, masks, noise=noise, steps=4) for _ in range(2)]
    part = [model.inpaint_latent(images, masks, noise=noise, start=images, strength=0.5, steps=4) for _ in range(2)]
    for first, second in (whole, part):
        assert first.isfinite().all() and torch.equal(first, second)


def test_ddim_agrees_with_the_pipeline_of_diffusers(sd, views):
    """The same noise through diffusers' own inpainting pipeline gives the same latents."""
    images, masks = views
    model = LatentDiffusionInpainter.load(sd, DiffusionConfig(guidance=5.0, **PROMPTS))
    pixels, holes = model.padded(images[:1]), model.padded(masks[:1, ..., None].float())
    noise = noise_for(model, 1)
    ours = model._sample(pixels, holes, noise, None, 1.0, 3)
    theirs = model.pipeline(
        PROMPTS["prompt"], negative_prompt=PROMPTS["negative_prompt"], image=pixels, mask_image=holes,
        height=pixels.shape[2], width=pixels.shape[3], num_inference_steps=3, guidance_scale=5.0, latents=noise,
        output_type="latent", generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip
    # diffusers samples the masked image's latent, we take the mean: random weights make that spread small
    assert torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1] > 0.95


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_stays_near_single(folder, views, precision):
    images, masks = views
    exact, half = (LatentDiffusionInpainter.load(folder, DiffusionConfig(precision=p)) for p in ("float32", precision))
    assert half.pipeline.unet.dtype == getattr(torch, precision)
    upcast = precision == "float16" and folder.name == "sdxl"
    assert half.pipeline.vae.dtype == (torch.float32 if upcast else getattr(torch, precision))
    noise = noise_for(exact)
    a, b = (m.inpaint_latent(images, masks, noise=noise, steps=2) for m in (exact, half))
    assert b.isfinite().all() and (a - b).abs().mean() < 0.05


def test_attention_slicing_and_sharing_go_together(sd, views):
    images, masks = views
    plain, sliced = (LatentDiffusionInpainter.load(sd, DiffusionConfig(attention_slicing=s)) for s in (False, True))
    noise = noise_for(plain)
    a, b = (m.inpaint_latent(images, masks, noise=noise, steps=2, base=0, own_weight=0.2) for m in (plain, sliced))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_a_single_file_of_the_original_release_equals_its_folder(tmp_path, views, monkeypatch):
    monkeypatch.setattr("tests.priors.tiny_checkpoints.LAYERS", 2)  # as published: names count them
    images, masks = views
    folder = tiny_checkpoint("sd-1.5", tmp_path / "folder")
    file = write_single_file(tiny_pipeline("sd-1.5"), tmp_path / "model.safetensors")
    expected = LatentDiffusionInpainter.load(folder)
    model = LatentDiffusionInpainter.load(file, DiffusionConfig(single_file_config=folder))
    assert model.name == "model.safetensors"
    noise = noise_for(model)
    a, b = (m.inpaint_latent(images, masks, noise=noise, steps=2) for m in (expected, model))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_a_file_cut_short_names_file_and_tensor(sd):
    file = sd / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(PriorError, match=r"unet/diffusion_pytorch_model\.safetensors: expected \d+ bytes.*tensor '\w"):
        load_checkpoint(sd, DiffusionConfig())


def test_a_file_with_something_behind_its_end_is_refused(sd):
    file = sd / "unet" / "diffusion_pytorch_model.safetensors"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(PriorError, match=rf"unet/.*expected {size} bytes, got {size + 4}; fetch it again"):
        load_checkpoint(sd, DiffusionConfig())


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"_class_name": "X", "unet": 3}'])
def test_a_damaged_index_says_so(sd, text):
    (sd / "model_index.json").write_text(text)
    with pytest.raises(
        PriorError, match=r"model_index\.json: expected the parts and the class of a diffusers pipeline"
    ):
        load_checkpoint(sd, DiffusionConfig())


def test_a_part_of_an_unknown_class_is_named(sd):
    index = json.loads((sd / "model_index.json").read_text())
    (sd / "model_index.json").write_text(json.dumps(index | {"unet": ["diffusers", "UNet9DModel"]}))
    with pytest.raises(PriorError, match="'unet' is a UNet9DModel, which the installed diffusers lacks"):
        load_checkpoint(sd, DiffusionConfig())


def test_a_single_file_that_lacks_a_part_says_so(tmp_path):
    folder = tiny_checkpoint("sd-1.5", tmp_path / "folder")
    file = write_single_file(tiny_pipeline("sd-1.5"), tmp_path / "model.safetensors")
    save_file({k: v for k, v in load_file(str(file)).items() if not k.startswith("cond_stage_model.")}, str(file))
    with pytest.raises(PriorError, match=r"model\.safetensors: "):
        load_checkpoint(file, DiffusionConfig(single_file_config=folder))


def test_published_configurations_pool_at_the_end_of_the_text_even_with_a_new_word(tmp_path):
    pipeline = tiny_pipeline("sdxl")
    pipeline.save_pretrained(tmp_path / "sdxl", safe_serialization=True)
    described = tmp_path / "sdxl" / "text_encoder_2" / "config.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"eos_token_id": 2}))  # as the hub has it
    loaded = load_checkpoint(tmp_path / "sdxl", DiffusionConfig()).pipeline
    tokenizer, encoder = loaded.tokenizer_2, loaded.text_encoder_2
    tokenizer.add_tokens("<scene>")
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    ids = tokenizer(["a photo of <scene> outside"], padding="max_length", return_tensors="pt").input_ids
    end = (ids[0] == tokenizer.eos_token_id).nonzero()[0, 0]
    outputs = encoder(ids)
    states = encoder.text_model.final_layer_norm(encoder(ids, output_hidden_states=True).hidden_states[-1])
    torch.testing.assert_close(outputs.text_embeds, encoder.text_projection(states[:, end]))


def test_a_file_that_is_none_says_so(sd):
    file = sd / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(PriorError, match=r"vae/.*header is unreadable; fetch it again"):
        load_checkpoint(sd, DiffusionConfig())


def test_a_tensor_of_another_shape_is_named(sd):
    file = sd / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(str(file))
    save_file(state | {"conv_in.weight": torch.zeros(8, 4, 3, 3)}, str(file))
    with pytest.raises(PriorError, match=r"unet/.*conv_in\.weight"):
        load_checkpoint(sd, DiffusionConfig())


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_missing_tensor_is_named(sd, part):
    file = next((sd / part).glob("*.safetensors"))
    state = load_file(str(file))
    gone = sorted(state)[3]
    del state[gone]
    save_file(state, str(file), metadata={"format": "pt"})
    with pytest.raises(PriorError, match=rf"{part}/.*expected tensor '{gone.removeprefix('text_model.')}'|{gone}"):
        load_checkpoint(sd, DiffusionConfig())


def test_pickles_are_refused(sd, tmp_path):
    with pytest.raises(PriorError, match="can run code"):
        load_checkpoint(tmp_path / "model.ckpt", DiffusionConfig())
    weights = sd / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(str(weights)), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(PriorError, match=r"expected weights as \.safetensors"):
        load_checkpoint(sd, DiffusionConfig())


def test_a_model_that_does_not_inpaint_is_refused(tmp_path):
    tiny_pipeline("sd-2", channels=4).save_pretrained(tmp_path / "plain")
    with pytest.raises(PriorError, match="9 input channels, got 4"):
        load_checkpoint(tmp_path / "plain", DiffusionConfig())


def test_without_network_there_are_three_ways_forward(monkeypatch, tmp_path):
    tried = []

    def download(hub_id, **settings):
        tried.append((hub_id, settings["local_files_only"]))
        raise OSError("no route to host")

    monkeypatch.setattr(diffusion_checkpoints.DiffusionPipeline, "download", download)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(PriorError, match=r"no route to host.*Three ways forward: .*network.*folder.*bundled") as error:
        locate_checkpoint("sd-2")
    assert "\n" not in str(error.value)
    ids = diffusion_checkpoints.FAMILIES["sd-2"]
    assert tried == [(hub_id, local) for local in (True, False) for hub_id in ids]  # the cache first, then the network


def test_what_the_cache_holds_is_used_and_named_with_its_revision(monkeypatch, sd, tmp_path):
    snapshot = tmp_path / "snapshots" / "0123456789abcdef0123"
    shutil.copytree(sd, snapshot)

    def download(hub_id, **settings):
        if hub_id.startswith("stabilityai"):
            return str(snapshot)
        raise OSError("gone")

    monkeypatch.setattr(diffusion_checkpoints.DiffusionPipeline, "download", download)
    name = load_checkpoint("sd-2", DiffusionConfig()).name
    assert name == "stabilityai/stable-diffusion-2-inpainting@0123456789ab"


@pytest.mark.parametrize(
    ("source", "config", "message"),
    [
        ("nowhere", {}, "expected a folder, a .safetensors file"),
        ("./nowhere/model.safetensors", {}, "found none"),
        (None, {"scheduler": "DiffusionPipeline"}, "name of a scheduler class"),
        (None, {"offload": "model"}, "accelerator to offload from"),
    ],
)
def test_errors_say_what_was_expected(sd, source, config, message):
    with pytest.raises(PriorError, match=message):
        load_checkpoint(source or sd, DiffusionConfig(**config))


def test_a_header_tells_shapes_without_reading_tensors(sd):
    file = sd / "unet" / "diffusion_pytorch_model.safetensors"
    assert check_safetensors(file)["conv_in.weight"] == (8, 9, 3, 3)
    assert json.loads((sd / "model_index.json").read_text())["unet"][1] == "UNet2DConditionModel"
