"""A field of Gaussians through lenses, and what of it is used."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from unscene.fields.field import ViewField, render_view
from unscene.fields.splats import UNUSED, Splats
from unscene.geometry.cameras import Cameras
from unscene.geometry.gaussians import Gaussians, harmonics_of

BENT = torch.tensor([[-0.25, 0.08, 0.002, -0.003, 0.0]])


def camera(distortion: torch.Tensor = BENT) -> Cameras:
    pose = torch.eye(4)[None, :3].clone()
    pose[0, :, 3] = torch.tensor([0.1, -0.2, 0.3])
    return Cameras(pose, torch.tensor([[60.0, 62.0]]), torch.tensor([[49.0, 37.0]]), distortion, 100, 76)


def dots() -> Splats:
    """Small round white ones all over the view."""
    x, y = torch.meshgrid(torch.linspace(-1.2, 1.2, 7), torch.linspace(-0.9, 0.9, 5), indexing="xy")
    means = torch.stack([x, y, torch.full_like(x, 2.0) + 0.1 * x], -1).view(-1, 3)
    count = len(means)
    gaussians = Gaussians(
        means, torch.full((count, 3), -4.2), torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1), torch.full((count,), 6.0),
        harmonics_of(torch.ones(count, 3)),
    )  # fmt: skip
    return Splats.around(camera(), gaussians)


@pytest.mark.parametrize("distortion", [BENT, torch.zeros(1, 5), -BENT])
def test_gaussians_are_seen_where_the_lens_shows_their_means(distortion: torch.Tensor) -> None:
    seen, splats = camera(distortion), dots()
    render = render_view(splats, seen, 0)
    assert render.color.shape == (76, 100, 3) and render.color.max() <= 1
    means = splats.means.detach()
    expected, depth = seen.project(torch.zeros(len(means), dtype=torch.long), means)
    inside = ((expected > 4) & (expected < torch.tensor([96.0, 72.0]))).all(-1)
    assert inside.sum() > 15
    for (x, y), z in zip(expected[inside], depth[inside], strict=True):
        left, top = int(x) - 3, int(y) - 3
        patch = render.color[top : top + 7, left : left + 7, 0]
        rows, columns = torch.meshgrid(torch.arange(7) + top + 0.5, torch.arange(7) + left + 0.5, indexing="ij")
        found = torch.stack([(patch * columns).sum(), (patch * rows).sum()]) / patch.sum()
        assert (found - torch.stack([x, y])).norm() < 0.15
        assert abs(float(render.depth[int(y), int(x)]) - float(z)) < 1e-3


def test_what_is_unused_is_not_kept() -> None:
    splats = dots()
    assert isinstance(splats, ViewField) and len(splats.used) == 35
    with torch.no_grad():
        splats.opacity_logits[:5] = UNUSED
    assert len(splats.used) == 30 and not splats.used.means.requires_grad
    changed = dataclasses.replace(splats.gaussians, means=splats.means + 1)
    assert changed.means.requires_grad
