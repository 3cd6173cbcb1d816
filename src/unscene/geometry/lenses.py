"""Lenses as OpenCV describes them: radial k1, k2, k3 and tangential p1, p2 (Brown 1966), and how to undo them.

Positions are those of the image plane at z = 1. With q = (p2, p1), r2 = |u|^2, R = 1 + k1 r2 + k2 r2^2 + k3 r2^3 and
D = R + 2 q.u the model is u -> D u + r2 q. Its Jacobian is symmetric: D I + 2 R' u u^T + 2 (u q^T + q u^T).
"""

from __future__ import annotations

import torch
from torch import Tensor

APPROACH = (0.5, 0.8, 1, 1, 1, 1, 1, 1, 1)
"""Shares of the distorted position that Newton's steps aim at. From within: beyond the outermost ray that a polynomial
can stand for it folds back, and a step from there would go astray."""
LONGEST_STEP = 0.3  # of the distorted position's size; keeps positions finite where there is no inverse
PATH_STEPS = 24  # points between the optical axis and the rim at which the model is asked whether it folds back


def distort(plane: Tensor, distortion: Tensor) -> Tensor:
    """Undistorted to distorted image-plane positions, P 2, by the OpenCV model (k1, k2, p1, p2, k3), P 5."""
    k1, k2, p1, p2, k3 = distortion.unbind(-1)
    x, y = plane.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return torch.stack(
        [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1
    )


def undistort(plane: Tensor, distortion: Tensor) -> Tensor:
    """Inverse of `distort` by Newton's method: always as many steps, so that no accelerator is waited for.

    Where the lens has no inverse (`has_inverse`) the outcome means nothing, but is finite.
    """
    k1, k2, p1, p2, k3 = distortion.unbind(-1)
    distorted_x, distorted_y = plane.unbind(-1)
    slope1, slope2, slope3 = 2 * k1, 4 * k2, 6 * k3  # of the radial part, 2 R'
    two_p1, two_p2, four_p1, four_p2 = 2 * p1, 2 * p2, 4 * p1, 4 * p2
    one, longest = torch.ones_like(distorted_x), LONGEST_STEP * (distorted_x.abs() + distorted_y.abs())
    x, y = APPROACH[0] * distorted_x, APPROACH[0] * distorted_y
    for share in APPROACH[1:]:
        r2 = torch.addcmul(x * x, y, y)
        radial = torch.addcmul(one, r2, torch.addcmul(k1, r2, torch.addcmul(k2, r2, k3)))
        slope = torch.addcmul(slope1, r2, torch.addcmul(slope2, r2, slope3))
        factor = torch.addcmul(torch.addcmul(radial, two_p1, y), two_p2, x)
        error_x = torch.addcmul(torch.addcmul(-share * distorted_x, x, factor), p2, r2)
        error_y = torch.addcmul(torch.addcmul(-share * distorted_y, y, factor), p1, r2)
        xx = torch.addcmul(factor, x, torch.addcmul(four_p2, slope, x))
        yy = torch.addcmul(factor, y, torch.addcmul(four_p1, slope, y))
        xy = torch.addcmul(x * torch.addcmul(two_p1, slope, y), two_p2, y)
        determinant = torch.addcmul(xx * yy, xy, xy, value=-1)
        step_x = torch.addcmul(yy * error_x, xy, error_y, value=-1) / determinant
        step_y = torch.addcmul(xx * error_y, xy, error_x, value=-1) / determinant
        x, y = x - step_x.clamp(-longest, longest), y - step_y.clamp(-longest, longest)
    return torch.stack([x, y], -1)


def jacobian_determinant(plane: Tensor, distortion: Tensor) -> Tensor:
    """By how much `distort` enlarges areas at undistorted positions P 2 of lenses P 5, P; negative: mirrored."""
    k1, k2, p1, p2, k3 = distortion.unbind(-1)
    x, y = plane.unbind(-1)
    r2 = x * x + y * y
    slope = 2 * k1 + r2 * (4 * k2 + r2 * 6 * k3)
    factor = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)) + 2 * (p1 * y + p2 * x)
    xx, yy = factor + x * (slope * x + 4 * p2), factor + y * (slope * y + 4 * p1)
    return xx * yy - (x * (slope * y + 2 * p1) + 2 * p2 * y) ** 2


def has_inverse(plane: Tensor, distortion: Tensor, tolerance: Tensor) -> Tensor:
    """Whether each position P 2 that a lens (P 5) distorts to is reached from one ray that `undistort` finds, P bool.

    Reached: to within ``tolerance`` (P). From one: nowhere between it and the optical axis does the lens fold back.
    """
    undistorted = undistort(plane, distortion)
    error = (distort(undistorted, distortion) - plane).norm(dim=-1)
    share = torch.linspace(0, 1, PATH_STEPS + 1, dtype=plane.dtype, device=plane.device)[1:, None, None]
    determinant = jacobian_determinant(share * undistorted, distortion)
    return (error <= tolerance) & (determinant > 0).all(0)
