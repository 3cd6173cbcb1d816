"""What a completed novel view adds to what is known of an object: its invented pixels, as points in space (ours)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.cameras import Cameras
from unscene.geometry.epipolar import is_behind
from unscene.geometry.membranes import inflated, membrane
from unscene.geometry.partial_view import BACKGROUND, PartialView
from unscene.geometry.splatting import SurfacePoints, finer_photo, lifted
from unscene.objects.masks import shrunk, without_pinholes
from unscene.stages.object_source import SourceView

FAINTEST = 0.12  # difference from the background that is still the object
PINHOLE = 0.01  # of the object's area: smaller holes in it are none
SQUAREST = 0.35  # cosine between a surface's normal and the view from which on it is seen well enough
IN_FRONT = 0.03  # object radii: how far before the photo's surface a point may lie
FINER = 2  # points per pixel, along each axis: other views see some surfaces more squarely


def invented_points(image: Tensor, seen: PartialView, camera: Cameras, source: SourceView) -> SurfacePoints:
    """The points of a completed view's pixels that nothing known covered. image: H W 3, on the background.

    Without the outline's own pixels, which are half background, without what is seen at a slant, as another view will
    see it better, and without what the photo would have to show.
    """
    shown = object_pixels(image, seen)
    inner = torch.from_numpy(shrunk(shown.cpu().numpy(), 1)).to(image.device)
    depth = completed_depth(shown, seen, camera)
    fine_image, fine_depth, fine_camera = finer_photo(image, depth, camera, FINER)
    new = (inner & ~seen.covered).repeat_interleave(FINER, 0).repeat_interleave(FINER, 1)
    points = lifted(fine_image, fine_depth, fine_camera, new)
    towards = F.normalize(points.seen_from - points.positions, dim=-1)
    hidden = is_behind(points.positions, source.depth, source.camera, IN_FRONT)
    return points[((points.normals * towards).sum(-1) > SQUAREST) & hidden]


def object_pixels(image: Tensor, seen: PartialView) -> Tensor:
    """Where a completed view shows the object, H W bool: what was known, and what differs from the background where
    something new may be."""
    differs = (image - BACKGROUND).abs().amax(-1) > FAINTEST
    shown = seen.covered | (seen.epipolar_mask & differs)
    return torch.from_numpy(without_pinholes(shown.cpu().numpy(), PINHOLE)).to(image.device)


def completed_depth(shown: Tensor, seen: PartialView, camera: Cameras) -> Tensor:
    """z-depth of a completed view's object (``shown``, H W bool), H W, 0 off it.

    That of the known pixels; where there are none that of a symmetric object; and elsewhere the outline's inflation,
    moved smoothly so that it meets both.
    """
    region = shown.cpu().numpy()
    known_depth = torch.where(seen.covered, seen.depth, seen.symmetric.depth).detach().cpu().double().numpy()
    known = region & (known_depth > 0)
    distance = float(camera.positions[0].norm())
    bulge = distance - inflated(region) * distance / float(camera.focal[0].mean())
    moved = membrane(region, known, known_depth - bulge) if known.any() else np.zeros(region.shape)
    depth = np.where(known, known_depth, bulge + moved)
    depth = np.where(region, depth.clip(0.1 * distance), 0)
    return torch.from_numpy(depth).to(seen.depth)
