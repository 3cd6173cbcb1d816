"""A ball on a floor, as voxels without photos."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from unscene.segmentation.support_planes import SupportPlane, support_planes
from unscene.segmentation.surface_cut import Region
from unscene.segmentation.surface_graph import SurfaceGraph
from unscene.segmentation.voxels import SurfaceVoxels

FLOOR, RADIUS = 24, 5.0  # half side of the floor and radius of the ball, in spacings
FLOOR_COLOUR, BALL_COLOUR, CARPET_COLOUR = (70.0, 5.0, 15.0), (40.0, 50.0, 30.0), (35.0, 10.0, -40.0)


def stage(darkened: float = 0.0, *, carpet: bool = False) -> tuple[Region, np.ndarray, np.ndarray]:
    """The region, the ball's voxels and those of its shadow, a disk aside of it that is darker by a share. carpet: the
    disk is one, of a colour that is nowhere else."""
    x, z = np.mgrid[-FLOOR : FLOOR + 1, -FLOOR : FLOOR + 1].reshape(2, -1).astype(np.float32)
    floor = np.stack([x, np.zeros_like(x), z], -1)
    angle = np.arange(314) * 2.39996
    height = np.linspace(-0.95, 1, 314)
    around = np.sqrt(1 - height**2)
    ball = RADIUS * np.stack([around * np.cos(angle), height + 0.95, around * np.sin(angle)], -1)
    points = np.concatenate([floor, ball]).astype(np.float32)
    is_ball = np.arange(len(points)) >= len(floor)
    shadow = ~is_ball & (np.hypot(points[:, 0] - 5, points[:, 2]) < 5)
    normals = np.where(is_ball[:, None], (points - [0, 0.95 * RADIUS, 0]) / RADIUS, [0, 1, 0]).astype(np.float32)
    lab = np.where(is_ball[:, None], BALL_COLOUR, FLOOR_COLOUR).astype(np.float32)
    light = (lab[shadow, :1] * (1 - darkened) + 16) / (lab[shadow, :1] + 16)
    lab[shadow] = (lab[shadow] + [16, 0, 0]) * light - [16, 0, 0]  # as CIELAB is where there is less light
    lab[shadow] = CARPET_COLOUR if carpet else lab[shadow]
    return _region(points, normals, lab, np.where(is_ball, 0.2, 0.0)), is_ball, shadow


def _region(points: np.ndarray, normals: np.ndarray, lab: np.ndarray, flatness: np.ndarray) -> Region:
    tree, none = KDTree(points), np.zeros((0, len(points)))
    voxels = SurfaceVoxels(
        centre=np.zeros(3), radius=100.0, spacing=1.0, pixel=0.5, points=points, lab=lab,
        of_pixel=np.zeros((0, 1, 1), np.int32), column=none, row=none, appears=none > 0, sees=none > 0, tree=tree,
    )  # fmt: skip
    pairs = tree.query_pairs(1.6, output_type="ndarray")
    length = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    contrast = np.exp(-np.square(lab[pairs[:, 0]] - lab[pairs[:, 1]]).sum(1) / 100)
    graph = SurfaceGraph(
        pairs[:, 0], pairs[:, 1], length, normals, flatness, flatness, contrast, np.ones(len(pairs)), contrast
    )
    planes: list[SupportPlane] = support_planes(voxels, graph, np.random.default_rng(0))
    return Region(voxels, graph, planes)
