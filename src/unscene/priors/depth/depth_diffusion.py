"""Depth behind a removed object by a diffusion model of depth, told the inpainted photo (InFusion, Liu et al. 2024).

The U-Net sees 13 channels: the photo's latent, a noisy latent of disparities, the hole, and the latent of what is known
of the disparities. Sampling starts from disparities completed smoothly, with noise over them, not from noise alone.

Different from the release: what its Gaussians leave empty is here completed smoothly before noise is added; the hole
shrinks to the latent grid by its maximum, not by its nearest pixel, so that nothing of the hole passes for known.
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

from unscene.geometry.randomness import sent
from unscene.priors.depth.completion import complete_disparity
from unscene.priors.diffusion.frozen_parts import read_empty_prompt, read_unet_and_autoencoder
from unscene.priors.diffusion.hub_parts import locate_parts, weight_file
from unscene.priors.diffusion.latents import decode, downscale, encode
from unscene.priors.diffusion.mask_blending import mask_to_latent

PUBLISHED = {"infusion": ("Johanan0528/Infusion",)}
NETWORKS = ("unet", "vae", "text_encoder")
BESIDE_THE_LATENTS = 5  # channels of the U-Net's input besides photo and noisy disparities: hole, known disparities
WAYS_FORWARD = (
    "connect to the network and repeat the command, give a folder that holds the checkpoint, or do without it: "
    "--infusion.depth-completion None"
)


@dataclass
class DepthDiffusion:
    """The parts, frozen; make one with `load`."""

    unet: Any
    autoencoder: Any
    scheduler: Any
    prompt: Tensor
    """States of the empty prompt, 1 L D."""
    name: str
    side: int = 768
    """Pixels of the longer side of the pictures it is shown (release)."""

    @classmethod
    def load(cls, source: str, *, device: torch.device | str = "cpu") -> DepthDiffusion:
        """`infusion`, a hub id or a folder with unet, vae, text_encoder, tokenizer and scheduler. Raises PriorError."""
        folder, name = locate_depth_diffusion(source)
        unet, autoencoder, scheduler = read_unet_and_autoencoder(folder, extra_channels=BESIDE_THE_LATENTS)
        prompt = read_empty_prompt(folder)
        dtype = torch.float16 if torch.device(device).type == "cuda" else torch.float32
        unet, autoencoder = (network.to(device, dtype) for network in (unet, autoencoder))
        return cls(unet, autoencoder, scheduler, prompt.to(device, dtype), name)

    def complete(
        self, image: Tensor, depth: Tensor, hole: Tensor, generator: torch.Generator, *, steps: int = 20,
        loops: int = 1, keep_known: bool = True,
    ) -> Tensor:  # fmt: skip
        """Complete a view's z-depth (H W) inside its hole (H W bool), H W: outside it stays as it is.

        image: H W 3 in [0, 1], inpainted; loops: times that the result is completed again, starting from itself;
        keep_known: known latents take their place again after every step (Avrahami et al. 2023). A hole that is empty
        or the whole view raises ValueError.
        """
        if not hole.any():
            raise ValueError("expected a hole in which to complete depth, got an empty one")
        completed = complete_disparity(depth, hole)
        for _ in range(loops):
            disparity = self._completed_disparity(image, 1 / completed, hole, generator, steps, keep_known)
            completed = torch.where(hole, 1 / disparity, depth)
        return completed

    @torch.no_grad()
    def _completed_disparity(
        self, image: Tensor, disparity: Tensor, hole: Tensor, generator: torch.Generator, steps: int, keep_known: bool
    ) -> Tensor:
        device, size = self.unet.device, self._input_size(*hole.shape)
        low, high = disparity[~hole].min(), disparity[~hole].max()
        extent = (high - low).clamp_min(torch.finfo(torch.float32).eps * high)
        scaled = ((disparity - low) / extent).expand(3, -1, -1)[None]
        photo, scaled, missing = (
            F.interpolate(picture.to(device), size, mode=mode)
            for picture, mode in ((image.permute(2, 0, 1)[None], "bilinear"), (scaled, "bilinear"),
                                  (hole[None, None].float(), "nearest"))
        )  # fmt: skip
        # photos enter the autoencoder in [0, 1] (release), though its own range is [-1, 1], which `encode` maps to
        seen = encode(self.autoencoder, (photo + 1) / 2)
        start, known = encode(self.autoencoder, scaled), encode(self.autoencoder, torch.where(missing > 0, 0.5, scaled))
        noise = sent(torch.randn(start.shape, generator=generator), device)
        gap = mask_to_latent(missing, downscale(self.autoencoder))
        latents = self._sample(seen, start, torch.cat([gap, known], 1), noise, steps, gap if keep_known else None)
        answer = decode(self.autoencoder, latents).mean(1, keepdim=True).clamp(0, 1)
        answer = F.interpolate(answer, hole.shape, mode="bilinear")[0, 0].to(disparity)
        return (low + answer * extent).clamp_min(torch.finfo(torch.float32).tiny)

    def _sample(
        self, seen: Tensor, start: Tensor, context: Tensor, noise: Tensor, steps: int, gap: Tensor | None
    ) -> Tensor:
        """DDIM (Song et al. 2021) from the noised start; outside the gap, if given, the start is put back each step."""
        scheduler = self.scheduler
        scheduler.set_timesteps(steps)
        latents = start
        for time in scheduler.timesteps:  # the scheduler decides by their values, on the host
            there = sent(time, start.device)
            noised = scheduler.add_noise(start, noise, there[None])
            if time == scheduler.timesteps[0]:
                latents = noised
            elif gap is not None:
                latents = torch.where(gap > 0, latents, noised)
            inputs = torch.cat([seen, latents, context], 1).to(self.unet.dtype)
            predicted = self.unet(inputs, there, self.prompt).sample.float()
            latents = scheduler.step(predicted, time, latents, eta=0.0).prev_sample
        return latents

    def _input_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the pictures it is shown: the view's shape, in whole latent pixels."""
        scale, multiple = self.side / max(height, width), downscale(self.autoencoder)
        rows, columns = (max(1, round(side * scale / multiple)) * multiple for side in (height, width))
        return rows, columns


def locate_depth_diffusion(source: str, *, offline: bool = False) -> tuple[Path, str]:
    """The model's folder on this machine, downloaded if need be, and its name with its revision. Raises PriorError."""

    def check(folder: Path) -> None:
        for part in NETWORKS:
            weight_file(folder, part)

    parts = (*NETWORKS, "tokenizer", "scheduler")
    return locate_parts(source, PUBLISHED, parts, check, ways_forward=WAYS_FORWARD, offline=offline)
