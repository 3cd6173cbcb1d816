"""Quaternions with their largest component left out, which is known from the other three."""

from __future__ import annotations

import torch
from torch import Tensor


def from_smaller_three(smaller: Tensor, largest: Tensor) -> Tensor:
    """N 4 of the three smaller components N 3, in order, and which is the ``largest``, N, positive."""
    rest = (1 - smaller.square().sum(-1, keepdim=True)).clamp_min(0).sqrt()
    places = torch.arange(4).expand(len(smaller), 4)
    source = torch.where(places < largest[:, None], places, places - 1).clamp(0, 2)
    return torch.where(places == largest[:, None], rest, smaller.gather(1, source))


def smaller_three(quaternions: Tensor) -> tuple[Tensor, Tensor]:
    """The other way round: the three smaller components N 3 and which is the largest, N, of quaternions N 4."""
    unit = torch.nn.functional.normalize(quaternions, dim=-1)
    largest = unit.abs().argmax(-1)
    unit = unit * unit.gather(1, largest[:, None]).sign()
    kept = torch.arange(3).expand(len(unit), 3)
    return unit.gather(1, kept + (kept >= largest[:, None])), largest
