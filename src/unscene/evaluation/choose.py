"""Metrics by the names users give them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from unscene.evaluation.figures import Metric
from unscene.evaluation.measures import (
    CONSISTENCY,
    PSNR,
    SHARPNESS,
    SHARPNESS_RATIO,
    SSIM,
    at_boundaries,
    between_sets,
    lpips,
    pooled,
    quality,
    stand_in,
)
from unscene.evaluation.published import load_inception, load_lpips, load_musiq
from unscene.evaluation.statistics import frechet_distance, kernel_distance
from unscene.priors.diffusion.autoencoder_features import AutoencoderFeatures

MetricName = Literal[
    "psnr", "ssim", "sharpness", "sharpness-ratio", "consistency",
    "perceptual", "frechet", "kernel", "c-frechet", "c-kernel",
    "lpips-alex", "lpips-vgg", "fid", "kid", "c-fid", "c-kid", "musiq",
]  # fmt: skip

STAND_IN = "means of bundled-autoencoder features"
INCEPTION = "Inception v3 of 2015, 2048 features, pictures resized to 299x299 as TensorFlow 1 does"
BIASED = "too large for few pictures"
UNBIASED = "unbiased over all pairs"


def load_metric(name: MetricName, weights: Path | None = None, device: torch.device | str = "cpu") -> Metric:
    """The metric a user asked for. weights: folder in which published weights are looked for first. Raises MetricError
    if they cannot be had: nothing else is measured in their stead."""
    match name:
        case "psnr":
            return PSNR
        case "ssim":
            return SSIM
        case "sharpness":
            return SHARPNESS
        case "sharpness-ratio":
            return SHARPNESS_RATIO
        case "consistency":
            return CONSISTENCY
        case "lpips-alex" | "lpips-vgg":
            features = load_lpips("alex" if name == "lpips-alex" else "vgg", weights, device)
            return lpips(features, features.name)
        case "musiq":
            return quality(load_musiq(weights, device), "MUSIQ", "trained on KonIQ-10k, mean of the views")
        case "perceptual":
            features = AutoencoderFeatures(device)
            return stand_in(features, features.name)
    return _of_sets(name, weights, device)


def _of_sets(name: MetricName, weights: Path | None, device: torch.device | str) -> Metric:
    published = name in ("fid", "kid", "c-fid", "c-kid")
    embedding = load_inception(weights, device) if published else pooled(AutoencoderFeatures(device))
    frechet = name in ("fid", "c-fid", "frechet", "c-frechet")
    make = at_boundaries if name.startswith("c-") else between_sets
    shown = name.upper() if published else f"{name.removeprefix('c-').title()} distance of bundled-autoencoder features"
    shown = shown + " at boundaries" if name in ("c-frechet", "c-kernel") else shown
    how = f"{INCEPTION if published else STAND_IN}; {BIASED if frechet else UNBIASED}"
    return make(frechet_distance if frechet else kernel_distance, embedding, shown, how)
