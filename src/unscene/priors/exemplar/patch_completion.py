"""Completing an image with patches of what is visible in it (Wexler, Shechtman and Irani 2007).

At half size the hole is filled ring by ring with the centres of the best fitting patches (Efros and Leung 1999), which
carries edges and repeating patterns inwards. Then, at half and at full size, every pixel becomes what the patches
around it agree on, and patches are matched again. Nothing depends on chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.priors.exemplar.patch_matching import PatchMatcher, halved, largest_patch, patches_at, visible_patches

SETTLED = 2e-3  # mean change of a colour below which a level is done


@dataclass(frozen=True)
class CompletionConfig:
    """How patches are matched."""

    size: int = 9
    """Pixels along a patch's sides, odd; smaller ones are used where no patch of this size is visible."""
    levels: int = 2
    """Sizes to work at, each half the last. More levels prefer the smoothest texture to what the rim shows."""
    coarse_rounds: int = 12
    """Rounds of matching and voting below full size, at most."""
    fine_rounds: int = 3
    """Rounds at full size; in the last each pixel is copied, not averaged."""
    most_sources: int = 30_000
    """Patches to copy from, spread evenly over all of them: keeps the cost linear in the hole's pixels."""
    guide_weight: float = 2.0
    """Weight of the squared difference from the guide beside a patch's own mean squared difference. More brings
    each surface nearer to where it is expected, and where two meet in what is expected, patches of a third."""


def complete(
    image: Tensor,
    hole: Tensor,
    source: Tensor,
    config: CompletionConfig = CompletionConfig(),
    *,
    guide: Tensor | None = None,
) -> Tensor:
    """Fill the hole (H W bool) of an image (H W 3 in [0, 1]) with what the source (H W bool) shows.

    Pixels in neither are ignored and stay. guide: H W 3, roughly what is expected in the hole; patches are then also
    judged by their colour at large, so that each is placed where its kind of surface is expected, whatever its detail.
    Raises NothingToCopyError if the source has no room for the smallest patch.
    """
    if not hole.any():
        return image.clone()
    levels = [(image.permute(2, 0, 1), hole, source & ~hole)]
    for _ in range(config.levels - 1):
        coarser = halved(*levels[-1])
        if not visible_patches(coarser[2], 3).any():
            break
        levels.append(coarser)
    filled = None
    for depth, (pixels, missing, known) in reversed(list(enumerate(levels))):
        size = largest_patch(known, config.size)
        beside = None
        if guide is not None:
            expected = F.interpolate(guide.permute(2, 0, 1)[None], missing.shape, mode="area")[0]
            at_large = _blurred(torch.where(missing, expected, pixels), missing | known, size)
            beside = at_large * (config.guide_weight * size**2) ** 0.5  # guide_weight times a whole patch's weight
        matcher = PatchMatcher(pixels * known, known, size, most_sources=config.most_sources, beside=beside)
        if filled is None:
            filled = _fill_from_rim(pixels * known, missing, known, matcher)
        else:
            enlarged = F.interpolate(filled[None], missing.shape, mode="bilinear")[0]
            filled = torch.where(missing, enlarged, pixels * known)
        rounds = config.coarse_rounds if depth else config.fine_rounds
        filled = _agree(filled, missing, known, matcher, rounds, copy=depth == 0)
    assert filled is not None
    return torch.where(hole[..., None], filled.permute(1, 2, 0), image)


def settle(filled: Tensor, missing: Tensor, known: Tensor, config: CompletionConfig) -> Tensor:
    """A rough fill of what is missing (H W bool) in an image (C H W) made of the visible patches that fit it best."""
    matcher = PatchMatcher(
        filled * known, known, largest_patch(known, config.size), most_sources=config.most_sources
    )  # fmt: skip
    return _agree(filled, missing, known, matcher, config.fine_rounds, copy=True)


def _fill_from_rim(image: Tensor, missing: Tensor, known: Tensor, matcher: PatchMatcher) -> Tensor:
    """Ring by ring: each pixel of a ring becomes the centre of the patch that fits what is known around it."""
    image, known, left = image.clone(), known.clone(), missing.clone()
    while left.any():
        ring = left & (F.max_pool2d(known[None].float(), 3, stride=1, padding=1)[0] > 0)
        if not ring.any():  # an island among ignored pixels: nothing around it is known
            image[:, left] = image[:, known].mean(1, keepdim=True)
            break
        at = ring.flatten().nonzero()[:, 0]
        mask = patches_at(known[None].float().expand_as(image), matcher.size, at)
        best = matcher.nearest_by_known(patches_at(image, matcher.size, at), mask, at)
        image.view(len(image), -1)[:, at] = image.reshape(len(image), -1)[:, best]
        known, left = known | ring, left & ~ring
    return image


def _agree(
    image: Tensor, missing: Tensor, known: Tensor, matcher: PatchMatcher, rounds: int, *, copy: bool
) -> Tensor:  # fmt: skip
    """Match the patches that touch the hole and let them vote for its pixels, until little changes."""
    touching = F.max_pool2d(missing[None].float(), matcher.size, stride=1, padding=matcher.size // 2)[0] > 0
    at = (touching & (missing | known)).flatten().nonzero()[:, 0]
    for turn in range(rounds):
        centers, distance = matcher.nearest(patches_at(image, matcher.size, at), at)
        last = copy and turn == rounds - 1
        voted = (_copied if last else _averaged)(image, at, centers, distance, matcher.size)
        change = (voted - image)[:, missing].abs().mean()
        image = torch.where(missing, voted, image)
        if change < SETTLED and not copy:
            break
    return image


def _averaged(image: Tensor, at: Tensor, centers: Tensor, distance: Tensor, size: int) -> Tensor:
    """Each pixel as the mean of what the patches over it say, the better fits with more weight (Wexler, eq. 4)."""
    flat = image.reshape(len(image), -1)
    weight = (-distance / (2 * distance.quantile(0.75).clamp_min(1e-6))).exp()
    total, votes = torch.zeros_like(flat), torch.zeros_like(flat[0])
    for pixel, origin, voters in _votes(image, at, centers, size):
        total.index_add_(1, pixel, flat[:, origin] * weight[voters])
        votes.index_add_(0, pixel, weight[voters])
    return torch.where(votes > 0, total / votes.clamp_min(1e-12), flat).view_as(image)


def _copied(image: Tensor, at: Tensor, centers: Tensor, distance: Tensor, size: int) -> Tensor:
    """Each pixel from the best fitting of the patches over it: nothing is averaged away."""
    flat = image.reshape(len(image), -1)
    best, result = torch.full_like(flat[0], torch.inf), flat.clone()
    for pixel, origin, voters in _votes(image, at, centers, size):
        better = distance[voters] < best[pixel]
        chosen = pixel[better]
        best[chosen], result[:, chosen] = distance[voters][better], flat[:, origin[better]]
    return result.view_as(image)


def _votes(image: Tensor, at: Tensor, centers: Tensor, size: int):
    """For each place within a patch: the pixels the patches cover there, the source pixels, and which patches."""
    height, width = image.shape[-2:]
    row, column = at // width, at % width
    radius = size // 2
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            y, x = row + down, column + right
            voters = ((y >= 0) & (y < height) & (x >= 0) & (x < width)).nonzero()[:, 0]
            yield (y * width + x)[voters], (centers + down * width + right)[voters], voters


def _blurred(image: Tensor, valid: Tensor, size: int) -> Tensor:
    """Means of an image (C H W) over about a patch, of what is valid (H W bool) only."""
    deviation = size / 2
    offsets = torch.arange(-2 * size, 2 * size + 1)
    kernel = (-offsets.square() / (2 * deviation**2)).exp()

    def smooth(x: Tensor) -> Tensor:
        x = x[:, None]
        x = F.conv2d(x, kernel.view(1, 1, -1, 1), padding=(2 * size, 0))
        return F.conv2d(x, kernel.view(1, 1, 1, -1), padding=(0, 2 * size))[:, 0]

    weight = valid[None].float()
    return smooth(image * weight) / smooth(weight).clamp_min(1e-6)
