"""Whether the cameras of a capture stand apart: from one point depth cannot be told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unscene.scenes.capture import Frame, listing
from unscene.scenes.scene import SceneError

SMALLEST_PARALLAX = 1e-4  # of the distance to the scene's points: a tenth of a pixel in a photo a thousand wide
SINGLE_PRECISION, DOUBLE_PRECISION = 1e-6, 1e-9  # of the coordinates: what rounding may make of one point
LARGEST_LOCAL = 100.0  # coordinates beyond are those of maps, which nobody writes in single precision


def check_baseline(frames: Sequence[Frame], points: np.ndarray | None) -> None:
    """Raises SceneError if all cameras stand at one point. points: P 3, sparse structure, or None.

    One point means: no parallax of the sparse structure, or without that no distance but rounding's. A baseline however
    small that is more than this passes, also at map coordinates of millions.
    """
    positions = np.stack([frame.T_world_camera[:3, 3] for frame in frames]).astype(np.float64)
    if len(positions) < 2 or not np.isfinite(positions).all():  # which is another error
        return
    centre = np.median(positions, 0)
    spread = np.linalg.norm(positions - centre, axis=1).max()
    size = np.abs(positions).max()
    noise = size * (SINGLE_PRECISION if size <= LARGEST_LOCAL else DOUBLE_PRECISION)
    if points is not None and len(points):
        noise = max(noise, SMALLEST_PARALLAX * np.median(np.linalg.norm(points - centre, axis=1)))
    if spread <= noise:
        raise SceneError(
            f"expected photos from different places, got {len(frames)} whose cameras all stand at one point "
            f"({listing([frame.label for frame in frames])}), which shows no depth; walk around the object, or export "
            "the positions of the cameras too."
        )
