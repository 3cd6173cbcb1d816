"""Lenses that `Cameras` does not hold: fisheyes and the rational model, as OpenCV computes them.

Positions are those of the undistorted image plane at z = 1 (``plane``, P 2 float64) and of the distorted one. Cameras K
are 3 3, with the centre of the first pixel at (0, 0) as OpenCV has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

IDENTITY = np.eye(3)


@dataclass(frozen=True)
class FisheyeLens:
    """Distance from the axis is a polynomial of the angle: theta (1 + k1 theta^2 + ... + k4 theta^8).

    OpenCV's fisheye model (Kannala and Brandt 2006); COLMAP's with fewer parameters are cases of it.
    """

    coefficients: tuple[float, float, float, float]
    """k1, k2, k3, k4."""

    names = ("k1", "k2", "k3", "k4")
    kind = "fisheye"

    def distort(self, plane: np.ndarray) -> np.ndarray:
        """Where the lens shows positions of the undistorted image plane, P 2."""
        return cv2.fisheye.distortPoints(plane[:, None], IDENTITY, np.array(self.coefficients))[:, 0]

    def maps(self, K: np.ndarray, pinhole: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """For `cv2.remap`: where in a photo with camera matrix K each pixel of a pinhole image of ``size`` lies."""
        return cv2.fisheye.initUndistortRectifyMap(
            K, np.array(self.coefficients), IDENTITY, pinhole, size, cv2.CV_32FC1
        )


@dataclass(frozen=True)
class RationalLens:
    """Radial distortion is a quotient of polynomials: OpenCV's model of eight parameters, COLMAP's FULL_OPENCV."""

    coefficients: tuple[float, float, float, float, float, float, float, float]
    """k1, k2, p1, p2, k3, k4, k5, k6."""

    names = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
    kind = "rational"

    def distort(self, plane: np.ndarray) -> np.ndarray:
        """Where the lens shows positions of the undistorted image plane, P 2."""
        rays, none = np.concatenate([plane, np.ones((len(plane), 1))], 1), np.zeros(3)
        return cv2.projectPoints(rays, none, none, IDENTITY, np.array(self.coefficients))[0][:, 0]

    def maps(self, K: np.ndarray, pinhole: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """For `cv2.remap`: where in a photo with camera matrix K each pixel of a pinhole image of ``size`` lies."""
        return cv2.initUndistortRectifyMap(K, np.array(self.coefficients), IDENTITY, pinhole, size, cv2.CV_32FC1)


WideLens = FisheyeLens | RationalLens
