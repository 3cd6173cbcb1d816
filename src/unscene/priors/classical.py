"""Inpainting without learnt weights: patches of the image itself, and OpenCV's shift map, Telea and Navier-Stokes."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from unscene.priors.exemplar.offset_completion import OffsetConfig
from unscene.priors.exemplar.patch_completion import complete
from unscene.priors.exemplar.patch_matching import NothingToCopyError
from unscene.priors.exemplar.shift_map import shift_map
from unscene.priors.inpainter import StructureGuide, check_images
from unscene.priors.prior_error import PriorError

Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]  # uint8 H W 3 and its hole, H W bool -> filled
UNFILLED_LAB = 0  # all three channels: no real colour in OpenCV's 8-bit Lab, whose black is (0, 128, 128)
STRAY_SHARE = 0.02  # isolated pixels that the shift map skips are no failure; more than this share of a hole is


@dataclass
class ExemplarInpainter:
    """Fill a hole with patches of its surroundings, see `patch_completion`.

    Real texture, sharp; edges and patterns run on. Without a guide it needs no weights, and copies the wrong thing
    where the rim does not tell what belongs there. A hole beside which nothing can be copied goes to Telea with a
    warning.
    """

    guide: StructureGuide | None = None
    """What says where which patches belong."""

    context: float = 0.75
    """Surroundings to copy from, on each side, as a share of the hole's box; the fill's time grows with it."""
    largest_side: int = 384
    """Crops longer than this, in pixels, are filled at reduced size and enlarged."""
    along_surfaces: OffsetConfig = field(default_factory=OffsetConfig)
    """How it copies along a surface that is looked at squarely, see `surface_fill`."""

    @property
    def name(self) -> str:
        """What the run record and the report call it."""
        return f"exemplar guided by {self.guide.name}" if self.guide else "exemplar"

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """See `Inpainter.inpaint`; without a guide nothing is random."""

        def patched(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
            pixels, missing = torch.from_numpy(image).float() / 255, torch.from_numpy(hole)
            expected = None
            if self.guide is not None:
                expected = self.guide.expected_fill(pixels[None], missing[None], generator=generator)[0]
            try:
                filled = complete(pixels, missing, ~missing, guide=expected)
            except NothingToCopyError:
                _warn_of_telea("exemplar", int(hole.sum()), int(hole.sum()))
                return _smooth_fill(image, hole, cv2.INPAINT_TELEA, 3)
            return (filled.clamp(0, 1) * 255).round().byte().numpy()

        return _each(images, masks, lambda image, mask: _in_crop(image, mask, self.context, self.largest_side, patched))


@dataclass
class ShiftMapInpainter:
    """Fill a hole with shifted pieces of its surroundings, chosen by graph cuts (He and Sun 2012), from OpenCV.

    Where no shift reaches, the fill is repeated from what has been filled, and what is left even then goes to Telea
    with a warning.
    """

    context: float = 0.75
    """Surroundings to copy from, on each side, as a share of the hole's box; the fill's time grows with it."""
    largest_side: int = 512
    """Crops longer than this, in pixels, are filled at reduced size and enlarged."""
    rounds: int = 4
    """Fills to try, each starting from the last, before handing what is left to Telea."""
    name: str = "shift-map"

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """See `Inpainter.inpaint`; deterministic, `generator` is unused."""
        return _each(
            images, masks, lambda image, mask: _in_crop(image, mask, self.context, self.largest_side, self._fill)
        )

    def _fill(self, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        lab, left = cv2.cvtColor(image, cv2.COLOR_RGB2Lab), hole
        for _ in range(self.rounds):
            if not left.any() or left.all():  # either makes OpenCV's shift map crash
                break
            filled = shift_map(lab, left)
            still = left & (filled == UNFILLED_LAB).all(-1)
            lab = np.where((left & ~still)[..., None], filled, lab)
            if still.sum() == left.sum():
                break
            left = still
        out = cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)
        if left.sum() > STRAY_SHARE * hole.sum():
            _warn_of_telea("shift-map", int(left.sum()), int(hole.sum()))
        if left.any():
            out = _smooth_fill(out, left, cv2.INPAINT_TELEA, 3)
        return out


@dataclass
class TeleaInpainter:
    """Fast marching from the rim (Telea 2004): smooth, immediate, without texture."""

    radius: float = 3.0
    """Neighbourhood that a filled pixel averages, pixels."""
    name: str = "telea"

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """See `Inpainter.inpaint`; deterministic, `generator` is unused."""
        return _each(images, masks, lambda image, mask: _smooth_fill(image, mask, cv2.INPAINT_TELEA, self.radius))


@dataclass
class NavierStokesInpainter:
    """Continue isophotes into the hole (Bertalmio et al. 2001): smooth, immediate, without texture."""

    radius: float = 3.0
    """Neighbourhood that a filled pixel uses, pixels."""
    name: str = "navier-stokes"

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """See `Inpainter.inpaint`; deterministic, `generator` is unused."""
        return _each(images, masks, lambda image, mask: _smooth_fill(image, mask, cv2.INPAINT_NS, self.radius))


@dataclass
class BiharmonicInpainter:
    """The smoothest surface through the known pixels (Damelin and Hoang 2018), from scikit-image."""

    name: str = "biharmonic"

    def __post_init__(self):
        if importlib.util.find_spec("skimage") is None:
            raise PriorError("biharmonic: expected scikit-image; pip install scikit-image.")

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """See `Inpainter.inpaint`; deterministic, `generator` is unused."""
        from skimage.restoration import inpaint_biharmonic

        def fill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
            filled = inpaint_biharmonic(image.astype(np.float64) / 255, mask, channel_axis=-1)
            return (filled.clip(0, 1) * 255).round().astype(np.uint8)

        return _each(images, masks, fill)


def _smooth_fill(image: np.ndarray, mask: np.ndarray, method: int, radius: float) -> np.ndarray:
    return cv2.inpaint(np.ascontiguousarray(image), mask.astype(np.uint8), radius, method)


def _in_crop(image: np.ndarray, mask: np.ndarray, context: float, largest_side: int, fill: Fill) -> np.ndarray:
    """Fill within the hole's surroundings, at reduced size if they are large."""
    spans = []
    for axis in (1, 0):
        inside = np.flatnonzero(mask.any(axis))
        margin = max(16, round(context * (inside[-1] + 1 - inside[0])))
        spans.append(slice(max(0, inside[0] - margin), inside[-1] + 1 + margin))
    rows, columns = spans
    crop, hole = image[rows, columns], mask[rows, columns]
    scale = min(1.0, largest_side / max(hole.shape))
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else crop
    small_hole = cv2.resize(hole.astype(np.uint8), small.shape[1::-1], interpolation=cv2.INTER_AREA) > 0
    out = image.copy()
    filled = fill(small, small_hole)
    out[rows, columns] = cv2.resize(filled, crop.shape[1::-1], interpolation=cv2.INTER_CUBIC) if scale < 1 else filled
    return out


def _warn_of_telea(name: str, left: int, hole: int) -> None:
    warnings.warn(f"{name} fill found nothing to copy for {left} of {hole} pixels; Telea filled them", stacklevel=4)


def _each(images: Tensor, masks: Tensor, fill: Fill) -> Tensor:
    """Apply a function of uint8 H W 3 and bool H W to each image; keep unmasked pixels, skip images without a hole."""
    check_images(images, masks)
    out = images.clone()
    for index in range(len(images)):
        mask = masks[index].cpu().numpy()
        if not mask.any():
            continue
        if mask.all():
            raise ValueError(f"image {index} is masked completely; inpainting needs some pixels to start from")
        image = (images[index].clamp(0, 1) * 255).round().byte().cpu().numpy()
        filled = torch.from_numpy(fill(image, mask)).to(images) / 255
        out[index] = torch.where(masks[index][..., None], filled, images[index])
    return out
