"""A picture of a capture from above: its cameras and sparse points."""

from __future__ import annotations

import cv2
import numpy as np
import pycolmap

SIDE = 960  # pixels
MARGIN = 0.06  # of the side
PAPER, CAMERA, PATH = (247, 245, 241), (180, 71, 28), (205, 190, 178)  # RGB
SUBPIXEL = 4  # bits, of OpenCV's drawing
FURTHEST = 2.5  # spreads of the cameras beyond which points are not drawn


def plan_view(model: pycolmap.Reconstruction) -> np.ndarray:
    """Cameras and coloured points seen from above, SIDE SIDE 3 uint8, the first camera's view pointing up.

    Above is where the tops of the photos point on average.
    """
    images = [model.image(number) for number in sorted(model.reg_image_ids())]
    poses = np.stack([np.asarray(image.cam_from_world().inverse().matrix()) for image in images])
    centres = poses[:, :, 3]
    points = np.array([point.xyz for point in model.points3D.values()]).reshape(-1, 3)
    colors = np.array([point.color for point in model.points3D.values()]).reshape(-1, 3)
    plan = _plan_axes(poses)
    middle = np.median(np.concatenate([centres, points]), 0)
    cameras, ground = (centres - middle) @ plan.T, (points - middle) @ plan.T
    reach = _reach(cameras, ground)
    zoom = (0.5 - MARGIN) * SIDE / reach

    def pixels(xy: np.ndarray) -> np.ndarray:
        return ((xy * zoom + SIDE / 2) * 2**SUBPIXEL).round().astype(np.int32)

    picture = np.full((SIDE, SIDE, 3), PAPER, np.uint8)
    height = (points - middle) @ -_up(poses)
    order = np.argsort(-height)  # the highest last, as from above it hides what is below
    for xy, color in zip(pixels(ground[order]), colors[order].tolist(), strict=True):
        if (abs(xy) < SIDE << (SUBPIXEL + 1)).all():
            cv2.circle(picture, xy.tolist(), 2 << SUBPIXEL, color, -1, cv2.LINE_AA, SUBPIXEL)
    cv2.polylines(picture, [pixels(cameras)], False, PATH, 1, cv2.LINE_AA, SUBPIXEL)
    size = 0.06 * reach
    for centre, pose, image in zip(cameras, poses, images, strict=True):
        forward, right = plan @ pose[:, 2], plan @ pose[:, 0]
        camera = model.cameras[image.camera_id]
        half = 0.5 * camera.width / camera.mean_focal_length()
        corners = np.stack([centre, centre + size * (forward - half * right), centre + size * (forward + half * right)])
        cv2.polylines(picture, [pixels(corners)], True, CAMERA, 1, cv2.LINE_AA, SUBPIXEL)
        cv2.circle(picture, pixels(centre).tolist(), 4 << SUBPIXEL, CAMERA, -1, cv2.LINE_AA, SUBPIXEL)
    return picture


def _up(poses: np.ndarray) -> np.ndarray:
    """The mean direction of the tops of photos, of poses N 3 4."""
    up = -poses[:, :, 1].mean(0)
    length = np.linalg.norm(up)
    return up / length if length > 1e-6 else -poses[0, :, 1]


def _plan_axes(poses: np.ndarray) -> np.ndarray:
    """World directions of the picture's right and down, 2 3."""
    up = _up(poses)
    ahead = poses[0, :, 2] - (poses[0, :, 2] @ up) * up
    if np.linalg.norm(ahead) < 1e-6:  # it looks straight down
        ahead = -poses[0, :, 1] - (-poses[0, :, 1] @ up) * up
    ahead /= np.linalg.norm(ahead)
    return np.stack([np.cross(ahead, up), -ahead])


def _reach(cameras: np.ndarray, ground: np.ndarray) -> float:
    """Half the side of what is drawn: all cameras, and most points as far as they are not much farther out."""
    of_cameras = float(abs(cameras).max())
    of_points = float(np.quantile(abs(ground).max(1), 0.95)) if len(ground) else 0.0
    return max(of_cameras, min(of_points, FURTHEST * of_cameras)) or 1.0
