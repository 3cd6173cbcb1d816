"""iNVS's model: a latent inpainter that completes a partial novel view (Kant et al. 2023).

Beside the noisy latent its U-Net sees the partial view's latent, the soft mask (how far not to trust each pixel) in the
place where inpainting checkpoints have their mask, and the epipolar mask as one channel more.
"""

# diffusers annotates many arguments and results more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.priors.diffusion.frozen_parts import read_unet_and_autoencoder
from unscene.priors.diffusion.latents import decode, downscale, encode
from unscene.priors.diffusion.text_condition import text_condition
from unscene.priors.novel_views.checkpoints import (
    initial_pipeline,
    model_name,
    read_settings,
    read_tensors,
    with_input_channels,
    write_model,
)
from unscene.priors.novel_views.photo_token import PhotoToken, initial_photo_token, read_photo_token
from unscene.priors.novel_views.sampler import sample

KIND = "invs"
LATENT_CHANNELS = 4  # of Stable Diffusion 1 and 2 and the bundled model
BUNDLED = Path(__file__).parents[1] / "bundled_views"


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
    photo_token: PhotoToken | None = None
    """If it is also told of the photo as a whole and of the pose, in the two ways of Zero-1-to-3 (ours): as a token
    after the prompt and by the photo's latent beside the others. Of some views the photo shows nothing."""
    told_symmetry: bool = False
    """Whether its partial views and epipolar masks tell what would be there if the object were symmetric (ours), see
    `PartialView.told`."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """C h w of a view's latent."""
        side = self.size // downscale(self.autoencoder)
        return self.autoencoder.config.latent_channels, side, side

    @torch.no_grad()
    def complete(
        self, partial: Tensor, soft_masks: Tensor, epipolar_masks: Tensor, source: Tensor, poses: Tensor, *,
        noise: Tensor, steps: int = 20, start: Tensor | None = None, strength: float = 1.0,
    ) -> Tensor:  # fmt: skip
        """Complete partial views.

        partial, soft_masks, epipolar_masks: N H W 3 and N H W in [0, 1], as `PartialView.told` has them; source: the
        photo, N H W 3 on white; poses: N 4, see `turntable.pose_numbers`; noise: N C h w, the initial latents, of unit
        variance; start: N H W 3, a guess of the views to begin at, noised to ``strength``, see `sample`. Returns
        N H W 3 in [0, 1].
        """
        device = self.unet.device
        pixels, photo = (images.permute(0, 3, 1, 2).to(device) for images in (partial, source))
        masks = (soft_masks[:, None].to(device), epipolar_masks[:, None].float().to(device))
        context = view_context(self.autoencoder, pixels, *masks, photo if self.photo_token else None)
        states = context_states(self.prompt, self.photo_token, photo, poses.to(device))

        def predict(latents: Tensor, time: Tensor) -> Tensor:
            return predict_completion(self.unet, latents, time, context, states)

        begun = None if start is None else encode(self.autoencoder, start.permute(0, 3, 1, 2).to(pixels))
        latents = sample(predict, self.scheduler, noise.to(pixels), steps, start=begun, strength=strength)
        return decode(self.autoencoder, latents).permute(0, 2, 3, 1).clamp(0, 1).to(partial)

    def to(self, device: str) -> ViewInpainter:
        """The model, in place, on a device; images come back to where they were given from."""
        for network in (self.unet, self.autoencoder, self.photo_token):
            if network is not None:
                network.to(device)
        return self

    def save(self, folder: Path) -> Path:
        """Write the model for `load_view_inpainter`."""
        settings = {"kind": KIND, "size": self.size, "told_photo": self.photo_token is not None}
        settings["told_symmetry"] = self.told_symmetry
        networks, tensors = {"unet": self.unet, "vae": self.autoencoder}, {"prompt": self.prompt}
        if self.photo_token is not None:
            networks["image_encoder"] = self.photo_token.image_encoder
            tensors |= dict(self.photo_token.camera_projection.named_parameters())
        return write_model(folder, settings, networks, tensors, self.scheduler)


def load_view_inpainter(folder: Path) -> ViewInpainter:
    """Read what `ViewInpainter.save` wrote. Raises PriorError."""
    settings = read_settings(folder, KIND)
    told_photo = bool(settings.get("told_photo"))
    extra = LATENT_CHANNELS * told_photo + 2
    unet, autoencoder, scheduler = read_unet_and_autoencoder(folder, extra_channels=extra)
    prompt = read_tensors(folder, ("prompt",))["prompt"].float()
    token = read_photo_token(folder) if told_photo else None
    symmetry = bool(settings.get("told_symmetry"))
    return ViewInpainter(unet, autoencoder, scheduler, prompt, model_name(folder), settings["size"], token, symmetry)


def view_context(
    autoencoder: Any, partial: Tensor, soft_masks: Tensor, epipolar_masks: Tensor, photo: Tensor | None
) -> Tensor:
    """What the U-Net sees beside the noisy latent, N 1+C+1(+C) h w: soft mask, partial view, epipolar mask, photo.

    partial, photo: N 3 H W in [0, 1], the latter for models that are told it; masks: N 1 H W, which shrink by their
    maximum, or pin-holes would vanish.
    """
    factor = downscale(autoencoder)
    masks = [F.max_pool2d(mask, factor) for mask in (soft_masks, epipolar_masks)]
    told = [] if photo is None else [encode(autoencoder, photo)]
    return torch.cat([masks[0], encode(autoencoder, partial), masks[1], *told], 1)


def context_states(prompt: Tensor, photo_token: PhotoToken | None, source: Tensor, poses: Tensor) -> Tensor:
    """What the U-Net's cross-attention sees, N L D: the prompt's states (L D) and the photo's token, if there is one.

    source: N 3 H W in [0, 1]; poses: N 4.
    """
    states = prompt.to(source).expand(len(source), -1, -1)
    return states if photo_token is None else torch.cat([states, photo_token(source, poses).to(states)], 1)


def predict_completion(unet: Any, latents: Tensor, times: Tensor, context: Tensor, states: Tensor) -> Tensor:
    """The U-Net's output for noisy latents N C h w at `times` (N or scalar), with a context and N L D states."""
    return unet(torch.cat([latents, context], 1).to(unet.dtype), times, states.to(unet.dtype)).sample.float()


def initial_view_inpainter(
    source: str | Path, *, size: int, seed: int, told_photo: bool, told_symmetry: bool = False
) -> ViewInpainter:
    """An inpainting checkpoint (not SDXL) with more channels, which it ignores at first.

    told_photo: with an untrained `photo_token`, drawn from the seed, and channels for the photo's latent (which begin
    at 0: with the weights of the masked image's, of which each is a view of its own, the loss falls more slowly);
    told_symmetry: see `ViewInpainter`.
    """
    pipeline, name = initial_pipeline(source)
    prompt = text_condition(pipeline, "", "", 1, (size, size), guided=False).states[0]
    epipolar_and_photo = 1 + LATENT_CHANNELS * told_photo
    unet = with_input_channels(pipeline.unet, [*range(9), *[None] * epipolar_and_photo])
    token = initial_photo_token(unet.config.cross_attention_dim, size=size, seed=seed) if told_photo else None
    return ViewInpainter(unet, pipeline.vae, pipeline.scheduler, prompt, name, size, token, told_symmetry)
