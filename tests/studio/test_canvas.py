"""A photo on the page stands in its middle, and a click on it means the pixel that is seen there."""

from __future__ import annotations

import numpy as np
import pytest

from unscene.studio.canvas import GROUND, drawn, in_photo, placement


@pytest.mark.parametrize(("width", "height"), [(300, 100), (100, 300), (120, 90), (97, 61)])
def test_a_click_means_what_is_seen_there(width, height):
    """Each pixel of the photo tells its own place; what a canvas shows under a click must be what the click means."""
    rows, columns = np.mgrid[:60, :80]
    photo = np.stack([columns, rows, np.full_like(rows, 200)], -1).astype(np.uint8)
    canvas = drawn(photo, {}, [], width, height)
    left, top, shown_width, shown_height = placement(80 / 60, width, height)
    assert shown_width in (width, round(height * 80 / 60)) and shown_height in (height, round(width * 60 / 80))
    for across, down in ((0.1, 0.2), (0.5, 0.5), (0.93, 0.77)):
        x, y = (left + across * shown_width) / width, (top + down * shown_height) / height
        place = in_photo(x, y, 80 / 60, width / height)
        assert place == pytest.approx((across, down), abs=0.02)
        column, row, _ = canvas[int(y * height), int(x * width)]
        assert abs(column - place[0] * 80) < 3 and abs(row - place[1] * 60) < 3
    assert (canvas[0, 0] == GROUND).all() or (left, top) == (0, 0)


def test_beside_the_photo_is_nowhere():
    x, _ = in_photo(0.05, 0.5, 1.0, 3.0)
    _, y = in_photo(0.5, 0.99, 3.0, 1.0)
    assert x < 0 and y > 1


def test_the_object_is_tinted_and_clicks_are_marked():
    photo, mask = np.full((60, 80, 3), 128, np.uint8), np.zeros((60, 80), bool)
    mask[20:40, 20:40] = True
    canvas = drawn(photo, {"": mask}, [(0.75, 0.5, True), (0.9, 0.5, False)], 160, 120)
    assert canvas[60, 60, 0] > 150 > canvas[60, 60, 1]
    assert (canvas[10, 10] == 128).all() and (photo == 128).all()
    assert canvas[60, 120].tolist() == [40, 220, 90] and canvas[60, 144].tolist() == [250, 60, 60]
