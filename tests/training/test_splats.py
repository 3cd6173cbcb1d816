"""Fitting Gaussians: what the loss teaches, where new ones go, and that rates are kept apart."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.splat_files.random_gaussians import random_gaussians
from unscene.fields.splats import UNUSED, Splats
from unscene.geometry.gaussians import Y00, Gaussians
from unscene.geometry.masks import pixel_points
from unscene.training.checkpoints import Checkpoints
from unscene.training.fit import FitConfig, fit
from unscene.training.optimizer import Optimizer
from unscene.training.splats import (
    SplatGrowth,
    SplatGrowthConfig,
    SplatLossConfig,
    SplatReconstruction,
    grow,
    splat_rates,
    split,
)


def splats_of(gaussians: Gaussians) -> Splats:
    return Splats(gaussians, center=torch.zeros(3), radius=torch.tensor(2.0))


def test_two_halves_look_like_the_whole() -> None:
    """Drawn at one place, both together let as much light through as their parent, and cover what it covered."""
    splats = splats_of(random_gaussians(5, 1))
    opacity, size = splats.used.opacities[2].item(), splats.used.scales[2].clone()
    with torch.no_grad():
        split(splats, torch.tensor([2]), torch.tensor([4]), torch.Generator().manual_seed(0))
    pair = splats.used[torch.tensor([2, 4])]
    assert 1 - float((1 - pair.opacities).prod()) == pytest.approx(opacity, abs=1e-5)
    assert torch.equal(pair.harmonics[0], pair.harmonics[1]) and torch.equal(pair.scales[0], pair.scales[1])
    assert not torch.equal(pair.means[0], pair.means[1])
    across = torch.linspace(-8, 8, 2001) / (pair.scales[0, 0] / size[0]).detach()  # a line through both at one place
    stopped = 1 - (1 - pair.opacities[0] * torch.exp(-across.square() / 2)).square()
    assert float(stopped.mean() * 16) == pytest.approx(opacity * (2 * torch.pi) ** 0.5, rel=2e-3)


def test_those_without_opacity_are_put_beside_those_with_much() -> None:
    gaussians = random_gaussians(1000, 0)
    logits = torch.full((1000,), UNUSED)
    logits[:400], logits[400:500] = 3.0, -4.0  # many, some faint, the rest unused
    splats = splats_of(dataclasses.replace(gaussians, opacity_logits=logits))
    with torch.no_grad():
        added = grow(splats, SplatGrowthConfig(rate=0.1), torch.Generator().manual_seed(0))
    assert added == 50  # a tenth of 500 in use
    moved = (splats.opacity_logits[500:] > UNUSED).sum()
    assert moved == 50 and int((splats.opacity_logits[400:500] != -4).sum()) <= 3
    assert torch.isfinite(splats.means).all()
    none = splats_of(dataclasses.replace(gaussians, opacity_logits=torch.full((1000,), UNUSED)))
    assert grow(none, SplatGrowthConfig(), torch.Generator()) == 0


def test_base_colours_stay_in_range_and_growth_ends() -> None:
    gaussians = random_gaussians(50, 0)
    gaussians.harmonics[0] = 9.0
    gaussians.opacity_logits[10:] = UNUSED
    splats = splats_of(gaussians)
    growth, generator = SplatGrowth(splats, SplatGrowthConfig(interval=5, rate=0.5)), torch.Generator().manual_seed(0)
    list(growth.before_step(4, 0.1, generator))
    assert splats.base.abs().max() <= 0.5 / Y00 + 1e-6 and len(splats.used) <= 10
    list(growth.before_step(5, 0.9, generator))
    assert len(splats.used) <= 10
    list(growth.before_step(5, 0.1, generator))
    assert len(splats.used) > 10
    assert list(growth.state_dict()) == []  # the field is saved once


def test_a_fit_learns_photos(room) -> None:
    """From grey Gaussians on the walls: the loss falls, and all training views take turns."""
    scene = room.scene
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(80, 2, generator=generator) * torch.tensor([48, 36])
    column, row = pixels.long().unbind(-1)
    means = torch.cat([pixel_points(scene.cameras, view, pixels, room.depth[view, row, column]) for view in range(8)])
    gaussians = Gaussians(
        means, torch.full((640, 3), -2.0), torch.tensor([[1.0, 0, 0, 0]]).repeat(640, 1), torch.zeros(640),
        torch.zeros(640, 1, 3),
    )  # fmt: skip
    splats = Splats.around(scene.cameras, gaussians)
    objective = SplatReconstruction(splats, scene, SplatLossConfig())
    seen: list[float] = []
    for step in range(2 * len(scene.train)):
        seen.append(float(objective(step, 0, generator)["colour"].detach()))
    assert sorted(seen[: len(scene.train)]) == sorted(seen[len(scene.train) :]) and len(set(seen)) == len(scene.train)
    before = sum(seen) / len(seen)
    config = FitConfig(steps=60, learning_rate=4e-2, warmup_steps=1)
    list(fit("s", splats, objective, config, Checkpoints(None, 0), rays_per_step=1, rates=splat_rates(splats)))
    after = [float(objective(step, 0, generator)["colour"].detach()) for step in range(len(scene.train))]
    assert sum(after) / len(after) < 0.7 * before


def test_each_parameter_learns_at_its_own_rate() -> None:
    first, second = (torch.nn.Parameter(torch.zeros(3)) for _ in range(2))
    optimizer = Optimizer([first, second], 0.1, rates=[1.0, 0.01])
    optimizer.set_rate(0.2)
    optimizer.step_down((first + second).sum())
    torch.testing.assert_close(first.detach(), torch.full((3,), -0.2))
    torch.testing.assert_close(second.detach(), torch.full((3,), -0.002))
    again = Optimizer([first, second], 0.1, rates=[1.0, 0.01])
    again.restore(optimizer.state())
    again.set_rate(0.2)
    again.step_down((first + second).sum())
    torch.testing.assert_close(second.detach(), torch.full((3,), -0.004))
