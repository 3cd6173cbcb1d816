"""The rasteriser on processors: `native/splats.h`, `splat_lists.h` and `splat_tiles.h`, step by step.

Nothing depends on how many threads there are: each writes what no other does, and sums run in a fixed order.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import ceil
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from unscene.fields.processor import Arguments, launch, pointer
from unscene.threads import native_threads

TILE, LANES, SPLAT = 16, 16, 8  # of splats.h and lanes.h; numbers a splat
GEOMETRY = 6  # gradients of a splat besides its channels


class Inputs(NamedTuple):
    """Float tensors, contiguous: N 3, N 3, N 4, N, N K 3 (K = 0: no colours), N C."""

    means: Tensor
    log_scales: Tensor
    quaternions: Tensor
    logits: Tensor
    harmonics: Tensor
    channels: Tensor


class Drawn(NamedTuple):
    """What a picture was drawn of.

    splats: N 8; boxes: N 4 int16 as N 2 int32; depths: N; counts: N int32, tiles; channels: N C, colours first;
    starts: tiles + 1, lists: numbers of Gaussians, ends: tiles, all int32: each tile's Gaussians, nearest first, and
    where the last pixel was done.
    """

    splats: Tensor
    boxes: Tensor
    depths: Tensor
    counts: Tensor
    channels: Tensor
    starts: Tensor
    lists: Tensor
    ends: Tensor


class Result(NamedTuple):
    """A picture H W C, its transmittance H W, and gradients of both."""

    image: Tensor
    transmittance: Tensor
    image_gradient: Tensor
    transmittance_gradient: Tensor


class _SplatCamera(ctypes.Structure):
    """SplatCamera of splats.h."""

    _fields_: ClassVar = [("numbers", ctypes.c_float * 21), ("width", ctypes.c_int), ("height", ctypes.c_int)]


class _Splat(Arguments):
    """SplatArguments of splats.h."""

    _fields_: ClassVar = [
        *[(name, ctypes.c_void_p) for name in (
            "means", "log_scales", "quaternions", "logits", "harmonics",
            "splats", "boxes", "depths", "shown", "counts", "first_slots", "slots",
            "means_gradient", "scales_gradient", "quaternions_gradient", "logits_gradient", "harmonics_gradient",
            "channels_gradient",
        )],
        *[(name, ctypes.c_int) for name in ("count", "coefficients", "channels", "has_colors")],
        ("camera", _SplatCamera),
    ]  # fmt: skip


class _SplatList(Arguments):
    """SplatListArguments of splat_lists.h."""

    _fields_: ClassVar = [
        *[(name, ctypes.c_void_p) for name in (
            "boxes", "depths", "keys", "spare", "steps", "starts", "lists",
        )],
        *[(name, ctypes.c_int) for name in ("count", "columns", "rows", "stripes")],
    ]  # fmt: skip


class _SplatTile(Arguments):
    """SplatTileArguments of splat_tiles.h."""

    _fields_: ClassVar = [
        *[(name, ctypes.c_void_p) for name in (
            "splats", "boxes", "depths", "channels", "starts", "lists", "first_slots", "ends",
            "image", "transmittance", "median_depth", "image_gradient", "transmittance_gradient", "slots",
        )],
        *[(name, ctypes.c_int) for name in ("columns", "width", "height")],
    ]  # fmt: skip


def draw(gaussians: Inputs, camera: Sequence[float], width: int, height: int) -> tuple[Tensor, ...]:
    """Image H W C and transmittance H W, and all of `Drawn`."""
    count, channels = len(gaussians.means), shown_channels(gaussians)
    splats, depths, boxes, counts = torch.empty(count, SPLAT), torch.empty(count), _integers(count, 2), _integers(count)
    arguments = splat_inputs(gaussians, camera, width, height)
    arguments.splats, arguments.boxes, arguments.depths = pointer(splats), pointer(boxes), pointer(depths)
    arguments.shown, arguments.channels, arguments.counts = pointer(channels), channels.shape[1], pointer(counts)
    launch("project_splats", arguments, ceil(count / LANES))
    starts, lists = _lists(boxes, depths, counts, ceil(width / TILE), ceil(height / TILE))
    drawn = Drawn(splats, boxes, depths, counts, channels, starts, lists, _integers(len(starts) - 1))
    image, transmittance = torch.empty(height, width, channels.shape[1]), torch.empty(height, width)
    tiles = splat_tiles(drawn, width, height)
    tiles.image, tiles.transmittance = pointer(image), pointer(transmittance)
    launch(f"SplatTiles<{channels.shape[1]}>::forward", tiles, len(drawn.ends))
    return image, transmittance, *drawn


def _lists(boxes: Tensor, depths: Tensor, counts: Tensor, columns: int, rows: int) -> tuple[Tensor, Tensor]:
    """Each tile's Gaussians, nearest first: where its list starts, tiles + 1, and all lists."""
    stripes, total = min(native_threads(), rows), int(counts.sum())
    keys, steps = _integers(2, stripes, len(boxes) + 1, 2), _integers(rows + stripes, columns + 1)
    starts, lists = _integers(columns * rows + 1), _integers(total)
    arguments = _SplatList(
        boxes=pointer(boxes), depths=pointer(depths), keys=pointer(keys[0]), spare=pointer(keys[1]),
        steps=pointer(steps), starts=pointer(starts), lists=pointer(lists), count=len(boxes), columns=columns,
        rows=rows, stripes=stripes,
    )  # fmt: skip
    launch("list_splats", arguments, stripes)
    return starts, lists


def draw_backward(
    gaussians: Inputs, camera: Sequence[float], width: int, height: int, drawn: Drawn, result: Result
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of all inputs, in their order."""
    amount, colored = drawn.channels.shape[1], gaussians.harmonics.shape[1] > 0
    ends = drawn.counts.cumsum(0, dtype=torch.int32)
    first_slots = ends - drawn.counts
    slots = drawn.splats.new_empty(int(ends[-1]) if len(ends) else 0, GEOMETRY + amount)
    tiles = backward_tiles(drawn, width, height, result, first_slots, slots)
    launch(f"SplatTiles<{amount}>::backward", tiles, len(drawn.ends))

    gradients = [torch.empty_like(tensor) for tensor in gaussians[:5]]
    channels_gradient = torch.empty_like(drawn.channels)
    arguments = splat_inputs(gaussians, camera, width, height)
    arguments.splats, arguments.counts = pointer(drawn.splats), pointer(drawn.counts)
    arguments.shown = pointer(drawn.channels)
    arguments.first_slots, arguments.slots = pointer(first_slots), pointer(slots)
    arguments.means_gradient, arguments.scales_gradient = pointer(gradients[0]), pointer(gradients[1])
    arguments.quaternions_gradient, arguments.logits_gradient = pointer(gradients[2]), pointer(gradients[3])
    arguments.harmonics_gradient, arguments.channels_gradient = pointer(gradients[4]), pointer(channels_gradient)
    arguments.channels = amount
    launch("project_splats_backward", arguments, ceil(len(gaussians.means) / LANES))
    further = channels_gradient[:, 3:].contiguous() if colored else channels_gradient
    return gradients[0], gradients[1], gradients[2], gradients[3], gradients[4], further


def median_depth(drawn: Drawn, transmittance: Tensor, width: int, height: int) -> Tensor:
    """H W, see `unscene.fields.splat_raster.SplatRender.median_depth`."""
    depth = torch.empty_like(transmittance)
    tiles = splat_tiles(drawn, width, height)
    tiles.transmittance, tiles.median_depth = pointer(transmittance.contiguous()), pointer(depth)
    launch("splat_median_depth", tiles, len(drawn.ends))
    return depth


def _integers(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.int32)


def shown_channels(gaussians: Inputs) -> Tensor:
    """N C: room for the colours, where there are any, then the further channels."""
    if not gaussians.harmonics.shape[1]:
        return gaussians.channels.clone()
    channels = gaussians.channels.new_empty(len(gaussians.means), 3 + gaussians.channels.shape[1])
    channels[:, 3:] = gaussians.channels
    return channels


def splat_inputs(gaussians: Inputs, camera: Sequence[float], width: int, height: int) -> _Splat:
    """What the headers ask of Gaussians and a camera, on any device."""
    return _Splat(
        means=_address(gaussians.means), log_scales=_address(gaussians.log_scales),
        quaternions=_address(gaussians.quaternions), logits=_address(gaussians.logits),
        harmonics=_address(gaussians.harmonics), count=len(gaussians.means),
        coefficients=gaussians.harmonics.shape[1], has_colors=gaussians.harmonics.shape[1] > 0,
        camera=_SplatCamera((ctypes.c_float * 21)(*camera), width, height),
    )  # fmt: skip


def splat_tiles(drawn: Drawn, width: int, height: int) -> _SplatTile:
    """The same of tiles and their lists."""
    return _SplatTile(
        splats=_address(drawn.splats), boxes=_address(drawn.boxes), depths=_address(drawn.depths),
        channels=_address(drawn.channels), starts=_address(drawn.starts), lists=_address(drawn.lists),
        ends=_address(drawn.ends), columns=ceil(width / TILE), width=width, height=height,
    )  # fmt: skip


def backward_tiles(
    drawn: Drawn, width: int, height: int, result: Result, first_slots: Tensor, slots: Tensor
) -> _SplatTile:
    """`splat_tiles` with what came out, its gradients, and the slots that those of the Gaussians go into."""
    tiles = splat_tiles(drawn, width, height)
    tiles.first_slots, tiles.slots = _address(first_slots), _address(slots)
    tiles.image, tiles.transmittance = _address(result.image), _address(result.transmittance)
    tiles.image_gradient = _address(result.image_gradient)
    tiles.transmittance_gradient = _address(result.transmittance_gradient)
    return tiles


def _address(tensor: Tensor) -> int:
    assert tensor.is_contiguous() and tensor.element_size() == 4
    return tensor.data_ptr()
