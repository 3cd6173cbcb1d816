"""Native code for processors: C++ with vector types (``native/*.h``), compiled by Warp's own clang at first use.

Warp's kernel language compiles to half scalar code on a CPU; native vector types are several times as fast. A function
of the headers takes its arguments as one structure and works on one task of many; tasks share out among threads, as
launches release the GIL. No header is compiled for CUDA: there, `HashGrid` and torch do the same.
"""

# Warp's kernel language is Python to the eye but not to a type checker:
# pyright: reportInvalidTypeForm=false, reportOperatorIssue=false, reportReturnType=false

from __future__ import annotations

import ctypes
import functools
import itertools
import os
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import torch
import warp as wp
from torch import Tensor

from unscene.fields.hash_grid import HashGridConfig, grid_levels
from unscene.threads import native_threads
from unscene.warp_runtime import start_warp

HEADERS = Path(__file__).parent / "native"


def pointer(tensor: Tensor | None) -> int | None:
    """Address of a contiguous tensor of 32-bit numbers on the processor, for a structure of arguments."""
    if tensor is None:
        return None
    assert tensor.is_contiguous() and tensor.device.type == "cpu" and tensor.element_size() == 4
    return tensor.data_ptr()


@functools.cache
def level_table(grid: HashGridConfig) -> Tensor:
    """The levels of a grid as `Level` of grid.h: resolution, offset, hashed, mask; L 4 int32."""
    rows = [(level.resolution, level.offset, int(level.hashed), level.mask) for level in grid_levels(grid)]
    return torch.tensor(rows, dtype=torch.int32)


class Arguments(ctypes.Structure):
    """A C++ structure of the headers, named like the class with "Arguments" behind; pointers first."""


def launch(function: str, arguments: Arguments, tasks: int) -> None:
    """Call a native ``function(arguments, task)`` for every task, shared out among `native_threads`.

    function: its C++ name with template arguments.
    """
    kernel, address = _kernel(function, f"{type(arguments).__name__.lstrip('_')}Arguments"), ctypes.addressof(arguments)

    def run(first: int, count: int) -> None:
        wp.launch(kernel, dim=count, inputs=[first, address], device="cpu")

    if tasks == 0:
        return
    threads = min(native_threads(), tasks)
    bounds = [tasks * part // threads for part in range(threads + 1)]
    parts = [(first, last - first) for first, last in itertools.pairwise(bounds)]
    # One part a thread, ours among them: more would wait for each other's turn to launch, longer than they run.
    others = [_pool(os.getpid(), threads).submit(run, *part) for part in parts[1:]]
    try:
        run(*parts[0])
    finally:
        wait(others)  # whatever happens: they write into our caller's tensors
    for other in others:
        other.result()


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="field")


def _build_options() -> wp.ModuleBuildOptions:
    headers = sorted(str(path) for path in HEADERS.glob("*.h"))
    return wp.ModuleBuildOptions(
        extra_cpu_include_dirs=[str(HEADERS)],
        extra_cpu_preamble='#include "kernels.h"',
        extra_build_dependencies=headers,  # so that Warp's cache forgets kernels of other headers
    )


@functools.cache
def _kernel(function: str, arguments_type: str) -> wp.Kernel:
    """A Warp kernel around a native function, compiled and loaded before any thread launches it."""
    start_warp()
    call = f"""
#if !defined(__CUDA_ARCH__)
    unscene::{function}(*(const unscene::{arguments_type}*)arguments, task);
#endif
"""

    @wp.func_native(call)
    def native(task: int, arguments: wp.uint64): ...

    def one_task(first: int, arguments: wp.uint64):
        native(first + wp.tid(), arguments)

    options = {"extra_build_options": _build_options()}
    kernel = wp.kernel(one_task, enable_backward=False, module="unique", module_options=options)
    kernel.module.load("cpu", block_dim=1)  # as launches ask for, or they would compile again
    return kernel
