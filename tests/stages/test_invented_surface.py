"""Points of invented pixels: which, and how far away."""

import torch

from tests.sphere_views import cameras, no_symmetry, sphere_view
from unscene.geometry.masks import erode
from unscene.geometry.partial_view import PartialView
from unscene.stages.invented_surface import completed_depth, object_pixels

SIZE = 64


def test_depth_of_what_nothing_is_known_of_is_the_outline_s() -> None:
    """A view from behind, of which no point is known: half a ball, its rim at the object's centre."""
    camera = cameras(0.0, size=SIZE)
    _, depth = sphere_view(camera)
    nothing, none = torch.zeros(SIZE, SIZE), torch.zeros(SIZE, SIZE, 3)
    seen = PartialView(
        none, nothing, nothing, nothing, torch.where(depth > 0, 0.0, torch.inf), no_symmetry(SIZE), nothing
    )
    shown = object_pixels(torch.where((depth > 0)[..., None], 0.3, 1.0).expand(-1, -1, 3), seen)
    assert torch.equal(shown, depth > 0)
    completed = completed_depth(shown, seen, camera)
    assert torch.equal(completed > 0, shown)
    assert (completed - depth)[erode(shown[None], 2)[0]].abs().mean() < 0.12


def test_depth_goes_on_smoothly_from_what_is_known() -> None:
    camera = cameras(0.0, size=SIZE)
    _, depth = sphere_view(camera)
    shown, none = depth > 0, torch.zeros(SIZE, SIZE, 3)
    left = torch.arange(SIZE) < SIZE // 2
    coverage = (shown & left).float()
    moved = torch.where(shown & left, depth + 0.4, 0)  # everything known is farther away than the outline says
    seen = PartialView(
        none, coverage, moved * 0, moved, torch.where(shown, 0.0, torch.inf), no_symmetry(SIZE), coverage
    )
    completed = completed_depth(shown, seen, camera)
    torch.testing.assert_close(completed[shown & left], moved[shown & left])
    right = erode(shown[None], 2)[0] & ~left
    assert (completed - depth - 0.4)[right].abs().mean() < 0.15


def test_a_white_background_is_no_object_and_pinholes_are_closed() -> None:
    size = 32
    reach = torch.full((size, size), torch.inf)
    reach[4:28, 4:28] = 0.5
    nothing, none = torch.zeros(size, size), torch.zeros(size, size, 3)
    image = torch.ones(size, size, 3)
    image[8:24, 8:24] = 0.4
    image[15, 15] = 1.0  # too small for a hole
    image[28:, :] = 0.4  # where nothing new can be
    shown = object_pixels(image, PartialView(none, nothing, nothing, nothing, reach, no_symmetry(size), nothing))
    expected = torch.zeros(size, size, dtype=torch.bool)
    expected[8:24, 8:24] = True
    assert torch.equal(shown, expected)
