"""Latent diffusion inpainting: one class serves the bundled model and Stable-Diffusion-class checkpoints.

This is the one module of the running product that imports diffusers.
"""

# ruff: noqa: E402 (transformers has to be told to be quiet before diffusers imports it)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers

transformers.logging.set_verbosity_error()  # it warns that torchvision is missing, which nothing here needs
transformers.logging.disable_progress_bar()  # a model of 18 MB needs none
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline
from diffusers.utils import logging as diffusers_logging
from torch import Tensor

from unscene.priors.attention import cross_view_attention
from unscene.priors.classical import ExemplarInpainter
from unscene.priors.inpainter import Inpainter, check_images

diffusers_logging.set_verbosity_error()
diffusers_logging.disable_progress_bar()

BUNDLED = Path(__file__).parent / "bundled"


@dataclass
class LatentDiffusionInpainter:
    """A 9-channel latent diffusion inpainter with a deterministic DDIM sampler; satisfies `LatentInpainter`."""

    pipeline: StableDiffusionInpaintPipeline
    """The parts; make one with `load` rather than by hand."""
    name: str = "bundled-diffusion"
    prompt: str = ""
    """Describes the scene without the object."""
    guidance: float = 1.0
    """Classifier-free guidance scale; 1 runs the conditional half only."""
    strength: float = 0.1
    """Share of the noise schedule that `inpaint` runs on top of the exemplar fill."""
    steps: int = 20
    """Sampler steps of the whole schedule."""
    detail_tolerance: float = 0.5
    """Squared latent distance (tau) at which the start image's own detail has faded to 1/e in the result."""
    feather: int = 3
    """Width, pixels, of the strip behind the mask's rim where the fill is drawn towards the image outside."""
    starter: Inpainter | None = None
    """What fills the start image of `inpaint`; exemplar filling unless given."""

    @classmethod
    def load(
        cls,
        folder: str | Path = BUNDLED,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        revision: str | None = None,
        **settings,
    ) -> LatentDiffusionInpainter:
        """Load a diffusers folder or hub id (safetensors only); `settings` are this class's own fields."""
        pipeline = StableDiffusionInpaintPipeline.from_pretrained(
            str(folder), safety_checker=None, use_safetensors=True, revision=revision
        ).to(device, dtype)
        pipeline.set_progress_bar_config(disable=True)
        # hub checkpoints name other samplers; all of them share their noise schedule with DDIM
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
        for part in (pipeline.vae, pipeline.unet, pipeline.text_encoder):
            part.requires_grad_(False).eval()
        if Path(folder) != BUNDLED:
            settings.setdefault("name", str(folder))
        return cls(pipeline, **settings)

    @property
    def latent_channels(self) -> int:
        """Channels of a latent: 4."""
        return self.pipeline.vae.config.latent_channels

    @property
    def downscale(self) -> int:
        """Pixels per latent pixel, along one axis."""
        return self.pipeline.vae_scale_factor

    @property
    def multiple(self) -> int:
        """Image sides are padded to this many pixels, so that every level of the U-Net halves evenly."""
        return self.downscale * 2 ** (len(self.pipeline.unet.config.block_out_channels) - 1)

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the latent of an H W image, padding included."""
        padded = (-(-side // self.multiple) * self.multiple for side in (height, width))
        rows, columns = (side // self.downscale for side in padded)
        return rows, columns

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """Fill with `starter`, then let the model redo the last `strength` of the schedule. See `Inpainter.inpaint`."""
        starter = self.starter or ExemplarInpainter()
        start = starter.inpaint(images, masks, generator=generator)
        shape = (len(images), self.latent_channels, *self.latent_size(*images.shape[1:3]))
        noise = torch.randn(shape, generator=generator, device=generator.device).to(images)
        return self.inpaint_latent(images, masks, noise=noise, start=start, strength=self.strength, steps=self.steps)

    @torch.no_grad()
    def inpaint_latent(
        self,
        images: Tensor,
        masks: Tensor,
        *,
        noise: Tensor,
        start: Tensor | None = None,
        strength: float = 1.0,
        steps: int = 20,
        base: int | None = None,
        own_weight: float = 1.0,
    ) -> Tensor:
        """Fill a batch of views from given initial latents. See `LatentInpainter.inpaint_latent`."""
        self._check(images, masks, noise, start, strength)
        height, width = images.shape[1:3]
        pixels, holes = self._padded(images), self._padded(masks[..., None].float())
        origin = self.encode(self._padded(start)) if start is not None else None
        with cross_view_attention(self.pipeline.unet, base=base, views=len(images), own_weight=own_weight):
            latents = self._sample(pixels, holes, noise, origin, strength, steps)
        filled = self.decode(latents)
        if start is not None and origin is not None:
            filled = filled + self._lost_detail(self._padded(start), origin, latents)
        filled = filled[..., :height, :width].permute(0, 2, 3, 1).clamp(0, 1).to(images)
        return composite(images, filled, masks, feather=self.feather)

    def encode(self, pixels: Tensor) -> Tensor:
        """N 3 H W in [0, 1] -> scaled latents N C h w (the posterior's mean)."""
        vae = self.pipeline.vae
        return vae.encode((pixels * 2 - 1).to(vae.dtype)).latent_dist.mean.float() * vae.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents N C h w -> N 3 H W, about [0, 1]."""
        vae = self.pipeline.vae
        return vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample.float() / 2 + 0.5

    def _sample(
        self, pixels: Tensor, holes: Tensor, noise: Tensor, origin: Tensor | None, strength: float, steps: int
    ) -> Tensor:
        """Deterministic DDIM (Song et al. 2021, eq. 12 with sigma = 0) over the last `strength` of the schedule."""
        scheduler, unet = self.pipeline.scheduler, self.pipeline.unet
        scheduler.set_timesteps(steps, device=noise.device)
        times = scheduler.timesteps[len(scheduler.timesteps) - max(1, round(strength * steps)) :]
        halves = 2 if self.guidance != 1.0 else 1
        context = torch.cat([mask_to_latent(holes, self.downscale), self.encode(masked_pixels(pixels, holes))], 1)
        context, text = torch.cat([context] * halves), self._text(len(pixels), halves)
        latents = noise.float() if origin is None or strength == 1.0 else scheduler.add_noise(origin, noise, times[:1])
        for time in times:
            noisy = scheduler.scale_model_input(torch.cat([latents] * halves), time)
            predicted = unet(torch.cat([noisy, context], 1).to(unet.dtype), time, text).sample.float()
            if halves == 2:
                unconditional, conditional = predicted.chunk(2)
                predicted = unconditional + self.guidance * (conditional - unconditional)
            latents = scheduler.step(predicted, time, latents, eta=0.0).prev_sample
        return latents

    def _text(self, count: int, halves: int) -> Tensor:
        """Prompt embeddings in the batch layout [unconditional views, conditional views]."""
        tokenizer, encoder = self.pipeline.tokenizer, self.pipeline.text_encoder
        prompts = ["", self.prompt][2 - halves :]
        tokens = tokenizer(
            prompts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
        )
        embeddings = encoder(tokens.input_ids.to(encoder.device))[0]
        return embeddings.repeat_interleave(count, dim=0).to(self.pipeline.unet.dtype)

    def _lost_detail(self, start: Tensor, origin: Tensor, latents: Tensor) -> Tensor:
        """What the autoencoder loses of the start image, kept where the sampler left the latent where it was."""
        residual = start - self.decode(origin)
        kept = (-(latents - origin).square().mean(1, keepdim=True) / self.detail_tolerance).exp()
        return residual * F.interpolate(kept, scale_factor=self.downscale, mode="bilinear")

    def _padded(self, images: Tensor) -> Tensor:
        """N H W C -> N C H' W', both sides a multiple of the model's, by reflection on the right and at the bottom."""
        rows, columns = self.latent_size(*images.shape[1:3])
        below, beside = rows * self.downscale - images.shape[1], columns * self.downscale - images.shape[2]
        return F.pad(images.permute(0, 3, 1, 2).float(), (0, beside, 0, below), mode="reflect")

    def _check(self, images: Tensor, masks: Tensor, noise: Tensor, start: Tensor | None, strength: float) -> None:
        check_images(images, masks)
        expected = (len(images), self.latent_channels, *self.latent_size(*images.shape[1:3]))
        if tuple(noise.shape) != expected:
            raise ValueError(f"expected noise of shape {expected} for these images, got {tuple(noise.shape)}")
        if not 0 < strength <= 1:
            raise ValueError(f"expected strength in (0, 1], got {strength}")
        if strength < 1 and start is None:
            raise ValueError("strength below 1 starts from an image: pass start, or strength=1")


def masked_pixels(pixels: Tensor, holes: Tensor) -> Tensor:
    """Mid-grey inside the hole: what Stable Diffusion's inpainting checkpoints see of the known region."""
    return torch.where(holes > 0.5, 0.5, pixels)


def mask_to_latent(holes: Tensor, downscale: int) -> Tensor:
    """N 1 H W -> N 1 h w by the maximum: a latent pixel that touches the hole is to be filled, however little."""
    return F.max_pool2d(holes, downscale)


def composite(images: Tensor, filled: Tensor, masks: Tensor, *, feather: int) -> Tensor:
    """Paste N H W 3 `filled` under the mask (N H W bool); unmasked pixels stay exactly those of `images`.

    Just inside the rim the fill is shifted by how much it misses the image just outside, less with every pixel inwards
    until after `feather` pixels nothing is left. Nothing of `images` under the mask, the object, ever shows.
    """
    known = (~masks).float()[:, None]
    miss = (images - filled).permute(0, 3, 1, 2) * known
    correction = torch.zeros_like(miss)
    for ring in range(feather):
        share, total = _box_sum(known), _box_sum(miss)
        rim = (known == 0) & (share > 0)
        miss = torch.where(rim, total / share.clamp(min=1), miss)
        known = torch.where(rim, 1.0, known)
        correction = torch.where(rim, miss * (1 - (ring + 1) / (feather + 1)), correction)
    healed = (filled + correction.permute(0, 2, 3, 1)).clamp(0, 1)
    return torch.where(masks[..., None], healed, images)


def _box_sum(planes: Tensor) -> Tensor:
    return F.avg_pool2d(planes, 3, stride=1, padding=1, divisor_override=1)


def load_autoencoder(folder: Path = BUNDLED) -> AutoencoderKL:
    """The autoencoder of a diffusers folder alone, frozen."""
    autoencoder = AutoencoderKL.from_pretrained(folder, subfolder="vae", use_safetensors=True)
    return autoencoder.requires_grad_(False).eval()
