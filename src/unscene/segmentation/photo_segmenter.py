"""PhotoSegmenter: what finds objects in single photos, and outlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from unscene.segmentation.outlines import BAND, FINER, drawn_along_edges
from unscene.segmentation.prompts import Box, Click


class PhotoSegmenter(Protocol):
    """Knows images, never cameras."""

    @property
    def name(self) -> str: ...

    def propose(self, image: np.ndarray, prompts: Sequence[Click | Box]) -> list[np.ndarray]:
        """What prompts in a photo (H W 3 uint8) may mean, H W bool each, best first; none if it cannot tell."""
        ...

    def refine(self, image: np.ndarray, mask: np.ndarray, band: int = BAND) -> np.ndarray:
        """A mask (H W bool) that is right but for ``band`` pixels or so, drawn along the photo's outlines, H W bool."""
        ...


class GrabCutSegmenter:
    """Without weights: the surface tells objects apart, the photo only where their outlines run."""

    name = "surface"

    def propose(self, image: np.ndarray, prompts: Sequence[Click | Box]) -> list[np.ndarray]:
        return []

    def refine(self, image: np.ndarray, mask: np.ndarray, band: int = BAND) -> np.ndarray:
        return drawn_along_edges(image, mask, band, finer=FINER if band <= BAND else 1)
