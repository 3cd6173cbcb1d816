"""The box in a room as exact surfaces: what a perfect field would say."""

from __future__ import annotations

import functools

import numpy as np
import torch

from tests.box_scene import _distance_to_box, _distance_to_room, box_scene
from unscene.scenes.scene import Scene
from unscene.segmentation.surfaces import Surfaces


@functools.cache
def seen_box() -> tuple[Scene, np.ndarray]:
    """The scene of eight views of 96x72 pixels with the box's masks, and z-depths N H W."""
    scene = box_scene(width=96, height=72).scene
    return scene, depths_of(scene)


def depths_of(scene: Scene) -> np.ndarray:
    """Exact z-depths of any view of the room with the box, N H W."""
    depths = []
    for view in range(len(scene)):
        rays = scene.cameras.image_rays(view)
        distance = torch.minimum(_distance_to_room(rays), _distance_to_box(rays))
        depths.append((distance * rays.depth_per_distance).view(scene.cameras.height, scene.cameras.width).numpy())
    return np.stack(depths)


@functools.cache
def surfaces() -> Surfaces:
    return Surfaces.of(*seen_box())


def truth() -> np.ndarray:
    masks = seen_box()[0].masks
    assert masks is not None
    return masks.numpy()


def overlap(masks: np.ndarray, others: np.ndarray) -> float:
    return float(np.mean([(a & b).sum() / max((a | b).sum(), 1) for a, b in zip(masks, others, strict=True)]))
