from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.scenes.tiny_scenes import TinyScene
from unscene.scenes import still_life as package_scene
from unscene.scenes.still_life import still_life, true_depth


@pytest.fixture
def tiny_still_life(tiny: TinyScene, monkeypatch: pytest.MonkeyPatch) -> TinyScene:
    """A scene with the files of the package's own, only tiny."""
    tiny.photos()
    tiny.masks()
    names = [f"images/{name}" for name in tiny.names]
    split = {"train_filenames": names[2:], "test_filenames": names[:2], "depth_unit_scale_factor": 0.001}
    tiny.json(tiny.transforms() | split)
    for view, name in enumerate(tiny.names):
        tiny.array(f"depth/{name}", np.full((12, 16), 1000 * (view + 1), np.uint16))
    monkeypatch.setattr(package_scene, "FOLDER", tiny.root)
    return tiny


def test_truth_belongs_to_the_views(tiny_still_life: TinyScene) -> None:
    scene = still_life()
    assert scene.train.tolist() == [2, 3, 4, 5] and scene.test.tolist() == [0, 1]
    assert scene.masks is not None and scene.masks.flatten(1).any(1).all()
    depth = true_depth(3)
    assert depth.shape == (12, 16)
    torch.testing.assert_close(depth, torch.full((12, 16), 4.0))
