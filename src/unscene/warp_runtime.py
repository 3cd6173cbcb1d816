"""Starting NVIDIA Warp, which compiles our kernels for processors and for CUDA."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import warp as wp

wp.config.log_level = wp.LOG_ERROR


@functools.cache
def start_warp() -> None:
    """Start Warp without its complaint about a missing CUDA driver, which native code writes past all log levels."""
    with _silent():
        wp.init()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing reaches the terminal, if there is one: a program without a console has no descriptor 2, and no stderr."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # None, or closed
        sys.stderr.flush()
    try:
        terminal = os.dup(2)
    except OSError:
        yield
        return
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 2)
        os.close(silence)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def torch_stream(device: torch.device) -> wp.Stream:
    """Torch's current stream on a CUDA device, for launches in order with torch's own and into graphs it captures."""
    start_warp()
    return _wrapped(device, torch.cuda.current_stream(device))


@functools.cache
def _wrapped(device: torch.device, stream: torch.cuda.Stream) -> wp.Stream:
    """Kept: to wrap a stream makes an event, and a wrapper that goes takes the stream's registration along."""
    return wp.stream_from_torch(stream)


def kernel_cache() -> Path:
    """Where compiled kernels are kept between runs."""
    start_warp()
    return Path(str(wp.config.kernel_cache_dir))
