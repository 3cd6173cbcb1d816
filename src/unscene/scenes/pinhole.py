"""Photos of wide lenses become those of pinhole cameras: which camera, and how pixels get there."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import cv2
import numpy as np

from unscene.scenes.capture import Frame, check_intrinsics, folding_lens, size_text
from unscene.scenes.scene import SceneError
from unscene.scenes.wide_lenses import WideLens

WIDEST = math.radians(120)  # field of view across or down; a pinhole's rim beyond it is all stretched pixels
FIRST_ZOOM, ZOOM_STEP, ZOOMS = 8.0, 0.93, 85  # focal lengths to try, as multiples of the lens's own: down to 1/60
RIM, GRID = 64, 65  # positions along each side of an image, and each way over it, at which a lens is examined
COARSEST_SAMPLES = 1.25  # pixels of a photo that may lie between two samples of it
MOST_SAMPLES = 2  # along a side, per pixel of a photo: no lens that is sold needs more, and memory ends
KEPT_MAPS = 4  # of the lenses in use; a map takes eight bytes per pixel

Camera = tuple[float, float, float, float]  # fx, fy, cx, cy in pixels, (0, 0) being the centre of the first
Maps = tuple[np.ndarray, np.ndarray]
FindMaps = Callable[[WideLens, Camera, Camera, tuple[int, int]], Maps]


@dataclass(frozen=True)
class Resampling:
    """How the pixels of a photo get to its pinhole camera.

    listed: the frame with its wide lens; pinhole: the frame in its place. find_maps: makes the maps of pixels and keeps
    some of them, for all photos of a capture.
    """

    listed: Frame
    pinhole: Frame
    find_maps: FindMaps

    def photo(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A photo of any resolution (h w 3 uint8) as the pinhole camera's of ``size`` (width, height).

        Sampled once, as finely as the photo is where lens and pinhole agree, then averaged over areas.
        """
        photo, pinhole = _camera(self.listed, (pixels.shape[1], pixels.shape[0])), _camera(self.pinhole, size)
        most = MOST_SAMPLES * math.ceil(max(pixels.shape[1] / size[0], pixels.shape[0] / size[1]))
        finer = min(most, max(1, math.ceil(max(photo[0] / pinhole[0], photo[1] / pinhole[1]) / COARSEST_SAMPLES)))
        maps = self._maps(pixels, (size[0] * finer, size[1] * finer))
        sampling = cv2.INTER_CUBIC if finer == 1 else cv2.INTER_LINEAR  # what is averaged need not be sharp
        sampled = cv2.remap(pixels, *maps, sampling, borderMode=cv2.BORDER_REPLICATE)
        return sampled if finer == 1 else cv2.resize(sampled, size, interpolation=cv2.INTER_AREA)

    def labels(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A mask of any resolution (h w) as the pinhole camera's of ``size``: nearest values, none in between."""
        return cv2.remap(pixels, *self._maps(pixels, size), cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)

    def _maps(self, pixels: np.ndarray, size: tuple[int, int]) -> Maps:
        assert self.listed.wide_lens is not None
        photo = _camera(self.listed, (pixels.shape[1], pixels.shape[0]))
        return self.find_maps(self.listed.wide_lens, photo, _camera(self.pinhole, size), size)


def to_pinhole(frames: Sequence[Frame]) -> tuple[tuple[Frame, ...], tuple[Resampling | None, ...], tuple[str, ...]]:
    """``frames`` with pinhole cameras in place of wide lenses, how to resample the photos of those, and notes.

    A pinhole image has the size of the photo and the lens's principal point. It shows as much as fits into the photo at
    all four sides, at most 120 degrees across or down. Raises SceneError for a lens that folds back inside that.
    """
    find_maps = _map_keeper()
    chosen: dict[tuple, tuple[float, float]] = {}
    made, resamplings = [], []
    for frame in frames:
        if frame.wide_lens is None:
            made.append(frame)
            resamplings.append(None)
            continue
        check_intrinsics(frame)
        lens = (frame.wide_lens, frame.focal, frame.principal, frame.width, frame.height)
        if lens not in chosen:
            chosen[lens] = _pinhole_focal(frame)
        pinhole = dataclasses.replace(frame, focal=chosen[lens], wide_lens=None)
        made.append(pinhole)
        resamplings.append(Resampling(frame, pinhole, find_maps))
    return tuple(made), tuple(resamplings), _notes([r for r in resamplings if r])


def _pinhole_focal(frame: Frame) -> tuple[float, float]:
    """The shortest focal lengths at which a pinhole image's rim lies inside the photo and within the widest field."""
    rim, size, lens = _grid(RIM, rim=True), np.array([frame.width, frame.height]), frame.wide_lens
    assert lens is not None

    def fits(zoom: float) -> bool:
        shown = _shown(frame, zoom, rim)
        return bool(((shown >= 0) & (shown <= size)).all()) and max(_field_of_view(frame, zoom)) <= WIDEST

    zooms = [FIRST_ZOOM * ZOOM_STEP**i for i in range(ZOOMS)]
    fitting = next((i for i, zoom in enumerate(zooms) if not fits(zoom)), len(zooms)) - 1
    folding = folding_lens(frame.label, dict(zip(lens.names, lens.coefficients, strict=True)))
    if fitting < 0 and ((np.array(frame.principal) >= 0) & (frame.principal <= size)).all():
        raise folding
    if fitting < 0:
        raise SceneError(
            f"{frame.label}: expected a {lens.kind} lens whose axis meets the photo, got the principal point "
            f"({frame.principal[0]:g}, {frame.principal[1]:g}) in {size_text((frame.width, frame.height))}; correct it."
        )
    inner, outer = zooms[fitting], zooms[fitting] * ZOOM_STEP
    for _ in range(20):
        middle = math.sqrt(inner * outer)
        inner, outer = (middle, outer) if fits(middle) else (inner, middle)
    if _folds_back(frame, inner):
        raise folding
    return frame.focal[0] * inner, frame.focal[1] * inner


def _shown(frame: Frame, zoom: float, share: np.ndarray) -> np.ndarray:
    """Where in the photo, in pixels, a pinhole image with ``zoom`` times its focal lengths shows its positions P 2,
    given as shares of its width and height."""
    assert frame.wide_lens is not None
    focal, principal = np.array(frame.focal), np.array(frame.principal)
    plane = (share * [frame.width, frame.height] - principal) / (focal * zoom)
    return frame.wide_lens.distort(plane) * focal + principal


def _folds_back(frame: Frame, zoom: float) -> bool:
    """Whether neighbouring rays change sides anywhere in a pinhole image: whether a corner of a grid is turned over."""
    shown = _shown(frame, zoom, _grid(GRID).reshape(-1, 2)).reshape(GRID, GRID, 2)
    right, down = np.diff(shown, axis=1), np.diff(shown, axis=0)
    corners = [
        (right[row], down[:, column]) for row in (slice(1, None), slice(-1)) for column in (slice(1, None), slice(-1))
    ]
    return any(bool((r[..., 0] * d[..., 1] <= r[..., 1] * d[..., 0]).any()) for r, d in corners)


def _grid(side: int, *, rim: bool = False) -> np.ndarray:
    """Positions all over the unit square, side side 2, or P 2 only those on its rim, in order."""
    share = np.linspace(0, 1, side)
    grid = np.stack(np.meshgrid(share, share), -1)
    return np.concatenate([grid[0, :-1], grid[:-1, -1], grid[-1, :0:-1], grid[:0:-1, 0]]) if rim else grid


def _field_of_view(frame: Frame, zoom: float) -> tuple[float, float]:
    """Radians across and down of a pinhole image with ``zoom`` times the frame's focal lengths."""
    sides = zip(frame.focal, frame.principal, (frame.width, frame.height), strict=True)
    across, down = (math.atan(c / (f * zoom)) + math.atan((size - c) / (f * zoom)) for f, c, size in sides)
    return across, down


def _notes(resamplings: Sequence[Resampling]) -> tuple[str, ...]:
    """What became of the photos of each kind of lens, where lenses of one kind differ of the one that loses most."""
    notes = []
    for kind in sorted({r.listed.wide_lens.kind for r in resamplings if r.listed.wide_lens}):
        of_kind = [r for r in resamplings if r.listed.wide_lens and r.listed.wide_lens.kind == kind]
        lost, across, down = max(_loss(r.listed, r.pinhole) for r in of_kind)
        notes.append(
            f"{len(of_kind)} photos of a {kind} lens are resampled to a pinhole camera of {across:.0f} x {down:.0f} "
            f"degrees; {lost:.0%} of each, at its rim and corners, is cropped"
        )
    return tuple(notes)


def _loss(listed: Frame, pinhole: Frame) -> tuple[float, float, float]:
    """The share of the photo's area that the pinhole image does not show, and degrees that it does, across and down."""
    zoom = pinhole.focal[0] / listed.focal[0]
    x, y = _shown(listed, zoom, _grid(RIM, rim=True)).T
    area = abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2
    across, down = (math.degrees(angle) for angle in _field_of_view(listed, zoom))
    return 1 - area / (listed.width * listed.height), across, down


def _camera(frame: Frame, size: tuple[int, int]) -> Camera:
    """The frame's intrinsics for an image of ``size``, as OpenCV counts pixels."""
    across, down = size[0] / frame.width, size[1] / frame.height
    (fx, fy), (cx, cy) = frame.focal, frame.principal
    return fx * across, fy * down, cx * across - 0.5, cy * down - 0.5


def _map_keeper() -> FindMaps:
    """Makes maps of pixels and keeps the last few. Threads that want the same one wait for it."""
    lock = Lock()

    @lru_cache(KEPT_MAPS)
    def make(lens: WideLens, photo: Camera, pinhole: Camera, size: tuple[int, int]) -> Maps:
        (fx, fy, cx, cy), (gx, gy, dx, dy) = photo, pinhole
        K, target = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), np.array([[gx, 0, dx], [0, gy, dy], [0, 0, 1]])
        return lens.maps(K, target, size)

    def find(lens: WideLens, photo: Camera, pinhole: Camera, size: tuple[int, int]) -> Maps:
        with lock:
            return make(lens, photo, pinhole, size)

    return find
