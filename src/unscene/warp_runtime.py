"""Starting NVIDIA Warp, which compiles our kernels for processors and for CUDA."""

from __future__ import annotations

import functools
import os
import sys
import threading
from pathlib import Path

import torch
import warp as wp

wp.config.log_level = wp.LOG_ERROR


@functools.cache
def start_warp() -> None:
    """Start Warp without its complaint about a missing CUDA driver, which native code writes past all log levels."""
    sys.stderr.flush()
    terminal = os.dup(2)
    silence = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silence, 2)
        wp.init()
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(silence)
    let_openmp_sleep()


def let_openmp_sleep() -> None:
    """Keep torch's OpenMP threads from spinning while they wait: they share the cores with the threads of our kernels.

    libgomp reads its environment when it is loaded, maybe before us, but spins only as long as it has no more threads
    than there are cores. A thread that waits for good, with a team of its own as large as the machine, makes it so.
    """
    cores = os.cpu_count() or 1
    started = threading.Event()

    def gather_a_team() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(cores)  # of this thread, and of those that torch meets meanwhile
        torch.ones(cores << 16).add_(1)
        torch.set_num_threads(threads)
        started.set()
        threading.Event().wait()

    if cores > 1 and sys.platform == "linux":
        threading.Thread(target=gather_a_team, name="openmp-may-sleep", daemon=True).start()
        started.wait()


def kernel_cache() -> Path:
    """Where compiled kernels are kept between runs."""
    start_warp()
    return Path(str(wp.config.kernel_cache_dir))
