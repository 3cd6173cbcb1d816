"""How much ILA can do: what every self-attention layer of the bundled model looks at, and what another view changes.

    python benchmarks/cross_view_attention.py [--prior PRIOR] [--steps 20] [--seeds 3]

Two views of the still life are inpainted together from pure noise, the second attending to the first as In-N-Out's ILA
has it (lambda_a 0.2). Per layer, means over the steps: tokens; the share of them that a token attends to (the
exponential of the attention's entropy over their number: 1 is everywhere alike); the norm of what attention gives, by
that of its normalised input; and how far attention to the other view is from attention to its own, as a share of the
latter's norm. Then what the second view's fill changes, in grey levels inside the mask, when ILA is switched off and,
for comparison, when its noise is another.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from typing import ClassVar
from unittest.mock import patch

import torch
import torch.nn.functional as F
from tables import print_table
from torch import Tensor

from unscene.geometry.masks import dilate
from unscene.priors.diffusion.attention import CrossViewAttention
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.scenes.still_life import still_life

OWN_WEIGHT, BARELY = 0.2, 1 - 1e-6  # lambda_a of the paper; plain self-attention that can be measured all the same
COLUMNS = {"tokens": 0, "attended": 2, "output / input": 2, "other view": 2}


class Measured(CrossViewAttention):
    """Keeps what its layers do with the last view of the batch."""

    rows: ClassVar[dict[str, list[dict[str, float]]]] = defaultdict(list)
    names: ClassVar[dict[int, str]] = {}

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states=None, attention_mask=None) -> Tensor:
        query, key, value = (
            projection(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projection in (attn.to_q, attn.to_k, attn.to_v)
        )
        weights = (query[-1] @ key[-1].transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
        entropy = -(weights * weights.clamp_min(1e-12).log()).sum(-1)
        own, across = (
            attn.to_out[0](F.scaled_dot_product_attention(query, k, v).transpose(1, 2).flatten(2))[-1]
            for k, v in ((key, value), (self._base_of(key), self._base_of(value)))
        )
        Measured.rows[Measured.names[id(attn)]].append(
            {
                "tokens": key.shape[2],
                "attended": (entropy.exp() / key.shape[2]).mean().item(),
                "output / input": (own.norm() / hidden_states[-1].norm()).item(),
                "other view": ((own - across).norm() / own.norm()).item(),
            }
        )
        return super().__call__(attn, hidden_states)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", default=None)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    prior = LatentDiffusionInpainter.load(*([arguments.prior] if arguments.prior else []))
    Measured.names = {id(module): name for name, module in prior.pipeline.unet.named_modules()}
    scene = still_life()
    assert scene.masks is not None
    views = scene.train[[len(scene.train) // 2, 3]]
    photos, masks = torch.stack([scene.image(view) for view in views.tolist()]), dilate(scene.masks[views], 2)
    shape = (prior.latent_channels, *prior.latent_size(*photos.shape[1:3]))

    def fill(noise: Tensor, own_weight: float) -> Tensor:
        filled = prior.inpaint_latent(
            photos, masks, noise=noise, steps=arguments.steps, base=0, own_weight=own_weight
        )  # fmt: skip
        return filled[-1][masks[-1]]

    without, other = [], []
    for seed in range(arguments.seeds):
        generator = torch.Generator().manual_seed(seed)
        noise, another = torch.randn(2, *shape, generator=generator), torch.randn(shape, generator=generator)
        with patch("unscene.priors.diffusion.attention.CrossViewAttention", Measured):
            aligned = fill(noise, OWN_WEIGHT)
        without.append(255 * (fill(noise, BARELY) - aligned).abs().mean().item())
        other.append(255 * (fill(torch.stack([noise[0], another]), OWN_WEIGHT) - aligned).abs().mean().item())
    print_table(Measured.rows, COLUMNS)
    for name, values in (("ILA off", without), ("another noise", other)):
        print(f"{name}: {statistics.mean(values):.1f} grey levels ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main()
