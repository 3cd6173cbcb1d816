"""What a view sees of many line segments in space: for every pixel the least value that any of them takes on there."""

# Warp's kernel language is Python to the eye but not to a type checker:
# pyright: reportIndexIssue=false, reportInvalidTypeForm=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportCallIssue=false

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.warp_runtime import start_warp, torch_stream


@dataclass(frozen=True)
class Segments:
    """starts: P 3, in the world; headings: P 3, unit vectors; lengths: P, of which negative ones mean no segment."""

    starts: Tensor
    headings: Tensor
    lengths: Tensor


def sweep(segments: Segments, values: Tensor, growth: Tensor, camera: Cameras) -> tuple[Tensor, Tensor]:
    """Draw segments into a camera's view.

    values: P, at the starts; growth: P, per length along a segment. Returns the least value at every pixel, H W,
    infinite where no segment is seen, and the index of the segment that takes it on, H W, or -1.
    """
    device = segments.starts.device
    least = torch.full((camera.height, camera.width), torch.inf, device=device)
    owner = torch.full((camera.height, camera.width), -1, dtype=torch.int32, device=device)
    if len(segments.starts) == 0:
        return least, owner.long()
    start_warp()
    pose = camera.T_world_camera[0].double()
    local = (segments.starts.double() - pose[:, 3]) @ pose[:, :3]
    heading = segments.headings.double() @ pose[:, :3]
    numbers = torch.stack([segments.lengths, values, growth], -1)
    vectors = [wp.from_torch(rows.float().contiguous(), dtype=wp.vec3) for rows in (local, heading, numbers)]
    lens = wp.vec4(*torch.cat([camera.focal[0], camera.principal[0]]).tolist())
    for owners in (False, True):  # first how little, then whose that is
        wp.launch(
            _sweep,
            dim=len(local),
            inputs=[*vectors, lens, owners],
            outputs=[wp.from_torch(least), wp.from_torch(owner)],
            stream=torch_stream(device) if device.type == "cuda" else None,
            device=None if device.type == "cuda" else "cpu",
        )
    return least, owner.long()


@wp.func
def _mark(
    row: int, column: int, value: float, owners: bool, segment: int,
    least: wp.array2d(dtype=wp.float32), owner: wp.array2d(dtype=wp.int32),
):  # fmt: skip
    if row >= 0 and row < least.shape[0] and column >= 0 and column < least.shape[1]:
        if not owners:
            wp.atomic_min(least, row, column, value)
        elif value == least[row, column]:
            owner[row, column] = segment


@wp.kernel
def _sweep(
    starts: wp.array(dtype=wp.vec3), headings: wp.array(dtype=wp.vec3), numbers: wp.array(dtype=wp.vec3),
    lens: wp.vec4, owners: bool, least: wp.array2d(dtype=wp.float32), owner: wp.array2d(dtype=wp.int32),
):  # fmt: skip
    """Walk one pixel along the faster axis at a time; across it mark both pixels the line runs between, or lines that
    part from each other would leave gaps. Where on the segment a pixel is follows from that axis."""
    i = wp.tid()
    origin = starts[i]
    away = headings[i]
    length = numbers[i][0]
    value = numbers[i][1]
    growth = numbers[i][2]
    if length < 0.0 or origin[2] <= 0.0:
        return
    first = wp.vec2(lens[0] * origin[0] / origin[2] + lens[2], lens[1] * origin[1] / origin[2] + lens[3])
    # d/ds of (origin + s away), projected: numerators only, the positive factor 1 / depth^2 turns no direction
    velocity = wp.vec2(
        (away[0] * origin[2] - origin[0] * away[2]) * lens[0], (away[1] * origin[2] - origin[1] * away[2]) * lens[1]
    )
    largest = wp.max(wp.abs(velocity[0]), wp.abs(velocity[1]))
    step = velocity / wp.max(largest, 1.0e-20)
    sideways = wp.abs(step[0]) < wp.abs(step[1])
    axis = wp.where(sideways, 1, 0)
    height = least.shape[0]
    width = least.shape[1]
    for walked in range(2 * (height + width)):
        x = first[0] + step[0] * float(walked) - 0.5
        y = first[1] + step[1] * float(walked) - 0.5
        if (x < -1.0 and step[0] <= 0.0) or (x > float(width) and step[0] >= 0.0):
            return
        if (y < -1.0 and step[1] <= 0.0) or (y > float(height) and step[1] >= 0.0):
            return
        seen = (first[axis] + step[axis] * float(walked) - lens[2 + axis]) / lens[axis]
        distance = wp.where(walked > 0, (seen * origin[2] - origin[axis]) / (away[axis] - seen * away[2]), 0.0)
        # beyond infinity lies what is negative; a segment seen end on never leaves its first pixel
        if distance < 0.0 or distance > length or largest < 1.0e-12:
            break
        column = int(wp.floor(wp.where(sideways, x, x + 0.5)))
        row = int(wp.floor(wp.where(sideways, y + 0.5, y)))
        _mark(row, column, value + growth * distance, owners, i, least, owner)
        _mark(
            row + wp.where(sideways, 0, 1), column + wp.where(sideways, 1, 0), value + growth * distance, owners, i,
            least, owner,
        )  # fmt: skip
    depth = origin[2] + length * away[2]
    if depth > 0.0:  # the end, which may be the nearest of all
        x = lens[0] * (origin[0] + length * away[0]) / depth + lens[2] - 0.5
        y = lens[1] * (origin[1] + length * away[1]) / depth + lens[3] - 0.5
        for right in range(2):
            for down in range(2):
                _mark(
                    int(wp.floor(y)) + down, int(wp.floor(x)) + right, value + growth * length, owners, i, least, owner
                )
