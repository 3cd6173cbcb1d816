"""Agreement of a turn's views, from nothing but the views."""

import math

import pytest
import torch

from tests.sphere_views import cameras, sphere_view
from unscene.evaluation.turns import turn_disagreement


def turn(step: float, count: int = 4) -> list[torch.Tensor]:
    views = [sphere_view(cameras(step * index, size=96)) for index in range(count)]
    return [torch.where((depth > 0)[..., None], color, 1.0) for color, depth in views]


def test_what_only_moves_agrees_and_what_changes_does_not() -> None:
    true = turn(8.0)
    moving = turn_disagreement(true, closed=False)
    assert moving < 0.035
    changing = [image * (1 - 0.2 * (index % 2)) for index, image in enumerate(true)]
    assert turn_disagreement(changing, closed=False) > 3 * moving


def test_a_change_of_colour_is_measured_exactly() -> None:
    images = [torch.full((48, 48, 3), value) for value in (0.4, 0.5, 0.4)]
    assert turn_disagreement(images, closed=False) == pytest.approx(0.1, abs=1e-3)
    # the last meets the first without a step: two of three steps of a tenth
    assert turn_disagreement(images) == pytest.approx(0.2 / 3, abs=1e-3)


def test_a_single_view_has_nothing_to_agree_with() -> None:
    assert math.isnan(turn_disagreement([torch.rand(24, 24, 3)]))
    assert turn_disagreement([torch.ones(24, 24, 3)] * 2) == 0
