"""The NeRF's geometry: contraction, spacing, invariance, walls where they stand, and gradients at extremes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from unscene.fields.field import Render
from unscene.fields.hash_grid import HashGridConfig
from unscene.fields.nerf import Nerf, NerfConfig, _inverse_spacing, _spacing, contract, spherical_harmonics
from unscene.geometry.cameras import Cameras, Rays, look_at

DECADES = [10.0**exponent for exponent in range(-10, 11)]
SMALL = NerfConfig(
    grid=HashGridConfig(levels=4, features=2, coarsest=8, finest=64, log2_table_size=12),
    proposal_grid=HashGridConfig(levels=2, features=1, coarsest=8, finest=16, log2_table_size=12),
    hidden=16,
)


def nerf(center: Tensor | None = None, radius: float = 1.0, config: NerfConfig = SMALL) -> Nerf:
    """A field with random contents."""
    center = torch.zeros(3) if center is None else center
    model = Nerf(config, center=center, radius=torch.tensor(radius), generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.grid.table.normal_(generator=generator)
        model.proposal_grid.table.normal_(generator=generator)
        if config.view_dependence:
            model.view_network.weight_output.normal_(std=0.1, generator=generator)
    return model


def random_rays(count: int = 64) -> Rays:
    generator = torch.Generator().manual_seed(2)
    directions = normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return Rays(torch.randn(count, 3, generator=generator) * 0.3, directions, torch.ones(count))


def random_jitter(count: int = 64) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("jitter", [None, random_jitter()], ids=["deterministic", "jittered"])
def test_weights_sum_to_one_and_samples_are_sorted(jitter: Tensor | None) -> None:
    render = nerf().render(random_rays(), jitter=jitter)
    for histogram in (render.histogram, *render.proposals):
        torch.testing.assert_close(histogram.weights.sum(-1), torch.ones(64))
        assert histogram.weights.min() >= 0
        assert histogram.edges.diff(dim=-1).min() >= 0
        assert histogram.edges.min() >= 0 and histogram.edges.max() <= 1
    assert render.distances.diff(dim=-1).min() >= 0
    assert render.color.min() >= 0 and render.color.max() <= 1
    torch.testing.assert_close(render.distance, (render.weights * render.distances).sum(-1))


def test_rendering_without_jitter_is_deterministic_and_with_jitter_differs() -> None:
    model, rays = nerf(), random_rays()
    assert torch.equal(model.render(rays).color, model.render(rays).color)
    jittered = model.render(rays, jitter=random_jitter()).color
    assert torch.equal(jittered, model.render(rays, jitter=random_jitter()).color)
    assert not torch.equal(jittered, model.render(rays).color)


def test_a_jitter_of_one_half_is_no_jitter() -> None:
    model, rays = nerf(), random_rays()
    torch.testing.assert_close(model.render(rays, jitter=torch.full((64,), 0.5)).color, model.render(rays).color)


def cameras_around(center: Tensor, radius: float) -> Cameras:
    angle = torch.linspace(-1, 1, 5)
    positions = torch.stack([angle.sin(), -angle.cos(), 0.2 * angle], -1) * radius + center
    T = look_at(positions, center, torch.tensor([0.0, 0.0, 1.0]))
    return Cameras(T, torch.full((5, 2), 10.0), torch.full((5, 2), 4.0), torch.zeros(5, 5), 8, 8)


@pytest.mark.parametrize("scale", [2.0**-10, 8.0, 2.0**12])
def test_renders_do_not_depend_on_the_worlds_units_and_origin(scale: float) -> None:
    here, there = torch.zeros(3), torch.tensor([0.7, -0.4, 1.1]) * scale
    ours = nerf(here, 1.0).render(cameras_around(here, 1.0).image_rays(3))
    theirs = nerf(there, scale).render(cameras_around(there, scale).image_rays(3))
    torch.testing.assert_close(theirs.color, ours.color, atol=2e-3, rtol=0)
    torch.testing.assert_close(theirs.weights, ours.weights, atol=5e-3, rtol=0)
    torch.testing.assert_close(theirs.distance / scale, ours.distance, rtol=5e-3, atol=5e-3)


def test_a_field_that_starts_anew_is_the_one_drawn_then() -> None:
    field, fresh = nerf(), nerf()
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(1)
    held = dict(field.named_parameters())
    field.start_anew(torch.Generator().manual_seed(5))
    expected = Nerf(SMALL, center=fresh.center, radius=fresh.radius, generator=torch.Generator().manual_seed(5))
    for name, parameter in expected.named_parameters():
        assert torch.equal(held[name], parameter), name  # in place: whoever holds the field has the new one


def test_around_puts_the_cameras_into_the_unit_ball() -> None:
    center = torch.tensor([3.0, 1.0, -2.0])
    cameras = cameras_around(center, 5.0)
    model = Nerf.around(cameras, SMALL, torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.center, center, atol=0.1, rtol=0)
    local = (cameras.positions - model.center) / model.radius
    torch.testing.assert_close(local.norm(dim=-1).max(), torch.tensor(1.0))


def test_cameras_that_look_apart_stand_around_the_centre_of_a_ball_that_reaches_what_they_see() -> None:
    """Fanned out, as hand-held captures of one side often are: where their axes meet, behind them, nothing is seen."""
    positions = torch.tensor([[x, 10.0, z] for x in (-1.0, 0.0, 1.0) for z in (-0.5, 0.5)])
    targets = positions * torch.tensor([1.3, 1.0, 1.3]) + torch.tensor([0.0, 5.0, 0.0])
    ones = torch.ones(6, 2)
    cameras = Cameras(look_at(positions, targets, torch.tensor([0.0, 0, 1])), ones, ones, torch.zeros(6, 5), 2, 2)
    field = Nerf.around(cameras, SMALL, torch.Generator().manual_seed(0))
    torch.testing.assert_close(field.center, torch.tensor([0.0, 10.0, 0.0]))
    spread = (4 * 1.25**0.5 + 2 * 0.5) / 6
    torch.testing.assert_close(field.radius, torch.tensor(6 * spread))


def test_contraction_is_the_papers_in_the_maximum_norm() -> None:
    generator = torch.Generator().manual_seed(4)
    points = torch.randn(500, 3, generator=generator).double() * 10 ** torch.linspace(-3, 3, 500)[:, None].double()
    reach = points.abs().amax(-1, keepdim=True)
    mip_nerf_360 = torch.where(reach <= 1, points, (2 - 1 / reach) * points / reach)  # into [-2, 2]^3
    torch.testing.assert_close(contract(points), (mip_nerf_360 + 2) / 4)
    torch.testing.assert_close(contract(torch.tensor([[1.0, -1.0, 0.5]])), torch.tensor([[0.75, 0.25, 0.625]]))


def test_contraction_stays_in_the_unit_cube_and_differentiable_over_twenty_decades() -> None:
    directions = torch.cat([random_rays(200).directions, torch.eye(3), -torch.eye(3), torch.ones(1, 3)])
    for size in DECADES:
        points = (directions * size).requires_grad_()
        inside = contract(points)
        assert inside.min() >= 0 and inside.max() <= 1
        inside.sum().backward()
        assert points.grad is not None and points.grad.isfinite().all()
    at_zero = torch.zeros(1, 3, requires_grad=True)
    contract(at_zero).sum().backward()
    torch.testing.assert_close(at_zero.grad, torch.full((1, 3), 0.25))


def test_contraction_keeps_order_along_a_ray() -> None:
    points = torch.logspace(-6, 6, 200)[:, None] * torch.tensor([[0.3, -0.8, 0.5]])
    contracted = contract(points)
    assert (contracted[:, 0].diff() >= 0).all() and (contracted[:, 1].diff() <= 0).all()


def test_spacing_and_its_inverse_undo_each_other() -> None:
    for distance in [1e-3, 0.05, 0.5, 0.999, 1.0, 1.001, 2.0, 30.0, 1000.0]:
        spacing = torch.tensor(_spacing(distance), dtype=torch.float64)
        assert _inverse_spacing(spacing).item() == pytest.approx(distance, rel=1e-9)
    assert _inverse_spacing(torch.tensor([0.25, 0.75])).tolist() == [0.5, 2.0]


def test_distances_run_from_near_to_far_strictly_upwards() -> None:
    distance = nerf()._distance(torch.linspace(0, 1, 400)[None])[0]
    assert distance.diff().min() > 0
    torch.testing.assert_close(distance[[0, -1]], torch.tensor([SMALL.near, SMALL.far]), rtol=1e-3, atol=0)


def test_spherical_harmonics_are_orthogonal() -> None:
    directions = normalize(torch.randn(200_000, 3, generator=torch.Generator().manual_seed(5)), dim=-1)
    basis = spherical_harmonics(directions)
    gram = basis.T @ basis / len(basis)
    scale = gram.diagonal().rsqrt()
    torch.testing.assert_close(gram * scale[:, None] * scale, torch.eye(9), atol=0.02, rtol=0)


def uncontract(points: Tensor) -> Tensor:
    inside = (points - 0.5) * 4
    reach = inside.abs().amax(-1, keepdim=True).clamp_min(1)
    return inside / reach / (2 - reach).clamp_min(1e-6)


@pytest.mark.parametrize("wall", [0.3, 0.9, 1.7, 6.0])
@pytest.mark.parametrize("radius", [1.0, 7.0])
def test_a_wall_is_rendered_where_it_stands(monkeypatch: pytest.MonkeyPatch, wall: float, radius: float) -> None:
    """A red wall at z = wall (in radii), hand-made in place of the networks, with nothing before it."""
    center = torch.tensor([0.4, -0.2, 5.0])
    model = nerf(center, radius, NerfConfig(grid=SMALL.grid, proposal_grid=SMALL.proposal_grid, view_dependence=False))

    def density(points: Tensor) -> Tensor:
        return torch.where(uncontract(points)[:, 2] >= wall, 1e4, 0.0)

    def proposal_density(points: Tensor) -> Tensor:
        return density(points).view(-1, model.config.proposal_samples)

    def evaluate(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sigma = density(points).view(-1, model.config.field_samples)
        red = torch.tensor([0.9, 0.1, 0.2]).expand(*sigma.shape, 3)
        return sigma, red, torch.zeros(*sigma.shape, 8)

    monkeypatch.setattr(model, "_runs_natively", lambda *_: False)
    monkeypatch.setattr(model, "_proposal_density", proposal_density)
    monkeypatch.setattr(model, "_evaluate", evaluate)
    directions = normalize(torch.tensor([[0.0, 0.0, 1.0], [0.3, 0.1, 1.0], [-0.4, 0.4, 1.0]]), dim=-1)
    rays = Rays(center.expand(3, 3), directions, directions[:, 2])
    render = model.render(rays)
    true_distance = wall * radius / directions[:, 2]
    # the samples are as fine as a proposal interval at the wall's distance
    step = (_spacing(SMALL.far) - _spacing(SMALL.near)) / SMALL.proposal_samples
    interval = step * 2 * max(1.0, (true_distance / radius).max().item()) ** 2 * radius
    assert (render.distance - true_distance).abs().max() < interval
    torch.testing.assert_close(render.color, torch.tensor([[0.9, 0.1, 0.2]]).expand(3, 3))
    torch.testing.assert_close(render.weights[:, :-1].sum(-1), torch.ones(3))


def random_sum(render: Render) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    weights = torch.rand(render.color.shape, generator=generator)
    return (render.color * weights).sum() + render.distance.log().sum() + render.weights[:, ::2].sum()


@pytest.mark.parametrize("exponent", range(-10, 11, 4))
def test_gradients_are_finite_for_rays_from_anywhere(exponent: int) -> None:
    model = nerf()
    along_axes = torch.cat([torch.eye(3), -torch.eye(3)])
    origins = torch.cat([torch.zeros(6, 3), -along_axes, along_axes.roll(1, 0)]) * 10.0**exponent
    rays = Rays(origins.requires_grad_(), along_axes.repeat(3, 1).requires_grad_(), torch.ones(18))
    random_sum(model.render(rays, jitter=random_jitter(18))).backward()
    for tensor in (rays.origins, rays.directions, *model.parameters()):
        if tensor.grad is not None:  # the proposal's table learns from the interlevel loss only
            assert tensor.grad.isfinite().all()
    assert rays.directions.grad is not None and model.grid.table.grad is not None


@pytest.mark.parametrize("size", [0.0, 1e3, 1e30])
def test_gradients_are_finite_for_wild_features(size: float) -> None:
    model = nerf()
    with torch.no_grad():
        model.grid.table.sign_().mul_(size)
        model.proposal_grid.table.sign_().mul_(size)
    render = model.render(random_rays(), jitter=random_jitter())
    (random_sum(render) + render.proposals[0].weights[:, ::3].sum()).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


def test_no_rays_render_to_nothing() -> None:
    render = nerf().render(random_rays()[:0])
    assert render.color.shape == (0, 3) and render.distance.shape == (0,)


def test_without_view_dependence_colour_is_the_same_from_everywhere() -> None:
    model = nerf(
        config=NerfConfig(grid=SMALL.grid, proposal_grid=SMALL.proposal_grid, hidden=16, view_dependence=False)
    )
    assert not any("view_network" in name for name, _ in model.named_parameters())
    with torch.no_grad():  # one colour everywhere, by a network without inputs
        model.network.weight_output.zero_()
    color = model.render(random_rays()).color
    torch.testing.assert_close(color, color[:1].expand_as(color))
