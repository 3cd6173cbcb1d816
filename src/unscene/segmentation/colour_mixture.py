"""Gaussian mixtures of colours, as GrabCut has them (Rother, Kolmogorov and Blake 2004)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import logsumexp

SAMPLES = 2000
ROUNDS = 8  # of expectation maximisation
REGULARISER = 4.0  # added to variances, squared CIELAB units: no component is narrower than what the eye tells apart
FEWEST_PER_COMPONENT = 20


@dataclass(frozen=True)
class ColourMixture:
    """log_weight: K; mean: K 3; whitening: K 3 3, W with W W' = inverse covariance."""

    log_weight: np.ndarray
    mean: np.ndarray
    whitening: np.ndarray

    @staticmethod
    def fit(colours: np.ndarray, components: int, generator: np.random.Generator) -> ColourMixture:
        """Of colours (P 3, CIELAB), by k-means++ and expectation maximisation."""
        if len(colours) > SAMPLES:
            colours = colours[generator.choice(len(colours), SAMPLES, replace=False)]
        colours = np.ascontiguousarray(colours, np.float32)
        components = max(1, min(components, len(colours) // FEWEST_PER_COMPONENT))
        cv2.setRNGSeed(int(generator.integers(1 << 31)))
        criteria = (cv2.TERM_CRITERIA_MAX_ITER, 10, 0.0)
        _, cluster, _ = cv2.kmeans(colours, components, None, criteria, 1, cv2.KMEANS_PP_CENTERS)  # pyright: ignore
        mixture = _maximise(colours, np.eye(components)[cluster[:, 0]])
        for _ in range(ROUNDS):
            joint = mixture._joint(colours)
            mixture = _maximise(colours, np.exp(joint - logsumexp(joint, axis=1, keepdims=True)))
        return mixture

    def log_likelihood(self, colours: np.ndarray) -> np.ndarray:
        """Of colours (P 3), P."""
        return np.asarray(logsumexp(self._joint(colours), axis=1))

    def _joint(self, colours: np.ndarray) -> np.ndarray:
        """Log density of colours (P 3) and each component, P K."""
        log_scale = np.log(np.abs(np.linalg.det(self.whitening))) - 1.5 * np.log(2 * np.pi)
        columns = [np.square((colours - m) @ w).sum(-1) for m, w in zip(self.mean, self.whitening, strict=True)]
        return self.log_weight + log_scale - 0.5 * np.stack(columns, -1)


def _maximise(colours: np.ndarray, share: np.ndarray) -> ColourMixture:
    """The mixture of colours (P 3) of which each component has its share (P K)."""
    mass = share.sum(0) + 1e-9
    mean = share.T @ colours / mass[:, None]
    covariance = []
    for component, centre in enumerate(mean):
        offset = colours - centre
        covariance.append((offset * share[:, component, None]).T @ offset / mass[component] + REGULARISER * np.eye(3))
    whitening = np.linalg.cholesky(np.linalg.inv(np.stack(covariance)))
    return ColourMixture(np.log(mass / mass.sum()), mean, whitening)
