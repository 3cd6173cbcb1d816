"""A diffusion prior on an accelerator: the sampler with aligned attention, and a step of customisation.

Prompts are split into tokens on the host, whose numbers are then sent; that is done before.
"""

# diffusers annotates many arguments and results more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from tests.accelerator.fake_accelerator import DEVICE, fake_accelerator
from tests.priors.tiny_checkpoints import tiny_pipeline
from unscene.priors.depth.depth_diffusion import DepthDiffusion
from unscene.priors.diffusion import grid_prior, sampling
from unscene.priors.diffusion.architecture import build_scheduler
from unscene.priors.diffusion.checkpoints import Checkpoint
from unscene.priors.diffusion.config import CustomizeConfig, DiffusionConfig, GridPriorConfig
from unscene.priors.diffusion.customize import SCENE_PROMPT, SceneCustomization, draw_crops, draw_rectangles
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.priors.diffusion.text_condition import TextCondition
from unscene.stages.score_distillation import distillation_gradient
from unscene.training.optimizer import Optimizer

pytestmark = pytest.mark.usefixtures("one_thread")
NETWORKS = ("unet", "vae", "text_encoder")


def tiny_model(guidance: float = 1.0) -> LatentDiffusionInpainter:
    pipeline = tiny_pipeline("sd-2")
    pipeline.scheduler = build_scheduler()
    pipeline.vae.requires_grad_(False)
    pipeline.unet.requires_grad_(False)
    pipeline.text_encoder.requires_grad_(False)
    return LatentDiffusionInpainter(Checkpoint(pipeline, "tiny"), DiffusionConfig(prompt="a room", guidance=guidance))


def move(pipeline: Any) -> None:
    for name in NETWORKS:
        getattr(pipeline, name).to(DEVICE)


@pytest.mark.parametrize(("guidance", "base"), [(1.0, None), (7.5, 0)])
def test_the_sampler_with_attention_to_a_base_view(
    guidance: float, base: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(guidance)
    move(model.pipeline)
    photos, masks = torch.rand(2, 56, 72, 3).to(DEVICE), torch.zeros(2, 56, 72, dtype=torch.bool).to(DEVICE)
    size = model.latent_size(56, 72)
    text = model._text(torch.empty(2, 3, *(side * model.downscale for side in size), device=DEVICE))
    assert text.states.device == DEVICE and text.halves == (1 if guidance == 1 else 2)
    monkeypatch.setattr(LatentDiffusionInpainter, "_text", lambda *_: text)
    monkeypatch.setattr(sampling, "step_arguments", lambda *_: {"eta": 0.0})  # no generators there
    scheduler = model.pipeline.scheduler
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(DEVICE)  # add_noise does so once
    with fake_accelerator():
        filled = model.inpaint_latent(
            photos, masks, noise=torch.randn(2, 4, *size, device=DEVICE), start=photos, strength=0.9, steps=2,
            base=base, own_weight=0.2,
        )  # fmt: skip
        assert filled.device == DEVICE and filled.shape == photos.shape


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_a_gradient_of_score_distillation(guidance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(guidance)
    move(model.pipeline)
    photos, masks = torch.rand(1, 56, 72, 3).to(DEVICE), torch.zeros(1, 56, 72, dtype=torch.bool).to(DEVICE)
    size = model.latent_size(56, 72)
    text = model._text(torch.empty(1, 3, *(side * model.downscale for side in size), device=DEVICE))
    monkeypatch.setattr(LatentDiffusionInpainter, "_text", lambda *_: text)
    with fake_accelerator():
        gradient = distillation_gradient(model, photos, photos, masks, 0.5, torch.Generator().manual_seed(0))
        assert gradient.device == DEVICE and gradient.shape == photos.shape


def test_a_depth_completed_by_diffusion() -> None:
    """The sampler; the smooth completion that it starts from is made on the host."""
    pipeline = tiny_pipeline("sd-2", channels=13)
    move(pipeline)
    pipeline.scheduler.alphas_cumprod = pipeline.scheduler.alphas_cumprod.to(DEVICE)  # add_noise does so once
    prompt = torch.zeros(1, 2, pipeline.unet.config.cross_attention_dim, device=DEVICE)
    model = DepthDiffusion(pipeline.unet, pipeline.vae, pipeline.scheduler, prompt, "tiny", side=64)
    seen, start, gap = (torch.zeros(1, channels, 6, 8, device=DEVICE) for channels in (4, 4, 1))
    with fake_accelerator():
        latents = model._sample(seen, start, torch.cat([gap, start], 1), start, 3, gap)
        assert latents.device == DEVICE and latents.shape == start.shape


def test_views_denoised_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffled on the host; the shortened schedule's table is sent once."""
    model = tiny_model(7.5)
    move(model.pipeline)
    photos, masks = torch.rand(2, 56, 72, 3).to(DEVICE), torch.zeros(2, 56, 72, dtype=torch.bool).to(DEVICE)
    told = TextCondition(torch.randn(1, 77, model.pipeline.unet.config.cross_attention_dim).to(DEVICE), None, 1)
    monkeypatch.setattr(grid_prior, "text_condition", lambda *_, **__: told)
    monkeypatch.setattr(sampling, "step_arguments", lambda *_: {"eta": 0.0})  # no generators there
    scheduler = sampling.shortened(model.pipeline.scheduler, 0.5)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(DEVICE)
    monkeypatch.setattr(grid_prior, "shortened", lambda *_: scheduler)
    grid = GridPriorConfig(tile=40, steps=1)
    with fake_accelerator():
        filled = model.inpaint_jointly(
            photos, masks, start=photos, level=0.5, grid=grid, generator=torch.Generator().manual_seed(0)
        )
        assert filled.device == DEVICE and filled.shape == photos.shape


def test_a_step_of_customisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos and masks are where the scene is; holes, noise and levels are drawn on the host."""
    model, generator = tiny_model(), torch.Generator().manual_seed(0)
    made = SceneCustomization(model, CustomizeConfig(rank=2, batch=2, crop=64), generator)
    pipeline = model.pipeline
    move(pipeline)
    made.tokens = {name: torch.nn.Parameter(token.to(DEVICE)) for name, token in made.tokens.items()}
    adapters = [p for name in ("unet", "text_encoder") for p in getattr(pipeline, name).parameters() if p.requires_grad]
    made.learnt = torch.nn.ParameterList([*adapters, *made.tokens.values()])
    made.scheduler.alphas_cumprod = made.scheduler.alphas_cumprod.to(DEVICE)  # add_noise does so once
    ids = pipeline.tokenizer([SCENE_PROMPT] * 2, padding="max_length", return_tensors="pt").input_ids.to(DEVICE)

    def tokenized(pipeline: Any, *_: Any, **__: Any) -> TextCondition:
        return TextCondition(pipeline.text_encoder(ids)[0], None, 1)

    monkeypatch.setattr("unscene.priors.diffusion.customize.text_condition", tokenized)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no such device
    optimizer, image = Optimizer(made.learnt.parameters(), 1e-3), torch.rand(80, 96, 3).to(DEVICE)
    mask = torch.zeros(80, 96, dtype=torch.bool).to(DEVICE)
    with fake_accelerator():
        photos, objects = draw_crops(lambda view: (image, mask), 2, [0, 1], 64, 0.5, generator)
        holes = draw_rectangles(2, 64, 64, generator)
        assert holes.device.type == "cpu" and photos.device == objects.device == DEVICE
        loss = made.loss(photos, objects, holes, generator)
        assert loss.device == DEVICE
        optimizer.step_down(loss)
        assert all(p.grad is not None and p.grad.device == DEVICE for p in made.learnt)
