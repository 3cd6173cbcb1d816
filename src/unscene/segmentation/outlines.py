"""Masks in single photos: tidied, and drawn along the photo's own edges."""

from __future__ import annotations

import cv2
import numpy as np

CLOSING = 2  # pixels: gaps between projected voxels
SMALLEST_HOLE, SMALLEST_PIECE = 0.01, 0.05  # of the mask's area: smaller holes are filled, smaller pieces dropped
BAND = 2  # pixels to either side of an outline within which it may move
MARGIN = 0.25  # of a mask's size: surroundings that teach the background's colours
FINER = 2  # times as fine as the photo, where thin things are several pixels wide
ROUNDS = 3
SMALLEST_MASK = 30  # pixels: smaller ones have no colours to learn


def tidied(mask: np.ndarray) -> np.ndarray:
    """A mask (H W bool) with gaps closed, small holes filled and specks dropped."""
    area = int(mask.sum())
    if area == 0:
        return mask
    pad = 4 * CLOSING
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disk(CLOSING))[pad:-pad, pad:-pad]
    number, piece, facts, _ = cv2.connectedComponentsWithStats(1 - closed, connectivity=4)
    small = facts[:, cv2.CC_STAT_AREA] < SMALLEST_HOLE * area
    closed = np.where(small[piece.astype(np.int64)], np.uint8(1), closed)
    number, piece, facts, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    large = facts[:number, cv2.CC_STAT_AREA] >= SMALLEST_PIECE * area
    large[0] = False
    return large[piece.astype(np.int64)]


def drawn_along_edges(image: np.ndarray, mask: np.ndarray, band: int = BAND, *, finer: int = FINER) -> np.ndarray:
    """A mask (H W bool) whose outline moves to the edges of the photo (H W 3 uint8), by ``band`` pixels at most:
    GrabCut (Rother et al. 2004) on ``finer`` times the resolution."""
    if mask.sum() < SMALLEST_MASK:
        return mask
    window = _window(mask)
    part, small = image[window], mask[window].astype(np.float32)
    size = (part.shape[1], part.shape[0])
    fine = (finer * size[0], finer * size[1])
    part = cv2.resize(part, fine, interpolation=cv2.INTER_CUBIC) if finer > 1 else part
    inside = (cv2.resize(small, fine, interpolation=cv2.INTER_LINEAR) > 0.5).astype(np.uint8)
    pad, disk = 2 * finer * band, _disk(finer * band)
    padded = cv2.copyMakeBorder(inside, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    core = cv2.erode(padded, disk)[pad:-pad, pad:-pad]
    reach = cv2.dilate(padded, disk)[pad:-pad, pad:-pad]
    trimap = np.where(inside > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    trimap = np.where(core > 0, cv2.GC_FGD, np.where(reach == 0, cv2.GC_BGD, trimap)).astype(np.uint8)
    if not inside.any() or inside.all() or not (trimap == cv2.GC_BGD).any():
        return mask
    cv2.setRNGSeed(0)  # its colour models start from random clusters
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(part[..., ::-1]), trimap, (0, 0, 0, 0), *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = ((trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)).astype(np.float32)
    result = np.zeros_like(mask)
    result[window] = cv2.resize(found, size, interpolation=cv2.INTER_AREA) >= 0.5
    return result


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """The mask's surroundings, rows and columns."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    margin = max(12, int(MARGIN * max(np.ptp(rows), np.ptp(columns))))
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    return slice(top, rows[-1] + 1 + margin), slice(left, columns[-1] + 1 + margin)


def _disk(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
