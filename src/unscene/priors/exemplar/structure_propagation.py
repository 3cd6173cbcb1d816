"""Straight edges that run on behind a hole until they meet (structure propagation, Sun et al. 2005, without the user
who draws the lines).

Seams cost least where they are short, so a completion that heeds nothing else cuts off the corners that a hole hides.
What stands around a hole is parted by wedges, whose sides are such edges and whose corner may lie in the hole: by those
that tell most of the colours on either side. Patterns part no differently from plain surfaces, as colours are counted,
not averaged. Ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

COLORS = 16  # that are told apart
LIGHTNESS = 0.5  # its weight beside Lab's two others, or shade would part things
REACH = 0.5  # how far around a hole is looked, as a share of the root of its area
FEWEST_AROUND = 200  # visible pixels there, of which colours are counted
DIRECTIONS = 64  # of a wedge's sides
SPACING = 4  # pixels between the corners that are tried at first
REFINED = 2  # pixels around the best, within which all are tried, with twice as many directions
LEAST = 0.3  # nats that a wedge must tell of each pixel's colour; two things of equal size that share none give 0.69
SMALLEST = 0.06  # share of the pixels around a part that must lie on either side of a wedge
FEWEST = 20  # missing pixels of a part that may be parted again
MOST = 4  # parts
WINDOW = 5  # pixels along the sides of the square whose colours tell which part a visible pixel is like
ALIKE = 4  # neighbours that count as one there, as they hardly differ


@dataclass(frozen=True)
class Wedge:
    """What lies between two rays from a corner (row, column). start: direction of one, extent: angle to the other, in
    turns from the columns' axis towards the rows'."""

    corner: tuple[float, float]
    start: float
    extent: float

    def holds(self, at: np.ndarray) -> np.ndarray:
        """Whether positions (N 2: rows, columns) lie inside, N bool."""
        return (_turns(at, self.corner) - self.start) % 1 < self.extent


@dataclass(frozen=True)
class Structure:
    """The parts of a hole. parts: N, which one each missing pixel belongs to, row by row; likeness: K H W in [0, 1],
    how surely a visible pixel shows what stands in each part."""

    parts: np.ndarray
    likeness: np.ndarray

    def mismatch(self, sources: np.ndarray) -> np.ndarray:
        """How surely what is at the sources of all missing pixels (K N 2) is what stands in another part, K N."""
        limit = np.array(self.likeness.shape[1:]) - 1
        row, column = sources.clip(0, limit).transpose(2, 0, 1)
        return 1 - self.likeness[self.parts, row, column]


def propagate_structure(image: Tensor, missing: Tensor, known: Tensor) -> Structure | None:
    """Part the missing pixels (H W bool) of an image (C H W, RGB in [0, 1]) as what is visible (H W bool) around them
    is parted by straight edges; None if no edge runs into the hole. Nothing is random."""
    hole, visible = missing.numpy(), known.numpy()
    reach = max(4, round(REACH * float(hole.sum()) ** 0.5))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    around = (cv2.dilate(hole.astype(np.uint8), disc) > 0) & visible
    if around.sum() < FEWEST_AROUND:
        return None
    colors = _counted_colors(image, around)
    beside, inside = np.argwhere(around), np.argwhere(hole)
    part_beside, part_inside = _parted(colors[around], beside, inside)
    if not part_beside.any():
        return None
    return Structure(part_inside, _likeness(colors, visible, beside, part_beside))


def _counted_colors(image: Tensor, around: np.ndarray) -> np.ndarray:
    """The nearest of a few typical colours of the pixels around a hole (H W bool), for each pixel of an image (C H W):
    H W."""
    rgb = np.ascontiguousarray(image.permute(1, 2, 0).numpy(), np.float32)
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab) * np.array([LIGHTNESS, 1, 1], np.float32)
    cv2.setRNGSeed(0)
    until = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.1)
    _, _, typical = cv2.kmeans(lab[around], COLORS, None, until, 1, cv2.KMEANS_PP_CENTERS)  # pyright: ignore
    return np.square(lab[:, :, None] - typical).sum(-1).argmin(-1)


def _parted(colors: np.ndarray, beside: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parts of visible pixels (P, of these colours, at P 2) and of missing ones (at N 2), by wedges within parts,
    the one that tells most first."""
    part_beside, part_inside = (np.zeros(len(at), int) for at in (beside, inside))
    wedges: dict[int, tuple[float, Wedge] | None] = {}
    for new in range(1, MOST):
        for part in range(new):
            if part not in wedges:
                among = part_beside == part
                wedges[part] = best_wedge(colors[among], beside[among], inside[part_inside == part])
        found = {part: best for part, best in wedges.items() if best is not None}
        if not found:
            break
        part = max(found, key=lambda part: found[part][0])
        _, wedge = found[part]
        for parts, at in ((part_beside, beside), (part_inside, inside)):
            parts[(parts == part) & wedge.holds(at)] = new
        del wedges[part]
    return part_beside, part_inside


def best_wedge(colors: np.ndarray, beside: np.ndarray, inside: np.ndarray) -> tuple[float, Wedge] | None:
    """The wedge with its corner at a missing pixel (of N 2) that tells most of the colours (P, numbers) of visible
    pixels (at P 2), and how many nats of all of them; None if it tells little."""
    corners = inside[(inside % SPACING == 0).all(1)]
    if len(inside) < FEWEST or len(colors) < FEWEST_AROUND or not len(corners):
        return None
    gain, wedge = max(_best_at(corner, colors, beside, DIRECTIONS) for corner in corners.tolist())
    steps = np.arange(-REFINED, REFINED + 1)
    finer = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2) + wedge[0]
    gain, wedge = max([(gain, wedge), *(_best_at(at, colors, beside, 2 * DIRECTIONS) for at in finer.tolist())])
    return (gain, Wedge(*wedge)) if gain > LEAST * len(colors) else None


def _best_at(
    corner: list[float], colors: np.ndarray, beside: np.ndarray, directions: int
) -> tuple[float, tuple[tuple[float, float], float, float]]:
    """The best wedge from a corner, up to half a turn, and the nats that it tells: how much less the entropy is of the
    colours inside and outside of it, each by themselves."""
    sector = (_turns(beside, corner) * directions).astype(int) % directions
    counts = np.bincount(sector * COLORS + colors, minlength=directions * COLORS).reshape(directions, COLORS)
    so_far = np.concatenate([np.zeros((1, COLORS), int), np.cumsum(np.concatenate([counts, counts]), 0)])
    start, extent = np.arange(directions)[:, None], np.arange(2, directions // 2 + 1)
    inside = so_far[start + extent] - so_far[start]
    total = so_far[directions]
    log = np.log(np.arange(len(colors) + 1).clip(1)) * np.arange(len(colors) + 1)  # n log n
    entropies = [log[part.sum(-1)] - log[part].sum(-1) for part in (total, inside, total - inside)]
    gain, share = entropies[0] - entropies[1] - entropies[2], inside.sum(-1) / len(colors)
    gain = np.where((share < SMALLEST) | (share > 1 - SMALLEST), 0, gain)
    best, longest = np.unravel_index(gain.argmax(), gain.shape)
    wedge = (corner[0], corner[1]), best / directions, float(extent[longest]) / directions
    return float(gain[best, longest]), wedge


def _likeness(colors: np.ndarray, visible: np.ndarray, beside: np.ndarray, part_beside: np.ndarray) -> np.ndarray:
    """How surely each visible pixel (H W bool) shows what stands in each part: beside the hole (P 2) by its part (P),
    elsewhere by how often the colours around it occur there, K H W."""
    count = part_beside.max() + 1
    of_part = np.zeros((count, COLORS))
    np.add.at(of_part, (part_beside, colors[tuple(beside.T)]), 1)
    share = (of_part + 0.5) / (of_part + 0.5).sum(1, keepdims=True)
    evidence = np.stack([
        cv2.boxFilter(log, -1, (WINDOW, WINDOW), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for log in np.log(share)[:, colors] * visible
    ]) / ALIKE  # fmt: skip
    likeness = np.exp(evidence - evidence.max(0))
    likeness /= likeness.sum(0)
    likeness[:, beside[:, 0], beside[:, 1]] = np.eye(count)[part_beside].T
    return likeness


def _turns(at: np.ndarray, corner: tuple[float, float] | list[float]) -> np.ndarray:
    """Directions of positions (N 2) from a corner, in turns, N in [0, 1)."""
    return np.arctan2(at[:, 0] - corner[0], at[:, 1] - corner[1]) / (2 * np.pi) % 1
