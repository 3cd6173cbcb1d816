"""iNVS's model: a latent inpainter that completes a partial novel view (Kant et al. 2023).

Beside the noisy latent its U-Net sees the partial view's latent, the soft mask (how far not to trust each pixel) in the
place where inpainting checkpoints have their mask, and the epipolar mask as one channel more.
"""

# diffusers annotates many arguments and results more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unscene.priors.diffusion_checkpoints import load_checkpoint
from unscene.priors.diffusion_config import DiffusionConfig
from unscene.priors.latents import decode, downscale, encode
from unscene.priors.novel_view_checkpoints import (
    read_settings,
    read_tensors,
    read_unet_and_autoencoder,
    write_model,
)
from unscene.priors.novel_view_sampler import ignore, sample
from unscene.priors.text_condition import text_condition

KIND = "invs"
BUNDLED = Path(__file__).parent / "bundled_views"


@dataclass
class ViewInpainter:
    """The parts; make one with `initial_view_inpainter` or `load_view_inpainter`."""

    unet: Any
    autoencoder: Any
    scheduler: Any
    prompt: Tensor
    """States of the empty prompt, L D: inpainting checkpoints want a text, and a photo has none."""
    name: str
    size: int
    """Side of the square views it was trained on, pixels."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """C h w of a view's latent."""
        side = self.size // downscale(self.autoencoder)
        return self.autoencoder.config.latent_channels, side, side

    @torch.no_grad()
    def complete(
        self, partial: Tensor, soft_masks: Tensor, epipolar_masks: Tensor, *, noise: Tensor, steps: int = 20,
        watch: Callable[[], None] = ignore,
    ) -> Tensor:  # fmt: skip
        """Complete partial views.

        partial: N H W 3 in [0, 1], grey where something new may appear; soft_masks: N H W in [0, 1]; epipolar_masks:
        N H W bool; noise: N C h w, the initial latents, of unit variance. Returns N H W 3 in [0, 1].
        """
        pixels = partial.permute(0, 3, 1, 2)
        context = view_context(self.autoencoder, pixels, soft_masks[:, None], epipolar_masks[:, None].float())

        def predict(latents: Tensor, time: Tensor) -> Tensor:
            return predict_completion(self.unet, latents, time, context, self.prompt)

        latents = sample(predict, self.scheduler, noise.to(pixels), steps, watch)
        return decode(self.autoencoder, latents).permute(0, 2, 3, 1).clamp(0, 1)

    @torch.no_grad()
    def lost_detail(self, images: Tensor) -> Tensor:
        """What the autoencoder loses of images, both N H W 3: the images less their reconstruction."""
        pixels = images.permute(0, 3, 1, 2)
        return (pixels - decode(self.autoencoder, encode(self.autoencoder, pixels))).permute(0, 2, 3, 1)

    def save(self, folder: Path) -> Path:
        """Write the model for `load_view_inpainter`."""
        settings = {"kind": KIND, "size": self.size}
        networks = {"unet": self.unet, "vae": self.autoencoder}
        return write_model(folder, settings, networks, {"prompt": self.prompt}, self.scheduler)


def load_view_inpainter(folder: Path) -> ViewInpainter:
    """Read what `ViewInpainter.save` wrote. Raises PriorError."""
    settings = read_settings(folder, KIND)
    unet, autoencoder, scheduler = read_unet_and_autoencoder(folder)
    prompt = read_tensors(folder, ("prompt",))["prompt"].float()
    return ViewInpainter(unet, autoencoder, scheduler, prompt, folder.name, settings["size"])


def view_context(autoencoder: Any, partial: Tensor, soft_masks: Tensor, epipolar_masks: Tensor) -> Tensor:
    """What the U-Net sees beside the noisy latent, N 1+C+1 h w: soft mask, partial view, epipolar mask.

    partial: N 3 H W in [0, 1]; masks: N 1 H W. Masks shrink by their maximum, or pin-holes would vanish.
    """
    factor = downscale(autoencoder)
    masks = [F.max_pool2d(mask, factor) for mask in (soft_masks, epipolar_masks)]
    return torch.cat([masks[0], encode(autoencoder, partial), masks[1]], 1)


def predict_completion(unet: Any, latents: Tensor, times: Tensor, context: Tensor, prompt: Tensor) -> Tensor:
    """The U-Net's output for noisy latents N C h w at `times` (N or scalar), with a context and the prompt's states."""
    states = prompt.to(unet.dtype).expand(len(latents), -1, -1)
    return unet(torch.cat([latents, context], 1).to(unet.dtype), times, states).sample.float()


def initial_view_inpainter(source: str | Path, *, size: int) -> ViewInpainter:
    """An inpainting checkpoint (see `load_checkpoint`; not SDXL) with a channel more, which it ignores at first."""
    checkpoint = load_checkpoint(source, DiffusionConfig())
    pipeline = checkpoint.pipeline
    prompt = text_condition(pipeline, "", "", 1, (size, size), guided=False).states[0]
    unet = with_input_channels(pipeline.unet, [*range(9), None])
    return ViewInpainter(unet, pipeline.vae, pipeline.scheduler, prompt, checkpoint.name, size)


def with_input_channels(unet: Any, kept: list[int | None]) -> Any:
    """The U-Net, in place, with another first convolution: its input channels are old ones by index, None new and 0."""
    old = unet.conv_in
    new = nn.Conv2d(len(kept), old.out_channels, old.kernel_size, padding=old.padding).to(old.weight)
    with torch.no_grad():
        new.weight.zero_()
        new.bias.copy_(old.bias)
        for channel, index in enumerate(kept):
            if index is not None:
                new.weight[:, channel] = old.weight[:, index]
    unet.conv_in = new
    unet.register_to_config(in_channels=len(kept))
    return unet
