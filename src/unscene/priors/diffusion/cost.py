"""What a latent diffusion prior costs, before it runs: operations, counted without computing, a processor's speed."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from unscene.priors.diffusion.attention import cross_view_attention

LARGE = 100_000_000  # parameters of a U-Net from which on a processor needs minutes an image
SPEED_SECONDS = 0.1
SIDE = 1024  # of the matrices that are multiplied


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def count_operations(network: Any, *inputs: Any, **named: Any) -> int:
    """Multiplications and additions of all matrix products, convolutions and attention in one forward pass; exact.

    Nothing is computed and no memory is taken: tensors are fakes, which have shapes and no values.
    """
    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_operations}
    counter = FlopCounterMode(display=False, custom_mapping=attention)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), counter:
        network(*inputs, **named)
    return counter.get_total_flops()


def image_step_operations(model: Any, height: int, width: int, *, guided: bool = False, aligned: bool = False) -> int:
    """Operations of the U-Net for one image (H W pixels) in one step of the sampler.

    model: a `LatentDiffusionInpainter`; guided: with and without the prompt; aligned: with attention to a base view
    besides an image's own.
    """
    unet, size, halves = model.pipeline.unet, model.latent_size(height, width), 2 if guided else 1
    inputs = torch.empty(halves, unet.config.in_channels, *size, dtype=unet.dtype)
    with cross_view_attention(unet, base=0 if aligned else None, views=1, own_weight=0.5):
        return count_operations(
            unet, inputs, torch.zeros(()), _prompt(model.pipeline, halves), added_cond_kwargs=_added(model, halves)
        )


def processor_speed(precision: torch.dtype = torch.float32) -> float:
    """Operations a second at which this process multiplies matrices: the most that a network can reach."""
    a, b = (torch.full((SIDE, SIDE), 0.5, dtype=precision) for _ in range(2))
    torch.mm(a, b)  # wakes threads and loads kernels
    started, products = time.perf_counter(), 0
    while (seconds := time.perf_counter() - started) < SPEED_SECONDS or not products:
        torch.mm(a, b)
        products += 1
    return 2 * SIDE**3 * products / seconds


def _prompt(pipeline: Any, halves: int) -> Tensor:
    """Of a prompt's embedding only the size matters."""
    width = pipeline.unet.config.cross_attention_dim
    width = width if isinstance(width, int) else width[0]
    return torch.empty(halves, pipeline.tokenizer.model_max_length, width, dtype=pipeline.unet.dtype)


def _added(model: Any, halves: int) -> dict[str, Tensor] | None:
    """SDXL's further conditions, as `text_condition` makes them."""
    pipeline = model.pipeline
    if getattr(pipeline, "text_encoder_2", None) is None:
        return None
    pooled, dtype = pipeline.text_encoder_2.config.projection_dim, pipeline.unet.dtype
    sizes = 5 if pipeline.config.get("requires_aesthetics_score") else 6
    return {"text_embeds": torch.empty(halves, pooled, dtype=dtype), "time_ids": torch.empty(halves, sizes)}


def _attention_operations(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Of the processor's fused attention, which torch's counter does not know; shapes are B heads tokens channels."""
    images, heads, tokens, channels = query
    return 2 * images * heads * tokens * key[-2] * (channels + value[-1])
