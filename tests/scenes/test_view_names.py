"""What a user may call a view."""

from __future__ import annotations

import pytest

from unscene.scenes.view_names import views_called

NAMES = ["left/a.jpg", "right/a.jpg", "7.png", "b.v2.jpg", "1.png"]


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("left/a.jpg", [0]), ("a.jpg", [0, 1]), ("a", [0, 1]), ("b.v2", [3]), ("7", [2]), ("1", [4]), ("2", [2]),
        ("0", [0]), ("5", []), ("-1", []), ("²", []), ("", []), ("9" * 5000, []), ("b", []),
    ],
)  # fmt: skip
def test_names_go_before_numbers(text: str, views: list[int]) -> None:
    assert views_called(text, NAMES) == views
