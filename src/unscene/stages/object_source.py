"""The photo of an object with its depth, placed in the object's own space: centre at the origin, radius 1, z up."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import over_background
from unscene.geometry.outliers import inliers
from unscene.geometry.splatting import unproject
from unscene.geometry.turntable import RelativePose, object_cameras, object_poses
from unscene.objects.masks import nearest_pixels
from unscene.objects.photo import ObjectPhoto
from unscene.priors.depth.completion import Estimate
from unscene.stages.method_error import MethodError

# All of these are ours.
VISIBLE_RELIEF = 0.5  # of its width: how deep the visible half of something as deep as wide is
WIDEST = 2.0  # times its distance: a wider object's relief would reach behind the camera
EXTREMES = (0.02, 0.98)  # quantiles that stand for the least and the most: a stray pixel must not set the scale
DEEPEST = 1.5  # times the longer side of its outline: what is farther behind its nearest points is not the object
NEAREST = 1.1  # object radii from the centre: a camera this close is outside of the object


@dataclass(frozen=True)
class SourceView:
    """color: S S 3 straight; alpha: S S; depth: S S z-depth in object radii, 0 off the object; camera: one; replaced:
    share of the object's pixels whose depth is a neighbour's."""

    color: Tensor
    alpha: Tensor
    depth: Tensor
    camera: Cameras
    replaced: float = 0.0

    @property
    def on_background(self) -> Tensor:
        """The photo as models see it, S S 3."""
        return over_background(self.color, self.alpha)

    def target(self, pose: RelativePose) -> Cameras:
        """The camera of a novel view, with the photo's lens. Raises MethodError if it would be inside the object."""
        azimuth, elevation, distance = object_poses(self.camera)
        away = float(distance) * pose.distance
        if away < NEAREST:
            least = NEAREST / float(distance)
            raise MethodError(
                f"pose: expected the camera outside of the object, at {least:.2f} times the photo's distance or more, "
                f"got {pose.distance:g}."
            )
        target = object_cameras(
            azimuth + pose.azimuth, elevation + pose.elevation, distance * pose.distance, field_of_view=45,
            size=self.camera.width,
        )  # fmt: skip
        return dataclasses.replace(target, focal=self.camera.focal)


def place_object(photo: ObjectPhoto, estimate: Estimate, *, elevation: float, contamination: float) -> SourceView:
    """Put a photo into object space.

    The centre is where it would be if the object were as deep as wide, and its farthest visible point gets distance 1
    from it. Where the depth is unknown, an outlier or not the object's, that of the nearest pixel takes its place: a
    hole would show the background through the object.

    estimate: the photo's depth, in any unit, or disparity up to scale and offset, which is taken such that the visible
    relief is half the object's width; elevation: degrees of the photo's camera above the horizon; contamination: share
    of points that are outliers of the depth, see `inliers`. Raises MethodError.
    """
    size = len(photo.alpha)
    on_object = photo.alpha > 0.5
    depth = _as_depth(estimate, on_object, photo.focal)
    depth = torch.where(on_object & depth.isfinite() & (depth > 0), depth, 0)
    depth = torch.where(_plausible(depth, photo.focal), depth, 0)
    if int((depth > 0).sum()) < 16:
        raise MethodError(f"depth from {estimate.name}: expected a depth for the object's pixels, got next to none.")
    upright = object_cameras(torch.zeros(1), torch.tensor([elevation]), torch.ones(1), field_of_view=45, size=size)
    camera = dataclasses.replace(
        upright, focal=torch.full((1, 2), photo.focal), principal=torch.tensor([photo.principal]).float()
    )
    local = dataclasses.replace(camera, T_world_camera=torch.eye(3, 4)[None])
    points = unproject(depth, local)
    if contamination > 0:
        kept = torch.zeros_like(on_object)
        kept[depth > 0] = inliers(points[depth > 0], contamination=contamination)
        depth = torch.where(kept, depth, 0)
    replaced = float((depth == 0)[on_object].float().mean())
    nearest = torch.from_numpy(nearest_pixels((depth > 0).numpy())[1])
    depth = torch.where(on_object, depth.reshape(-1)[nearest], 0)
    seen = unproject(depth, local)[on_object]
    low, high = torch.quantile(seen, torch.tensor(EXTREMES), dim=0)
    depth_extent = torch.maximum(high[2] - low[2], high[0] - low[0])
    centre = torch.stack([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2] + depth_extent / 2])
    radius = torch.quantile((seen - centre).norm(dim=-1), EXTREMES[1])
    rotation = camera.T_world_camera[0, :, :3]
    pose = torch.cat([rotation, -(rotation @ centre / radius)[:, None]], 1)
    camera = dataclasses.replace(camera, T_world_camera=pose[None])
    return SourceView(photo.color, photo.alpha, depth / radius, camera, replaced)


def _plausible(depth: Tensor, focal: float) -> Tensor:
    """Which depths (S S, 0 unknown) can be the object's, S S bool: an outline that is a little too wide takes in the
    background's, which no local rule calls outliers, and which would move the object's centre far behind it."""
    known = depth > 0
    if not known.any():
        return known
    across = max(int(known.any(axis).sum()) for axis in (0, 1)) / focal * float(depth[known].median())
    near = torch.quantile(depth[known], EXTREMES[0])
    return known & (depth <= near + DEEPEST * across) & (depth >= near - across)


def _as_depth(estimate: Estimate, on_object: Tensor, focal: float) -> Tensor:
    """Depth S S; of a disparity known up to scale and offset, with the nearest point at 1."""
    values = estimate.values.float()
    if not estimate.relative_disparity:
        return values
    low, high = torch.quantile(values[on_object], torch.tensor(EXTREMES)).tolist()
    if high <= low:
        raise MethodError(f"depth from {estimate.name}: expected it to vary over the object, got one value.")
    columns = on_object.any(0).nonzero()[:, 0]
    across = min(float(columns[-1] - columns[0] + 1) / focal, WIDEST)  # width at depth 1
    relief = VISIBLE_RELIEF * across / (1 - VISIBLE_RELIEF * across / 2)  # the width is that at the middle depth
    far = 1 / (1 + relief)
    return 1 / (far + (1 - far) * (values - low) / (high - low)).clamp(0.5 * far, 2.0)
