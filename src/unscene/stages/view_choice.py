"""Choosing views by how alike their inpaintings look: In-N-Out's base view and its training subset."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from unscene.files import to_uint8
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import bounding_box

HASH_BITS = 64


def perceptual_hash(image: Tensor, mask: Tensor) -> np.ndarray:
    """64-bit DCT hash of the mask's bounding box in an image (H W 3), as 8 bytes."""
    top, left, bottom, right = bounding_box(mask)
    crop = to_uint8(image[top:bottom, left:right]).cpu().numpy()
    return cv2.img_hash.pHash(np.ascontiguousarray(crop))  # pyright: ignore[reportAttributeAccessIssue]


def hash_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Share of equal bits of two hashes, in [0, 1]."""
    return 1 - float(np.unpackbits(np.bitwise_xor(a, b)).sum()) / HASH_BITS


def views_nearest_center(cameras: Cameras, views: Tensor, count: int) -> Tensor:
    """The ``count`` of ``views`` nearest the centroid of the views' positions (In-N-Out, section 3.1)."""
    positions = cameras.positions[views]
    order = (positions - positions.mean(0)).norm(dim=-1).argsort().cpu()
    return views[order[:count]]


def most_central(images: list[Tensor], masks: list[Tensor]) -> int:
    """Index of the image most similar to the others by perceptual hash inside the masks: the winner of the votes."""
    hashes = [perceptual_hash(image, mask) for image, mask in zip(images, masks, strict=True)]
    votes = [sum(hash_similarity(mine, other) for other in hashes) for mine in hashes]
    return int(np.argmax(votes))


def similar_views(
    cameras: Cameras, views: Tensor, base: int, similarity: Tensor, *, share: float, groups: tuple[int, int, int]
) -> Tensor:
    """Of each group of neighbouring viewpoints, the ``share`` most similar to the base view (appendix of In-N-Out).

    Viewpoints are split in the base camera's frame into groups[0] x groups[1] x groups[2] cells along x, y, z, with
    equal counts per axis. similarity: one number per view. Every group that has a view keeps at least one.
    """
    if len(views) == 0:
        return views
    T = cameras.T_world_camera[base]
    local = ((cameras.positions[views] - T[:, 3]) @ T[:, :3]).cpu()
    cell = torch.zeros(len(views), dtype=torch.long)
    for axis, parts in enumerate(groups):
        rank = local[:, axis].argsort().argsort()
        cell = cell * parts + rank * parts // len(views)
    kept = []
    for group in cell.unique().tolist():
        members = (cell == group).nonzero()[:, 0]
        best = similarity[members].argsort(descending=True)[: max(1, round(share * len(members)))]
        kept.append(members[best])
    return views[torch.cat(kept).sort().values]


def spread(views: Tensor, most: int | None) -> Tensor:
    """At most so many of the views, evenly chosen; None: all."""
    if most is None or len(views) <= most:
        return views
    return views[torch.linspace(0, len(views) - 1, most).round().long()]
