"""What a run gives to be judged by where nobody knows the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from unscene.fields.field import render_view
from unscene.fields.nerf import Nerf
from unscene.files import write_png
from unscene.results.run import Run
from unscene.results.without_truth import photos_beside_the_object, rendered_views

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(room_with_tests: BoxScene, tmp_path: Path) -> Run:
    """A removal's folder: views are named 000.png, ...; the last two are for testing."""
    scene = room_with_tests.scene
    assert scene.masks is not None
    for view, (photo, mask) in enumerate(zip(scene.images, scene.masks, strict=True)):
        write_png(tmp_path / "dataset" / "images" / f"{view:03}.png", photo.numpy())
        write_png(tmp_path / "masks" / f"{view:03}.png", mask.byte().numpy() * 255)
    field = Nerf.around(scene.cameras, TINY_NERF, torch.Generator().manual_seed(0))
    names = tuple(f"{view:03}.png" for view in range(len(scene)))
    return Run(tmp_path, field, scene.cameras, names, scene.train, scene.test)


def test_test_views_are_rendered_with_depths_and_masks(run: Run, room_with_tests: BoxScene) -> None:
    scene, views = room_with_tests.scene, rendered_views(run)
    assert scene.masks is not None and views.masks is not None and views.depths is not None and views.truths is None
    assert len(views.images) == 2 and views.masks_from == "the run"
    for index, view in enumerate(scene.test.tolist()):
        render = render_view(run.field, run.cameras, view)
        torch.testing.assert_close(views.images[index], render.color)
        torch.testing.assert_close(views.depths[index], render.depth)
        assert torch.equal(views.masks[index], scene.masks[view])
    assert len(rendered_views(replace(run, test=torch.arange(0))).images) == len(scene.train)


def test_photos_are_those_of_training_views_with_their_masks(run: Run, room_with_tests: BoxScene) -> None:
    scene, photos = room_with_tests.scene, photos_beside_the_object(run)
    assert scene.masks is not None and len(photos) == len(scene.train)
    for view, (photo, mask) in zip(scene.train.tolist(), photos, strict=True):
        torch.testing.assert_close(photo, scene.images[view].float() / 255)
        assert torch.equal(mask, scene.masks[view])


def test_a_run_that_took_nothing_out_has_neither(run: Run, tmp_path: Path) -> None:
    bare = replace(run, folder=tmp_path / "bare")
    assert photos_beside_the_object(bare) == [] and rendered_views(bare).masks is None
