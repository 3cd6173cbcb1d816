"""The field of what is not masked, from few photos."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.box_scene import BoxScene, box_scene
from tests.conftest import TINY_NERF
from unscene.fields.nerf import Nerf
from unscene.geometry.cameras import Cameras
from unscene.scenes.scene import Scene
from unscene.stages.reconstruction import COARSEST, NEAR, AnnealedReconstruction, UnmaskedReconstruction, reconstruct
from unscene.training import photo_depths
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Note
from unscene.training.fit import FitConfig
from unscene.training.pixels import RegularizerConfig


def unmasked(scene: Scene) -> UnmaskedReconstruction:
    nerf = Nerf.around(scene.cameras, TINY_NERF, torch.Generator().manual_seed(0))
    return UnmaskedReconstruction(nerf, scene, RegularizerConfig(), rays=64)


def farthest(known: UnmaskedReconstruction) -> float:
    """How far rays go, in radii."""
    render = known.nerf.render(known.scene.cameras.image_rays(0))
    return float(render.distances.max() / known.nerf.radius)


def test_rays_end_early_at_first_and_only_while_it_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    known, seen = unmasked(box_scene().scene), list[float]()
    call = UnmaskedReconstruction.__call__

    def noting(self: UnmaskedReconstruction, step: int, progress: float, generator: torch.Generator):
        seen.append(farthest(self))
        return call(self, step, progress, generator)

    monkeypatch.setattr(UnmaskedReconstruction, "__call__", noting)
    objective = AnnealedReconstruction(known, near_steps=2, coarse_steps=0)
    for step in range(4):
        objective(step, step / 4, torch.Generator().manual_seed(step))
    assert max(seen[:2]) <= NEAR < 2 * NEAR < min(seen[2:])
    assert farthest(known) > 2 * NEAR
    assert objective.kind(0) != objective.kind(96) and objective.kind(48) == objective.kind(96)


def test_the_grid_learns_from_coarse_to_fine() -> None:
    known = unmasked(box_scene().scene)
    objective, grid = AnnealedReconstruction(known, near_steps=6, coarse_steps=11), known.nerf.grid
    learning = [objective.learning_levels(step) for step in range(20)]
    assert learning[0] == COARSEST < len(grid.levels) == learning[11] and learning == sorted(learning)
    for step in (0, 12):
        grid.table.grad = None
        terms = objective(step, step / 20, torch.Generator().manual_seed(step))
        assert ("hash decay" in terms) == (step % 8 == 0)  # it must not move the others either
        torch.stack(list(terms.values())).sum().backward()
        assert grid.table.grad is not None
        learns = [bool(part.any()) for part in grid.table.grad.split([level.rows for level in grid.levels])]
        assert learns == [True] * learning[step] + [False] * (len(grid.levels) - learning[step])
    assert objective.kind(8) != objective.kind(16)  # a CUDA graph each


def test_all_levels_learn_once_a_fit_is_over() -> None:
    known = unmasked(box_scene().scene)
    for _ in reconstruct(known, FitConfig(steps=1), Checkpoints(None, 0)):
        pass
    assert known.nerf.grid.learnt_table is known.nerf.grid.table


def test_few_photos_are_looked_at_nearby_first_and_many_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    room: BoxScene = box_scene()
    config = FitConfig(steps=4)
    assert [e for e in reconstruct(unmasked(room.scene), config, Checkpoints(None, 0)) if isinstance(e, Note)]
    monkeypatch.setattr(photo_depths, "FEW", 7)
    assert not [e for e in reconstruct(unmasked(room.scene), config, Checkpoints(None, 0)) if isinstance(e, Note)]


def test_a_walk_around_a_thing_is_looked_at_nearby_first_however_many_photos_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photo_depths, "FEW", 0)
    scene = box_scene().scene
    around = replace(scene, cameras=looking_all_around(scene.cameras))
    notes = [e for e in reconstruct(unmasked(around), FitConfig(steps=4), Checkpoints(None, 0)) if isinstance(e, Note)]
    assert [note.text for note in notes if "from all around" in note.text and "coarse" not in note.text]


def looking_all_around(cameras: Cameras) -> Cameras:
    """The same cameras, each turned about its own upright axis by another part of a whole turn."""
    turned = cameras.T_world_camera.clone()
    for view, angle in enumerate(torch.arange(len(cameras)) * (2 * torch.pi / len(cameras))):
        cos, sin = angle.cos(), angle.sin()
        turned[view, :, :3] = torch.eye(3) @ torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return replace(cameras, T_world_camera=turned)
