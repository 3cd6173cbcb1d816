"""The figures that every run of known truth is given: those that need no published weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from unscene.evaluation.figures import Metric, Views, figure
from unscene.evaluation.measures import PSNR, SHARPNESS_RATIO, SSIM, stand_in
from unscene.evaluation.regions import Region
from unscene.losses.perceptual import Features


@dataclass(frozen=True)
class Score:
    """Means over views. *_masked: inside the object mask only; None where no view has a mask.

    perceptual_masked: distance in the features named beside it, not LPIPS. sharpness_ratio: variance of the Laplacian
    inside the mask over the truth's.
    """

    views: int
    psnr: float
    ssim: float
    psnr_masked: float | None
    ssim_masked: float | None
    perceptual_masked: float | None
    sharpness_ratio: float | None


def score(
    images: Sequence[Tensor], truths: Sequence[Tensor], masks: Sequence[Tensor] | None, features: Features | None
) -> Score:
    """Compare renders with the truth (H W 3 in [0, 1]; masks H W bool)."""
    views = Views(images, truths, masks)

    def value(metric: Metric, region: Region) -> float | None:
        found = figure(metric, views, region)
        return None if found is None else found.value

    return Score(
        views=len(images),
        psnr=PSNR.measure(views, "image"),
        ssim=SSIM.measure(views, "image"),
        psnr_masked=value(PSNR, "mask"),
        ssim_masked=value(SSIM, "mask"),
        perceptual_masked=None if features is None else value(stand_in(features, "stand-in"), "mask"),
        sharpness_ratio=value(SHARPNESS_RATIO, "mask"),
    )
