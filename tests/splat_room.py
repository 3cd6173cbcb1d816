"""The room with the box, made of Gaussians: those of the walls first, those of the box behind them."""

from __future__ import annotations

import torch

from tests.box_scene import BOX, BOX_CENTER, BoxScene
from unscene.fields.splats import TracedGaussians
from unscene.geometry.gaussians import Gaussians
from unscene.stages.splat_planting import Wanted, plant
from unscene.stages.splat_start import round_gaussians

FINE = 0.05  # between Gaussians on the box


def wall_gaussians(room: BoxScene) -> Gaussians:
    """What is really there, with nothing of the box: a Gaussian for each pixel that no earlier view shows."""
    scene = room.scene
    nothing = TracedGaussians.of_file(round_gaussians(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0), 0))
    everywhere = torch.ones(scene.cameras.height, scene.cameras.width, dtype=torch.bool)
    views = (Wanted(view, everywhere, room.truth[view].float() / 255, room.depth[view]) for view in range(len(scene)))
    return plant(nothing, scene.cameras, views).gaussians


def box_gaussians() -> Gaussians:
    """The box's faces, opaque and dark red."""
    steps = torch.arange(-1 + FINE, 1, 2 * FINE)
    a, b = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing="ij"))
    faces = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            parts = [a, b]
            parts.insert(axis, torch.full_like(a, side))
            faces.append(torch.stack(parts, -1))
    points = torch.cat(faces) * BOX + BOX_CENTER
    colors = torch.tensor([0.6, 0.09, 0.06]).repeat(len(points), 1)
    made = round_gaussians(points, colors, torch.full((len(points),), 0.8 * FINE), 0)
    made.opacity_logits.fill_(3.0)
    return made


def room_gaussians(room: BoxScene) -> tuple[Gaussians, torch.Tensor]:
    """All, and which are the box's, N bool."""
    walls, box = wall_gaussians(room), box_gaussians()
    return Gaussians.joined([walls, box]), torch.arange(len(walls) + len(box)) >= len(walls)
