"""Latent diffusion inpainting: one class serves the bundled model and Stable-Diffusion-class checkpoints."""

# diffusers annotates many arguments and results more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from unscene.geometry.randomness import sent
from unscene.priors.classical import ExemplarInpainter, TeleaInpainter
from unscene.priors.diffusion import grid_prior
from unscene.priors.diffusion.attention import cross_view_attention
from unscene.priors.diffusion.checkpoints import BUNDLED, Checkpoint, load_checkpoint, training_scheduler
from unscene.priors.diffusion.config import BUNDLED_NAME, DiffusionConfig, GridPriorConfig
from unscene.priors.diffusion.latents import decode, encode
from unscene.priors.diffusion.mask_blending import composite, mask_to_latent, masked_pixels
from unscene.priors.diffusion.noise_levels import clean_latents, predicted_noise
from unscene.priors.diffusion.sampling import denoise, last_steps, starting_latents
from unscene.priors.diffusion.text_condition import TextCondition, text_condition
from unscene.priors.inpainter import StructureGuide, check_images
from unscene.threads import shared_out

HUB_PROMPT = "photorealistic 8k"  # as In-N-Out's release, which has a description of each of its scenes before it


@dataclass(frozen=True)
class Condition:
    """What stays the same over the sampler's steps: hole and masked image as latents, N 1+C h w, and the text."""

    context: Tensor
    text: TextCondition


@dataclass
class LatentDiffusionInpainter:
    """A 9-channel latent diffusion inpainter with a deterministic sampler: a `LatentInpainter` and a `ScoreModel`."""

    checkpoint: Checkpoint
    """The parts; make one with `load` rather than by hand."""
    config: DiffusionConfig = field(default_factory=DiffusionConfig)
    """Prompts, guidance, sampler."""
    detail_tolerance: float = 0.5
    """Squared latent distance (tau) at which the start image's own detail has faded to 1/e in the result."""
    feather: int = 3
    """Width, pixels, of the strip behind the mask's rim where the fill is drawn towards the image outside."""
    expectation_draws: int = 8
    """One-step predictions that `expected_fill` averages."""

    @classmethod
    def load(cls, source: str | Path = BUNDLED, config: DiffusionConfig | None = None) -> LatentDiffusionInpainter:
        """Load a checkpoint, see `load_checkpoint`. Raises PriorError."""
        config = config or DiffusionConfig()
        checkpoint = load_checkpoint(source, config)
        if Path(source) == BUNDLED:
            checkpoint = Checkpoint(checkpoint.pipeline, BUNDLED_NAME)
        return cls(checkpoint, config)

    @property
    def name(self) -> str:
        """What the run record and the report call it, with its revision."""
        return self.checkpoint.name

    @property
    def is_bundled(self) -> bool:
        """Whether this is the small model of the package, which wants other settings than those of the hub."""
        return self.name == BUNDLED_NAME

    @property
    def pipeline(self):
        """The diffusers pipeline, whose parts are used one by one."""
        return self.checkpoint.pipeline

    @property
    def strength(self) -> float:
        """Share of the noise schedule to run on a start image; the bundled model's have texture already: copies, or a
        field's render."""
        default = 0.1 if self.is_bundled else 0.9
        return default if self.config.strength is None else self.config.strength

    @property
    def guide(self) -> StructureGuide | None:
        """The bundled model itself; the expectations of hub models are not to be trusted, see `inpaint`."""
        return self if self.is_bundled else None

    @property
    def prompt(self) -> str:
        """What the model is asked for."""
        default = "" if self.is_bundled else HUB_PROMPT
        return default if self.config.prompt is None else self.config.prompt

    @property
    def guidance(self) -> float:
        """Scale of classifier-free guidance."""
        default = 1.0 if self.is_bundled else 7.5
        return default if self.config.guidance is None else self.config.guidance

    @property
    def is_guided(self) -> bool:
        """Whether the U-Net runs twice, with and without the prompt."""
        return self.guidance != 1.0 and self.prompt != self.config.negative_prompt

    @property
    def steps(self) -> int:
        """Sampler steps of the whole schedule."""
        return self.config.steps

    def with_settings(self, **changes) -> LatentDiffusionInpainter:
        """The same weights, run with other settings of `DiffusionConfig`."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **changes))

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
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
        """Redo a start image over the last `strength` of the schedule; see `Inpainter.inpaint`.

        The bundled model starts from copies put where it expects them. Models of the hub, which run nearly all of their
        schedule, start from Telea's fill: the pure noise that an expectation starts from many of them never saw (Lin et
        al. 2024).
        """
        starter = ExemplarInpainter(self.guide) if self.guide else TeleaInpainter()
        start = starter.inpaint(images, masks, generator=generator)
        noise = self._noise(images, generator)
        return self.inpaint_latent(images, masks, noise=noise, start=start, strength=self.strength, steps=self.steps)

    @torch.no_grad()
    def expected_fill(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """What the model expects in the hole, colours and edges without texture: N H W 3, as `Inpainter.inpaint`.

        From pure noise the best prediction of a clean latent is its mean given what surrounds the hole, whatever the
        noise; averaging a few predictions takes away what this one or that still made of its noise. For models that
        predict velocities, whatever sampler they run.
        """
        check_images(images, masks)
        height, width = images.shape[1:3]
        alphas = training_scheduler(self.pipeline).alphas_cumprod
        condition = self._condition(self.padded(images), self.padded(masks[..., None].float()))
        noises = [self._noise(images, generator).to(condition.context) for _ in range(self.expectation_draws)]

        @torch.no_grad()
        def predicted(noise: Tensor) -> Tensor:
            velocity = self._predict(noise, torch.tensor(len(alphas) - 1, device=noise.device), condition)
            return clean_latents(noise, velocity, alphas[-1].to(noise))

        on_processor = condition.context.device.type == "cpu"
        predictions = shared_out(predicted, noises) if on_processor else [predicted(noise) for noise in noises]
        filled = self.decode(torch.stack(predictions).mean(0))
        filled = filled[..., :height, :width].permute(0, 2, 3, 1).clamp(0, 1).to(images)
        return composite(images, filled, masks, feather=self.feather)

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
        pixels, holes = self.padded(images), self.padded(masks[..., None].float())
        origin = self.encode(self.padded(start)) if start is not None else None
        with cross_view_attention(self.pipeline.unet, base=base, views=len(images), own_weight=own_weight):
            latents = self._sample(pixels, holes, noise.to(pixels), origin, strength, steps)
        filled = self.decode(latents)
        if start is not None and origin is not None:
            filled = filled + self.lost_detail(self.padded(start), origin, latents)
        filled = filled[..., :height, :width].permute(0, 2, 3, 1).clamp(0, 1).to(images)
        return composite(images, filled, masks, feather=self.feather)

    def encode_images(self, images: Tensor) -> Tensor:
        """See `ScoreModel.encode_images`."""
        return self.encode(self.padded(images))

    def latent_masks(self, masks: Tensor) -> Tensor:
        """See `ScoreModel.latent_masks`."""
        return mask_to_latent(self.padded(masks[..., None].float()), self.downscale)

    def signal_share(self, level: float) -> float:
        """See `ScoreModel.signal_share`."""
        return float(training_scheduler(self.pipeline).alphas_cumprod[self._time(level)])

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, level: float, images: Tensor, masks: Tensor) -> Tensor:
        """See `ScoreModel.predict_noise`."""
        check_images(images, masks)
        scheduler, time = training_scheduler(self.pipeline), self._time(level)
        condition = self._condition(self.padded(images), self.padded(masks[..., None].float()))
        predicted = self._predict(noisy, sent(torch.tensor(time), noisy.device), condition)
        return predicted_noise(scheduler, noisy, predicted, float(scheduler.alphas_cumprod[time]))

    def inpaint_jointly(
        self, images: Tensor, masks: Tensor, *, start: Tensor | None, level: float, grid: GridPriorConfig,
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        """Fill views together. See `JointInpainter.inpaint_jointly` and `grid_prior`."""
        return grid_prior.inpaint_jointly(self, images, masks, start=start, level=level, grid=grid, generator=generator)

    def encode(self, pixels: Tensor) -> Tensor:
        """N 3 H W in [0, 1] -> normalised latents N C h w (the posterior's mean)."""
        return encode(self.pipeline.vae, pixels)

    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents N C h w -> N 3 H W, about [0, 1]."""
        return decode(self.pipeline.vae, latents)

    def _sample(
        self, pixels: Tensor, holes: Tensor, noise: Tensor, origin: Tensor | None, strength: float, steps: int
    ) -> Tensor:
        """Run the last `strength` of the scheduler's steps."""
        scheduler = self.pipeline.scheduler
        times = last_steps(scheduler, steps, strength)
        latents = starting_latents(scheduler, noise, None if strength == 1.0 else origin, times[:1])
        condition = self._condition(pixels, holes)
        return denoise(scheduler, times, latents, lambda noisy, time: self._predict(noisy, time, condition))

    def _condition(self, pixels: Tensor, holes: Tensor) -> Condition:
        text = self._text(pixels)
        return Condition(torch.cat([self.context(pixels, holes)] * text.halves), text)

    def context(self, pixels: Tensor, holes: Tensor) -> Tensor:
        """The hole and what lies around it as a U-Net sees them, N 1+C h w; pixels: N 3 H W; holes: N 1 H W."""
        return torch.cat([mask_to_latent(holes, self.downscale), self.encode(masked_pixels(pixels, holes))], 1)

    def _predict(self, latents: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """The U-Net's output for noisy latents N C h w, with classifier-free guidance where that is on."""
        unet, text = self.pipeline.unet, condition.text
        inputs = torch.cat([torch.cat([latents] * text.halves), condition.context], 1).to(unet.dtype)
        predicted = unet(inputs, time, text.states, added_cond_kwargs=text.added).sample.float()
        if text.halves == 2:
            unconditional, conditional = predicted.chunk(2)
            predicted = unconditional + self.guidance * (conditional - unconditional)
        return predicted

    def _time(self, level: float) -> int:
        """The timestep of a noise level, a share of the schedule."""
        if not 0 < level <= 1:
            raise ValueError(f"expected a noise level in (0, 1], got {level}")
        steps = self.pipeline.scheduler.config.num_train_timesteps
        return min(round(level * steps), steps - 1)

    def _noise(self, images: Tensor, generator: torch.Generator) -> Tensor:
        shape = (len(images), self.latent_channels, *self.latent_size(*images.shape[1:3]))
        return torch.randn(shape, generator=generator, device=generator.device).to(images)

    def _text(self, pixels: Tensor) -> TextCondition:
        config = self.config
        size, guided = (pixels.shape[-2], pixels.shape[-1]), self.is_guided
        return text_condition(self.pipeline, self.prompt, config.negative_prompt, len(pixels), size, guided=guided)

    def lost_detail(self, start: Tensor, origin: Tensor, latents: Tensor) -> Tensor:
        """What the autoencoder loses of the start image, kept where the sampler left the latent where it was."""
        return (start - self.decode(origin)) * self.kept_detail(origin, latents)

    def kept_detail(self, origin: Tensor, latents: Tensor) -> Tensor:
        """Share, N 1 H W, of a start image's own detail that stays: less the farther a latent moved."""
        kept = (-(latents - origin).square().mean(1, keepdim=True) / self.detail_tolerance).exp()
        return F.interpolate(kept, scale_factor=self.downscale, mode="bilinear")

    def padded(self, images: Tensor) -> Tensor:
        """N H W C -> N C H' W', both sides a multiple of the model's, by reflection on the right and at the bottom."""
        rows, columns = self.latent_size(*images.shape[1:3])
        below, beside = rows * self.downscale - images.shape[1], columns * self.downscale - images.shape[2]
        pixels = images.permute(0, 3, 1, 2).float().to(self.pipeline._execution_device)
        narrow = below >= pixels.shape[2] or beside >= pixels.shape[3]  # than what is to be added
        return F.pad(pixels, (0, beside, 0, below), mode="replicate" if narrow else "reflect")

    def _check(self, images: Tensor, masks: Tensor, noise: Tensor, start: Tensor | None, strength: float) -> None:
        check_images(images, masks)
        expected = (len(images), self.latent_channels, *self.latent_size(*images.shape[1:3]))
        if tuple(noise.shape) != expected:
            raise ValueError(f"expected noise of shape {expected} for these images, got {tuple(noise.shape)}")
        if not 0 < strength <= 1:
            raise ValueError(f"expected strength in (0, 1], got {strength}")
        if strength < 1 and start is None:
            raise ValueError("strength below 1 starts from an image: pass start, or strength=1")
