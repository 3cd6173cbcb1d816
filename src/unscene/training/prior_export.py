"""From trained parts to something a person can use or look at: the diffusers folder and the sample sheets."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionInpaintPipeline
from torch import Tensor

from unscene.priors.architecture import PipelineParts
from unscene.training.prior_data import PriorBatch


@torch.no_grad()
def normalise_latents(autoencoder: AutoencoderKL, images: Tensor) -> None:
    """Give every latent channel zero mean and unit deviation over `images` (N 3 H W in [0, 1]), in place.

    The statistics are folded into the 1 x 1 convolutions on both sides of the latent, so nothing else has to know
    them and `scaling_factor` is 1. Decoding an encoded image gives what it gave before.
    """
    latents = torch.cat([autoencoder.encode(one * 2 - 1).latent_dist.mean for one in images.split(8)])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    into, back = autoencoder.quant_conv, autoencoder.post_quant_conv
    channels = len(mean)
    back.bias += back.weight[:, :, 0, 0] @ mean
    back.weight *= deviation[None, :, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / deviation
    into.weight[:channels] /= deviation[:, None, None, None]
    into.bias[channels:] -= 2 * deviation.log()  # the posterior's log variance shrinks along
    autoencoder.register_to_config(scaling_factor=1.0)


def export_pipeline(parts: PipelineParts, folder: Path, *, dtype: torch.dtype = torch.float16) -> Path:
    """Write a StableDiffusionInpaintPipeline folder, replacing `folder` only once the new one is complete.

    Files that the pipeline does not own, such as the model card, are kept.
    """
    pipeline = StableDiffusionInpaintPipeline(
        vae=copy.deepcopy(parts.autoencoder).to(dtype),
        text_encoder=copy.deepcopy(parts.text_encoder).to(dtype),
        tokenizer=parts.tokenizer,
        unet=copy.deepcopy(parts.unet).to(dtype),
        scheduler=parts.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    temporary = folder.with_name(f".writing-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    pipeline.save_pretrained(temporary, safe_serialization=True)
    for kept in folder.glob("*"):
        if kept.is_file() and not (temporary / kept.name).exists():
            shutil.copy2(kept, temporary / kept.name)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return folder


@torch.no_grad()
def reconstruction_sheet(autoencoder: AutoencoderKL, images: Tensor) -> np.ndarray:
    """Images above their reconstructions: H W 3 uint8, RGB."""
    decoded = autoencoder.decode(autoencoder.encode(images * 2 - 1).latent_dist.mean).sample / 2 + 0.5
    return sheet([images, decoded])


@torch.no_grad()
def inpainting_sheet(parts: PipelineParts, batch: PriorBatch) -> np.ndarray:
    raise NotImplementedError


def sheet(rows: list[Tensor]) -> np.ndarray:
    """Lay out rows of N 3 H W images in [0, 1] as one picture: uint8 RGB."""
    lines = [torch.cat(list(row.clamp(0, 1)), dim=-1) for row in rows]
    return (torch.cat(lines, dim=-2).permute(1, 2, 0) * 255).round().byte().numpy()


def write_png(path: Path, image: np.ndarray) -> None:
    """Write H W 3 uint8 RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
