"""The untrained parts of the bundled prior: Stable Diffusion's own classes at a size that a processor can train.

Every part is the class Stable Diffusion inpainting uses, so code written for one runs on the other. `width` scales all
channel counts together; 1.0 is the bundled model, about 0.25 makes a model small enough for a test.
"""

# diffusers annotates many arguments and results more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from unscene.priors.diffusion.vocabulary import BEGIN, END, byte_pair_vocabulary

DOWNSCALE = 4
LATENT_CHANNELS = 4
PROMPT_TOKENS = 32


@dataclass
class PipelineParts:
    """What `diffusers.StableDiffusionInpaintPipeline` is made of, minus the safety checker."""

    autoencoder: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler


def build_parts(*, width: float = 1.0, seed: int = 0) -> PipelineParts:
    """Build all parts with random weights drawn from `seed`; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the libraries initialise from the global generator only
        tokenizer = build_tokenizer()
        return PipelineParts(
            autoencoder=build_autoencoder(width),
            unet=build_unet(width),
            text_encoder=build_text_encoder(width, tokenizer),
            tokenizer=tokenizer,
            scheduler=build_scheduler(),
        )


def build_autoencoder(width: float = 1.0) -> AutoencoderKL:
    """KL autoencoder, 4x downscale, 4 latent channels; without mid attention, whose cost is quadratic in pixels."""
    channels = _channels(width, 16, 32, 64)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=128,
    )


def build_unet(width: float = 1.0) -> UNet2DConditionModel:
    """Inpainting U-Net: 4 noisy latent + 1 mask + 4 masked-image latent channels in, 4 velocity channels out.

    Attention begins at the second level, where one token covers 8 x 8 pixels: the scale of Stable Diffusion's finest
    attention.
    """
    channels = _channels(width, 64, 128, 192)
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=2 * LATENT_CHANNELS + 1,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=_channels(width, 128)[0],
        attention_head_dim=(2, 4, 6),  # by diffusers' historical naming this is the NUMBER of heads per level
        norm_num_groups=16,
        use_linear_projection=True,
    )


def build_text_encoder(width: float, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two-layer CLIP text transformer over the small vocabulary."""
    hidden = _channels(width, 128)[0]
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            projection_dim=hidden,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=PROMPT_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_tokenizer() -> CLIPTokenizer:
    """CLIP's byte-level tokenizer over our few hundred words; any text at all can be spelled in bytes."""
    vocabulary, merges = byte_pair_vocabulary()
    return CLIPTokenizer(
        vocab=dict(vocabulary),
        merges=list(merges),
        unk_token=END,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=END,
        model_max_length=PROMPT_TOKENS,
    )


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule with velocity prediction (Salimans and Ho 2022).

    Trailing steps start at the noisiest level, which few-step sampling needs (Lin et al. 2024, section 3.3).
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        set_alpha_to_one=False,
        steps_offset=1,
        clip_sample=False,
    )


def _channels(width: float, *full: int) -> tuple[int, ...]:
    """Scale channel counts; every result stays a multiple of 16 or, below 32, of 4, as the norms and heads require."""
    scaled = []
    for count in full:
        multiple = 16 if count >= 64 else 8
        scaled.append(max(multiple, round(count * width / multiple) * multiple))
    return tuple(scaled)
