"""Where Gaussians begin: at median depths, denser and smaller where there is contrast; at points."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.box_scene import BoxScene
from unscene.fields.field import Histogram, Render
from unscene.geometry.cameras import Rays
from unscene.stages.splat_start import gaussians_at_depths, gaussians_at_points, with_room


class Walls:
    """Stops two fifths of each ray early, and the rest four units from where it begins: the mean depth lies between."""

    is_native = False

    def render(self, rays: Rays, *, jitter: Tensor | None = None) -> Render:
        count = len(rays.origins)
        weights = torch.tensor([0.4, 0.05, 0.5, 0.05]).repeat(count, 1)
        distances = torch.tensor([1.0, 2.0, 4.0, 9.0]).repeat(count, 1)
        histogram = Histogram(torch.linspace(0, 1, 5).repeat(count, 1), weights)
        return Render(torch.zeros(count, 3), (weights * distances).sum(1), distances, weights, histogram, ())


def test_gaussians_are_at_median_distances_of_pixels(room: BoxScene) -> None:
    scene = room.scene
    gaussians = gaussians_at_depths(Walls(), scene, 400, 0, torch.Generator().manual_seed(0))
    for view in range(8):
        means = gaussians.means[50 * view : 50 * view + 50]
        torch.testing.assert_close((means - scene.cameras.positions[view]).norm(dim=-1), torch.full((50,), 4.0))
        xy, _ = scene.cameras.project(torch.full((50,), view), means)
        torch.testing.assert_close(xy - xy.floor(), torch.full((50, 2), 0.5), atol=1e-3, rtol=0)


def test_gaussians_have_their_pixels_colours_and_fill_the_view(room: BoxScene) -> None:
    scene = room.scene
    gaussians = gaussians_at_depths(Walls(), scene, 2000, 2, torch.Generator().manual_seed(0))
    assert len(gaussians) == 2000 and gaussians.degree == 2 and not gaussians.harmonics[:, 1:].any()
    first = gaussians[:250]  # of the first view, of eight
    xy, depth = scene.cameras.project(torch.zeros(250, dtype=torch.long), first.means)
    column, row = xy.long().unbind(-1)
    torch.testing.assert_close(first.base_colors, scene.image(0)[row, column], atol=1e-3, rtol=0)
    pixels = first.scales[:, 0] / depth * scene.cameras.focal[0, 0]
    covered = (2 * pixels).square().sum() * 8 / (48 * 36)
    assert 0.5 < covered < 6  # by all views together, within a standard deviation
    assert len(torch.unique(xy.long(), dim=0)) == 250  # no pixel twice


def test_gaussians_at_points_are_as_large_as_their_distances() -> None:
    grid = torch.stack(torch.meshgrid(*[torch.arange(5.0)] * 3, indexing="ij"), -1).view(-1, 3)
    colors = torch.rand(125, 3)
    gaussians = gaussians_at_points(grid, colors, 1)
    torch.testing.assert_close(gaussians.scales, torch.full((125, 3), 0.6))
    torch.testing.assert_close(gaussians.base_colors, colors)
    assert torch.isfinite(gaussians_at_points(grid[:1], colors[:1], 0).log_scales).all()
    assert torch.isfinite(gaussians_at_points(torch.zeros(7, 3), colors[:7], 0).log_scales).all()


def test_room_for_more_shows_nothing() -> None:
    gaussians = gaussians_at_points(torch.rand(10, 3), torch.rand(10, 3), 0)
    roomy = with_room(gaussians, 25)
    assert len(roomy) == 25 and (roomy.opacities[10:] < 1 / 255).all()
    assert len(with_room(gaussians, 5)) == 10


def test_no_gaussian_begins_where_nothing_is_known(room: BoxScene) -> None:
    scene = room.scene
    assert scene.masks is not None
    gaussians = gaussians_at_depths(Walls(), scene, 800, 0, torch.Generator().manual_seed(0), ~scene.masks)
    for view in range(8):
        xy, _ = scene.cameras.project(torch.full((100,), view), gaussians.means[100 * view : 100 * view + 100])
        column, row = xy.long().unbind(-1)
        assert not scene.masks[view][row, column].any()


def test_no_photo_has_more_gaussians_than_pixels_that_are_known(room: BoxScene) -> None:
    """Small photos, and one of which all is masked."""
    scene = room.scene
    known = torch.zeros(scene.images.shape[:3], dtype=torch.bool)
    known[1:, 5:7, 10:15] = True
    gaussians = gaussians_at_depths(Walls(), scene, 800, 0, torch.Generator().manual_seed(0), known)
    assert len(gaussians) == 7 * 10 and all(tensor.isfinite().all() for tensor in gaussians.tensors)
