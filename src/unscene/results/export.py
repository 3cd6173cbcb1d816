"""Results for other tools: video, coloured points."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import torch
from torch import Tensor

from unscene.fields.field import Field, render_pixels, render_view
from unscene.files import atomic_write, write_bytes
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import pixel_points
from unscene.scenes.scene import NO_ORIGIN
from unscene.training.events import Event, ItemDone, StageStarted

FRAMES_PER_SECOND = 24


@contextlib.contextmanager
def video_writer(path: Path, *, frames_per_second: int = FRAMES_PER_SECOND) -> Iterator[Callable[[Tensor], None]]:
    """Takes frames, H W 3 in [0, 1], one after the other; at the end they are an H.264 MP4."""
    with atomic_write(path) as temporary:
        writer = imageio.get_writer(
            temporary, format="FFMPEG", fps=frames_per_second, codec="libx264", quality=8, macro_block_size=1
        )  # pyright: ignore[reportArgumentType]

        def append(frame: Tensor) -> None:
            even = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]  # H.264 wants even sides
            writer.append_data((even.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())

        with contextlib.closing(writer):
            yield append


def write_video(path: Path, field: Field, cameras: Cameras) -> Generator[Event, None, None]:
    """Render each camera as a frame of a video."""
    stage = "video"
    yield StageStarted(stage)
    with video_writer(path) as append:
        for frame in range(len(cameras)):
            append(render_view(field, cameras, frame).color)
            yield ItemDone(stage, frame + 1, len(cameras))


def write_points(
    path: Path, field: Field, cameras: Cameras, *, points: int, generator: torch.Generator,
    origin: Tensor = NO_ORIGIN,
) -> Generator[Event, None, None]:  # fmt: skip
    """Unproject views into one coloured point cloud of at most ``points`` points, in world coordinates, as PLY.

    origin: 3 float64, where in the world the cameras' coordinates begin. Points farther than ten times the median depth
    are dropped: sky and the like have no place.
    """
    stage = "points"
    yield StageStarted(stage)
    positions, colors = [], []
    per_view, device = max(1, points // len(cameras)), cameras.focal.device
    size = torch.tensor([cameras.width, cameras.height], device=device)
    for view in range(len(cameras)):
        xy = torch.rand(per_view, 2, generator=generator).to(device) * size
        render = render_pixels(field, cameras, view, xy)
        near = render.depth < 10 * render.depth.median()
        positions.append(pixel_points(cameras, view, xy, render.depth)[near])
        colors.append(render.color[near])
        yield ItemDone(stage, view + 1, len(cameras))
    rgb = (torch.cat(colors).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    write_ply(path, torch.cat(positions).double().cpu().numpy() + origin.numpy(), rgb, precise=bool(origin.any()))


def write_ply(path: Path, positions: np.ndarray, colors: np.ndarray, *, precise: bool) -> None:
    """Binary PLY of positions P 3 and colours P 3 uint8.

    precise: positions as double, which surveyors' programs read (CloudCompare, PDAL, Open3D): float would round UTM
    coordinates to half a metre. Else as float, which everything reads.
    """
    kind, number = ("double", "<f8") if precise else ("float", "<f4")
    vertices = np.empty(len(positions), [("position", number, 3), ("color", "u1", 4)])
    vertices["position"], vertices["color"][:, :3], vertices["color"][:, 3] = positions, colors, 255
    properties = [f"property {kind} {axis}" for axis in "xyz"]
    properties += [f"property uchar {channel}" for channel in ("red", "green", "blue", "alpha")]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices)}",
        *properties,
        "end_header",
        "",
    ]
    write_bytes(path, "\n".join(header).encode() + vertices.tobytes())
