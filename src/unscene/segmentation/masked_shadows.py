"""The shadows of objects that masks show, wherever the masks come from."""

from __future__ import annotations

import cv2
import numpy as np

from unscene.segmentation.prompts import PromptError
from unscene.segmentation.session import Session, innermost

MOST_OBJECTS = 12
LEAST = 0.02  # of all masked pixels: fewer than these are the rims of objects that are done
RIM = 3  # pixels around an object's voxels that its masks may reach


def masked_shadows(session: Session, masks: np.ndarray) -> np.ndarray:
    """What darkens around the feet of the masked objects and is in no mask yet, N H W bool. masks: N H W bool, at the
    session's size; several objects are taken one by one."""
    every, shadows, left = dict(enumerate(masks)), np.zeros_like(masks), masks.copy()
    kernel = np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)
    for _ in range(MOST_OBJECTS):
        if left.sum() <= LEAST * masks.sum():
            break
        point = innermost(dict(enumerate(left)))
        left[point.view] = False  # so that every turn brings the end nearer
        try:
            selection = session.masked(every, point)
        except PromptError:  # other photos do not show it
            continue
        objects = session.rough_masks(selection, range(len(masks)))
        shadows |= session.shadows(selection) & ~objects  # voxels at an object's rim reach beyond it
        for view, mask in enumerate(objects):
            left[view] &= cv2.dilate(mask.astype(np.uint8), kernel) == 0
    return shadows & ~masks
