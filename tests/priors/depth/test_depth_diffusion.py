"""The diffusion model that completes depth: random weights of the published layout, and a sampler written out."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from tests.priors.tiny_checkpoints import NOISE, tiny_pipeline
from unscene.priors.depth.completion import complete_disparity
from unscene.priors.depth.depth_diffusion import DepthDiffusion
from unscene.priors.prior_error import PriorError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 2's layout with 13 input channels."""
    pipeline, path = tiny_pipeline("sd-2", channels=13), tmp_path_factory.mktemp("depth") / "infusion"
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        getattr(pipeline, part).save_pretrained(path / part)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> DepthDiffusion:
    loaded = DepthDiffusion.load(str(folder))
    loaded.side = 64
    return loaded


def view() -> tuple[Tensor, Tensor, Tensor]:
    """Photo, depth and hole of a wall that recedes, in 48 x 64 pixels."""
    image = torch.rand(48, 64, 3, generator=torch.Generator().manual_seed(0))
    depth = torch.linspace(2.0, 5.0, 64).expand(48, 64).clone()
    hole = torch.zeros(48, 64, dtype=torch.bool)
    hole[13:30, 20:40] = True
    depth[hole] = 0.7  # what was removed, nearer than all that is known
    return image, depth, hole


def by_hand(
    model: DepthDiffusion, steps: int, generator: torch.Generator, *, keep_known: bool, start: Tensor | None = None
) -> Tensor:
    """InFusion's sampler, written out: disparities scaled by what is unmasked, 13 channels, DDIM."""
    image, depth, hole = view()
    disparity = 1 / (complete_disparity(depth, hole) if start is None else start)
    low, high = disparity[~hole].min(), disparity[~hole].max()
    scaled = (disparity - low) / (high - low) * 2 - 1
    vae, unet = model.autoencoder, model.unet
    to_latent = lambda pixels: vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor  # noqa: E731
    with torch.no_grad():
        rgb = to_latent(image.permute(2, 0, 1)[None])  # in [0, 1]
        origin = to_latent(scaled.expand(1, 3, -1, -1))
        known = to_latent(torch.where(hole, 0.0, scaled).expand(1, 3, -1, -1))
        gap = F.max_pool2d(hole[None, None].float(), 8)
        noise = torch.randn(origin.shape, generator=generator)
        abar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
        stride = 1000 // steps
        times = [stride * i + 1 for i in reversed(range(steps))]
        noised = lambda t: abar[t].sqrt() * origin + (1 - abar[t]).sqrt() * noise  # noqa: E731
        z = noised(times[0])
        for index, t in enumerate(times):
            e = unet(torch.cat([rgb, z, gap, known], 1), t, model.prompt).sample
            clean = (z - (1 - abar[t]).sqrt() * e) / abar[t].sqrt()
            before = abar[t - stride] if t - stride >= 0 else (torch.tensor(1.0))
            z = before.sqrt() * clean + (1 - before).sqrt() * e
            if keep_known and index + 1 < steps:
                z = torch.where(gap > 0, z, noised(times[index + 1]))
        answer = vae.decode(z / vae.config.scaling_factor).sample.mean(1)[0].clamp(-1, 1) / 2 + 0.5
    return torch.where(hole, 1 / (low + answer * (high - low)), depth)


@pytest.mark.parametrize("keep_known", [False, True])
def test_it_samples_as_the_release_does(model: DepthDiffusion, keep_known: bool) -> None:
    image, depth, hole = view()
    ours, theirs = (torch.Generator().manual_seed(7) for _ in range(2))
    completed = model.complete(image, depth, hole, ours, steps=4, keep_known=keep_known)
    torch.testing.assert_close(completed, by_hand(model, 4, theirs, keep_known=keep_known), rtol=1e-4, atol=1e-4)
    assert torch.equal(completed[~hole], depth[~hole])
    low, high = depth[~hole].min(), depth[~hole].max()
    assert completed[hole].min() >= low - 1e-4 and completed[hole].max() <= high + 1e-4


def test_a_second_loop_starts_from_the_first(model: DepthDiffusion) -> None:
    image, depth, hole = view()
    ours, theirs = (torch.Generator().manual_seed(7) for _ in range(2))
    twice = model.complete(image, depth, hole, ours, steps=3, loops=2)
    first = by_hand(model, 3, theirs, keep_known=True)
    torch.testing.assert_close(twice, by_hand(model, 3, theirs, keep_known=True, start=first), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e5])
def test_depth_may_be_in_any_unit(model: DepthDiffusion, unit: float) -> None:
    image, depth, hole = view()
    one, other = (
        model.complete(image, depth * scale, hole, torch.Generator().manual_seed(1), steps=2) for scale in (1, unit)
    )
    torch.testing.assert_close(other / unit, one, rtol=1e-3, atol=1e-3)


def test_what_was_removed_has_no_influence(model: DepthDiffusion) -> None:
    image, depth, hole = view()
    other = torch.where(hole, 1.9, depth)
    one, two = (model.complete(image, d, hole, torch.Generator().manual_seed(1), steps=2) for d in (depth, other))
    assert torch.equal(one, two)


@pytest.mark.parametrize("shape", [(48, 64), (37, 53), (90, 30)])
def test_photos_may_have_any_shape_and_known_depth_may_be_flat(model: DepthDiffusion, shape: tuple[int, int]) -> None:
    hole = torch.zeros(shape, dtype=torch.bool)
    hole[5:20, 10:25] = True
    completed = model.complete(torch.rand(*shape, 3), torch.full(shape, 3.0), hole, torch.Generator(), steps=2)
    assert torch.allclose(completed, torch.tensor(3.0), rtol=1e-5)


@pytest.mark.parametrize("everything", [False, True])
def test_there_must_be_a_hole_and_something_around_it(model: DepthDiffusion, everything: bool) -> None:
    image, depth, _ = view()
    with pytest.raises(ValueError, match="hole"):
        model.complete(image, depth, torch.full(depth.shape, everything), torch.Generator(), steps=2)


def test_a_perfect_model_completes_the_wall(model: DepthDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    """A U-Net that sees the true latent through the noise, and an autoencoder of 8 x 8 means."""
    image, depth, hole = view()
    truth = torch.linspace(2.0, 5.0, 64).expand(48, 64)
    low, high = 1 / truth.max(), 1 / truth.min()
    clean = F.avg_pool2d(((1 / truth - low) / (high - low) * 2 - 1).expand(1, 4, -1, -1), 8)
    scheduler = DDIMScheduler(clip_sample=False, **NOISE)

    def unet(inputs: Tensor, time: Tensor, _: Tensor) -> SimpleNamespace:
        abar = scheduler.alphas_cumprod[time]
        return SimpleNamespace(sample=(inputs[:, 4:8] - abar.sqrt() * clean) / (1 - abar).sqrt())

    means = SimpleNamespace(
        encode=lambda x: SimpleNamespace(latent_dist=SimpleNamespace(mean=F.avg_pool2d(x[:, [0, 1, 2, 2]], 8))),
        decode=lambda z: SimpleNamespace(sample=F.interpolate(z[:, :3], scale_factor=8, mode="bilinear")),
        dtype=torch.float32,
        config=SimpleNamespace(block_out_channels=(1,) * 4, scaling_factor=1.0, get=lambda name: None),
    )
    networks = SimpleNamespace(dtype=torch.float32, device=torch.device("cpu"))
    perfect = DepthDiffusion(Callable(unet, networks), means, scheduler, model.prompt, "perfect", side=64)
    completed = perfect.complete(image, depth, hole, torch.Generator(), steps=5)
    assert (completed[hole] / truth[hole] - 1).abs().max() < 0.01


class Callable:
    """A function with a network's attributes."""

    def __init__(self, function: Any, attributes: SimpleNamespace) -> None:
        self.function, self.dtype, self.device = function, attributes.dtype, attributes.device

    def __call__(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def test_the_prompt_is_empty_and_not_padded(model: DepthDiffusion) -> None:
    assert model.prompt.shape[:2] == (1, 2)  # begin and end


def test_other_models_are_refused_in_words(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="expected infusion, a hub id or a folder"):
        DepthDiffusion.load(str(tmp_path / "nowhere"))
    with pytest.raises(PriorError, match="found none"):
        DepthDiffusion.load(str(tmp_path))
    pickled = shutil.copytree(folder, tmp_path / "pickled")
    (pickled / "unet" / "diffusion_pytorch_model.safetensors").rename(pickled / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(PriorError, match="can run code"):
        DepthDiffusion.load(str(pickled))
    short = shutil.copytree(folder, tmp_path / "short")
    file = short / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(PriorError, match="it ends in tensor"):
        DepthDiffusion.load(str(short))
    lacking = shutil.copytree(folder, tmp_path / "lacking")
    file = lacking / "text_encoder" / "model.safetensors"
    tensors = load_file(file)
    save_file(dict(list(tensors.items())[1:]), file, metadata={"format": "pt"})
    with pytest.raises(PriorError, match="expected tensor"):
        DepthDiffusion.load(str(lacking))
    shutil.rmtree(shutil.copytree(folder, tmp_path / "wordless") / "tokenizer")
    with pytest.raises(PriorError, match="tokenizer"):
        DepthDiffusion.load(str(tmp_path / "wordless"))


def test_an_inpainting_checkpoint_is_no_depth_model(tmp_path: Path) -> None:
    tiny_pipeline("sd-2").save_pretrained(tmp_path / "sd")
    with pytest.raises(PriorError, match="13 input channels"):
        DepthDiffusion.load(str(tmp_path / "sd"))
