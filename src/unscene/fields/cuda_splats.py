"""The rasteriser on CUDA: `native/splats.h`, one Gaussian a thread, and `splat_blocks.h`, one tile a block.

The same steps as on processors; torch sorts by depth, then, keeping that order, by tile.
"""

# Warp's kernel language is Python to the eye but not to a type checker:
# pyright: reportInvalidTypeForm=false, reportOperatorIssue=false, reportReturnType=false

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import ceil

import torch
import warp as wp
from torch import Tensor

from unscene.fields.native_splats import (
    GEOMETRY,
    SPLAT,
    TILE,
    Drawn,
    Inputs,
    Result,
    backward_tiles,
    shown_channels,
    splat_inputs,
    splat_tiles,
)
from unscene.fields.processor import HEADERS, Arguments
from unscene.warp_runtime import start_warp, torch_stream

BLOCK = TILE * TILE


def draw(gaussians: Inputs, camera: Sequence[float], width: int, height: int) -> tuple[Tensor, ...]:
    """Image H W C and transmittance H W, and all of `Drawn`."""
    count, channels = len(gaussians.means), shown_channels(gaussians)
    empty, integers = gaussians.means.new_empty, {"dtype": torch.int32, "device": gaussians.means.device}
    splats, depths = empty(count, SPLAT), empty(count)
    boxes, counts = torch.empty((count, 2), **integers), torch.empty(count, **integers)
    arguments = splat_inputs(gaussians, camera, width, height)
    arguments.splats, arguments.boxes, arguments.depths = splats.data_ptr(), boxes.data_ptr(), depths.data_ptr()
    arguments.shown, arguments.channels, arguments.counts = channels.data_ptr(), channels.shape[1], counts.data_ptr()
    _launch("project_splats", arguments, count, gaussians.means.device)
    starts, lists = tile_lists(boxes, depths, counts, ceil(width / TILE), ceil(height / TILE))
    drawn = Drawn(splats, boxes, depths, counts, channels, starts, lists, torch.empty_like(starts[1:]))
    image, transmittance = empty(height, width, channels.shape[1]), empty(height, width)
    tiles = splat_tiles(drawn, width, height)
    tiles.image, tiles.transmittance = image.data_ptr(), transmittance.data_ptr()
    _launch(f"SplatBlocks<{channels.shape[1]}>::forward", tiles, BLOCK * len(drawn.ends), image.device)
    return image, transmittance, *drawn


def draw_backward(
    gaussians: Inputs, camera: Sequence[float], width: int, height: int, drawn: Drawn, result: Result
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of all inputs, in their order."""
    amount, colored = drawn.channels.shape[1], gaussians.harmonics.shape[1] > 0
    ends = drawn.counts.cumsum(0, dtype=torch.int32)
    first_slots = ends - drawn.counts
    slots = drawn.splats.new_empty(len(drawn.lists), GEOMETRY + amount)
    tiles = backward_tiles(drawn, width, height, result, first_slots, slots)
    _launch(f"SplatBlocks<{amount}>::backward", tiles, BLOCK * len(drawn.ends), slots.device)

    gradients = [torch.empty_like(tensor) for tensor in gaussians[:5]]
    channels_gradient = torch.empty_like(drawn.channels)
    arguments = splat_inputs(gaussians, camera, width, height)
    arguments.splats, arguments.counts = drawn.splats.data_ptr(), drawn.counts.data_ptr()
    arguments.shown, arguments.channels = drawn.channels.data_ptr(), amount
    arguments.first_slots, arguments.slots = first_slots.data_ptr(), slots.data_ptr()
    arguments.means_gradient, arguments.scales_gradient = gradients[0].data_ptr(), gradients[1].data_ptr()
    arguments.quaternions_gradient, arguments.logits_gradient = gradients[2].data_ptr(), gradients[3].data_ptr()
    arguments.harmonics_gradient, arguments.channels_gradient = gradients[4].data_ptr(), channels_gradient.data_ptr()
    _launch("project_splats_backward", arguments, len(gaussians.means), slots.device)
    further = channels_gradient[:, 3:].contiguous() if colored else channels_gradient
    return gradients[0], gradients[1], gradients[2], gradients[3], gradients[4], further


def median_depth(drawn: Drawn, transmittance: Tensor, width: int, height: int) -> Tensor:
    """H W, see `unscene.fields.splat_raster.SplatRender.median_depth`."""
    transmittance = transmittance.contiguous()
    depth = torch.empty_like(transmittance)
    tiles = splat_tiles(drawn, width, height)
    tiles.transmittance, tiles.median_depth = transmittance.data_ptr(), depth.data_ptr()
    _launch("splat_median_depth", tiles, BLOCK * len(drawn.ends), depth.device)
    return depth


def tile_lists(boxes: Tensor, depths: Tensor, counts: Tensor, columns: int, rows: int) -> tuple[Tensor, Tensor]:
    """Each tile's Gaussians, nearest first, in torch: where its list starts, tiles + 1, and all lists."""
    seen = counts.nonzero()[:, 0]
    order = seen[depths[seen].argsort(stable=True)]
    amounts = counts[order].long()
    gaussian = order.repeat_interleave(amounts)
    first = (amounts.cumsum(0) - amounts).repeat_interleave(amounts)
    within = torch.arange(len(gaussian), device=counts.device) - first
    corners = boxes.view(torch.int16)[gaussian].long()  # left, top, right, bottom
    width = corners[:, 2] - corners[:, 0]
    tile = (corners[:, 1] + within // width) * columns + corners[:, 0] + within % width
    starts = torch.zeros(columns * rows + 1, dtype=torch.int32, device=counts.device)
    torch.cumsum(torch.bincount(tile, minlength=columns * rows), 0, dtype=torch.int32, out=starts[1:])
    return starts, gaussian[tile.argsort(stable=True)].int()


def _launch(function: str, arguments: Arguments, threads: int, device: torch.device) -> None:
    """Call ``function(arguments, thread)`` in blocks of 256 on torch's stream of a device."""
    if threads == 0:
        return
    content = (
        torch.frombuffer(bytearray(bytes(arguments)), dtype=torch.uint8).pin_memory().to(device, non_blocking=True)
    )
    kernel = cuda_kernel(function, f"{type(arguments).__name__.lstrip('_')}Arguments")
    wp.launch(kernel, dim=threads, inputs=[content.data_ptr()], stream=torch_stream(device), block_dim=BLOCK)


@functools.cache
def cuda_kernel(function: str, arguments_type: str) -> wp.Kernel:
    """A Warp kernel around a function of the headers, which compiles for CUDA only."""
    start_warp()
    call = f"""
#if defined(__CUDA_ARCH__)
    unscene::{function}(*(const unscene::{arguments_type}*)arguments, thread);
#endif
"""

    @wp.func_native(call)
    def native(thread: int, arguments: wp.uint64): ...

    def one_thread(arguments: wp.uint64):
        native(wp.tid(), arguments)

    options = wp.ModuleBuildOptions(
        extra_cuda_include_dirs=[str(HEADERS)],
        extra_cuda_preamble='#include "splat_blocks.h"',
        extra_build_dependencies=sorted(str(path) for path in HEADERS.glob("*.h")),
    )
    return wp.kernel(
        one_thread, enable_backward=False, module="unique", module_options={"extra_build_options": options}
    )
