"""Pieces, bounds and nearest pixels of masks of one photo, each H W bool."""

from __future__ import annotations

import cv2
import numpy as np


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a mask that is not empty, right and bottom exclusive."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def nearest_pixels(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to, and flat index of, the nearest True pixel of a mask that is not empty, both H W."""
    distance, label = _nearest_labels(mask, cv2.DIST_LABEL_PIXEL)
    index = np.zeros(int(label.max()) + 1, np.int64)
    index[label[mask]] = np.flatnonzero(mask)
    return distance, index[label]


def nearest_pieces(mask: np.ndarray) -> np.ndarray:
    """Which connected piece of the mask, counted from 1 on, is nearest to each pixel, H W int32."""
    return _nearest_labels(mask, cv2.DIST_LABEL_CCOMP)[1]


def connected_to_border(mask: np.ndarray) -> np.ndarray:
    """The parts of the mask that reach the photo's border, not by corners alone."""
    piece = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1].astype(np.int32)
    reaches = np.zeros(int(piece.max()) + 1, bool)
    for edge in (piece[0], piece[-1], piece[:, 0], piece[:, -1]):
        reaches[edge] = True
    reaches[0] = False
    return reaches[piece]


def without_pinholes(mask: np.ndarray, share: float) -> np.ndarray:
    """The mask with those holes closed that are smaller than ``share`` of its area."""
    count, piece, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = (stats[:, cv2.CC_STAT_AREA] < share * mask.sum()) & (np.arange(count) > 0)
    return mask | small[piece.astype(np.int32)]


def shrunk(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask without what is within ``pixels`` of its edge; the photo's border is no edge."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.erode(mask.astype(np.uint8), kernel).astype(bool)


def _nearest_labels(mask: np.ndarray, kind: int) -> tuple[np.ndarray, np.ndarray]:
    distance, label = cv2.distanceTransformWithLabels((~mask).astype(np.uint8), cv2.DIST_L2, 5, labelType=kind)
    return distance, label.astype(np.int32)
