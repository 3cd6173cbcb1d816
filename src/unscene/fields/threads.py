"""Who computes on how many of a processor's threads: torch, or the field's own functions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_reserved: int | None = None


def native_threads() -> int:
    """Threads that native functions share their work among: torch's number, but for `torch_on_one_thread`."""
    return _reserved or torch.get_num_threads()


@contextmanager
def torch_on_one_thread() -> Iterator[None]:
    """Meanwhile torch computes on one thread, native functions on as many as torch had.

    A step of a field is native but for a hundred small operations, each done sooner than a second thread wakes up, and
    threads of torch's that spin between them would take the cores from ours: on a busy machine to a third of the speed.
    """
    global _reserved
    before, threads = _reserved, torch.get_num_threads()
    _reserved = native_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _reserved = before


@contextmanager
def torch_on_all_threads() -> Iterator[None]:
    """Within `torch_on_one_thread`, for work of torch's that is large: it computes on as many threads as it had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(native_threads())
    try:
        yield
    finally:
        torch.set_num_threads(threads)
