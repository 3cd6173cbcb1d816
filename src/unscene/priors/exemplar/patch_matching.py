"""The patches of an image: which are visible, and which of those fits another best.

All nearest neighbours are exact: the distances of all pairs are one matrix product in a few principal components, so
the result does not depend on chance.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.threads import shared_out

COMPONENTS = 32  # of patches of 9 x 9 x 3 numbers; they hold all but a hundredth of natural patches' variance
ROWS = 64  # patches compared at once: their distances to 30,000 others are 8 MB, which caches hold
BLOCK = 256  # distances whose least is found first: that vectorises, where an index beside it does not


class NothingToCopyError(ValueError):
    """No patch of the image is wholly visible."""


class PatchMatcher:
    """The visible patches of an image (C H W), ready to be compared with others."""

    def __init__(
        self, image: Tensor, known: Tensor, size: int, *, most_sources: int = 30_000, beside: Tensor | None = None
    ):  # fmt: skip
        """size: pixels along a patch's sides, odd. most_sources: patches to compare with, spread evenly over all.
        beside: C H W, further numbers at each patch's centre to compare, in units of one colour of one pixel."""
        self.size, self.width = size, image.shape[-1]
        centers = visible_patches(known, size).flatten().nonzero()[:, 0]
        if len(centers) > most_sources:
            centers = centers[torch.linspace(0, len(centers) - 1, most_sources).round().long()]
        self.centers = centers
        self.patches = patches_at(image, size, centers)
        self.basis = _principal_components(self.patches)
        self.beside = image.new_zeros(image[0].numel(), 0) if beside is None else beside.flatten(1).T
        self.reduced = torch.cat([self.patches @ self.basis, self.beside[centers]], 1)
        self.half_norms = self.reduced.square().sum(1) / 2

    def patches_turned(self, centers: Tensor) -> Tensor:
        """The visible patches around some of `centers` (P), by half a turn each, P D."""
        patches = self.patches[torch.searchsorted(self.centers, centers)]
        return patches.view(len(patches), -1, self.size**2).flip(2).flatten(1)

    def nearest(self, patches: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """For whole patches (P D) around ``at`` (P): the centre of the best fitting visible one, and how ill it fits:
        the mean squared difference, what is beside included."""

        def matched(rows: Tensor) -> tuple[Tensor, Tensor]:
            half, best = least(torch.addmm(self.half_norms, rows, self.reduced.T, alpha=-1))
            return self.centers[best], (2 * half + rows.square().sum(1)).clamp_min(0) / patches.shape[1]

        reduced = torch.cat([patches @ self.basis, self.beside[at]], 1)
        centers, distances = zip(*shared_out(matched, reduced.split(ROWS)), strict=True)
        return torch.cat(centers), torch.cat(distances)

    def nearest_by_known(self, patches: Tensor, known: Tensor, at: Tensor) -> Tensor:
        """The same by those numbers of the patches that are known (P D, 0 or 1) only; centres."""
        beside, share = self.beside[at], known.mean(1, keepdim=True)  # both keep their proportion
        sources = torch.cat([self.patches, self.beside[self.centers]], 1)
        patches = torch.cat([patches * known, beside * share], 1)
        known = torch.cat([known, share.expand_as(beside)], 1)
        table = torch.cat([sources, sources.square()], 1).T
        rows = torch.cat([-2 * patches, known], 1).split(ROWS)
        return torch.cat(shared_out(lambda part: self.centers[least(part @ table)[1]], rows))

    def nearest_apart(self, apart: int, *, most: int) -> tuple[Tensor, Tensor]:
        """For at most so many visible patches their centres (P), and those of the best fitting ones more than ``apart``
        pixels away along an axis (P), -1 if there is none."""
        asked = torch.arange(len(self.centers))
        if len(asked) > most:
            asked = torch.linspace(0, len(asked) - 1, most).round().long()
        row, column = (self.centers // self.width).int(), (self.centers % self.width).int()

        def matched(part: Tensor) -> Tensor:
            cost = torch.addmm(self.half_norms, self.reduced[part], self.reduced.T, alpha=-1)
            near = (row[part, None] - row).abs() <= apart
            near &= (column[part, None] - column).abs() <= apart
            lowest, index = least(cost.masked_fill_(near, torch.inf))
            return torch.where(lowest.isfinite(), self.centers[index], -1)

        return self.centers[asked], torch.cat(shared_out(matched, asked.split(ROWS)))


def least(cost: Tensor) -> tuple[Tensor, Tensor]:
    """The least of each row (P S), and the first place of it; as ``cost.min(1)``, in under half of its time."""
    whole = cost.shape[1] // BLOCK * BLOCK
    if whole == 0:
        return cost.min(1)  # pyright: ignore[reportReturnType]
    blocks = cost[:, :whole].view(len(cost), -1, BLOCK)
    lowest, block = blocks.amin(2).min(1)
    index = block * BLOCK + blocks[torch.arange(len(cost)), block].argmin(1)
    if whole < cost.shape[1]:
        rest, at = cost[:, whole:].min(1)
        index, lowest = torch.where(rest < lowest, whole + at, index), torch.minimum(rest, lowest)
    return lowest, index


def patches_at(image: Tensor, size: int, at: Tensor) -> Tensor:
    """The patches (P C*size*size) of an image (C H W) around flat positions (P), its border repeated outwards."""
    radius = size // 2
    padded = F.pad(image[None], (radius,) * 4, mode="replicate")[0]
    windows = padded.unfold(1, size, 1).unfold(2, size, 1)  # a view: C H W size size
    return windows[:, at // image.shape[-1], at % image.shape[-1]].transpose(0, 1).flatten(1)


def _principal_components(patches: Tensor) -> Tensor:
    """The directions (D K) along which patches (S D) differ most."""
    sample = patches[torch.linspace(0, len(patches) - 1, min(len(patches), 6000)).long()]
    sample = sample - sample.mean(0)
    return torch.linalg.eigh(sample.T @ sample).eigenvectors[:, -COMPONENTS:]


def largest_patch(known: Tensor, size: int) -> int:
    """The largest odd side, up to ``size``, of patches that are wholly known (H W bool)."""
    for smaller in range(size, 1, -2):
        if visible_patches(known, smaller).any():
            return smaller
    raise NothingToCopyError("expected room for a visible patch of 3 x 3 pixels beside the hole, found none")


def visible_patches(known: Tensor, size: int) -> Tensor:
    """Centres (H W bool) of the patches that are wholly known and wholly inside the image."""
    covered = F.pad((~known)[None].float(), (size // 2,) * 4, value=1)
    return F.max_pool2d(covered, size, stride=1)[0] == 0


def halved(image: Tensor, hole: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half the size: holes grow, colours are means of what is known."""
    share = F.avg_pool2d(known[None].float(), 2, ceil_mode=True)
    total = F.avg_pool2d(image * known, 2, ceil_mode=True)
    holes = F.max_pool2d(hole[None].float(), 2, ceil_mode=True)[0] > 0
    return total / share.clamp_min(1e-6), holes, (share[0] > 0.6) & ~holes
