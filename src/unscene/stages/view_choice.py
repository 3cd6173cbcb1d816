"""Choosing views by how alike their inpaintings look: In-N-Out's base view and its training subset."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from unscene.files import to_uint8
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import bounding_box

HASH_BITS = 64


def perceptual_hash(image: Tensor, mask: Tensor) -> np.ndarray:
    """64-bit DCT hash of what a mask (H W bool) covers of an image (H W 3), as 8 bytes: OpenCV's pHash (Zauner 2010) of
    its bounding box, white outside it, for what stands around differs from view to view.

    In-N-Out's release asks the package imagehash, about whole photos that are white outside the mask.
    """
    top, left, bottom, right = bounding_box(mask)
    covered = torch.where(mask[..., None], image, 1.0)[top:bottom, left:right]
    crop = to_uint8(covered.flip(-1)).cpu().numpy()  # OpenCV's colours are blue, green, red
    return cv2.img_hash.pHash(np.ascontiguousarray(crop))  # pyright: ignore[reportAttributeAccessIssue]


def hash_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Share of equal bits of two hashes, in [0, 1]."""
    return 1 - float(np.unpackbits(np.bitwise_xor(a, b)).sum()) / HASH_BITS


def views_nearest_center(cameras: Cameras, views: Tensor, count: int, spacing: int = 1) -> Tensor:
    """The ``count`` of ``views`` nearest the centroid of the views' positions (In-N-Out, section 3.1).

    spacing: of the views in that order every so manieth, or the most that leaves enough of them (3 in its release).
    """
    positions = cameras.positions[views]
    order = (positions - positions.mean(0)).norm(dim=-1).argsort().cpu()
    spacing = max(1, min(spacing, (len(views) - 1) // max(1, count - 1)))
    return views[order[::spacing][:count]]


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
    equal counts per axis. similarity: one number per view. The ``share`` of all views is kept, at least one; what does
    not come out even goes to the groups that miss most of their share, the most similar views first.
    """
    if len(views) == 0:
        return views
    T = cameras.T_world_camera[base]
    local = ((cameras.positions[views] - T[:, 3]) @ T[:, :3]).cpu()
    cell = torch.zeros(len(views), dtype=torch.long)
    for axis, parts in enumerate(groups):
        rank = local[:, axis].argsort().argsort()
        cell = cell * parts + rank * parts // len(views)
    kept: list[int] = []
    next_best: list[tuple[float, float, int]] = []  # of each group: what it misses of its share, and its next view
    for group in cell.unique().tolist():
        members = (cell == group).nonzero()[:, 0]
        members = members[similarity[members].argsort(descending=True)].tolist()
        whole = math.floor(share * len(members))
        kept += members[:whole]
        if whole < len(members):
            next_best.append((share * len(members) - whole, float(similarity[members[whole]]), members[whole]))
    missing = max(1, math.floor(share * len(views) + 0.5)) - len(kept)
    kept += [view for _, _, view in sorted(next_best, reverse=True)[: max(0, missing)]]
    return views[torch.tensor(sorted(kept))]


def views_with_holes(region: Tensor, views: Tensor) -> Tensor:
    """Those of ``views`` in which something is to be filled (region: N H W bool)."""
    return views[region.flatten(1).any(1).cpu()[views]]


def spread(views: Tensor, most: int | None) -> Tensor:
    """At most so many of the views, evenly chosen; None: all."""
    if most is None or len(views) <= most:
        return views
    return views[torch.linspace(0, len(views) - 1, most).round().long()]
