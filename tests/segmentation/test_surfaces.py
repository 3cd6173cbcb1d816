"""Depths, points and colours of photos."""

from __future__ import annotations

import numpy as np
import pytest

from tests.segmentation.seen_box import surfaces, truth
from unscene.segmentation.prompts import Box, Click, PromptError, check_prompts
from unscene.segmentation.voxels import voxelise


def test_a_clicked_point_projects_back() -> None:
    seen = surfaces()
    point, depth = seen.point(Click(3, 48.5, 40.5))
    column, row, inside, sees = seen.project(3, point[None])
    assert abs(column[0] - 48) <= 1 and abs(row[0] - 40) <= 1
    assert inside[0] and sees[0]
    assert depth == pytest.approx(seen.depth[3, 40, 48], rel=0.05)


def test_what_is_hidden_is_not_seen() -> None:
    seen = surfaces()
    camera, (point, _) = seen.cameras.positions[0].numpy(), seen.point(Click(0, 48.5, 40.5))
    behind = camera + 1.5 * (point - camera)
    _, _, inside, sees = seen.project(0, behind[None].astype(np.float32))
    assert inside[0] and not sees[0]


def test_voxels_are_painted_where_they_came_from() -> None:
    seen = surfaces()
    point, depth = seen.point(Click(3, 48.5, 40.5))
    voxels = voxelise(seen, point, seen.pixel_size(3, depth))
    belongs = voxels.of_pixel >= 0
    assert belongs[truth()].mean() > 0.9
    apart = np.linalg.norm(voxels.points[voxels.of_pixel[belongs]] - seen.points[belongs], axis=-1)
    assert apart.max() < 4 * voxels.spacing
    inside, outside = voxels.votes(list(truth()), range(len(seen)))
    assert (inside + outside == voxels.sees.sum(0)).all()


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (Click(9, 1, 1), "expected a view from 0 to 7"),
        (Click(0, 96, 1), "expected a click within the photo of 96 x 72"),
        (Click(0, float("nan"), 1), "expected a click within"),
        (Box(0, 20, 20, 10, 30), "expected a box within"),
        (Box(0, 20, 20, 30, 90), "expected a box within"),
    ],
)
def test_prompts_outside_the_photos_are_refused(prompt: Click | Box, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        check_prompts([prompt], 8, 96, 72)
