"""Photos of a room with patterned walls, traced exactly, from cameras whose poses are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

SIZE = (320, 240)
FOCAL = 260.0
HALF = np.array([2.0, 1.5, 2.5])  # half sides of the room around the origin
TEXELS = 60  # of a wall's pattern, per unit
BOX, BOX_CENTER = np.array([0.5, 0.5, 0.5]), np.array([0.2, 1.0, 0.6])


@dataclass(frozen=True)
class Lens:
    """focal: pixels. k1: of OpenCV's radial distortion. size: (width, height)."""

    focal: float = FOCAL
    k1: float = 0.0
    size: tuple[int, int] = SIZE

    def rays(self) -> np.ndarray:
        """Directions in the camera, H W 3, through the centres of pixels."""
        width, height = self.size
        x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        K = np.array([[self.focal, 0, width / 2], [0, self.focal, height / 2], [0, 0, 1]])
        pixels = np.stack([x, y], -1).reshape(-1, 1, 2)
        plane = cv2.undistortPoints(pixels, K, np.array([self.k1, 0, 0, 0, 0]))[:, 0]
        return np.concatenate([plane, np.ones((len(plane), 1))], 1).reshape(height, width, 3)


def arc(views: int, *, radius: float = 1.5, step: float = 0.12) -> list[np.ndarray]:
    """Poses 3 4, camera to world, on an arc that looks at the middle of the far wall's foot."""
    angles = (np.arange(views) - (views - 1) / 2) * step
    centres = [np.array([radius * np.sin(a), 0.15 * np.cos(5 * a) - 0.2, -radius * np.cos(a)]) for a in angles]
    return [looking_at(centre, np.array([0.1, 0.4, 1.2])) for centre in centres]


def turning(views: int, *, step: float = 0.1) -> list[np.ndarray]:
    """Poses of a camera that turns on the spot."""
    angles = (np.arange(views) - (views - 1) / 2) * step
    return [looking_at(np.zeros(3), np.array([np.sin(a), 0.1 * np.sin(3 * a), np.cos(a)])) for a in angles]


def looking_at(centre: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A pose with the y axis down."""
    forward = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(np.array([0.0, 1.0, 0.0]), forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward, centre], 1)


def photo(pose: np.ndarray, lens: Lens = Lens(), *, seed: int = 0) -> np.ndarray:
    """What a camera sees, H W 3 BGR uint8. seed: of the walls' patterns; other seeds are other rooms."""
    rays = lens.rays() @ pose[:, :3].T
    centre = pose[:, 3]
    slopes = np.where(abs(rays) < 1e-9, 1e-9, rays)
    walls = (np.sign(slopes) * HALF - centre) / slopes
    near, far = ((side * BOX * np.sign(slopes) + BOX_CENTER - centre) / slopes for side in (-1, 1))
    enter, leave = near.max(-1), far.min(-1)
    on_box = (enter > 0) & (enter < leave)
    distance = np.where(on_box, enter, walls.min(-1))
    axis = np.where(on_box, near.argmax(-1), walls.argmin(-1))
    points = centre + rays * distance[..., None]
    image = np.zeros((*axis.shape, 3), np.uint8)
    for wall in range(6):
        normal = wall % 3
        across, down = (points[..., other].astype(np.float32) for other in range(3) if other != normal)
        pattern = _pattern(seed, wall)
        u, v = ((c * TEXELS + len(pattern) / 2).astype(np.float32) for c in (across, down))
        shown = (axis == normal) & (on_box == (wall >= 3))
        image[shown] = cv2.remap(pattern, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)[shown]
    return image


def write_photos(folder: Path, poses: Sequence[np.ndarray], lens: Lens = Lens(), *, seed: int = 0,
                 first: int = 0) -> list[Path]:  # fmt: skip
    """Photos as IMG_000.JPG and so on, upper case as cameras do."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"IMG_{first + i:03}.JPG" for i in range(len(poses))]
    for file, pose in zip(files, poses, strict=True):
        assert cv2.imwrite(str(file), photo(pose, lens, seed=seed), [cv2.IMWRITE_JPEG_QUALITY, 95])
    return files


@cache
def _pattern(seed: int, wall: int) -> np.ndarray:
    """Blots of several sizes, 512 512 3 uint8."""
    random = np.random.default_rng([seed, wall])
    total = np.zeros((512, 512, 3), np.float32)
    for cells, weight in ((16, 1.0), (48, 0.8), (128, 0.6)):
        total += weight * cv2.resize(random.normal(size=(cells, cells, 3)).astype(np.float32), (512, 512))
    return (128 + 45 * total).clip(0, 255).astype(np.uint8)


def centre_error(centres: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square distance of camera centres N 3 from the true ones once a similarity has aligned them (Umeyama
    1991), as a share of the true ones' spread."""
    a, b = centres - centres.mean(0), truth - truth.mean(0)
    left, sizes, right = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation, scale = left @ np.diag(signs) @ right, (sizes * signs).sum() / (a**2).sum()
    return float(np.sqrt(((scale * a @ rotation.T - b) ** 2).sum() / (b**2).sum()))
