"""Values of a region's pixels in some views, which may change while something learns from them."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from unscene.geometry.randomness import sent


class RegionValues(nn.Module):
    """A module, so that the values are saved with what learns from them. Only the region's P pixels are kept, view by
    view and row by row, so that a checkpoint does not hold whole images.

    region: V H W bool; values: P or P C to begin with, of any type.
    """

    values: Tensor
    pixels: Tensor

    def __init__(self, region: Tensor, values: Tensor):
        super().__init__()
        ends = [0, *region.flatten(1).sum(1).cumsum(0).tolist()]
        self._parts = [slice(start, end) for start, end in itertools.pairwise(ends)]
        pixels = [hole.flatten().nonzero()[:, 0] for hole in region]
        self.register_buffer("pixels", torch.cat(pixels).to(values.device), persistent=False)  # of their images
        self.register_buffer("values", values.clone())

    def on(self, image: Tensor, index: int) -> Tensor:
        """An image (H W or H W C) with the values of the view at ``index`` in its region."""
        image, part = sent(image, self.values.device), self._parts[index]
        flat = image.reshape(-1, *image.shape[2:])
        return flat.index_copy(0, self.pixels[part], self.values[part]).view(image.shape)

    def replace(self, index: int, values: Tensor) -> Tensor:
        """Put others (P' or P' C) in the place of a view's; returns what there was."""
        part = self._parts[index]
        before = self.values[part].clone()
        self.values[part] = values.to(self.values)
        return before
