"""Zero-1-to-3: both published layouts and our own, loaded, damaged and run against a plain account of the paper's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.priors.tiny_checkpoints import NOISE, tiny_checkpoint, tiny_pipeline
from unscene.geometry.turntable import object_cameras, pose_numbers
from unscene.priors.diffusion import hub_parts
from unscene.priors.novel_views import photo_token, zero123
from unscene.priors.novel_views.zero123 import Zero123, initial_zero123, load_zero123
from unscene.priors.novel_views.zero123_hub import PUBLISHED
from unscene.priors.prior_error import PriorError

LAYERS = {"cc_projection": "projection", "clip_camera_projection": "proj"}
WIDTH = 24  # of the tiny U-Net's context; 768 in the published ones

pytestmark = pytest.mark.usefixtures("one_thread")


def tiny_published(folder: Path, projection: str = "cc_projection") -> Path:
    """A random model as the hub has it."""
    pipeline = tiny_pipeline("sd-1.5", channels=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        image_encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=16, intermediate_size=32, projection_dim=WIDTH, num_hidden_layers=2, num_attention_heads=2,
                image_size=32, patch_size=16,
            )
        )  # fmt: skip
        weight, bias = torch.randn(WIDTH, WIDTH + 4) / 3, torch.randn(WIDTH) / 3
    pipeline.unet.save_pretrained(folder / "unet")
    pipeline.vae.save_pretrained(folder / "vae")
    image_encoder.save_pretrained(folder / "image_encoder")
    DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **NOISE).save_pretrained(folder / "scheduler")
    (folder / projection).mkdir()
    (folder / projection / "config.json").write_text('{"_class_name": "CCProjection"}')
    layer = LAYERS[projection]
    file = folder / projection / "diffusion_pytorch_model.safetensors"
    save_file({f"{layer}.weight": weight, f"{layer}.bias": bias}, str(file))
    (folder / "model_index.json").write_text('{"_class_name": "Zero1to3StableDiffusionPipeline"}')
    return folder


@pytest.fixture(params=sorted(LAYERS))
def published(request, tmp_path):
    return tiny_published(tmp_path / request.param, request.param)


@pytest.fixture
def folder(tmp_path):
    return tiny_published(tmp_path / "zero123")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Zero123:
    return initial_zero123(tiny_checkpoint("sd-1.5", tmp_path_factory.mktemp("sd") / "sd-1.5"), size=64, seed=0)


def inputs(model: Zero123, count: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Source views, poses and noise."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.rand(count, model.size, model.size, 3, generator=generator)
    turn = torch.linspace(30, 300, count)
    poses = pose_numbers(turn, torch.full((count,), 10.0), torch.zeros(count))
    return source, poses, torch.randn(count, *model.latent_shape, generator=generator)


class Recorder:
    """A U-Net that remembers what it was given."""

    def __init__(self, unet):
        self.unet, self.dtype, self.device, self.calls = unet, unet.dtype, unet.device, []

    def __call__(self, *arguments):
        self.calls.append(arguments)
        return self.unet(*arguments)


@pytest.fixture
def recorder(model, monkeypatch) -> Recorder:
    recorder = Recorder(model.unet)
    monkeypatch.setattr(model, "unet", recorder)
    return recorder


def test_published_layouts_load_frozen_in_single_precision(published):
    model = load_zero123(published)
    assert model.name == published.name and model.size == 256 and model.latent_shape == (4, 32, 32)
    (file,) = published.glob("c*_projection/*.safetensors")
    weight = load_file(str(file))[f"{LAYERS[file.parent.name]}.weight"]
    torch.testing.assert_close(model.photo_token.camera_projection.weight, weight)
    networks = (model.unet, model.autoencoder, model.photo_token.image_encoder, model.photo_token.camera_projection)
    parameters = [parameter for network in networks for parameter in network.parameters()]
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in parameters)


def test_published_models_run_as_the_paper_s_code_does(published):
    """A plain account of its sampler: CLIP and pose projected, an unscaled latent, zeros for the model told nothing."""
    model = load_zero123(str(published))
    source, poses, noise = inputs(model, 1)
    generated = model.generate(source, poses, noise=noise, steps=2, guidance=3.0)
    pixels = source.permute(0, 3, 1, 2) * 2 - 1
    small = torch.nn.functional.interpolate(pixels, (32, 32), mode="bicubic", align_corners=True) / 2 + 0.5
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (photo_token.CLIP_MEAN, photo_token.CLIP_DEVIATION))
    with torch.no_grad():
        embedding = model.photo_token.image_encoder((small - mean) / deviation).image_embeds[:, None]
        token = model.photo_token.camera_projection(torch.cat([embedding, poses[:, None]], -1))
        condition = model.autoencoder.encode(pixels).latent_dist.mode()
        token, condition = (torch.cat([torch.zeros_like(value), value]) for value in (token, condition))
        scheduler, latents = DDIMScheduler.from_config(model.scheduler.config), noise
        scheduler.set_timesteps(2)
        for time in scheduler.timesteps:
            untold, told = model.unet(torch.cat([latents.repeat(2, 1, 1, 1), condition], 1), time, token).sample.chunk(
                2
            )
            latents = scheduler.step(untold + 3 * (told - untold), time, latents).prev_sample
        image = model.autoencoder.decode(latents / model.autoencoder.config.scaling_factor).sample
    torch.testing.assert_close(generated, (image / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1), rtol=0, atol=1e-4)


def test_half_precision_is_taken_only_where_there_is_no_single(folder):
    for part in ("vae", "cc_projection"):
        file = folder / part / "diffusion_pytorch_model.safetensors"
        state = load_file(str(file))
        save_file({k: v.half() for k, v in state.items()}, str(file.with_suffix(".fp16.safetensors")), {"format": "pt"})
        poison = {name: torch.full_like(tensor, torch.nan) for name, tensor in state.items()}
        save_file(poison, str(file.with_suffix(".fp16_ema.safetensors")), {"format": "pt"})
    exact = load_zero123(folder)
    for part in ("vae", "cc_projection"):
        (folder / part / "diffusion_pytorch_model.safetensors").unlink()
        (folder / part / "diffusion_pytorch_model.fp16_ema.safetensors").unlink()
    half = load_zero123(folder)
    parts = [(model.autoencoder, model.photo_token.camera_projection) for model in (exact, half)]
    for first, second in zip(*parts, strict=True):
        pairs = zip(first.parameters(), second.parameters(), strict=True)
        assert all(a.isfinite().all() and torch.equal(a.half(), b.half()) for a, b in pairs)


@pytest.mark.parametrize("part", ["unet", "vae", "image_encoder"])
def test_a_missing_tensor_of_a_network_is_named(folder, part):
    (file,) = (folder / part).glob("*.safetensors")
    state = load_file(str(file))
    gone = sorted(state)[3]
    save_file({name: tensor for name, tensor in state.items() if name != gone}, str(file), {"format": "pt"})
    with pytest.raises(PriorError, match=rf"{part}/.*expected tensor '{re.escape(gone)}'"):
        load_zero123(folder)


def test_a_wrong_or_missing_projection_is_named(published):
    (file,) = published.glob("c*_projection/*.safetensors")
    layer, state = LAYERS[file.parent.name], load_file(str(file))
    save_file({f"{layer}.weight": state[f"{layer}.weight"]}, str(file))
    with pytest.raises(PriorError, match=rf"_projection/.*expected tensor '{layer}\.bias', but the file lacks it"):
        load_zero123(published)
    save_file(state | {f"{layer}.weight": torch.zeros(WIDTH, WIDTH)}, str(file))
    with pytest.raises(PriorError, match=rf"'{layer}\.weight' of shape \(24, 28\), got \(24, 24\)"):
        load_zero123(published)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(PriorError, match=r"_projection/.*it ends in tensor"):
        load_zero123(published)


def test_a_u_net_without_a_place_for_the_source_is_refused(folder):
    tiny_pipeline("sd-1.5", channels=4).unet.save_pretrained(folder / "unet")
    with pytest.raises(PriorError, match=r"unet: expected a U-Net with 8 input channels for this kind of model, got 4"):
        load_zero123(folder)


@pytest.mark.parametrize("part", ["unet", "image_encoder", "cc_projection"])
def test_pickles_are_refused_and_the_way_to_convert_them_works(folder, part):
    (file,) = (folder / part).glob("*.safetensors")
    pickled = file.with_name("pytorch_model.bin" if part == "image_encoder" else "diffusion_pytorch_model.bin")
    torch.save(load_file(str(file)), pickled)
    file.unlink()
    with pytest.raises(PriorError, match=rf"{part}: expected weights as \.safetensors, found only {pickled.name}") as e:
        load_zero123(folder)
    command = re.search(r'python -c "(.*)"$', str(e.value))
    assert command is not None
    exec(command[1], {})
    assert file.is_file()
    assert load_zero123(folder).name == folder.name


def test_sources_that_are_none_say_what_was_expected(tmp_path, folder):
    with pytest.raises(PriorError, match="can run code"):
        load_zero123(tmp_path / "zero123-xl.ckpt")
    single = folder / "unet" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(PriorError, match=r"expected zero123, .* a folder of parts \(unet, .*found a single file"):
        load_zero123(single)
    with pytest.raises(PriorError, match=r"nowhere: expected zero123, zero123-xl, .*a hub id or a folder .*found none"):
        load_zero123("nowhere")
    with pytest.raises(PriorError, match=r"expected a novel-view model with a novel_view\.json"):
        load_zero123(tmp_path)


def test_the_hub_s_order_is_kept_and_a_snapshot_without_weights_passed_over(monkeypatch, tmp_path):
    whole = tiny_published(tmp_path / "snapshots" / "0123456789abcdef0123")
    bare = tmp_path / "bare"
    (bare / "cc_projection").mkdir(parents=True)
    tried = []

    def download(repository, *, revision, allow_patterns, ignore_patterns, local_files_only):
        assert all(not pattern.endswith((".bin", "*")) for pattern in allow_patterns)
        tried.append((repository, revision, local_files_only))
        return str(whole if repository.startswith("kxic") else bare)

    monkeypatch.setattr(hub_parts, "snapshot_download", download)
    assert load_zero123("zero123-xl").name == "kxic/zero123-xl@0123456789ab"
    assert tried[-1] == ("kxic/zero123-xl", "refs/pr/1", True)
    once = list(dict.fromkeys(repository for repository, _, _ in tried))
    assert once == [hub_id.partition("@")[0] for hub_id in PUBLISHED["zero123-xl"]]
    assert load_zero123("kxic/zero123-165000").name == "kxic/zero123-165000@0123456789ab"
    with pytest.raises(PriorError, match=r"some/one/unet: expected weights as \.safetensors, found none.*Three ways"):
        load_zero123("some/one")


def test_without_network_there_are_three_ways_forward(monkeypatch):
    def download(repository, **settings):
        raise OSError("no route to host")

    monkeypatch.setattr(hub_parts, "snapshot_download", download)
    with pytest.raises(PriorError, match=r"no route to host.*Three ways forward: .*unscene train zero123"):
        load_zero123("zero123-xl")


def test_views_have_their_shape_repeat_themselves_and_follow_the_pose(model):
    source, poses, noise = inputs(model)
    views = model.generate(source, poses, noise=noise, steps=2, guidance=3.0)
    assert views.shape == source.shape and views.isfinite().all()
    assert views.min() >= 0 and views.max() <= 1
    assert torch.equal(views, model.generate(source, poses, noise=noise, steps=2, guidance=3.0))
    others = model.generate(source, poses.flip(0), noise=noise, steps=2, guidance=3.0)
    assert not torch.allclose(views, others, atol=1e-5)


def test_without_guidance_the_model_told_nothing_is_not_asked(model, recorder):
    source, poses, noise = inputs(model)
    model.generate(source, poses, noise=noise, steps=3)
    assert len(recorder.calls) == 3
    model.generate(source, poses, noise=noise, steps=3, guidance=2.0)
    assert len(recorder.calls) == 3 + 6


def test_guidance_leads_away_from_the_model_told_nothing(model, monkeypatch):
    source, poses, noise = inputs(model)
    predicted = []

    def one_prediction(predict, scheduler, noise, steps):
        predicted.append(predict(noise, torch.tensor(500)))
        return noise

    monkeypatch.setattr(zero123, "sample", one_prediction)
    for guidance in (0.0, 1.0, 3.0):  # untold, told, guided
        model.generate(source, poses, noise=noise, guidance=guidance)
    untold, told, guided = predicted
    with torch.no_grad():
        nothing = torch.zeros_like(noise), torch.zeros(len(noise), 1, WIDTH)
        expected = model.unet(torch.cat([noise, nothing[0]], 1), torch.tensor(500), nothing[1]).sample
    torch.testing.assert_close(untold, expected)
    torch.testing.assert_close(guided, untold + 3 * (told - untold))
    assert not torch.allclose(told, untold)


def test_the_u_net_sees_the_noise_then_the_unscaled_source_and_one_token(model, recorder):
    source, poses, noise = inputs(model)
    model.generate(source, poses, noise=noise, steps=1)
    ((seen, _, states),) = recorder.calls
    pixels = source.permute(0, 3, 1, 2)
    with torch.no_grad():
        latents = model.autoencoder.encode(pixels * 2 - 1).latent_dist.mean
        clip = (photo_token.CLIP_MEAN, photo_token.CLIP_DEVIATION)
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in clip)
        embedding = model.photo_token.image_encoder((pixels - mean) / deviation).image_embeds
        token = model.photo_token.camera_projection(torch.cat([embedding, poses], -1))
    torch.testing.assert_close(seen, torch.cat([noise, latents], 1))
    assert states.shape == (2, 1, WIDTH)
    torch.testing.assert_close(states[:, 0], token)


def test_what_is_saved_loads_again(model, tmp_path):
    loaded = load_zero123(model.save(tmp_path / "mine"))
    assert re.fullmatch("mine@[0-9a-f]{12}", loaded.name)
    assert loaded.size == model.size and loaded.latent_shape == model.latent_shape
    for name in ("unet", "autoencoder", "photo_token"):
        pairs = zip(getattr(model, name).parameters(), getattr(loaded, name).parameters(), strict=True)
        assert all(torch.equal(a.half(), b.half()) for a, b in pairs)
    assert torch.equal(model.photo_token.camera_projection.weight, loaded.photo_token.camera_projection.weight)
    source, poses, noise = inputs(model)
    a, b = (m.generate(source, poses, noise=noise, steps=2) for m in (model, loaded))
    torch.testing.assert_close(a, b, rtol=0, atol=0.02)
    settings = json.loads((tmp_path / "mine" / "novel_view.json").read_text())
    assert settings == {"kind": "zero123", "size": 64}


def test_a_fresh_model_depends_on_its_seed_alone(tmp_path):
    folder = tiny_checkpoint("sd-1.5", tmp_path / "sd")
    first, again, other = (
        initial_zero123(folder, size=32, seed=seed).photo_token.camera_projection.weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "distance", "numbers"),
    [
        (0, 0, 0, (0, 0, 1, 0)),
        (90, 0, 0, (0, 1, 0, 0)),  # the camera moves to its right
        (-90, 0, 0, (0, -1, 0, 0)),
        (180, 0, 0.3, (0, 0, -1, 0.3)),
        (0, 30, 0, (-torch.pi / 6, 0, 1, 0)),  # up: the polar angle, from the zenith, shrinks
        (360, -90, -0.2, (torch.pi / 2, 0, 1, -0.2)),
    ],
)
def test_pose_numbers(azimuth, elevation, distance, numbers):
    found = pose_numbers(*(torch.tensor([float(value)]) for value in (azimuth, elevation, distance)))
    torch.testing.assert_close(found, torch.tensor([numbers], dtype=torch.float32), rtol=0, atol=1e-6)


def test_pose_numbers_are_differences_of_spherical_coordinates_as_in_the_training_data():
    """The paper's data set: polar angle from the z axis, azimuth from x towards y, radius; target less source."""
    azimuths, elevations, distances = torch.tensor([20.0, 250.0]), torch.tensor([5.0, 50.0]), torch.tensor([1.5, 2.2])
    cameras = object_cameras(azimuths, elevations, distances, field_of_view=50, size=8)
    x, y, z = cameras.positions.unbind(-1)
    polar, azimuth, radius = torch.atan2(torch.hypot(x, y), z), torch.atan2(y, x), cameras.positions.norm(dim=-1)
    turn = azimuth[1] - azimuth[0]
    expected = torch.stack([polar[1] - polar[0], turn.sin(), turn.cos(), radius[1] - radius[0]])
    turns = [values[1:] - values[:1] for values in (azimuths, elevations, distances)]
    torch.testing.assert_close(pose_numbers(*turns)[0], expected, rtol=0, atol=1e-5)
