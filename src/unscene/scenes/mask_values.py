"""What a mask file says: which of its pixels are white, whatever tool wrote it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from unscene.scenes.capture import listing
from unscene.scenes.orientation import as_stored
from unscene.scenes.pinhole import Resampling
from unscene.scenes.scene import SceneError

MOST_LABELS = 64  # an image of more grey levels or colours than this shows shades, not labels
FEW_LEVELS = 8  # so many greys may still be labels, stretched so that people see them
VOID_BESIDE = 32  # label images may mark what is void as 255, beside labels up to this
SAMPLED = 250  # rows and columns that are looked at to count colours
COMMON_COLORS = 16  # a photo has more colours than this, each of them on few of its pixels


@dataclass(frozen=True)
class MaskImage:
    """One decoded mask file.

    values: H W uint8, uint16 or float32: grey levels, or labels of which 0 is what to keep. levels: the values that
    occur, None if they are many or mean nothing. alpha: H W uint8, None if there is none or nothing is transparent.
    """

    name: str
    kind: Literal["grey", "palette", "colors", "photo"]
    values: np.ndarray
    levels: tuple[float, ...] | None
    alpha: np.ndarray | None = None

    @property
    def is_cut_out(self) -> bool:
        """Whether something is opaque, something transparent."""
        return self.alpha is not None and bool(self.alpha.max() >= 128)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.values.shape[1], self.values.shape[0]

    def fitted(self, size: tuple[int, int], resampling: Resampling | None) -> MaskImage:
        """The mask at another (width, height), or as a pinhole camera sees it; no value is mixed from others."""

        def fit(array: np.ndarray) -> np.ndarray:
            if resampling:
                return resampling.labels(array, size)
            return cv2.resize(array, size, interpolation=cv2.INTER_NEAREST_EXACT)

        alpha = None if self.alpha is None else fit(self.alpha)
        return dataclasses.replace(self, values=fit(self.values), alpha=alpha)


def decode_mask(path: Path) -> MaskImage:
    """Read a mask file. Raises OSError, SyntaxError or DecompressionBombError for one that cannot be decoded."""
    with Image.open(path) as opened:
        image = as_stored(opened)
        image.load()
    alpha = None
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        alpha = None if alpha.min() >= 128 else alpha
    if image.mode == "P" and not _shades_of_grey(image):
        values = np.array(image)
        return MaskImage(path.name, "palette", values, _levels(values), alpha)
    if image.mode == "F":
        values = np.nan_to_num(np.array(image), posinf=0, neginf=0)
        return MaskImage(path.name, "grey", values, _levels(values), alpha)
    if image.mode.startswith("I"):
        values = np.asarray(image).clip(0, 65535).astype(np.uint16)
        values = values.astype(np.uint8) if values.max() < 256 else values
        return MaskImage(path.name, "grey", values, _levels(values), alpha)
    lossy = opened.format in ("JPEG", "WEBP")  # with noise that is no label
    red, green, blue = (np.asarray(channel) for channel in image.convert("RGB").split())
    brightest = np.maximum(np.maximum(red, green), blue)
    if (red != green).any() or (green != blue).any():
        return _colored(path.name, np.stack([red, green, blue], -1), brightest, alpha, lossy)
    levels = None if lossy and brightest.max() >= 128 else _levels(brightest)
    return MaskImage(path.name, "grey", brightest, levels, alpha)


def white_pixels(
    masks: Sequence[MaskImage], source: str, label: int | None = None
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Where each of the masks of one source is white, H W bool, and notes.

    They are judged together: of labels 0, 1, 2 some files have only 0 and 1.

    label: the one label that counts as white. Raises SceneError if no mask has it, or for photos.
    """
    white: list[np.ndarray | None] = [None] * len(masks)
    notes: list[str] = []
    by_alpha = any(mask.is_cut_out for mask in masks)
    groups: dict[str, list[int]] = {}
    for index, mask in enumerate(masks):
        kind = "cut-out" if by_alpha and mask.alpha is not None else mask.kind
        groups.setdefault("deep" if kind == "grey" and mask.values.dtype != np.uint8 else kind, []).append(index)
    if label is not None:
        _check_label(masks, groups, label, source)
    if "photo" in groups:
        names = listing([masks[index].name for index in groups["photo"]])
        raise SceneError(
            f"{source}: expected masks, got {len(groups['photo'])} files that look like photos: {names}; "
            "remove them, or choose the folder of masks with --masks."
        )
    for kind, members in groups.items():
        found, said = _READERS[kind]([masks[index] for index in members], label)
        for index, pixels in zip(members, found, strict=True):
            white[index] = pixels
        notes += [f"{source}: {note}" for note in said]
    return [pixels for pixels in white if pixels is not None], tuple(notes)


def _cut_outs(masks: list[MaskImage], label: int | None) -> tuple[list[np.ndarray], list[str]]:
    note = f"{len(masks)} masks are cut-outs, with an alpha channel that varies: what is opaque is the object"
    return [mask.alpha >= 128 for mask in masks if mask.alpha is not None], [note]


def _palettes(masks: list[MaskImage], label: int | None) -> tuple[list[np.ndarray], list[str]]:
    return _labelled(masks, label, "are palette images of the labels")


def _color_labels(masks: list[MaskImage], label: int | None) -> tuple[list[np.ndarray], list[str]]:
    return [mask.values > 0 for mask in masks], [f"{len(masks)} masks are coloured: every colour but black is removed"]


def _grey(masks: list[MaskImage], label: int | None) -> tuple[list[np.ndarray], list[str]]:
    levels = _union(masks)
    if label is not None or (levels and (levels[-1] < 128 or _void_is_255(masks, levels)) and levels[-1] > 0):
        if label is None and levels == (0, 1):
            return [mask.values > 0 for mask in masks], ["masks hold 0 and 1, not 0 and 255; 1 is read as white"]
        return _labelled(masks, label, "hold the labels")
    notes = []
    if levels and len(levels) <= FEW_LEVELS and any(1 < level < 128 for level in levels):
        notes = [f"masks hold the grey levels {_listed(levels)}: those below 128 are kept; --mask-label N removes one"]
    return [mask.values >= 128 for mask in masks], notes


def _deep(masks: list[MaskImage], label: int | None) -> tuple[list[np.ndarray], list[str]]:
    """16-bit and float images, each against the brightest value of all: 1 for shares, else 255, else 65535."""
    levels, brightest = _union(masks), max(float(mask.values.max()) for mask in masks)
    whole = levels is not None and all(level == round(level) for level in levels)
    if label is not None or (levels and whole and 1 < brightest < 32768 and brightest != 255):
        return _labelled(masks, label, "hold the labels")
    top = next((top for top in (1, 255) if brightest <= top), 65535)
    return [mask.values >= (top + 1) / 2 if top > 1 else mask.values >= 0.5 for mask in masks], []


def _labelled(masks: list[MaskImage], label: int | None, are: str) -> tuple[list[np.ndarray], list[str]]:
    if label is not None:
        return [mask.values == label for mask in masks], []
    note = f"masks {are} {_listed(_union(masks))}: all but 0 are removed; --mask-label N removes one"
    return [mask.values > 0 for mask in masks], [note]


_READERS = {"cut-out": _cut_outs, "palette": _palettes, "colors": _color_labels, "grey": _grey, "deep": _deep}


def _check_label(masks: Sequence[MaskImage], groups: dict[str, list[int]], label: int, source: str) -> None:
    if label < 1:
        raise SceneError(f"mask label: expected a number of at least 1 (0 is what to keep), got {label}.")
    for kind, what in (("cut-out", "an alpha channel"), ("colors", "colours")):
        if kind in groups:
            raise SceneError(
                f"{source}: expected masks whose pixels are numbers, to find label {label} in them, but "
                f"{masks[groups[kind][0]].name} has {what}; leave --mask-label out, or save the labels as numbers."
            )
    if not any((mask.values == label).any() for mask in masks):
        raise SceneError(
            f"{source}: expected label {label} in one of the masks at least, found {_listed(_union(masks))}; "
            "choose one of these."
        )


def _void_is_255(masks: Sequence[MaskImage], levels: tuple[float, ...]) -> bool:
    """Whether grey levels number objects, and 255 is where nobody knows: labels are small, and on more pixels."""
    *others, last = levels
    if last != 255 or 1 not in others or max(others) > VOID_BESIDE:
        return False
    void = sum(int((mask.values == 255).sum()) for mask in masks)
    return sum(int((mask.values > 0).sum()) for mask in masks) > 2 * void


def _union(masks: Sequence[MaskImage]) -> tuple[float, ...] | None:
    levels = {level for mask in masks for level in mask.levels or ()}
    return None if any(mask.levels is None for mask in masks) or len(levels) > MOST_LABELS else tuple(sorted(levels))


def _listed(levels: tuple[float, ...] | None) -> str:
    return f"more than {MOST_LABELS}" if levels is None else listing([f"{level:g}" for level in levels], 8)


def _levels(values: np.ndarray) -> tuple[float, ...] | None:
    whole = values.dtype != np.float32
    found = np.flatnonzero(np.bincount(values.ravel())) if whole else np.unique(values)
    return None if len(found) > MOST_LABELS else tuple(float(value) for value in found)


def _shades_of_grey(image: Image.Image) -> bool:
    """Whether the colours of a palette say what is white, not their numbers: all of them grey, and not few of them
    in a row from black on, as labels are drawn."""
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    number = np.flatnonzero(image.histogram()[: len(palette)])
    used = palette[number].astype(int)
    row = 2 < len(number) <= FEW_LEVELS and number[0] == 0 == used[0, 0] and (np.diff(used[:, 0]) > 0).all()
    return bool((used == used[:, :1]).all() and not row)


def _colored(name: str, rgb: np.ndarray, brightest: np.ndarray, alpha: np.ndarray | None, lossy: bool) -> MaskImage:
    """Labels drawn in colours on black, else a photo or shades of a colour."""
    height, width = brightest.shape
    sample = rgb[:: max(1, height // SAMPLED), :: max(1, width // SAMPLED)].reshape(-1, 3).astype(np.int32)
    colors = np.unique(sample @ (1 << 16, 1 << 8, 1))
    if not lossy and len(colors) <= MOST_LABELS and (rgb == 0).all(-1).any():
        return MaskImage(name, "colors", (brightest > 0).astype(np.uint8), (0.0, 1.0), alpha)
    coarse = (sample >> 4) @ (1 << 8, 1 << 4, 1)
    shares = np.sort(np.bincount(coarse[sample.max(-1) >= 32]))[::-1]
    photo = shares.sum() > 0 and shares[:COMMON_COLORS].sum() < 0.9 * shares.sum()
    return MaskImage(name, "photo" if photo else "grey", brightest, None, alpha)
