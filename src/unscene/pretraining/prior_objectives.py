"""What the bundled prior is trained to minimise: one module per stage, whose forward pass is its loss."""

# diffusers annotates many arguments and results more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler
from safetensors.torch import load_file
from torch import Tensor, nn

from unscene.losses.perceptual import perceptual_distance
from unscene.priors.diffusion.architecture import DOWNSCALE, PipelineParts
from unscene.priors.diffusion.autoencoder_features import encoder_features
from unscene.priors.diffusion.noise_levels import clean_latents

VGG_MEAN_BGR = (103.939, 116.779, 123.68)
VGG_LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2")
VGG_COMPARED = ("conv1_2", "conv2_2", "conv3_2")
OWN_WEIGHT = 4.0  # the distance in the autoencoder's own features is several times smaller than VGG's


class AutoencoderObjective(nn.Module):
    """L1 + perceptual distance + a whisper of KL: enough for a smooth latent space, too little to blur."""

    def __init__(self, autoencoder: AutoencoderKL, vgg_weights: Path | None, *, perceptual: float, kl: float):
        super().__init__()
        self.network = autoencoder
        self.vgg = VGGDistance(vgg_weights) if vgg_weights else None
        self.perceptual, self.kl = perceptual, kl

    def forward(self, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """images N 3 H W in [0, 1]; noise N 4 h w for the posterior sample. Returns the named terms and their sum."""
        target = images * 2 - 1
        posterior = self.network.encode(target).latent_dist
        decoded = self.network.decode(posterior.mean + posterior.std * noise).sample.float()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        terms = {
            "l1": (decoded - target).abs().mean(),
            "kl": 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean(),
        }
        loss = terms["l1"] + self.kl * terms["kl"]
        if self.vgg is not None:
            part = _middle(images)
            terms["perceptual"] = self.vgg(decoded[part] / 2 + 0.5, images[part])
            loss = loss + self.perceptual * terms["perceptual"]
        terms["psnr"] = -10 * torch.log10((decoded.detach() - target).square().mean() / 4)
        return {"loss": loss, **terms}


class DenoisingObjective(nn.Module):
    """Velocity regression for inpainting (Salimans and Ho 2022, eq. 12; inputs as Stable Diffusion's).

    With VGG weights every other image of the batch, which are sorted by noise level, is also denoised in one step,
    decoded, and compared with the truth inside the hole, in VGG's features and in the autoencoder's own. The plain
    regression spends a small model's capacity on errors nobody sees (Lin and Yang 2024 make the point, and compare in a
    network's features too).
    """

    def __init__(self, parts: PipelineParts, vgg_weights: Path | None, *, unmasked_weight: float, perceptual: float):
        super().__init__()
        self.network = nn.ModuleDict({"unet": parts.unet, "text_encoder": parts.text_encoder})
        self.autoencoder = parts.autoencoder.requires_grad_(False).eval()
        self.scheduler: DDIMScheduler = parts.scheduler
        self.vgg = VGGDistance(vgg_weights) if vgg_weights and perceptual else None
        self.unmasked_weight, self.perceptual = unmasked_weight, perceptual

    def forward(self, images: Tensor, masks: Tensor, tokens: Tensor, noise: Tensor, times: Tensor) -> dict[str, Tensor]:
        """images N 3 H W in [0, 1]; masks N 1 H W; tokens N L; noise N 4 h w; times N integers. Returns the loss."""
        target = images * 2 - 1
        with torch.no_grad():
            both = self.autoencoder.encode(torch.cat([target, target * (1 - masks)])).latent_dist.mean.float()
            latents, context = (both * self.autoencoder.config.scaling_factor).chunk(2)
            latent_masks = F.max_pool2d(masks, DOWNSCALE)
            noisy = self.scheduler.add_noise(latents, noise, times)
            velocity = self.scheduler.get_velocity(latents, noise, times)
        text = self.network["text_encoder"](tokens)[0]
        predicted = self.network["unet"](torch.cat([noisy, latent_masks, context], 1), times, text).sample.float()
        error = (predicted - velocity).square().mean(1, keepdim=True)
        weight = self.unmasked_weight + (1 - self.unmasked_weight) * latent_masks
        terms = {
            "loss": (weight * error).sum() / weight.sum(),
            "masked": (latent_masks * error).sum() / latent_masks.sum().clamp(min=1),
        }
        if self.vgg is not None:
            some = slice(None, None, 2)
            denoised = self._denoised(noisy[some], predicted[some], times[some])
            decoded = self.autoencoder.decode(denoised / self.autoencoder.config.scaling_factor).sample.float()
            part = _middle(images)
            distance = self.vgg.distance_map(decoded[part] / 2 + 0.5, images[some][part])
            inside = masks[some][part]
            terms["perceptual"] = (distance * inside).sum() / inside.sum().clamp(min=1)
            terms["own"] = perceptual_distance(self._features, decoded / 2 + 0.5, images[some], masks[some])
            terms["loss"] = terms["loss"] + self.perceptual * (terms["perceptual"] + OWN_WEIGHT * terms["own"])
        return terms

    def _features(self, images: Tensor) -> list[Tensor]:
        return [features.float() for features in encoder_features(self.autoencoder.encoder, images)]

    def _denoised(self, noisy: Tensor, velocity: Tensor, times: Tensor) -> Tensor:
        return clean_latents(noisy, velocity, self.scheduler.alphas_cumprod.to(noisy.device)[times])


def _middle(images: Tensor) -> tuple:
    """The middle two thirds of N C H W images: less than half the cost, and none of the padding's influence."""
    height, width = images.shape[-2:]
    return (..., slice(height // 6, height - height // 6), slice(width // 6, width - width // 6))


class VGGDistance(nn.Module):
    """Distance of channel-normalised VGG19 features (the LPIPS form of Zhang et al. 2018, without learnt weights).

    Args:
        weights: safetensors of the first VGG19 layers, named conv1_1.weight and so on; expects BGR in 0..255.
    """

    def __init__(self, weights: Path):
        super().__init__()
        state = load_file(str(weights))
        self.layers = nn.ParameterDict(
            {
                f"{layer}_{part}": nn.Parameter(state[f"{layer}.{part}"], False)
                for layer in VGG_LAYERS
                for part in ("weight", "bias")
            }
        )
        self.mean = nn.Buffer(torch.tensor(VGG_MEAN_BGR).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """Mean distance of two N 3 H W batches in [0, 1]; gradients flow to `images` only."""
        return self.distance_map(images, target).mean()

    def distance_map(self, images: Tensor, target: Tensor) -> Tensor:
        """The same per pixel: N 1 H W."""
        with torch.no_grad():
            wanted = self.features(target)
        size = images.shape[-2:]
        maps = [
            (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).square().sum(1, keepdim=True)
            for a, b in zip(self.features(images), wanted, strict=True)
        ]
        return torch.stack([F.interpolate(m, size, mode="nearest") for m in maps]).sum(0)

    def features(self, images: Tensor) -> list[Tensor]:
        x = images.flip(1) * 255 - self.mean
        found = []
        for layer in VGG_LAYERS:
            if layer.endswith("_1") and layer != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, self.layers[f"{layer}_weight"], self.layers[f"{layer}_bias"], padding=1))
            if layer in VGG_COMPARED:
                found.append(x)
        return found
