"""The terms that shape histograms along rays: there if they weigh anything, and felt by the weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unscene.fields.field import Histogram
from unscene.training.pixels import RegularizerConfig, histogram_terms


def two_lumps() -> tuple[torch.Tensor, Any]:
    """A ray whose weight lies in two places, and its render."""
    weights = torch.tensor([[0.45, 0.1, 0.45]], requires_grad=True)
    edges = torch.linspace(0, 1, 4)[None]
    return weights, SimpleNamespace(
        histogram=Histogram(edges, weights), proposals=(Histogram(edges, weights.detach() * 0.5),)
    )


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_distortion_is_there_if_it_weighs_and_draws_weight_together(weight: float) -> None:
    weights, render = two_lumps()
    terms = histogram_terms(render, 0, RegularizerConfig(distortion=weight))
    assert ("distortion" in terms) == (weight > 0)
    if weight:
        terms["distortion"].backward()
        gradient = weights.grad
        assert gradient is not None and (gradient[0, [0, 2]] > gradient[0, 1]).all()  # the middle is cheapest
        whole = histogram_terms(render, 0, RegularizerConfig(distortion=1.0))["distortion"]
        torch.testing.assert_close(terms["distortion"], weight * whole)
