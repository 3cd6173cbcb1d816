"""The blocked perceptron against torch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unscene.fields.perceptron import BLOCK_ROWS, Perceptron


def perceptron() -> Perceptron:
    model = Perceptron(6, 16, 3, torch.Generator().manual_seed(0))
    nn.init.normal_(model.bias_hidden, generator=torch.Generator().manual_seed(1))
    nn.init.normal_(model.bias_output, generator=torch.Generator().manual_seed(2))
    return model


def twin(model: Perceptron) -> nn.Sequential:
    """The same function out of torch's layers, in double precision, parameters in the same order."""
    layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    for own, theirs in zip(layers.parameters(), model.parameters(), strict=True):
        own.data.copy_(theirs.data)
    return layers


def rows(count: int) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(3))


def outputs_and_gradients(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    inputs = inputs.clone().requires_grad_()
    outputs = model(inputs)
    gradient = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(4)).to(outputs.dtype)
    return [outputs.detach(), *torch.autograd.grad(outputs, [inputs, *model.parameters()], gradient)]


@pytest.mark.parametrize("count", [0, 1, 5, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 3])
def test_outputs_and_gradients_match_torchs_layers(count: int) -> None:
    model = perceptron()
    actual = outputs_and_gradients(model, rows(count))
    expected = outputs_and_gradients(twin(model), rows(count).double())
    for ours, theirs in zip(actual, expected, strict=True):
        scale = theirs.abs().max().item() if theirs.numel() else 0.0
        torch.testing.assert_close(ours, theirs.float(), atol=1e-5 * scale, rtol=1e-5)


def test_two_runs_agree_bit_for_bit() -> None:
    model = perceptron()
    first, second = (outputs_and_gradients(model, rows(BLOCK_ROWS + 100)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_strided_rows_and_gradients_are_understood() -> None:
    model, inputs = perceptron(), rows(40)
    strided = inputs.t().contiguous().t().requires_grad_()
    model(strided).expand(2, -1, -1).sum((0, 2)).sum().backward()
    plain = inputs.clone().requires_grad_()
    (2 * twin(model).float()(plain).sum()).backward()
    torch.testing.assert_close(strided.grad, plain.grad)


def test_no_gradient_passes_a_closed_unit() -> None:
    model = perceptron()
    nn.init.constant_(model.bias_hidden, -1e3)
    inputs = rows(10).requires_grad_()
    outputs = model(inputs)
    outputs.sum().backward()
    torch.testing.assert_close(outputs, model.bias_output.expand(10, 3))
    assert inputs.grad is not None and not inputs.grad.any()
