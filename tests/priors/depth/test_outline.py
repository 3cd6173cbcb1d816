"""Depth from nothing but an outline."""

import torch

from tests.sphere_views import cameras, sphere_view
from unscene.geometry.splatting import unproject
from unscene.objects.photo import ObjectPhoto
from unscene.priors.depth.completion import Estimate
from unscene.priors.depth.outline import outline_depth
from unscene.stages.object_source import place_object

SIZE = 64


def test_a_ball_s_outline_is_a_ball_again() -> None:
    """Placed as iNVS places a photo, next to the same with its true depth."""
    camera = cameras(0.0, size=SIZE)
    color, depth = sphere_view(camera)
    photo = ObjectPhoto(color, (depth > 0).float(), None, float(camera.focal[0, 0]), (SIZE / 2, SIZE / 2))
    guessed = outline_depth(photo.alpha, photo.focal)
    assert not guessed.relative_disparity and "guess" in guessed.name
    assert torch.equal(guessed.values > 0, depth > 0)
    ours, true = (
        place_object(photo, estimate, elevation=0.0, contamination=0.0)
        for estimate in (guessed, Estimate(depth, False, "true"))
    )
    shown = ours.depth > 0
    points, expected = (unproject(view.depth, view.camera)[shown] for view in (ours, true))
    assert (points - expected).norm(dim=-1).mean() < 0.12  # object radii
    assert ours.replaced == 0


def test_an_outline_of_two_pieces_and_none_at_all_stay_finite() -> None:
    alpha = torch.zeros(32, 32)
    alpha[2:10, 2:10] = alpha[20:30, 15:30] = 1
    values = outline_depth(alpha, 40.0).values
    assert values.isfinite().all() and torch.equal(values > 0, alpha > 0.5) and values.max() < 40
    assert not outline_depth(torch.zeros(8, 8), 10.0).values.any()
