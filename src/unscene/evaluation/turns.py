"""How well the views of a turn agree, with nothing known but the views themselves."""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

FAINTEST = 0.06  # difference from the white background that is the object


def turn_disagreement(images: list[Tensor], *, closed: bool = True) -> float:
    """Mean absolute difference between each view and the next, warped onto it by dense optical flow, over the object.

    images: at least two, H W 3 in [0, 1] on white, in the order of the turn; closed: the first follows the last. The
    flow (DIS, Kroeger et al. 2016) takes out whatever moves between two views: what is left has changed. Blur and the
    turn's step matter: compare turns of equal steps. NaN for a single view.
    """
    following = [*images[1:], *images[:1]] if closed and len(images) > 2 else images[1:]
    differences = [_difference(first, second) for first, second in zip(images, following, strict=False)]
    return float(np.mean(differences)) if differences else float("nan")


def _difference(first: Tensor, second: Tensor) -> float:
    here, there = (image.detach().cpu().float().numpy() for image in (first, second))
    grey = [(image.mean(-1) * 255).round().astype(np.uint8) for image in (here, there)]
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = finder.calc(grey[0], grey[1], np.zeros((*grey[0].shape, 2), np.float32))
    y, x = np.mgrid[0 : here.shape[0], 0 : here.shape[1]].astype(np.float32)
    warped = cv2.remap(there, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    on_object = (1 - np.minimum(here, warped).min(-1)) > FAINTEST
    return float(np.abs(warped - here)[on_object].mean()) if on_object.any() else 0.0
