"""Carried noise: unit variance, whiteness, and correlation exactly where two views look at one thing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras, look_at, pixel_centers
from unscene.geometry.warped_noise import NoiseCorrespondence, carry_noise, corresponding_cells

HEIGHT, WIDTH, FOCAL, WALL = 24, 32, 40.0, 3.0


def camera(position: tuple[float, float, float] = (0, 0, 0), *, roll: float = 0.0, focal: float = FOCAL) -> Cameras:
    """A latent camera at ``position`` that looks along z, rolled about its axis by an angle in radians."""
    T = torch.zeros(1, 3, 4)
    T[0, 0, 0] = T[0, 1, 1] = math.cos(roll)
    T[0, 1, 0], T[0, 0, 1] = math.sin(roll), -math.sin(roll)
    T[0, 2, 2] = 1
    T[0, :, 3] = torch.tensor(position)
    return Cameras(
        T, torch.full((1, 2), focal), torch.tensor([[WIDTH / 2, HEIGHT / 2]]), torch.zeros(1, 5), WIDTH, HEIGHT
    )


def wall_points(view: Cameras) -> Tensor:
    """Where a view's rays meet the plane z = 3, R 3."""
    rays = view.image_rays(0)
    distance = (WALL - rays.origins[:, 2]) / rays.directions[:, 2]
    return rays.origins + distance[:, None] * rays.directions


def seen_on_the_wall(view: Cameras, base: Cameras) -> NoiseCorrespondence:
    points = wall_points(view)[:, None]
    return corresponding_cells(points, torch.ones(len(points), 1), base)


def base_noise(channels: int, seed: int = 0) -> Tensor:
    return torch.randn(channels, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def carry(noise: Tensor, correspondence: NoiseCorrespondence, seed: int = 1000) -> Tensor:
    return carry_noise(noise, correspondence, torch.Generator().manual_seed(seed))


OTHER_VIEWS = {
    "magnified": camera(focal=2 * FOCAL),
    "minified": camera(focal=0.55 * FOCAL),
    "rolled": camera(roll=0.4),
    "moved": camera((0.31, -0.17, 0.2)),
    "turned": Cameras(
        look_at(torch.tensor([[1.2, 0.3, 0.0]]), torch.tensor([0.0, 0.0, WALL]), torch.tensor([0.0, -1.0, 0.0])),
        torch.full((1, 2), FOCAL), torch.tensor([[WIDTH / 2, HEIGHT / 2]]), torch.zeros(1, 5), WIDTH, HEIGHT,
    ),
}  # fmt: skip
other_views = pytest.mark.parametrize("view", OTHER_VIEWS.values(), ids=OTHER_VIEWS.keys())


def test_the_same_camera_gets_the_same_noise_exactly() -> None:
    noise = base_noise(4)
    assert torch.equal(carry(noise, seen_on_the_wall(camera(), camera())).view_as(noise), noise)


@other_views
def test_cells_are_those_of_the_plane_homography(view: Cameras) -> None:
    base = camera()
    found = seen_on_the_wall(view, base)
    pixel = torch.cat([pixel_centers(WIDTH, HEIGHT).reshape(-1, 2), torch.ones(HEIGHT * WIDTH, 1)], 1).double()
    T = view.T_world_camera[0].double()
    K_view, K_base = (
        torch.tensor([[c.focal[0, 0], 0, WIDTH / 2], [0, c.focal[0, 0], HEIGHT / 2], [0, 0, 1]], dtype=torch.float64)
        for c in (view, base)
    )
    # The base camera is the world: a wall point X has n.X = 3, in the view's frame n'.x = 3 - n.t with n' = R^T n.
    normal = T[:, :3].T @ torch.tensor([0, 0, 1.0], dtype=torch.float64)
    offset = WALL - T[2, 3]
    homography = K_base @ (T[:, :3] + T[:, 3:] * normal[None] / offset) @ torch.linalg.inv(K_view)
    x, y, w = (pixel @ homography.T).unbind(-1)
    x, y = x / w, y / w
    safe = ((x - x.round()).abs() > 1e-3) & ((y - y.round()).abs() > 1e-3)  # not on a border between cells
    inside = (w > 0) & (x >= 0) & (y >= 0) & (x < WIDTH) & (y < HEIGHT)
    assert torch.equal(found.coverage[safe] > 0, inside[safe])
    wanted = (y.floor() * WIDTH + x.floor()).long()
    assert (safe & inside).sum() > 50
    assert torch.equal(found.cell[safe & inside], wanted[safe & inside])


def test_mean_and_deviation_are_those_of_unit_noise_over_many_pairs() -> None:
    generator = torch.Generator().manual_seed(5)
    base = camera()
    values = []
    for pair in range(40):
        x, y, roll, zoom = (torch.rand(4, generator=generator) * 2 - 1).tolist()
        view = camera((0.6 * x, 0.4 * y, 0.0), roll=0.5 * roll, focal=FOCAL * 2**zoom)
        values.append(carry(base_noise(4, seed=pair), seen_on_the_wall(view, base), seed=1000 + pair))
    per_channel = torch.cat(values, 1)
    assert per_channel.mean(1).abs().max() < 0.02
    assert (per_channel.std(1) - 1).abs().max() < 0.02


@other_views
def test_neighbours_stay_uncorrelated(view: Cameras) -> None:
    channels = 256
    carried = carry(base_noise(channels), seen_on_the_wall(view, camera())).view(channels, HEIGHT, WIDTH)
    for right, down in ((1, 0), (0, 1), (1, 1), (2, 0)):
        product = carried[:, down:, right:] * carried[:, : HEIGHT - down, : WIDTH - right]
        deviation = product.numel() ** -0.5  # of the mean of products of independent unit normals
        assert abs(product.mean().item()) < 5 * deviation
        # pair by pair, so that opposite errors of pairs inside one cell and across cells cannot cancel
        assert (product.mean(0).square().mean() - 1 / channels).abs() < 0.25 / channels


@other_views
def test_correlation_with_the_base_is_one_over_the_root_of_the_rays_that_share_a_cell(view: Cameras) -> None:
    channels = 2048
    noise, found = base_noise(channels), seen_on_the_wall(view, camera())
    correlation = (carry(noise, found) * noise.view(channels, -1)[:, found.cell]).mean(0)
    covered = found.coverage > 0
    shared = torch.bincount(found.cell[covered], minlength=HEIGHT * WIDTH)[found.cell]
    tolerance = 6 * (2 / channels) ** 0.5
    torch.testing.assert_close(correlation[covered], shared[covered].rsqrt(), atol=tolerance, rtol=0)
    assert (correlation[~covered].abs() < tolerance).all()


def test_values_elsewhere_are_unrelated() -> None:
    channels = 2048
    noise, found = base_noise(channels), seen_on_the_wall(OTHER_VIEWS["moved"], camera())
    elsewhere = (found.cell + 5 * WIDTH + 3) % (HEIGHT * WIDTH)
    correlation = (carry(noise, found) * noise.view(channels, -1)[:, elsewhere]).mean(0)
    assert correlation.abs().max() < 6 * channels**-0.5


def test_what_the_base_view_does_not_see_is_fresh_and_half_seen_is_half_fresh() -> None:
    channels, cells = 4096, torch.tensor([0, 7, 9])
    noise = base_noise(channels)
    carried = carry(noise, NoiseCorrespondence(cells, torch.tensor([0.0, 0.5, 1.0])))
    correlation = (carried * noise.view(channels, -1)[:, cells]).mean(0)
    torch.testing.assert_close(correlation, torch.tensor([0.0, 0.5**0.5, 1.0]), atol=0.08, rtol=0)
    torch.testing.assert_close(carried.std(1).mean(), torch.tensor(1.0), atol=0.15, rtol=0)


def test_rays_that_miss_the_base_view_take_nothing_from_those_that_hit_it() -> None:
    base = camera()
    hit = wall_points(base)[:, None]
    missed = hit + torch.tensor([50.0, 0.0, 0.0])
    found = corresponding_cells(torch.cat([hit, missed]), torch.ones(2 * len(hit), 1), base)
    noise = base_noise(64)
    carried = carry(noise, found)[:, : len(hit)].view_as(noise)
    torch.testing.assert_close(carried, noise, atol=1e-5, rtol=0)


def test_points_behind_the_base_camera_are_not_covered() -> None:
    behind = torch.tensor([[[0.0, 0.0, -2.0]], [[0.0, 0.0, 2.0]]])
    assert corresponding_cells(behind, torch.ones(2, 1), camera()).coverage.tolist() == [0, 1]


def test_the_cell_with_the_largest_share_of_a_rays_weight_wins() -> None:
    centre = torch.tensor([0.01, 0.01, 1.0])
    beside, outside = torch.tensor([0.035, 0.01, 1.0]), torch.tensor([9.0, 0.0, 1.0])
    points = torch.stack([centre, beside, beside, outside])[None]
    found = corresponding_cells(points, torch.tensor([[0.35, 0.2, 0.25, 0.2]]), camera())
    assert found.cell.tolist() == [HEIGHT // 2 * WIDTH + WIDTH // 2 + 1]
    torch.testing.assert_close(found.coverage, torch.tensor([0.8]))
