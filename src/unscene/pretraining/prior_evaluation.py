"""Measure an inpainting prior on photos with known truth: `python -m unscene.pretraining.prior_evaluation --help`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

from unscene.files import write_png
from unscene.losses.perceptual import perceptual_distance
from unscene.objects.textures import PAINTERS
from unscene.pretraining.prior_data import PhotoFolder, random_mask
from unscene.pretraining.prior_export import sheet
from unscene.pretraining.prior_objectives import VGGDistance
from unscene.priors.classical import (
    BiharmonicInpainter,
    ExemplarInpainter,
    NavierStokesInpainter,
    ShiftMapInpainter,
    TeleaInpainter,
)
from unscene.priors.diffusion.autoencoder_features import AutoencoderFeatures
from unscene.priors.diffusion.checkpoints import BUNDLED
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter


@dataclass
class PriorEvaluation:
    """Settings of the measurement; the same seed draws the same crops and masks."""

    photos: list[Path]
    """Folders of photos that were not trained on."""
    vgg_weights: Path | None = None
    """VGG19 layers for the feature distance; without them that column is missing."""
    model: Path = BUNDLED
    """Diffusers folder of the prior."""
    count: int = 24
    """Images to measure."""
    height: int = 192
    """Crop height, pixels."""
    width: int = 256
    """Crop width, pixels."""
    strengths: tuple[float, ...] = (0.2, 0.3, 0.5, 0.7)
    """Strengths of the diffusion model on top of the exemplar fill."""
    steps: int = 20
    """Sampler steps of the whole schedule."""
    sheet: Path | None = None
    """PNG of the first images and all fills, to look at."""
    procedural_sheet: Path | None = None
    """Picture of fills of drawn images, which anyone may publish."""
    seed: int = 0
    """Seed of crops, masks and noise."""


@dataclass(frozen=True)
class Score:
    """Means over the masked pixels of all images."""

    psnr: float
    vgg_distance: float
    own_distance: float
    sharpness: float
    seconds: float


@torch.no_grad()
def evaluate_prior(config: PriorEvaluation) -> dict[str, Score]:
    """Fill the same holes in several ways and compare with the truth; prints a Markdown table."""
    images, masks = _holes(config)
    model = LatentDiffusionInpainter.load(config.model, DiffusionConfig(prompt="a photo", guidance=1))
    generator = torch.Generator().manual_seed(config.seed)
    shape = (len(images), model.latent_channels, *model.latent_size(config.height, config.width))
    noise = torch.randn(shape, generator=generator)
    fills: dict[str, Tensor] = {}

    def diffusion(strength: float, *, on_exemplar: bool) -> Tensor:
        starts = fills["exemplar"].split(1) if on_exemplar else [None] * len(images)
        return torch.cat([
            model.inpaint_latent(image, mask, noise=z, start=start, strength=strength, steps=config.steps)
            for image, mask, z, start in zip(images.split(1), masks.split(1), noise.split(1), starts, strict=True)
        ])  # fmt: skip

    fillers: dict[str, Callable[[], Tensor]] = {
        "Telea": lambda: TeleaInpainter().inpaint(images, masks, generator=generator),
        "Navier-Stokes": lambda: NavierStokesInpainter().inpaint(images, masks, generator=generator),
        "shift map": lambda: ShiftMapInpainter().inpaint(images, masks, generator=generator),
        "biharmonic": lambda: BiharmonicInpainter().inpaint(images, masks, generator=generator),
        "exemplar": lambda: ExemplarInpainter().inpaint(images, masks, generator=generator),
        "guided exemplar": lambda: ExemplarInpainter(model.guide).inpaint(images, masks, generator=generator),
        "expected": lambda: model.expected_fill(images, masks, generator=generator),
        **{f"exemplar + diffusion {s:g}": lambda s=s: diffusion(s, on_exemplar=True) for s in config.strengths},
        "diffusion alone": lambda: diffusion(1.0, on_exemplar=False),
        "this model": lambda: model.inpaint(images, masks, generator=generator),
    }
    vgg = VGGDistance(config.vgg_weights) if config.vgg_weights else None
    scores = {}
    print(f"{len(images)} images; autoencoder {_reconstruction_psnr(model, images):.2f} dB\n")
    print("| fill | PSNR in the hole, dB | VGG distance | own distance | sharpness / truth | s/image |")
    print("|---|---|---|---|---|---|")
    for name, fill in fillers.items():
        began = time.monotonic()
        fills[name] = fill()
        seconds = (time.monotonic() - began) / len(images)
        scores[name] = s = _score(fills[name], images, masks, vgg, seconds)
        distances = f"{s.vgg_distance:.3f} | {s.own_distance:.3f}"
        print(f"| {name} | {s.psnr:.2f} | {distances} | {s.sharpness:.2f} | {s.seconds:.2f} |", flush=True)
    if config.sheet:
        hidden = torch.where(masks[..., None], 0.5, images)
        chosen = torch.stack([hidden, *fills.values(), images])[:, :6]
        write_png(config.sheet, sheet(list(chosen.permute(0, 1, 4, 2, 3))))
    if config.procedural_sheet:
        write_png(config.procedural_sheet, procedural_sheet(model))
    return scores


def procedural_sheet(model: LatentDiffusionInpainter, *, size: int = 96, seed: int = 7) -> np.ndarray:
    """Drawn pictures, one of each kind: hole, exemplar fill, guided exemplar, `model.inpaint`, truth: uint8 RGB."""
    rng = np.random.default_rng(seed)
    drawn = np.stack([np.clip(paint(size, rng), 0, 1) for paint in PAINTERS.values()])
    images = torch.from_numpy(drawn).float()
    masks = torch.from_numpy(np.stack([random_mask(size, size, rng, coverage=(0.08, 0.25)) for _ in drawn]))
    start = ExemplarInpainter().inpaint(images, masks, generator=torch.Generator().manual_seed(seed))
    guided = ExemplarInpainter(model.guide).inpaint(images, masks, generator=torch.Generator().manual_seed(seed))
    healed = model.inpaint(images, masks, generator=torch.Generator().manual_seed(seed))
    hidden = torch.where(masks[..., None], 0.5, images)
    return sheet([row.permute(0, 3, 1, 2) for row in (hidden, start, guided, healed, images)])


def _holes(config: PriorEvaluation) -> tuple[Tensor, Tensor]:
    """Crops around the photos' centres and object-like masks: N H W 3 in [0, 1], N H W bool."""
    photos = PhotoFolder(config.photos, short_side=max(config.height, config.width)).photos[: config.count]
    rng = np.random.default_rng(config.seed)
    crops, masks = [], []
    for photo in photos:
        top, left = (photo.shape[0] - config.height) // 2, (photo.shape[1] - config.width) // 2
        crops.append(photo[top : top + config.height, left : left + config.width])
        masks.append(random_mask(config.height, config.width, rng, coverage=(0.05, 0.25)))
    return torch.from_numpy(np.stack(crops)).float() / 255, torch.from_numpy(np.stack(masks))


def _score(filled: Tensor, truth: Tensor, masks: Tensor, vgg: VGGDistance | None, seconds: float) -> Score:
    inside = masks[..., None].float()
    error = ((filled - truth).square() * inside).sum((1, 2, 3)) / (3 * inside.sum((1, 2, 3)))
    distance = float("nan")
    if vgg is not None:
        maps = torch.cat(
            [
                vgg.distance_map(*(i.permute(0, 3, 1, 2) for i in pair))
                for pair in zip(filled.split(4), truth.split(4), strict=True)
            ]
        )
        distance = ((maps[:, 0] * masks).sum() / masks.sum()).item()
    own = AutoencoderFeatures()
    own_distance = [
        perceptual_distance(own, a.permute(0, 3, 1, 2), b.permute(0, 3, 1, 2), m[:, None])
        for a, b, m in zip(filled.split(1), truth.split(1), masks.split(1), strict=True)
    ]
    sharpness = _gradient_energy(filled, masks) / _gradient_energy(truth, masks)
    return Score(
        (-10 * error.clamp(min=1e-8).log10()).mean().item(),
        distance,
        torch.stack(own_distance).mean().item(),
        sharpness,
        seconds,
    )


def _gradient_energy(images: Tensor, masks: Tensor) -> float:
    grey = images.mean(-1)
    across, down = grey[:, :-1, 1:] - grey[:, :-1, :-1], grey[:, 1:, :-1] - grey[:, :-1, :-1]
    return (across.abs() + down.abs())[masks[:, :-1, :-1]].mean().item()


def _reconstruction_psnr(model: LatentDiffusionInpainter, images: Tensor) -> float:
    pixels = images.permute(0, 3, 1, 2)
    decoded = torch.cat([model.decode(model.encode(one)) for one in pixels.split(4)]).clamp(0, 1)
    return (-10 * (decoded - pixels).square().mean((1, 2, 3)).log10()).mean().item()


if __name__ == "__main__":
    evaluate_prior(tyro.cli(PriorEvaluation))
