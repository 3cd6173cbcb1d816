"""Memory of this machine and of this process, on every system."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable

import psutil


def peak_memory_gb() -> float:
    """Largest resident memory of this process so far, in 10^9 bytes."""
    try:
        import resource  # psutil knows the peak on Windows only, which has no such module
    except ImportError:
        used = psutil.Process().memory_info()
        return getattr(used, "peak_wset", used.rss) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def machine_memory_gb() -> tuple[float, float]:
    """Total and available memory, in 10^9 bytes; zeros where the system does not tell."""
    try:
        memory = psutil.virtual_memory()
    except (OSError, RuntimeError, NotImplementedError, psutil.Error):
        return 0.0, 0.0
    return memory.total / 1e9, memory.available / 1e9


def release_freed_memory() -> None:
    """Give what has been freed back to the system, where the C library is glibc: it keeps images' worth of memory in
    pieces that the next image does not fit, and a run over large photos grows by a fifth of a GB with each."""
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], object]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or Windows, which has no name for its own
        return lambda keep: None
