"""Adam as every fit uses it, on every device: its kinds, its step size, its memory in checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

FUSED_DEVICES = ("cpu", "cuda")  # where torch has one kernel for all parameters


class Optimizer:
    """Adam over parameters of one device.

    captured: steps may be part of a CUDA graph; the step size is a tensor then, which a replay reads anew. rates: how
    fast each parameter learns, in step sizes; by default all alike.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, *, captured: bool = False,
        rates: Sequence[float] | None = None,
    ):  # fmt: skip
        parameters = list(parameters)
        if captured and rates is not None:
            raise ValueError("parameters with rates of their own cannot be captured")
        self.device = parameters[0].device
        self._fused = self.device.type in FUSED_DEVICES
        self._rate = torch.tensor(learning_rate, device=self.device) if captured else learning_rate
        groups = (
            [{"params": [p], "rate": rate} for p, rate in zip(parameters, rates, strict=True)] if rates else parameters
        )
        self._adam = torch.optim.Adam(
            groups, lr=self._rate, betas=(0.9, 0.99), eps=1e-15,
            fused=self._fused, foreach=None if self._fused else False, capturable=captured,
        )  # fmt: skip

    def set_rate(self, learning_rate: float) -> None:
        """The step size of the steps to come."""
        if isinstance(self._rate, Tensor):
            self._rate.fill_(learning_rate)
        else:
            self._rate = learning_rate
        for group in self._adam.param_groups:
            group["lr"] = (
                self._rate * group["rate"] if "rate" in group else self._rate
            )  # again each time: loading a state makes a copy, which no graph knows

    def step_down(self, loss: Tensor) -> None:
        """Follow the gradient of a loss. Where the loss is no finite number, a fused Adam leaves everything as it is,
        and any other takes the gradient for nought, without the host's help."""
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        usable = loss.detach().isfinite()
        if self._fused:
            self._adam.found_inf = (~usable).float()  # pyright: ignore[reportAttributeAccessIssue]
        else:
            for parameter in (p for group in self._adam.param_groups for p in group["params"]):
                if parameter.grad is not None:
                    parameter.grad = torch.where(usable, parameter.grad, 0)
        self._adam.step()

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts, as named tensors."""
        state = self._adam.state_dict()["state"]
        return {f"adam.{index}.{name}": value for index, entry in state.items() for name, value in entry.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state` gave on any device; other tensors are passed over. Replaces all memory."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("adam."):
                _, index, name = key.split(".")
                state.setdefault(int(index), {})[name] = value.clone()
        self._adam.state.clear()
        self._adam.load_state_dict({"state": state, "param_groups": self._adam.state_dict()["param_groups"]})
