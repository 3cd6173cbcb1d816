"""What a U-Net is told beside its image: prompt embeddings and, for SDXL, pooled embeddings and image sizes."""

# pyright: reportCallIssue=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

AESTHETIC_SCORES = (6.0, 2.5)  # of the prompt's and the negative prompt's half: diffusers' defaults


@dataclass(frozen=True)
class TextCondition:
    """One row per image and guidance half, in the batch layout [unconditional views, conditional views].

    states: B tokens channels; added: SDXL's further conditions, or None; halves: 1, or 2 with guidance.
    """

    states: Tensor
    added: dict[str, Tensor] | None
    halves: int


def text_condition(
    pipeline: Any, prompt: str, negative_prompt: str, count: int, size: tuple[int, int], *, guided: bool
) -> TextCondition:
    """Encode the prompts for `count` images of `size` (height, width) pixels with the pipeline's own encoders."""
    device, halves = pipeline._execution_device, 2 if guided else 1
    large = hasattr(pipeline, "text_encoder_2")
    encoded = pipeline.encode_prompt(
        prompt=prompt, device=device, num_images_per_prompt=1, do_classifier_free_guidance=guided,
        negative_prompt=negative_prompt if guided else None,
    )  # fmt: skip
    states = _layout(encoded[0], encoded[1], count, guided).to(pipeline.unet.dtype)
    if not large:
        return TextCondition(states, None, halves)
    pooled = _layout(encoded[2], encoded[3], count, guided).to(pipeline.unet.dtype)
    sizes = _image_sizes(pipeline, size).to(pooled)
    times = sizes[:1] if not guided else sizes.flip(0)
    added = {"text_embeds": pooled, "time_ids": times.repeat_interleave(count, dim=0)}
    return TextCondition(states, added, halves)


def _layout(conditional: Tensor, unconditional: Tensor | None, count: int, guided: bool) -> Tensor:
    both = [unconditional, conditional] if guided and unconditional is not None else [conditional]
    return torch.cat(both).repeat_interleave(count, dim=0)


def _image_sizes(pipeline: Any, size: tuple[int, int]) -> Tensor:
    """SDXL's size conditions (Podell et al. 2023, section 2.2), 2 x n: of the prompt's, of the negative prompt's half.

    Original size, no crop, and the target size or, for models that want it, an aesthetic score.
    """
    if pipeline.config.get("requires_aesthetics_score"):
        return torch.tensor([[*size, 0, 0, score] for score in AESTHETIC_SCORES])
    return torch.tensor([[*size, 0, 0, *size]] * 2)
