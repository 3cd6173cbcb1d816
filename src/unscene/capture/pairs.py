"""Which photos are compared with which."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations

EXHAUSTIVE = 150  # photos up to which each is compared with each: beyond, time grows out of hand
OVERLAP = 8  # following photos that each is compared with
KEY_PHOTOS = 24  # photos, evenly spread, that are compared with each other to find loops

Pair = tuple[int, int]


def first_pairs(photos: int, *, in_sequence: bool) -> list[Pair]:
    """Pairs of views, the smaller first, to compare at the start.

    in_sequence: the photos follow each other, as those of a video do; then each is compared with the following
    `OVERLAP` ones, and key photos with each other. Else, up to `EXHAUSTIVE` photos, each with each.
    """
    if not in_sequence and photos <= EXHAUSTIVE:
        return list(combinations(range(photos), 2))
    near = {(i, j) for i in range(photos) for j in range(i + 1, min(i + OVERLAP, photos - 1) + 1)}
    return sorted(near | set(combinations(key_photos(photos), 2)))


def key_photos(photos: int) -> range:
    """Every n-th view, `KEY_PHOTOS` at most."""
    return range(0, photos, max(1, math.ceil(photos / KEY_PHOTOS)))


def loop_pairs(photos: int, found: Iterable[Pair], compared: Sequence[Pair]) -> list[Pair]:
    """Pairs not compared yet around key photos far from each other that turned out to show the same place.

    Loop closure without a vocabulary tree, which COLMAP would have to fetch: a loop that no two key photos show is
    missed. found: the pairs with a geometry.
    """
    keys = key_photos(photos)
    reach, known = math.ceil(keys.step / 2), set(compared)
    around = set[Pair]()
    for first, second in found:
        if first in keys and second in keys and second - first > OVERLAP:
            near_first = range(max(0, first - reach), min(photos - 1, first + reach) + 1)
            near_second = range(max(0, second - reach), min(photos - 1, second + reach) + 1)
            around |= {(min(i, j), max(i, j)) for i in near_first for j in near_second if i != j}
    return sorted(around - known)
