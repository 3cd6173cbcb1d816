"""Where, in a second view, things may hide behind the surface that a first view sees (iNVS, section 3.2)."""

# Warp's kernel language is Python to the eye but not to a type checker:
# pyright: reportIndexIssue=false, reportInvalidTypeForm=false, reportOperatorIssue=false

import torch
import warp as wp
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.warp_runtime import start_warp, torch_stream


def epipolar_sweep(points: Tensor, source: Cameras, target: Cameras) -> Tensor:
    """Pixels of the target camera that see behind a surface, H W bool.

    points: P 3, on the surface the source camera sees. A point pushed away from the source moves along its epipolar
    line in the target; everything from where the point itself is seen to the image's border is swept. The paper
    projects a point nudged by 0.01; the direction here is the limit of that for a small nudge, exact at any distance.
    """
    start, direction = epipolar_directions(points, source, target)
    swept = torch.zeros(target.height, target.width, dtype=torch.uint8, device=points.device)
    if len(start):
        start_warp()
        wp.launch(
            _sweep,
            dim=len(start),
            inputs=[wp.from_torch(start, dtype=wp.vec2), wp.from_torch(direction, dtype=wp.vec2)],
            outputs=[wp.from_torch(swept, dtype=wp.uint8)],
            stream=torch_stream(points.device) if points.is_cuda else None,
            device=None if points.is_cuda else "cpu",
        )
    return swept.bool()


def epipolar_directions(points: Tensor, source: Cameras, target: Cameras) -> tuple[Tensor, Tensor]:
    """Where the target sees P points, and which way they move there when pushed away from the source, each P 2.

    Directions have a largest component of 1, or are 0 where not even a point pushed to infinity moves by a pixel (both
    cameras at about one place) or where the point is behind the target.
    """
    pose = target.T_world_camera[0].double()
    local = (points.double() - pose[:, 3]) @ pose[:, :3]
    away = (points.double() - source.positions[0].double()) @ pose[:, :3]
    depth = local[:, 2:].clamp_min(1e-9)
    start, _ = target.project(torch.zeros(len(points), dtype=torch.long, device=points.device), points.float())
    # d/ds of (local + s away), projected: numerators only, the positive factor 1 / depth^2 turns no direction
    velocity = (away[:, :2] * depth - local[:, :2] * away[:, 2:]) * target.focal[0].double()
    largest = velocity.abs().amax(-1, keepdim=True)
    # away at infinity is seen velocity / (depth * away's depth) pixels from the point, if it is in front at all
    still = (largest < depth * away[:, 2:]) | (largest == 0) | (local[:, 2:] <= 1e-9)
    direction = torch.where(still, 0, velocity / largest.clamp_min(1e-30))
    return start.float().contiguous(), direction.float().contiguous()


@wp.kernel
def _sweep(start: wp.array(dtype=wp.vec2), direction: wp.array(dtype=wp.vec2), swept: wp.array2d(dtype=wp.uint8)):
    """Walk to the border one pixel along the faster axis at a time; across it mark both pixels the line runs between,
    or lines that part from each other would leave gaps."""
    point = start[wp.tid()]
    step = direction[wp.tid()]
    if step[0] == 0.0 and step[1] == 0.0:
        return
    sideways = wp.abs(step[0]) < wp.abs(step[1])
    x = point[0] - 0.5
    y = point[1] - 0.5
    height = swept.shape[0]
    width = swept.shape[1]
    for _ in range(2 * (height + width)):
        if (x < -1.0 and step[0] <= 0.0) or (x > float(width) and step[0] >= 0.0):
            return
        if (y < -1.0 and step[1] <= 0.0) or (y > float(height) and step[1] >= 0.0):
            return
        column = int(wp.floor(x))
        row = int(wp.floor(y))
        if sideways:
            row = int(wp.floor(y + 0.5))
        else:
            column = int(wp.floor(x + 0.5))
        if row >= 0 and row < height and column >= 0 and column < width:
            swept[row, column] = wp.uint8(1)
        if sideways:
            column += 1
        else:
            row += 1
        if row >= 0 and row < height and column >= 0 and column < width:
            swept[row, column] = wp.uint8(1)
        x += step[0]
        y += step[1]
