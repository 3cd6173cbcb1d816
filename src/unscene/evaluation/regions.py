"""What of a view a figure is about: the whole image, the object mask, its box, or places along its boundary."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.masks import bounding_box

Region = Literal["image", "mask", "box", "boundary"]

BOX_MARGIN = 0.1
"""How far a box reaches beyond its mask on each side, in shares of its own sides (ours: papers only name the box)."""
LEAST_SIDE = 64
"""Pixels below which the networks' poolings run out of image: smaller pictures are enlarged to it."""
PATCHES = 8
"""Patches of a view along its mask's boundary (ours)."""
PATCH_SHARE, LEAST_PATCH = 0.25, 16
"""Their side in shares of the longer side of a typical mask's box, and its least, in pixels (ours)."""


def wide_box(mask: Tensor, margin: float = BOX_MARGIN) -> tuple[slice, slice]:
    """Rows and columns of the box around a mask (H W bool, not empty), wider by ``margin``, within the image."""
    top, left, bottom, right = bounding_box(mask)
    down, across = round(margin * (bottom - top)), round(margin * (right - left))
    return (
        slice(max(top - down, 0), min(bottom + down, mask.shape[0])),
        slice(max(left - across, 0), min(right + across, mask.shape[1])),
    )


def region_pixels(mask: Tensor, region: Region) -> Tensor:
    """Which pixels of a view belong to the image, mask or box, H W bool."""
    if region == "mask":
        return mask
    pixels = torch.full_like(mask, region == "image")
    if region == "box":
        pixels[wide_box(mask)] = True
    return pixels


def region_picture(image: Tensor, mask: Tensor | None, region: Region) -> Tensor:
    """What a network is shown of an image (H W 3) to judge image, mask or box: 1 3 h w.

    The box is cut out. Of the mask too, and everything outside it is black: MALD-NeRF's M-LPIPS. (Published M-LPIPS is
    three quarters of LPIPS, so it cannot be of whole frames, which are black for the most part.)
    """
    if mask is not None and region != "image":
        rows, columns = wide_box(mask)
        image = (image * mask[..., None] if region == "mask" else image)[rows, columns]
    return enlarged(image.permute(2, 0, 1)[None])


def enlarged(pictures: Tensor) -> Tensor:
    """Pictures (N 3 h w) of at least ``LEAST_SIDE`` pixels, evenly enlarged if they are smaller."""
    scale = LEAST_SIDE / min(pictures.shape[-2:])
    if scale <= 1:
        return pictures
    size = [max(round(side * scale), LEAST_SIDE) for side in pictures.shape[-2:]]
    return F.interpolate(pictures, size=size, mode="bilinear", align_corners=False)


def patch_side(masks: list[Tensor]) -> int:
    """Side of all patches along the boundaries of some views' masks, in pixels: one size, whatever the view."""
    boxes = [bounding_box(mask) for mask in masks]
    longer = float(np.median([max(bottom - top, right - left) for top, left, bottom, right in boxes]))
    return min(max(round(PATCH_SHARE * longer), LEAST_PATCH), *masks[0].shape)


def boundary_patches(image: Tensor, mask: Tensor, side: int, count: int = PATCHES) -> Tensor:
    """Square patches centred on a mask's boundary, evenly along it, P 3 side side; none where it is the image's edge.

    Patches at the image's edge are moved inwards. image: H W 3; mask: H W bool.
    """
    contours, _ = cv2.findContours(mask.cpu().numpy().astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    height, width = mask.shape
    points = np.concatenate([contour[:, 0] for contour in contours]) if contours else np.zeros((0, 2), int)
    inside = (points > 0).all(1) & (points < (width - 1, height - 1)).all(1)
    points = points[inside]
    chosen = points[np.linspace(0, len(points), min(count, len(points)), endpoint=False).astype(int)]
    corners = [(int(y) - side // 2, int(x) - side // 2) for x, y in chosen]
    return _cut(image, [(min(max(y, 0), height - side), min(max(x, 0), width - side)) for y, x in corners], side)


def clean_patches(photo: Tensor, mask: Tensor, side: int, count: int = PATCHES) -> Tensor:
    """Square patches of a photo (H W 3) that show nothing of its mask (H W bool), P 3 side side: always the same."""
    hidden = F.max_pool2d(mask[None, None].float(), side, stride=1)[0, 0] > 0
    step = max(side // 2, 1)
    corners = [(y * step, x * step) for y, x in (~hidden[::step, ::step]).nonzero().tolist()]
    chosen = np.random.default_rng(0).permutation(len(corners))[:count]  # even steps may all hit one column
    return _cut(photo, [corners[index] for index in chosen], side)


def _cut(image: Tensor, corners: list[tuple[int, int]], side: int) -> Tensor:
    patches = [image[y : y + side, x : x + side].permute(2, 0, 1) for y, x in corners]
    return torch.stack(patches) if patches else image.new_zeros(0, 3, side, side)
