"""Zero-1-to-3: a novel view from the source view's CLIP embedding and latent, and a relative pose (Liu et al. 2023)."""

# diffusers annotates many arguments more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unscene.priors.diffusion.frozen_parts import read_unet_and_autoencoder
from unscene.priors.diffusion.latents import decode, downscale, encode
from unscene.priors.novel_views.checkpoints import (
    initial_pipeline,
    model_name,
    read_settings,
    with_input_channels,
    write_model,
)
from unscene.priors.novel_views.photo_token import PhotoToken, initial_photo_token, read_photo_token
from unscene.priors.novel_views.sampler import sample
from unscene.priors.novel_views.zero123_hub import PUBLISHED_DISTANCE, PUBLISHED_SIZE, is_published, read_published

KIND = "zero123"


@dataclass
class Zero123:
    """The parts; make one with `initial_zero123` or `load_zero123`."""

    unet: Any
    autoencoder: Any
    photo_token: PhotoToken
    """From the source view and the pose to the U-Net's one token of context."""
    scheduler: Any
    name: str
    size: int
    """Side of the square views it was trained on, pixels."""
    camera_distance: float = 3.0
    """Of the cameras it was trained with from the object's centre, typically, in the unit of its poses."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """C h w of a view's latent."""
        side = self.size // downscale(self.autoencoder)
        return self.autoencoder.config.latent_channels, side, side

    @torch.no_grad()
    def generate(
        self, source: Tensor, poses: Tensor, *, noise: Tensor, steps: int = 20, guidance: float = 1.0
    ) -> Tensor:
        """See an object from other cameras.

        source: N H W 3 in [0, 1], on white; poses: N 4, see `turntable.pose_numbers`; noise: N C h w, the initial
        latents, of unit variance; guidance: classifier-free, over the model told nothing, 3 in the paper. Returns
        N H W 3.
        """
        pixels = source.permute(0, 3, 1, 2).to(self.unet.device)
        token = self.photo_token(pixels, poses.to(pixels))
        latents = source_latents(self.autoencoder, pixels)

        def predict(noisy: Tensor, time: Tensor) -> Tensor:
            told = predict_view(self.unet, noisy, time, latents, token)
            if guidance == 1.0:
                return told
            untold = predict_view(self.unet, noisy, time, torch.zeros_like(latents), torch.zeros_like(token))
            return untold + guidance * (told - untold)

        generated = sample(predict, self.scheduler, noise.to(pixels), steps)
        return decode(self.autoencoder, generated).permute(0, 2, 3, 1).clamp(0, 1).to(source)

    def to(self, device: str) -> Zero123:
        """The model, in place, on a device; images come back to where they were given from."""
        for network in (self.unet, self.autoencoder, self.photo_token):
            network.to(device)
        return self

    def save(self, folder: Path) -> Path:
        """Write the model for `load_zero123`."""
        networks = {"unet": self.unet, "vae": self.autoencoder, "image_encoder": self.photo_token.image_encoder}
        projection = dict(self.photo_token.camera_projection.named_parameters())
        return write_model(folder, {"kind": KIND, "size": self.size}, networks, projection, self.scheduler)


def load_zero123(source: Path | str) -> Zero123:
    """Read what `Zero123.save` wrote, or a published model: a name in `PUBLISHED`, a hub id or a folder.

    Raises PriorError naming file and tensor.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir() or is_published(folder):
        unet, autoencoder, image_encoder, projection, scheduler, name = read_published(source)
        return Zero123(
            unet,
            autoencoder,
            PhotoToken(image_encoder, projection),
            scheduler,
            name,
            PUBLISHED_SIZE,
            PUBLISHED_DISTANCE,
        )
    settings = read_settings(folder, KIND)
    unet, autoencoder, scheduler = read_unet_and_autoencoder(folder, extra_channels=0)
    return Zero123(unet, autoencoder, read_photo_token(folder), scheduler, model_name(folder), settings["size"])


def source_latents(autoencoder: Any, pixels: Tensor) -> Tensor:
    """The source view's latent as the U-Net sees it, N C h w: the published model leaves out the scale of latents."""
    return encode(autoencoder, pixels) / autoencoder.config.scaling_factor


def predict_view(unet: Any, latents: Tensor, times: Tensor, source: Tensor, token: Tensor) -> Tensor:
    """The U-Net's output for noisy latents N C h w at `times`, given the source's latent and the context token."""
    return unet(torch.cat([latents, source], 1).to(unet.dtype), times, token.to(unet.dtype)).sample.float()


def initial_zero123(source: str | Path, *, size: int, seed: int) -> Zero123:
    """An inpainting checkpoint's U-Net whose masked image becomes the source view, and an untrained image encoder.

    The paper fine-tunes Stable Diffusion beside a frozen CLIP; at the bundled model's size there is no CLIP to take, so
    a small one of its class learns along.
    """
    pipeline, name = initial_pipeline(source)
    unet = with_input_channels(pipeline.unet, [0, 1, 2, 3, 5, 6, 7, 8])
    token = initial_photo_token(unet.config.cross_attention_dim, size=size, seed=seed)
    return Zero123(unet, pipeline.vae, token, pipeline.scheduler, name, size)
