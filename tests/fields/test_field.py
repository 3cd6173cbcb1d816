"""Rendering whole views in slices."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from unscene.fields.field import Histogram, Render, render_view
from unscene.geometry.cameras import Cameras, Rays


@dataclass
class Ball:
    """A field whose answer depends on every part of the ray, and which notes how many rays it was asked for."""

    asked: list[int] = field(default_factory=list)

    is_native = False

    def render(self, rays: Rays, *, jitter: Tensor | None = None) -> Render:
        assert jitter is None
        self.asked.append(len(rays))
        distance = 2 + rays.directions[:, 0] + rays.origins[:, 1]
        ones = torch.ones(len(rays), 1)
        histogram = Histogram(torch.tensor([[0.0, 1.0]]).expand(len(rays), 2), ones)
        return Render(rays.directions.abs(), distance, distance[:, None], ones, histogram, ())


def two_cameras() -> Cameras:
    T = torch.eye(4)[:3].expand(2, 3, 4).clone()
    T[1, :, 3] = torch.tensor([0.1, 0.2, 0.3])
    return Cameras(T, torch.full((2, 2), 8.0), torch.tensor([[5.0, 3.0]] * 2), torch.zeros(2, 5), 11, 7)


@pytest.mark.parametrize("at_once", [1, 10, 76, 77, 100])
def test_slices_equal_one_go(at_once: int) -> None:
    sliced, whole = Ball(), Ball()
    ours = render_view(sliced, two_cameras(), 1, rays_at_once=at_once)
    theirs = render_view(whole, two_cameras(), 1, rays_at_once=10_000)
    assert max(sliced.asked) <= at_once and whole.asked == [77]
    assert torch.equal(ours.color, theirs.color)
    assert torch.equal(ours.depth, theirs.depth)


def test_images_are_laid_out_in_rows_and_depth_runs_along_the_axis() -> None:
    cameras = two_cameras()
    image, rays = render_view(Ball(), cameras, 1), cameras.image_rays(1)
    pixel = 4 * 11 + 9
    assert image.color.shape == (7, 11, 3) and image.depth.shape == (7, 11)
    assert torch.equal(image.color[4, 9], rays.directions[pixel].abs())
    distance = 2 + rays.directions[pixel, 0] + rays.origins[pixel, 1]
    # z-depth is the distance times the cosine, and the cosine is the direction's third component here
    torch.testing.assert_close(image.depth[4, 9], distance * rays.directions[pixel, 2])


class TwoSurfaces:
    """A field of which every ray sees a near surface with little weight and a far one with the rest."""

    is_native = False

    def render(self, rays: Rays, *, jitter: Tensor | None = None) -> Render:
        weights = torch.tensor([0.3, 0.6, 0.05]).expand(len(rays), -1)
        distances = torch.tensor([1.0, 5.0, 9.0]).expand(len(rays), -1)
        edges = torch.linspace(0, 1, 4).expand(len(rays), -1)
        mean = (weights * distances).sum(-1)
        return Render(torch.zeros(len(rays), 3), mean, distances, weights, Histogram(edges, weights), ())


def test_depth_is_on_a_surface_where_the_mean_is_between_two() -> None:
    cameras = two_cameras()
    depth = render_view(TwoSurfaces(), cameras, 0).depth
    torch.testing.assert_close(depth.flatten(), 5.0 * cameras.image_rays(0).depth_per_distance)  # the mean is 3.75


def test_rendering_keeps_no_graph() -> None:
    with torch.enable_grad():
        assert not render_view(Ball(), two_cameras(), 0).color.requires_grad
