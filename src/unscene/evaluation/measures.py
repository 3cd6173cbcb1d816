"""The metrics of the papers: of pixels, of a network's features, of sets of them, of neighbouring views."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from unscene.evaluation.consistency import view_consistency
from unscene.evaluation.figures import AS_PICTURES, AS_PIXELS, Metric, Views
from unscene.evaluation.metrics import psnr, sharpness, ssim
from unscene.evaluation.regions import (
    PATCHES,
    Region,
    boundary_patches,
    clean_patches,
    enlarged,
    patch_side,
    region_picture,
    region_pixels,
)
from unscene.losses.perceptual import Features, perceptual_distance

Embedding = Callable[[Tensor], Tensor]
"""N 3 H W images in [0, 1] -> N D, a feature vector of each."""
SetDistance = Callable[[Tensor, Tensor], float]


def _psnr(views: Views, region: Region) -> float:
    """Of whole images the views' mean; of parts of them that of the mean error over all pixels of all views, so that
    views with few of them do not count like those with many."""
    triples = _triples(views, region)
    if region == "image":
        return float(np.mean([psnr(image, truth) for image, truth, _ in triples]))
    errors = torch.cat([(image - truth).square()[pixels].flatten() for image, truth, pixels in triples])
    return -10 * math.log10(max(errors.mean().item(), 1e-12))


def _ssim(views: Views, region: Region) -> float:
    return float(np.mean([ssim(*triple) for triple in _triples(views, region)]))


def _sharpness(views: Views, region: Region) -> float:
    pixels = _pixels(views, region)
    return float(np.mean([sharpness(image, p) for image, p in zip(views.images, pixels, strict=True)]))


def _sharpness_ratio(views: Views, region: Region) -> float:
    triples = _triples(views, region)
    return float(np.mean([sharpness(image, p) / max(sharpness(truth, p), 1e-12) for image, truth, p in triples]))


def _consistency(views: Views, region: Region) -> float:
    assert views.cameras is not None and views.depths is not None
    masks = torch.stack(list(_pixels(views, region)))
    return view_consistency(views.cameras, list(views.images), list(views.depths), masks)


POOLED: dict[Region, str] = {
    region: f"{seen}, of all views together" for region, seen in AS_PIXELS.items() if region != "image"
}
PSNR = Metric(
    "PSNR", _psnr, "higher", "of the squared error", "dB", {"image": "whole images, mean of the views", **POOLED}
)
SSIM = Metric("SSIM", _ssim, "higher", "11-pixel Gaussian window of deviation 1.5, mean over pixels and channels")
SHARPNESS = Metric("sharpness", _sharpness, "higher", "variance of the Laplacian of grey", needs=("images",))
SHARPNESS_RATIO = Metric("sharpness / truth", _sharpness_ratio, "near 1", "variance of the Laplacian of grey")
CONSISTENCY = Metric(
    "inconsistency of neighbouring views", _consistency, "lower",
    "mean absolute difference to the next view, warped by depth; blur lowers it too", needs=("cameras", "depths"),
    least_views=2,
)  # fmt: skip


def stand_in(features: Features, name: str) -> Metric:
    """Distance in the features of a network that is not LPIPS's, under that network's own name.

    Inside a mask the network sees the surroundings too, and the distances of the mask's pixels count.
    """

    @torch.no_grad()
    def measure(views: Views, region: Region) -> float:
        return float(np.mean([_masked(features, *triple) for triple in _triples(views, region)]))

    return Metric(name, measure, "lower", "squared difference of channel-normalised features, not LPIPS")


def _masked(features: Features, image: Tensor, truth: Tensor, pixels: Tensor) -> float:
    a, b = (i.permute(2, 0, 1)[None] for i in (image, truth))
    return float(perceptual_distance(features, a, b, pixels[None, None]))


def lpips(features: Features, name: str) -> Metric:
    """LPIPS, of the mask M-LPIPS. features: as `unscene.losses.lpips` makes them of the published tensors."""

    @torch.no_grad()
    def measure(views: Views, region: Region) -> float:
        pairs = zip(*(_pictures(i, views, region) for i in (views.images, views.truths or ())), strict=True)
        return float(np.mean([float(perceptual_distance(features, *pair)) for pair in pairs]))

    how = "mean of the views, version 0.1"
    return Metric(name, measure, "lower", how, regions=AS_PICTURES, called={"mask": f"M-{name}"})


def between_sets(distance: SetDistance, embedding: Embedding, name: str, how: str) -> Metric:
    """A distance of two sets of pictures, renders and truths: FID and KID, if the embedding is Inception's."""

    @torch.no_grad()
    def measure(views: Views, region: Region) -> float:
        sets = (_pictures(images, views, region) for images in (views.images, views.truths or ()))
        return distance(*(torch.cat([embedding(picture).cpu() for picture in pictures]) for pictures in sets))

    return Metric(name, measure, "lower", how, regions=AS_PICTURES, least_views=2)


def at_boundaries(distance: SetDistance, embedding: Embedding, name: str, how: str) -> Metric:
    """A distance of patches of renders along masks' boundaries to patches of photos: MALD-NeRF's C-FID and C-KID, for
    captures of which nobody knows what is behind the object. Number and size of patches are ours."""

    @torch.no_grad()
    def measure(views: Views, region: Region) -> float:
        assert views.masks is not None
        side = patch_side(list(views.masks))
        rendered = [boundary_patches(i, m, side) for i, m in zip(views.images, views.masks, strict=True)]
        real = [clean_patches(photo, mask, side) for photo, mask in views.photos]
        sets = (rendered, real)
        if min(sum(map(len, patches)) for patches in sets) < 2:
            return math.nan
        return distance(*(torch.cat([embedding(enlarged(p)).cpu() for p in patches if len(p)]) for patches in sets))

    seen = f"up to {PATCHES} patches a view along the mask's boundary, against as many of each photo clear of the mask"
    return Metric(name, measure, "lower", how, regions={"boundary": seen}, needs=("masks", "photos"))


def quality(network: Callable[[Tensor], Tensor], name: str, how: str) -> Metric:
    """What a network thinks of pictures without knowing the truth: MUSIQ."""

    @torch.no_grad()
    def measure(views: Views, region: Region) -> float:
        return float(np.mean([float(network(picture)) for picture in _pictures(views.images, views, region)]))

    return Metric(name, measure, "higher", how, regions=AS_PICTURES, needs=("images",))


def pooled(features: Features) -> Embedding:
    """Feature vectors of pictures of any size: the means of all channels of all depths."""
    return lambda images: torch.cat([maps.mean((2, 3)) for maps in features(images)], 1)


def _triples(views: Views, region: Region) -> list[tuple[Tensor, Tensor, Tensor]]:
    return list(zip(views.images, views.truths or (), _pixels(views, region), strict=True))


def _pixels(views: Views, region: Region) -> Sequence[Tensor]:
    if region == "image":
        return [torch.ones(image.shape[:2], dtype=torch.bool) for image in views.images]
    return [region_pixels(mask, region) for mask in views.masks or ()]


def _pictures(images: Sequence[Tensor], views: Views, region: Region) -> list[Tensor]:
    masks = [None] * len(images) if region == "image" else views.masks or ()
    return [region_picture(image, mask, region) for image, mask in zip(images, masks, strict=True)]
