"""Who computes on how many of a processor's threads: torch, or functions of ours."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

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


def shared_out(function: Callable[[Any], Any], parts: Iterable[Any]) -> list[Any]:
    """What a function of torch's makes of each part, in order: parts side by side, each on one thread.

    Torch shares out every operation alone and then waits for the slower thread: where another program takes a core, for
    a turn of that program each time. Parts wait once.
    """
    if native_threads() == 1:
        return [function(part) for part in parts]
    threads = native_threads()
    with torch_on_one_thread():
        return list(_pool(os.getpid(), threads).map(function, parts))


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="torch")
