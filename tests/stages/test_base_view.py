"""The election of the base view: candidates are sketches, the elected is filled in full towards their mean."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.box_scene import BoxScene
from unscene.priors.classical import ExemplarInpainter
from unscene.stages import base_view
from unscene.stages.independent_inpainting import InpaintedView
from unscene.training.checkpoints import Checkpoints


def test_candidates_are_sketches_and_the_elected_is_filled_in_full(
    room: BoxScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, asked = room.scene, []
    assert scene.masks is not None

    def inpaint(field: Any, scene: Any, view: int, region: Any, depths: Any, prior: Any, *_: Any, **how: Any) -> Any:
        asked.append((view, prior.along_surfaces, how.get("expected") is not None))
        image = scene.image(view)
        filled = InpaintedView(view, image, image, torch.zeros(0), torch.ones(image.shape[:2]), region[view])
        return filled, SimpleNamespace(is_filled_squarely=True, describe=lambda: "")

    monkeypatch.setattr(base_view, "inpaint_alone", inpaint)
    monkeypatch.setattr(base_view, "who_filled", lambda *_: "")
    prior = ExemplarInpainter()
    steps = base_view.choose_base_view(
        None, scene, scene.masks, torch.ones(len(scene.train), 1, 1), prior, Checkpoints(None, 0), candidates=3
    )  # pyright: ignore[reportArgumentType]
    while True:
        try:
            next(steps)
        except StopIteration as done:
            winner = done.value
            break
    assert [config for _, config, _ in asked] == [base_view.SKETCH] * 3 + [prior.along_surfaces]
    assert [expected for _, _, expected in asked] == [False] * 3 + [True] and asked[-1][0] == winner.view
