"""Between the size at which objects are told apart and that of the photos, where outlines are drawn."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import torch

from unscene.scenes.scene import Scene
from unscene.segmentation.outlines import BAND
from unscene.segmentation.photo_segmenter import PhotoSegmenter

WIDEST = 420  # pixels: finer surfaces cost more than they tell, as depths are no finer


def reduced(scene: Scene) -> Scene:
    """The scene with photos small enough to be segmented in seconds, without masks; itself if they are."""
    factor = max(scene.cameras.width, scene.cameras.height) / WIDEST
    if factor <= 1:
        return dataclasses.replace(scene, masks=None)
    width, height = round(scene.cameras.width / factor), round(scene.cameras.height / factor)
    photos = scene.images.cpu().numpy()
    images = np.stack([cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA) for photo in photos])
    return dataclasses.replace(
        scene, cameras=scene.cameras.resized(width, height), images=torch.from_numpy(images), masks=None
    )


def at_full_size(image: np.ndarray, mask: np.ndarray, segmenter: PhotoSegmenter) -> np.ndarray:
    """A reduced photo's mask (h w bool) drawn along the edges of the photo (H W 3 uint8), H W bool."""
    height, width = image.shape[:2]
    if mask.shape == (height, width):
        return mask
    return segmenter.refine(image, enlarged(mask, (height, width)), math.ceil(BAND * width / mask.shape[1]))


def enlarged(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask (h w bool) in a photo's shape (H, W)."""
    return cv2.resize(mask.astype(np.float32), shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5


def shrunk(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A photo's mask (H W bool) in a reduced shape (h, w)."""
    return cv2.resize(mask.astype(np.float32), shape[1::-1], interpolation=cv2.INTER_AREA) > 0.5
