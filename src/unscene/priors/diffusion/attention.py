"""Cross-view attention: every view also attends to the keys and values of one base view (ILA in In-N-Out, eq. 7-8)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor


class CrossViewAttention:
    """Attention processor for diffusers' self-attention layers.

    out_i = lambda_a SA(Q_i, K_i, V_i) + (1 - lambda_a) CVA(Q_i, K_p, V_p)

    The batch is one or more guidance halves of the same views, [unconditional views, conditional views]. Each half
    attends to the base view of its own half.

    Args:
        base: index of the base view p within a half.
        views: number of views in a half.
        own_weight: lambda_a; 1 gives plain self-attention.
    """

    def __init__(self, *, base: int, views: int, own_weight: float):
        if not 0 <= base < views:
            raise ValueError(f"expected the base view's index in 0..{views - 1}, got {base}")
        self.base, self.views, self.own_weight = base, views, own_weight

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None) -> Tensor:
        """hidden_states: (halves * views) tokens channels, as diffusers' transformer blocks pass them."""
        if encoder_hidden_states is not None or attention_mask is not None:
            raise ValueError("cross-view attention is for self-attention layers without a mask")
        query, key, value = (
            projection(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projection in (attn.to_q, attn.to_k, attn.to_v)
        )
        own = F.scaled_dot_product_attention(query, key, value)
        across = F.scaled_dot_product_attention(query, self._base_of(key), self._base_of(value))
        mixed = self.own_weight * own + (1 - self.own_weight) * across
        mixed = mixed.transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](mixed))

    def _base_of(self, states: Tensor) -> Tensor:
        halves = states.unflatten(0, (-1, self.views))
        return halves[:, self.base : self.base + 1].expand_as(halves).flatten(0, 1)


@contextmanager
def cross_view_attention(unet: Any, *, base: int | None, views: int, own_weight: float) -> Iterator[None]:
    """Let every self-attention layer of `unet` look at the base view meanwhile; restores the processors afterwards.

    Without a base view, or with own_weight 1, nothing is installed: the result is plain inpainting bit for bit.
    """
    if base is None or own_weight == 1.0:
        yield
        return
    processor = CrossViewAttention(base=base, views=views, own_weight=own_weight)
    originals = dict(unet.attn_processors)
    shared = {name: processor if ".attn1." in name else original for name, original in originals.items()}
    unet.set_attn_processor(shared)  # diffusers empties the dictionary it is given
    try:
        yield
    finally:
        unet.set_attn_processor(originals)
