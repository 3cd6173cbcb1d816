"""Completing an image with a few large pieces of itself, each shifted as one (He and Sun 2012 and 2014).

Within an image patches recur at few offsets: along an edge, along the grain, by the period of a pattern. Those offsets
are counted, and graph cuts (Boykov, Veksler and Zabih 2001) choose one for every missing pixel, so that the seams
between the pieces show least. Straight edges and patterns run on unbroken where patches placed one by one lose them.
Rugs, doors and panels look the same upside down, too: pieces may also be turned by half a turn (ours).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter, maximum_filter
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from torch import Tensor
from torch.nn import functional as F

from unscene.priors.exemplar.patch_completion import CompletionConfig, settle
from unscene.priors.exemplar.patch_matching import (
    NothingToCopyError,
    PatchMatcher,
    halved,
    largest_patch,
    visible_patches,
)
from unscene.priors.exemplar.structure_propagation import propagate_structure

IMPOSSIBLE = 100.0  # cost of a pixel whose offset leads to nothing visible: more than all its seams can cost
UNKNOWN_SEAM = 1.0  # squared difference of two colours of which one is not visible: as red and black
CONTRAST = 2.0  # weight of contrasts beside colours where surroundings are compared
CONTRAST_SCALE = 3.0  # pixels, of the Gaussian window in which they are measured
UNITS = 100_000  # of cost 1 in whole numbers, which the flow needs
LARGEST_CAPACITY = 1_000_000_000
SETTLING = CompletionConfig()


@dataclass(frozen=True)
class OffsetConfig:
    """How offsets are found and chosen."""

    size: int = 7
    """Pixels along the sides of the patches whose recurrence is counted."""
    offsets: int = 150
    """Most frequent offsets to choose among (paper: 60). With twice as many a fill is no sharper, with half as many
    it is less sharp by a tenth."""
    turned: int = 30
    """Most half turns to choose among besides (ours); 0 takes none."""
    turned_share: float = 0.5
    """How frequent a half turn must be, as a share of the most frequent offset: what is the same upside down has one
    that is as frequent as any offset, wood and bricks have many that are a third or less and lead anywhere."""
    shortest: int = 6
    """Pixels along an axis that an offset must exceed: nearer patches are alike because they overlap."""
    most_patches: int = 8000
    """Visible patches whose recurrence is counted, spread evenly over all."""
    most_pixels: int = 2500
    """Missing pixels up to which a hole is cut; larger ones are cut at half or a quarter of the size."""
    sweeps: int = 2
    """Rounds over all offsets, at most."""
    context: float = 0.2
    """How far around a missing pixel an offset must lead to the like of what is visible, as a share of the root of the
    hole's area (ours): seams alone, one pixel wide, let a plain floor cut into a patterned rug."""
    context_weight: float = 1.5
    """Weight of the mean squared difference of those, beside the two of a seam."""
    expectation_weight: float = 1.0
    """Weight of a pixel's squared difference from what is expected, beside the two of a seam (ours)."""
    structure_weight: float = 1.0
    """Cost of a piece from beyond the straight edges that run on behind the hole, see `structure_propagation` (ours);
    0 does without them. Half and twice as much do as well."""


@dataclass(frozen=True)
class Pieces:
    """K ways to copy: a pixel at p shows what is at turn * p + shift. turns: K, 1 or -1 (half a turn about half of the
    shift); shifts: K 2, rows and columns."""

    turns: np.ndarray
    shifts: np.ndarray

    def __len__(self) -> int:
        return len(self.turns)

    def sources(self, at: np.ndarray) -> np.ndarray:
        """Where each leads from pixels (N 2): K N 2."""
        return self.turns[:, None, None] * at[None] + self.shifts[:, None]

    def source_of(self, at: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Where the chosen ones (N, indices) lead, each from its pixel (N 2): N 2."""
        return self.turns[chosen, None] * at + self.shifts[chosen]

    def doubled(self) -> Pieces:
        """The same in an image of twice the size: of two pixels that were one the first is where that was turned to,
        and so the second's source comes first."""
        return Pieces(self.turns, 2 * self.shifts + (self.turns < 0)[:, None])


def complete_by_offsets(
    image: Tensor,
    hole: Tensor,
    source: Tensor,
    config: OffsetConfig = OffsetConfig(),
    *,
    expected: Tensor | None = None,
) -> Tensor:
    """Fill the hole (H W bool) of an image (H W 3 in [0, 1]) with shifted pieces of what the source (H W bool) shows.

    Pixels in neither are ignored and stay. expected: H W 3, what is expected in the hole, NaN where nothing is: pieces
    are then chosen to be near it as well. Nothing is random. Raises NothingToCopyError if the source has no room for
    the smallest patch.
    """
    if not hole.any():
        return image.clone()
    pixels, missing, known = image.permute(2, 0, 1), hole, source & ~hole
    levels = [(pixels * known, missing, known)]
    while levels[-1][1].sum() > config.most_pixels:
        coarser = halved(*levels[-1])
        if not visible_patches(coarser[2], 3).any():
            break
        levels.append(coarser)
    pixels, missing, known = levels[-1]
    pieces = frequent_pieces(pixels, known, config)
    if not len(pieces):
        raise NothingToCopyError("expected patches that recur in what is visible beside the hole, found none")
    if expected is not None:
        expected = _resized_where_known(expected.permute(2, 0, 1), missing.shape)
    chosen = choose_pieces(pixels, missing, known, pieces, config, expected)
    for finer, finer_missing, finer_known in reversed(levels[:-1]):
        pixels, missing, known, chosen = finer, finer_missing, finer_known, _doubled(chosen, finer_missing.shape)
        pieces = pieces.doubled()
    filled = _copied(pixels, missing, known, pieces, chosen)
    as_it_is = bool((pieces.turns > 0).all())
    settled = settle(filled, missing, known, SETTLING) if as_it_is else _settled_turned(filled, missing, known)
    return torch.where(hole[..., None], settled.permute(1, 2, 0), image)


def _settled_turned(filled: Tensor, missing: Tensor, known: Tensor) -> Tensor:
    """A fill (C H W) made of the patches that are visible, as they are or by half a turn: the image lies turned beneath
    itself, and its last row is repeated in between."""
    strip = filled[:, -1:].expand(-1, SETTLING.size, -1)
    nothing = torch.zeros_like(strip[0], dtype=torch.bool)
    image = torch.cat([filled, strip, filled.flip(1, 2)], 1)
    wanted = torch.cat([missing, nothing, torch.zeros_like(missing)])
    return settle(image, wanted, torch.cat([known, nothing, known.flip(0, 1)]), SETTLING)[:, : len(missing)]


def frequent_pieces(image: Tensor, known: Tensor, config: OffsetConfig) -> Pieces:
    """The offsets, and then the half turns, at which visible patches of an image (C H W) recur, the most frequent
    first."""
    height, width = known.shape
    matcher = PatchMatcher(image, known, largest_patch(known, config.size))
    asked, nearest = matcher.nearest_apart(config.shortest, most=config.most_patches)
    found = nearest >= 0
    offsets = _places(nearest[found], width) - _places(asked[found], width)
    both = np.concatenate([offsets, -offsets])  # if one patch recurs at an offset, the other recurs at its opposite
    size, origin = (2 * height - 1, 2 * width - 1), np.array([height - 1, width - 1])
    peaks, shares = _peaks(both + origin, size, config.offsets)
    shifts, turns = peaks - origin, np.ones(len(peaks), int)
    if config.turned and len(shifts):
        patches = matcher.patches_turned(asked)
        sums = _places(matcher.nearest(patches, asked)[0], width) + _places(asked, width)
        turned, turned_shares = _peaks(sums, size, config.turned)
        turned = turned[turned_shares >= config.turned_share * shares[0]]
        shifts, turns = np.concatenate([shifts, turned]), np.concatenate([turns, np.full(len(turned), -1)])
    return Pieces(turns, shifts)


def _places(flat: Tensor, width: int) -> np.ndarray:
    """Rows and columns of pixels that are counted row by row (P), P 2."""
    return np.stack([flat.numpy() // width, flat.numpy() % width], 1)


def _peaks(found: np.ndarray, size: tuple[int, int], most: int) -> tuple[np.ndarray, np.ndarray]:
    """Where in a plane of some size positions (P 2) are densest, at most so many places, K 2, the densest first; and
    about which share of them each has, K."""
    counts = np.zeros(size)
    np.add.at(counts, tuple(found.T), 1)
    smooth = gaussian_filter(counts, 1.0)
    peaks = np.argwhere((smooth == maximum_filter(smooth, 5)) & (smooth > 0))
    shares = smooth[tuple(peaks.T)] / max(1, len(found))
    order = np.argsort(-shares, kind="stable")[:most]
    return peaks[order], shares[order]


def choose_pieces(
    image: Tensor, missing: Tensor, known: Tensor, pieces: Pieces, config: OffsetConfig, expected: Tensor | None
) -> Tensor:
    """For every missing pixel of an image (C H W) a piece's index, H W; -1 elsewhere.

    Minimises the seams: the squared differences, at both of two neighbours, between the colours that their pieces
    lead to; beside the hole those of a piece and the image, at the rim and, in the mean, around it; and what comes
    from beyond a straight edge. By expansion moves: in each one piece takes over where that costs less, exactly by a
    minimum cut.
    """
    at = missing.nonzero().numpy()
    colors, visible = _looked_up(image, known, pieces.sources(at))
    colors[~visible] = np.nan
    reach = max(3, round(config.context * len(at) ** 0.5))
    alone = np.where(visible, 0.0, IMPOSSIBLE) + _rim_seams(image, missing, known, at, pieces)
    alone += config.context_weight * _context(image, missing, known, at, pieces, reach)
    if config.structure_weight and (structure := propagate_structure(image, missing, known)):
        alone += config.structure_weight * structure.mismatch(pieces.sources(at))
    if expected is not None:
        difference = np.square(colors - expected[:, at[:, 0], at[:, 1]].T.numpy()).sum(-1)
        alone += config.expectation_weight * np.nan_to_num(difference)
    first, second = _neighbors(missing)
    pixels, ends, label = np.arange(len(at)), np.stack([first, second], 1), alone.argmin(0)
    by_first, by_second = (colors[label[of], ends.T].swapaxes(0, 1) for of in (first, second))  # what shows at both
    between = np.where(label[first] == label[second], 0.0, _seams(by_first, by_second))
    energy = alone[label, pixels].sum() + between.sum()
    for _ in range(config.sweeps):
        before = energy
        for candidate in range(len(pieces)):
            gain = alone[label, pixels] - alone[candidate]
            if (gain + _at_nodes(first, second, between, between, len(at)) <= 0).all():
                continue  # not even if all seams vanished
            anew = colors[candidate, ends]
            moved = _expanded(
                gain, first, second, stay=between,
                first_moves=_seams(anew, by_second) * (label[second] != candidate),
                second_moves=_seams(by_first, anew) * (label[first] != candidate),
            )  # fmt: skip
            if not moved.any():
                continue
            proposal = np.where(moved, candidate, label)
            to_first, to_second = (
                np.where(moved[of, None, None], anew, was) for of, was in ((first, by_first), (second, by_second))
            )
            seen = np.where(proposal[first] == proposal[second], 0.0, _seams(to_first, to_second))
            cost = alone[proposal, pixels].sum() + seen.sum()
            if cost < energy:
                label, between, energy, by_first, by_second = proposal, seen, cost, to_first, to_second
        if energy > before - 1e-6:
            break
    chosen = torch.full(missing.shape, -1)
    chosen[missing] = torch.from_numpy(label)
    return chosen


def _seams(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """What P pairs cost when two offsets show these colours at both of their pixels (P 2 C, NaN: not visible)."""
    difference = one - other
    squared = np.einsum("pec,pec->pe", difference, difference)
    return np.where(np.isnan(squared), UNKNOWN_SEAM, squared).sum(1, dtype=float)


def _at_nodes(
    first: np.ndarray, second: np.ndarray, to_first: np.ndarray, to_second: np.ndarray, count: int
) -> np.ndarray:
    """The sums of what pairs give to their first and second nodes, one for each of ``count`` nodes."""
    return np.bincount(first, to_first, count) + np.bincount(second, to_second, count)


def _expanded(
    gain: np.ndarray, first: np.ndarray, second: np.ndarray, *,
    stay: np.ndarray, second_moves: np.ndarray, first_moves: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Which of N nodes move, at the least total cost: each gains by moving (N, any sign), and of each pair stay is paid
    if neither moves, first_moves or second_moves if one does, nothing if both do (Kolmogorov and Zabih 2004)."""
    stay = np.minimum(stay, first_moves + second_moves)  # squares keep no triangle inequality
    alone = gain + _at_nodes(first, second, stay - first_moves, stay - second_moves, len(gain))
    together = first_moves + second_moves - stay
    can = _gaining(alone, first, second, together, np.ones(len(gain), bool))
    moved = _gaining(alone, first, second, together, np.zeros(len(gain), bool))
    open_ = can & ~moved
    if open_.any():
        beside = _at_nodes(first, second, together * moved[second], together * moved[first], len(gain))
        among, number = open_[first] & open_[second], np.cumsum(open_) - 1
        moved[open_] = _cut((alone + beside)[open_], number[first[among]], number[second[among]], together[among])
    return moved


def _gaining(
    alone: np.ndarray, first: np.ndarray, second: np.ndarray, together: np.ndarray, moved: np.ndarray
) -> np.ndarray:
    """The nodes (N bool) that gain by moving beside those that move, from a guess on until nothing changes.

    Begun with all, it leaves those that the best move is among; begun with none, it ends with some that are surely in
    it. There is hardly ever much between the two, and the cut is for that alone.
    """
    before = ~moved
    while (before != moved).any():
        before = moved
        beside = _at_nodes(first, second, together * moved[second], together * moved[first], len(alone))
        moved = alone + beside > 0
    return moved


def _cut(gain: np.ndarray, first: np.ndarray, second: np.ndarray, together: np.ndarray) -> np.ndarray:
    """Which of N nodes move: each gains by moving alone (N), pairs gain more if both do (together, at least 0)."""
    if not len(first):
        return gain > 0
    nodes, source, sink = np.arange(len(gain)), np.full(len(gain), len(gain)), np.full(len(gain), len(gain) + 1)
    extra = np.bincount(second, -together, len(gain)) - gain
    tail, head = np.concatenate([source, nodes, first]), np.concatenate([nodes, sink, second])
    capacity = np.concatenate([extra.clip(0), (-extra).clip(0), together])
    whole = (capacity * UNITS).clip(0, LARGEST_CAPACITY).round().astype(np.int32)
    both_ways = (np.concatenate([tail, head]), np.concatenate([head, tail]))  # as the flow has it, to be subtracted
    residual = csr_matrix((np.concatenate([whole, 0 * whole]), both_ways), shape=(len(gain) + 2,) * 2)
    residual.data -= maximum_flow(residual, len(gain), len(gain) + 1).flow.data
    residual.eliminate_zeros()
    moved = np.ones(len(gain) + 2, bool)
    moved[breadth_first_order(residual, len(gain), return_predecessors=False)] = False
    return moved[: len(gain)]


def _rim_seams(image: Tensor, missing: Tensor, known: Tensor, at: np.ndarray, pieces: Pieces) -> np.ndarray:
    """What each piece (K) costs each missing pixel (N) for its visible neighbours: K N."""
    height, width = missing.shape
    cost = np.zeros((len(pieces), len(at)))
    for step in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        beside = at + step
        inside = (beside >= 0).all(1) & (beside < (height, width)).all(1)
        beside = beside.clip(0, (height - 1, width - 1))
        inside &= known.numpy()[tuple(beside.T)]
        colors, visible = _looked_up(image, known, pieces.sources(beside))
        difference = np.square(colors - image[:, beside[:, 0], beside[:, 1]].T.numpy()).sum(-1)
        # twice: at the missing pixel nothing is known to compare with, and it is no less a seam
        cost += inside * 2 * np.where(visible, difference, UNKNOWN_SEAM)
    return cost


def _context(
    image: Tensor, missing: Tensor, known: Tensor, at: np.ndarray, pieces: Pieces, reach: int
) -> np.ndarray:  # fmt: skip
    """How unlike, in the mean, what is visible within ``reach`` of each missing pixel (N) is to what each piece (K)
    leads to from there, in colours and contrasts: K N. Half of the square around a pixel visible, that counts whole,
    less in proportion."""
    side, image = 2 * reach + 1, torch.cat([image, CONTRAST * _contrast(image, known)])
    around = (cv2.dilate(missing.numpy().astype(np.uint8), np.ones((side, side))) > 0) & known.numpy()
    beside = np.argwhere(around)
    colors, visible = _looked_up(image, known, pieces.sources(beside))
    difference = np.square(colors - image[:, beside[:, 0], beside[:, 1]].T.numpy()).sum(-1)
    difference = np.where(visible, difference, UNKNOWN_SEAM)
    mean = np.zeros((len(pieces), len(at)), np.float32)
    share = cv2.boxFilter(around.astype(np.float32), -1, (side, side), borderType=cv2.BORDER_CONSTANT)
    counted = np.minimum(2 * share, 1) / np.maximum(share, 1e-9)
    plane = np.zeros(missing.shape, np.float32)
    for piece in range(len(pieces)):
        plane[around] = difference[piece]
        mean[piece] = (cv2.boxFilter(plane, -1, (side, side), borderType=cv2.BORDER_CONSTANT) * counted)[*at.T]
    return mean


def _contrast(image: Tensor, known: Tensor) -> Tensor:
    """Standard deviations of an image (C H W) around each pixel, of what is visible: C H W. By colours alone a plain
    surface is nearer to any pattern than the pattern's own pieces that do not fit."""
    visible = known.numpy().astype(float)
    share = gaussian_filter(visible, CONTRAST_SCALE).clip(1e-6)
    mean, square = (
        np.stack([gaussian_filter(values * visible, CONTRAST_SCALE) / share for values in power])
        for power in (image.numpy(), np.square(image.numpy()))
    )
    return torch.from_numpy(np.sqrt((square - np.square(mean)).clip(0))).to(image)


def _looked_up(image: Tensor, known: Tensor, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The colours (K N C) at places (K N 2), and which of them are visible (K N)."""
    limit = np.array(known.shape)
    inside = ((there >= 0) & (there < limit)).all(-1)
    row, column = there.clip(0, limit - 1).transpose(2, 0, 1)
    return image.permute(1, 2, 0).numpy()[row, column], inside & known.numpy()[row, column]


def _neighbors(missing: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of missing pixels beside or above each other, as indices among the missing ones."""
    index = torch.full(missing.shape, -1)
    index[missing] = torch.arange(int(missing.sum()))
    pairs = [torch.stack([index[:, :-1], index[:, 1:]], -1), torch.stack([index[:-1], index[1:]], -1)]
    both = torch.cat([pair.reshape(-1, 2) for pair in pairs])
    both = both[(both >= 0).all(1)].numpy()
    return both[:, 0], both[:, 1]


def _resized_where_known(expected: Tensor, size: torch.Size) -> Tensor:
    """Means (C h w) of what is not NaN (C H W), NaN where all is."""
    share = F.interpolate((~expected.isnan())[None].float(), size, mode="area")[0]
    return F.interpolate(expected.nan_to_num(0)[None], size, mode="area")[0] / share


def _doubled(chosen: Tensor, size: torch.Size) -> Tensor:
    """Indices at twice the size, cut to ``size``."""
    return chosen.repeat_interleave(2, 0).repeat_interleave(2, 1)[: size[0], : size[1]]


def _copied(image: Tensor, missing: Tensor, known: Tensor, pieces: Pieces, chosen: Tensor) -> Tensor:
    """The image (C H W) with each missing pixel copied from where its piece (H W, index) leads; from the nearest pixel
    that is visible or copied where that is not visible."""
    height, width = missing.shape
    at = missing.nonzero()
    there = torch.from_numpy(pieces.source_of(at.numpy(), chosen[missing].numpy()))
    inside = ((there >= 0) & (there < torch.tensor([height, width]))).all(1)
    row, column = there.clamp(torch.zeros(2, dtype=torch.long), torch.tensor([height - 1, width - 1])).unbind(1)
    copied = inside & known[row, column]
    filled = image.clone()
    filled[:, at[copied, 0], at[copied, 1]] = image[:, row[copied], column[copied]]
    if not copied.all():
        left = torch.zeros_like(missing)
        left[at[~copied, 0], at[~copied, 1]] = True
        nearest = distance_transform_edt(
            (left | ~(missing | known)).numpy(), return_distances=False, return_indices=True
        )
        source = torch.from_numpy(nearest)[:, left]
        filled[:, left] = filled[:, source[0], source[1]]
    return filled
