"""An accelerator for tests on machines without one: the device "meta", watched by torch's fake tensors.

Prepare everything with ``.to(DEVICE)`` as one would for a card, then take steps inside ``fake_accelerator()``. Shapes,
types and devices are computed there, no numbers, and what would make a real step wait for the device, or fail on it,
raises: mixing devices, indexing with tensors of the host, ``item()``, ``bool()`` and ``nonzero()``, copies to the host,
and copies to the device that do not go through `sent`. What concerns the host alone is really done.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unscene.geometry.randomness import sent

DEVICE = torch.device("meta")


class HostInvolvedError(AssertionError):
    """A step would have waited for the device, or read what lies on the host."""


@contextmanager
def fake_accelerator() -> Iterator[None]:
    """While this is entered, tensors on `DEVICE` behave as those of an accelerator."""
    with FakeTensorMode(allow_non_fake_inputs=True), _Watch(), _WatchMaking():
        yield


class _Watch(TorchDispatchMode):
    """Raises for what fake tensors let pass."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None):
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if kwargs.get("device") != DEVICE and all(tensor.device != DEVICE for tensor in tensors):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        outcome = func(*args, **kwargs)
        if func is torch.ops.aten._to_copy.default:
            self._check_copy(func, tensors[0].device, outcome.device)
        elif func is torch.ops.aten.copy_.default:
            self._check_copy(func, tensors[1].device, tensors[0].device)
        elif len({tensor.device for tensor in tensors if _matters(func, tensor)}) > 1:
            raise HostInvolvedError(f"{func} was given tensors on {[str(tensor.device) for tensor in tensors]}")
        return outcome

    def _check_copy(self, func: Any, source: torch.device, target: torch.device) -> None:
        if source == DEVICE and target != DEVICE:
            raise HostInvolvedError(f"{func} copies to the host")
        if target == DEVICE and source != DEVICE and not _is_sent():
            raise HostInvolvedError(f"{func} copies to the device and waits; use unscene.geometry.randomness.sent")


class _WatchMaking(TorchFunctionMode):
    """Raises for tensors made of Python's numbers, which are copied."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None):
        outcome = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor, Tensor.new_tensor) and outcome.device == DEVICE:
            raise HostInvolvedError("numbers of the host are copied to the device; use torch.full")
        return outcome


def _matters(func: Any, tensor: Tensor) -> bool:
    """Torch hands scalars of the host to kernels as plain numbers, unless they are indices."""
    return tensor.dim() > 0 or "index" in func.__name__


def _is_sent() -> bool:
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is sent.__code__:
            return True
        frame = frame.f_back
    return False
