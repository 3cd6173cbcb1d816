"""A photo and a relative pose as one token of a U-Net's context: CLIP's embedding, as Zero-1-to-3 uses it."""

# transformers annotates many arguments more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from unscene.priors.diffusion.checkpoints import read_network
from unscene.priors.diffusion.frozen_parts import frozen
from unscene.priors.novel_views.checkpoints import read_tensors

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
POSE_NUMBERS = 4


class PhotoToken(nn.Module):
    """N 3 H W photos in [0, 1] and poses N 4 -> N 1 D.

    image_encoder: CLIP's; camera_projection: from its embedding and the pose's numbers to the token.
    """

    def __init__(self, image_encoder: Any, camera_projection: nn.Linear):
        super().__init__()
        self.image_encoder, self.camera_projection = image_encoder, camera_projection

    def forward(self, pixels: Tensor, poses: Tensor) -> Tensor:
        side = self.image_encoder.config.image_size
        mean, deviation = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_DEVIATION))
        # corners aligned and nothing smoothed, as in Zero-1-to-3's code: its models never saw CLIP's own resizing
        resized = F.interpolate(pixels, (side, side), mode="bicubic", align_corners=True)
        embedding = self.image_encoder(((resized - mean) / deviation).to(self.image_encoder.dtype)).image_embeds
        return self.camera_projection(torch.cat([embedding, poses.to(embedding)], -1))[:, None]


def initial_photo_token(width: int, *, size: int, seed: int) -> PhotoToken:
    """An untrained one for a U-Net whose context is ``width`` wide and photos of ``size`` pixels: 0.5 M parameters.

    At the bundled model's size there is no CLIP to take, so a small one of its class learns along.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the libraries initialise from the global generator only
        config = CLIPVisionConfig(
            hidden_size=128,
            intermediate_size=256,
            projection_dim=width,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=size,
            patch_size=16,
        )
        return PhotoToken(CLIPVisionModelWithProjection(config), nn.Linear(width + POSE_NUMBERS, width))


def read_photo_token(folder: Path) -> PhotoToken:
    """What a model of ours saved: `image_encoder/`, and the projection among its single tensors. Raises PriorError."""
    image_encoder = frozen(read_network(folder, "image_encoder", CLIPVisionModelWithProjection))
    tensors = read_tensors(folder, ("weight", "bias"))
    projection = nn.Linear(*reversed(tensors["weight"].shape))
    projection.load_state_dict({name: tensors[name].float() for name in ("weight", "bias")})
    return PhotoToken(image_encoder, projection.requires_grad_(False))
