"""An object in front of a plain background: what differs from the smooth colour that the photo's border has."""

from __future__ import annotations

import cv2
import numpy as np

from unscene.objects.masks import connected_to_border, nearest_pixels, shrunk

BORDER_SHARE = 0.7  # of the border that a plain background covers: the object may touch the rest
ONE_COLOR = 40  # of 255, from the border's median in any channel: includes soft vignetting
PLAIN_NOISE = 8  # of 255, standard deviation around a smooth background: above that it is a texture
LEAST_TOLERANCE, MOST_TOLERANCE = 12.0, 24.0  # of 255; JPEG's echoes of edges stay below the least
EDGE = 3  # pixels from the mask's outside inward, over which lens and JPEG mix object and background


def cut_by_plain_background(color: np.ndarray) -> tuple[np.ndarray, np.ndarray, str] | None:
    """The object's own colours (H W 3 uint8), its alpha (H W float32) and the background's colour as #rrggbb.

    color: H W 3 uint8. Only background connected to the photo's border is cut: a white label in front of white stays,
    and so does what is seen through a handle. None where the border has no plain background.
    """
    ring = np.ones(color.shape[:2], bool)
    thickness = max(2, min(color.shape[:2]) // 100)
    ring[thickness:-thickness, thickness:-thickness] = False
    median = np.median(color[ring], 0)
    known = ring & (np.abs(color - median.astype(np.float32)).max(2) <= ONE_COLOR)
    if known.sum() < BORDER_SHARE * ring.sum():
        return None
    background, tolerance = np.empty(color.shape, np.float32), 0.0
    for _ in range(3):  # the more background is known, the better its shading is
        background, noise = _smooth_background(color, known)
        if noise > PLAIN_NOISE:
            return None
        difference = cv2.GaussianBlur(color - background, (3, 3), 0)
        tolerance = min(max(4 * noise, LEAST_TOLERANCE), MOST_TOLERANCE)
        known = connected_to_border(np.abs(difference).max(2) <= tolerance)
        if known[ring].mean() < BORDER_SHARE:
            return None
    result, alpha = _matte(color, background, ~known, tolerance)
    return result, alpha, "#" + "".join(f"{round(channel):02x}" for channel in median)


def _smooth_background(color: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, float]:
    """H W 3 float32, a quadratic in x and y for each channel that fits most known pixels, and the noise around it."""
    y, x = (np.linspace(-1, 1, length, dtype=np.float32) for length in color.shape[:2])
    pixels = np.flatnonzero(known)
    pixels = pixels[:: max(1, len(pixels) // 20000)]
    row, column = np.divmod(pixels, color.shape[1])
    seen = color[row, column].astype(np.float32)
    terms = np.stack(_quadratic(x[column], y[row]), 1)
    fitting, noise, factors = np.ones(len(pixels), bool), 0.0, np.zeros((6, 3), np.float32)
    for _ in range(4):  # anew without the outliers: parts of the object at the border
        factors = np.linalg.lstsq(terms[fitting], seen[fitting], rcond=None)[0]
        residual = np.abs(seen - terms @ factors).max(1)
        noise = 1.4826 * float(np.median(residual))
        fitting = residual <= max(3 * noise, 3)
    background = np.zeros(color.shape, np.float32)
    for plane, factor in zip(_quadratic(x[None, :, None], y[:, None, None]), factors, strict=True):
        background += plane * factor
    return background, noise


def _quadratic(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    return np.ones_like(x), x, y, x * x, y * y, x * y


def _matte(
    color: np.ndarray, background: np.ndarray, mask: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """The object's own colours, H W 3 uint8, and alpha, H W float32, where both mix along the mask's edge.

    The colour seen there lies on the line from the background's to that of the nearest pixel well inside the object:
    how far along it is alpha. Objects that hardly differ from the background keep the mask.
    """
    alpha, result = mask.astype(np.float32), color.copy()
    inner = shrunk(mask, EDGE)
    if not inner.any():
        return result, alpha
    distance, nearest = nearest_pixels(inner)
    edge = mask & ~inner & (distance <= 2 * EDGE)  # thin parts, farther from any inner pixel, stay as they are
    behind, seen = background[edge], color[edge].astype(np.float32)
    contrast = color.reshape(-1, 3)[nearest[edge]] - behind
    strength = (contrast**2).sum(1)
    along = ((seen - behind) * contrast).sum(1) / np.maximum(strength, 1)
    along = np.where(strength > (3 * tolerance) ** 2, along.clip(0, 1), 1)[:, None]
    unmixed = np.where(along > 0.2, (seen - (1 - along) * behind) / np.maximum(along, 0.2), behind + contrast)
    alpha[edge] = along[:, 0]
    result[edge] = unmixed.clip(0, 255).round()
    return result, alpha
