"""Features of photos (SIFT; Lowe 2004), found by COLMAP on the processor."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pycolmap

from unscene.capture.capture_error import CaptureError
from unscene.capture.database import feature_counts, opened, working_name
from unscene.capture.ignored import Ignored
from unscene.capture.photos import Photo
from unscene.files import write_png
from unscene.training.events import ItemDone, Watch

STAGE = "features"
SHRINKING = 0.9

Size = tuple[int, int]


def working_size(size: Size, longest: int) -> Size:
    """(width, height) at which features of a photo are looked for: its longer side ``longest``, or a little less where
    rounding the shorter one then stretches pixels less. A smaller photo stays as it is."""
    if max(size) <= longest:
        return size
    zooms = [side / max(size) for side in range(longest, math.floor(SHRINKING * longest), -1)]
    zoom = min(zooms, key=lambda zoom: abs(round(min(size) * zoom) / (min(size) * zoom) - 1))
    return max(1, round(size[0] * zoom)), max(1, round(size[1] * zoom))


def extract_features(
    database: Path, photos: Sequence[Photo], sizes: Sequence[Size], ignored: Ignored | None, *, most: int, watch: Watch
) -> None:
    """Put features of all photos that have none yet into the database, ``most`` of the largest of each.

    sizes: (width, height) to look for them at. The small grey photos are kept beside the database, in ``photos/``.
    """
    folder, masks = database.parent / "photos", database.parent / "ignored"
    with opened(database) as content:
        images = {image.name: image.image_id for image in content.read_all_images()}
        missing = [view for view in range(len(photos)) if not content.exists_keypoints(images[working_name(view)])]
    masks.mkdir(exist_ok=True)
    options = pycolmap.FeatureExtractionOptions()
    options.sift.max_num_features = most
    reading = pycolmap.ImageReaderOptions()
    done, at_once = len(photos) - len(missing), os.cpu_count() or 1
    for start in range(0, len(missing), at_once):
        views = missing[start : start + at_once]
        masked = False
        for view in views:
            write_png(folder / working_name(view), _grey(photos[view], sizes[view]))
            where = None if ignored is None else ignored.of(photos[view], sizes[view])
            if ignored is not None:  # COLMAP wants a mask of every photo: NAME.png, 0 = no features
                keep = np.full(sizes[view][::-1], 255, np.uint8) if where is None else np.where(where, 0, 255)
                write_png(masks / f"{working_name(view)}.png", keep.astype(np.uint8))
                masked = True
        reading.mask_path = masks if masked else ""
        pycolmap.extract_features(
            database,
            folder,
            [working_name(view) for view in views],
            reader_options=reading,
            extraction_options=options,
            device=pycolmap.Device.cpu,
        )
        done += len(views)
        watch(ItemDone(STAGE, done, len(photos)))
    if not any(feature_counts(database).values()):
        raise CaptureError(
            f"no features in any of {len(photos)} photos: expected photos with texture, got blank ones"
            f"{' or masks that cover it all' if ignored else ''}; check what was given."
        )


def _grey(photo: Photo, size: Size) -> np.ndarray:
    pixels = cv2.cvtColor(photo.read(), cv2.COLOR_RGB2GRAY)
    return (
        pixels if (pixels.shape[1], pixels.shape[0]) == size else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    )
