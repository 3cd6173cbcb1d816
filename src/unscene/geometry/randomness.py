"""Where random numbers come from, and which of them differ between devices.

Numbers are drawn by explicit generators of the processor and sent to where they are used, without waiting for it. So
initial weights and latents, pixels, views, patches and jitter are the same on every device. There is one exception: a
step of a fit that runs as a CUDA graph cannot be sent anything, so it draws from a generator of the device. That is
seeded by the same run and stage, but gives other numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(count: int, generator: torch.Generator, device: torch.device | str) -> Tensor:
    """Numbers in [0, 1) on ``device``, count."""
    return sent(torch.rand(count, generator=generator, device=generator.device), device)


def integers(below: int, count: int, generator: torch.Generator, device: torch.device | str) -> Tensor:
    """Whole numbers from 0 to ``below`` - 1 on ``device``, count int64."""
    return sent(torch.randint(below, (count,), generator=generator, device=generator.device), device)


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on ``device``. What lies in the host's memory is sent to CUDA without waiting for what runs there."""
    if tensor.device.type == "cpu" and torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
