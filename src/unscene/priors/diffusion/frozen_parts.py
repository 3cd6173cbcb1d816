"""The parts of a model in a diffusers folder, one by one, frozen: for models that are no pipeline of diffusers."""

# diffusers and transformers annotate many arguments and results more narrowly than they behave
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from unscene.priors.diffusion.checkpoints import read_network
from unscene.priors.prior_error import PriorError

VOCABULARY = ("vocab.json", "merges.txt")


def read_unet_and_autoencoder(folder: Path, *, extra_channels: int) -> tuple[Any, Any, DDIMScheduler]:
    """U-Net, autoencoder (both frozen, float32) and noise schedule.

    extra_channels: of the U-Net's input, beside a noisy latent and another one. Raises PriorError naming file and
    tensor.
    """
    unet = frozen(read_network(folder, "unet", UNet2DConditionModel))
    autoencoder = frozen(read_network(folder, "vae", AutoencoderKL))
    expected = 2 * autoencoder.config.latent_channels + extra_channels
    if unet.config.in_channels != expected:
        raise PriorError(
            f"{folder / 'unet'}: expected a U-Net with {expected} input channels for this kind of model, got "
            f"{unet.config.in_channels}; it belongs to another model."
        )
    return unet, autoencoder, read_scheduler(folder)


def read_scheduler(folder: Path) -> DDIMScheduler:
    """The noise schedule, run by DDIM. Raises PriorError."""
    try:
        return DDIMScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True, clip_sample=False)
    except (OSError, ValueError) as error:
        raise PriorError(f"{folder / 'scheduler'}: expected a noise schedule; fetch the folder again.") from error


@torch.no_grad()
def read_empty_prompt(folder: Path) -> Tensor:
    """What the folder's text encoder makes of an empty prompt without padding, 1 L D. Raises PriorError."""
    encoder, words = frozen(read_network(folder, "text_encoder", CLIPTextModel)), folder / "tokenizer"
    # without its files transformers makes an empty tokenizer and says nothing
    if not ((words / "tokenizer.json").is_file() or all((words / name).is_file() for name in VOCABULARY)):
        raise PriorError(
            f"{words}: expected tokenizer.json or {' and '.join(VOCABULARY)}, found neither; fetch the folder again."
        )
    tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer", local_files_only=True)
    return encoder(tokenizer("", padding=False, return_tensors="pt").input_ids)[0]


def frozen(network: Any) -> Any:
    """In float32, not to be trained."""
    return network.requires_grad_(False).eval().float()
