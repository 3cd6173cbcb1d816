"""What the two novel-view models learn from a batch of pairs: to predict the target view's noise or velocity."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unscene.priors.diffusion.latents import encode
from unscene.priors.diffusion.noise_levels import regression_target
from unscene.priors.novel_views.view_inpainter import ViewInpainter, context_states, predict_completion, view_context
from unscene.priors.novel_views.zero123 import Zero123, predict_view, source_latents


class CompletionObjective(nn.Module):
    """iNVS: complete the partial view. Inputs as `view_pairs.model_inputs` names them, floats."""

    inputs = ("target", "source", "partial", "soft_masks", "epipolar_masks", "poses", "noise", "times")

    def __init__(self, model: ViewInpainter):
        super().__init__()
        parts = {"unet": model.unet} | ({"photo_token": model.photo_token} if model.photo_token else {})
        self.network = nn.ModuleDict(parts).requires_grad_(True).train()
        self.autoencoder = model.autoencoder.requires_grad_(False).eval()
        self.scheduler = model.scheduler
        self.prompt = nn.Buffer(model.prompt, persistent=False)
        self.told_photo = model.photo_token is not None

    def forward(
        self,
        target: Tensor,
        source: Tensor,
        partial: Tensor,
        soft_masks: Tensor,
        epipolar_masks: Tensor,
        poses: Tensor,
        noise: Tensor,
        times: Tensor,
    ) -> dict[str, Tensor]:
        token: Any = dict(self.network.items()).get("photo_token")
        with torch.no_grad():
            photo = source if token is not None else None
            context = view_context(self.autoencoder, partial, soft_masks, epipolar_masks, photo)
            latents = encode(self.autoencoder, target)
        states = context_states(self.prompt, token, source, poses)
        noisy = self.scheduler.add_noise(latents, noise, times)
        predicted = predict_completion(self.network["unet"], noisy, times, context, states)
        return {"loss": _mean_square(predicted, regression_target(self.scheduler, latents, noise, times))}


class Zero123Objective(nn.Module):
    """Zero-1-to-3: the target view from the source view and the pose, which a share of the batch is not told, so that
    the model can be guided."""

    inputs = ("target", "source", "poses", "noise", "times", "untold")

    def __init__(self, model: Zero123):
        super().__init__()
        parts = {"unet": model.unet, "photo_token": model.photo_token}
        self.network = nn.ModuleDict(parts).requires_grad_(True).train()
        self.autoencoder = model.autoencoder.requires_grad_(False).eval()
        self.scheduler = model.scheduler
        self.told_photo = True

    def forward(
        self, target: Tensor, source: Tensor, poses: Tensor, noise: Tensor, times: Tensor, untold: Tensor
    ) -> dict[str, Tensor]:
        """untold: N, 1 where the conditions are left out."""
        told = (1 - untold).view(-1, 1, 1)
        with torch.no_grad():
            latents = encode(self.autoencoder, target)
            known = source_latents(self.autoencoder, source) * told[..., None]
        token = self.network["photo_token"](source, poses) * told
        noisy = self.scheduler.add_noise(latents, noise, times)
        predicted = predict_view(self.network["unet"], noisy, times, known, token)
        return {"loss": _mean_square(predicted, regression_target(self.scheduler, latents, noise, times))}


def _mean_square(predicted: Tensor, target: Tensor) -> Tensor:
    return (predicted - target).square().mean()
