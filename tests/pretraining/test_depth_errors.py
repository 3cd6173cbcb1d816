"""Depth as monocular networks have it."""

import numpy as np
import torch

from tests.sphere_views import cameras, sphere_view
from unscene.pretraining.depth_errors import with_monocular_errors


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    _, depth = sphere_view(cameras(0.0))
    return depth, with_monocular_errors(depth, np.random.default_rng(seed))


def test_errors_stay_on_the_object_and_within_reason() -> None:
    differences = []
    for seed in range(40):
        depth, told = drawn(seed)
        assert told.dtype == depth.dtype and torch.equal(told > 0, depth > 0)
        differences.append(float((told - depth)[depth > 0].abs().mean()))
    assert 0.02 < np.mean(differences) < 0.15 and min(differences) < 0.01 < 0.1 < max(differences)


def test_outlines_lean_back_and_reliefs_scale() -> None:
    """On average over many: what is bent or scaled either way cancels, what bleeds into the background does not."""
    leaning, relief = [], []
    for seed in range(60):
        depth, told = drawn(seed)
        y, x = np.mgrid[0:64, 0:64] - 31.5
        away = torch.from_numpy(np.hypot(x, y))
        rim = (depth > 0) & (away > away[depth > 0].max() - 1.5)
        ring = (depth > 0) & (away < away[depth > 0].max() - 5) & (away > away[depth > 0].max() - 8)
        leaning.append(float((told - depth)[rim].mean() - (told - depth)[ring].mean()))
        relief.append(float(told[ring].mean() - told[31:33, 31:33].mean()) / float(depth[ring].mean() - depth[32, 32]))
    assert np.mean(leaning) > 0.02
    assert 0.7 < np.median(relief) < 1.3 and np.std(relief) > 0.05


def test_the_same_draw_gives_the_same_depth_and_no_object_stays_none() -> None:
    assert torch.equal(drawn(3)[1], drawn(3)[1]) and not torch.equal(drawn(3)[1], drawn(4)[1])
    nothing = torch.zeros(8, 8)
    assert torch.equal(with_monocular_errors(nothing, np.random.default_rng(0)), nothing)
