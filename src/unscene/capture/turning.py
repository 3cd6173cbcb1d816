"""Whether a camera only turned on the spot: then rotations alone take the features of one photo to those of another.

Mapping does not tell: of such photos it may make a model that fits well, of a bent world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

MOST_PAIRS, MOST_MATCHES = 40, 100  # that are looked at
FOCALS, DISTORTIONS = (0.4, 1.5), (-0.5, 0.5)  # of usual lenses, in the units of `unexplained`
FIRST_FOCALS = np.geomspace(*FOCALS, 14)
FITTING = 0.8  # of a pair's matches, that a rotation has to explain
OF_PAIRS = 0.75  # of the pairs, that have to be explained: some are nearly of the same view anyway
NOISE = 0.0018  # of the longer side, by which features may miss what a rotation says
HOPELESS = 10 * NOISE  # before the lens is refined


@dataclass(frozen=True)
class MatchedPair:
    """Positions of the same things in two photos, M 2 each in pixels, and the photos' sizes (width, height)."""

    points: tuple[np.ndarray, np.ndarray]
    sizes: tuple[tuple[int, int], tuple[int, int]]


def only_turned(pairs: Sequence[MatchedPair]) -> bool:
    """Whether rotations explain the matches of nearly all pairs, for one lens: a focal length and a distortion."""
    if not pairs:
        return False
    chosen = [pairs[i] for i in np.linspace(0, len(pairs) - 1, min(MOST_PAIRS, len(pairs))).astype(int)]
    chosen = [_thinned(pair) for pair in chosen]
    focal = min(FIRST_FOCALS, key=lambda focal: unexplained(chosen, focal, 0.0))
    if unexplained(chosen, focal, 0.0) > HOPELESS:
        return False
    found = minimize(
        lambda lens: unexplained(chosen, *lens),
        [focal, 0.0],
        method="Nelder-Mead",
        bounds=[FOCALS, DISTORTIONS],
        options={"initial_simplex": [[focal, 0], [0.93 * focal, 0], [focal, 0.1]], "maxfev": 60},
    )
    return bool(found.fun < NOISE)


def unexplained(pairs: Sequence[MatchedPair], focal: float, distortion: float) -> float:
    """By how much rotations miss most matches of most pairs (`FITTING`, `OF_PAIRS`), as a share of the longer side.

    focal: in multiples of the photos' longer sides. distortion: by which squares of distances from the middle, in half
    longer sides, bring features to where a pinhole camera would show them.
    """
    return float(np.quantile([_miss(pair, focal, distortion) for pair in pairs], OF_PAIRS))


def _miss(pair: MatchedPair, focal: float, distortion: float) -> float:
    rays, others = (
        _rays(points, size, focal, distortion) for points, size in zip(pair.points, pair.sizes, strict=True)
    )
    kept, miss = np.ones(len(rays), bool), np.zeros(len(rays))
    for _ in range(2):  # once more without the matches that are wrong
        left, _, right = np.linalg.svd(others[kept].T @ rays[kept])  # Kabsch 1976
        rotation = left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right
        miss = np.linalg.norm(rays @ rotation.T - others, axis=1)
        kept = miss <= np.quantile(miss, FITTING)
    return float(np.quantile(miss, FITTING)) * focal


def _rays(points: np.ndarray, size: tuple[int, int], focal: float, distortion: float) -> np.ndarray:
    """Directions of length 1, M 3."""
    plane = (points - np.array(size) / 2) / (max(size) / 2)
    plane = plane * (1 + distortion * (plane**2).sum(1, keepdims=True)) / (2 * focal)
    rays = np.concatenate([plane, np.ones((len(plane), 1))], 1)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _thinned(pair: MatchedPair) -> MatchedPair:
    step = max(1, len(pair.points[0]) // MOST_MATCHES)
    first, second = pair.points
    return MatchedPair((first[::step], second[::step]), pair.sizes)
