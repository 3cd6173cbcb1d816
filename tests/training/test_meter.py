"""What is looked at only now and then: sums of losses, and steps on losses that are no numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unscene.training.meter import DivergedError, Meter
from unscene.training.optimizer import Optimizer


def test_one_bad_loss_among_good_ones_is_found_later_and_named() -> None:
    meter = Meter("stage", 1)
    for step in range(10):
        meter.add({"good": torch.tensor(1.0), "bad": torch.tensor(float("nan") if step == 4 else 1.0)})
    with pytest.raises(DivergedError, match=r"'stage' is not finite at one of the steps 0 to 9: good = 10, bad = nan"):
        meter.look(9)
    meter.forget()
    meter.add({"good": torch.tensor(2.0)})
    assert meter.look(10) == {"good": 2.0}


def test_terms_whose_tensors_are_used_again_are_summed_all_the_same() -> None:
    """As those of a graph's replays are."""
    meter, term = Meter("stage", 1), torch.zeros(())
    for value in (1.0, 2.0, 3.0):
        term.fill_(value)
        meter.add({"term": term})
    assert meter.look(2) == {"term": 6.0} and term == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_on_a_loss_that_is_no_number_changes_nothing(value: float) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = Optimizer([weight], 0.1)
    optimizer.step_down(weight.sum())
    before, moments = weight.detach().clone(), {name: tensor.clone() for name, tensor in optimizer.state().items()}
    optimizer.step_down(weight.sum() * value)
    assert torch.equal(weight, before)
    assert all(torch.equal(tensor, moments[name]) for name, tensor in optimizer.state().items())
    optimizer.step_down(weight.sum())
    assert (weight < before).all()


def test_the_step_size_of_captured_steps_is_one_tensor_for_good() -> None:
    """A graph reads it where it was when the graph was made, also after a checkpoint has been loaded."""
    weight = nn.Parameter(torch.ones(3))
    optimizer = Optimizer([weight], 0.1, captured=True)
    rate = optimizer._adam.param_groups[0]["lr"]
    optimizer.step_down(weight.sum())
    optimizer.restore(optimizer.state())
    optimizer.set_rate(0.5)
    assert optimizer._adam.param_groups[0]["lr"] is rate and rate == 0.5
