"""Shap-E (Jun and Nichol 2023): one mesh from a photo, seen from anywhere.

The mesh stands in a space of its own: nothing says where the photo was taken from. The turn in which it looks most like
the photo is taken for the photo's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from unscene.geometry.masks import over_background
from unscene.geometry.turntable import RelativePose, object_cameras
from unscene.objects.mesh import colored_mesh, normalized
from unscene.objects.ray_tracer import Lighting, RayTracer
from unscene.stages.novel_view import NovelView

if TYPE_CHECKING:  # loads diffusers: seconds
    from unscene.priors.novel_views.shap_e import ShapE

FIELD_OF_VIEW, DISTANCE = 45.0, 3.0  # degrees, object radii: of the cameras that look at the mesh
UNSHADED = Lighting((0.0, 0.0, 1.0), ambient=1.0, specular=0.0)  # its colours are those of the photo, light included
COMPARED_SIDE, COMPARED_TURNS = 64, 36


@dataclass(frozen=True)
class ShapEConfig:
    """Settings of Shap-E."""

    steps: int = 64
    """Sampler steps."""
    guidance: float = 3.0
    """Classifier-free guidance; the pipeline's own is 3."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = ()
    """What a run does otherwise than the paper, whatever its settings."""

    @classmethod
    def paper(cls) -> ShapEConfig:
        """The release's sampler, and its pipeline's."""
        return cls(steps=64, guidance=3.0)


@dataclass(frozen=True)
class SeenMesh:
    """The mesh, and the azimuth and elevation in degrees from which the photo is taken to show it."""

    tracer: RayTracer
    azimuth: float
    elevation: float

    def view(self, pose: RelativePose, size: int) -> NovelView:
        """From a pose relative to the photo's, size size 3."""
        camera = object_cameras(
            torch.tensor([self.azimuth + pose.azimuth]), torch.tensor([self.elevation + pose.elevation]),
            torch.tensor([DISTANCE * pose.distance]), field_of_view=FIELD_OF_VIEW, size=size,
        )  # fmt: skip
        shown = self.tracer.render(camera, 0)
        return NovelView(over_background(shown.color, shown.alpha))


def shap_e_mesh(
    photo: Tensor, model: ShapE, config: ShapEConfig, *, elevation: float, generator: torch.Generator
) -> SeenMesh:
    """The object of a photo (S S 3 on white), taken from `elevation` degrees above the horizon. Raises PriorError."""
    made = model.reconstruct(photo, generator=generator, steps=config.steps, guidance=config.guidance)
    mesh = normalized(colored_mesh(made.vertices.numpy(), made.faces.numpy(), made.colors.numpy()))
    tracer = RayTracer(mesh, UNSHADED)
    side = (COMPARED_SIDE, COMPARED_SIDE)
    small = torch.nn.functional.interpolate(photo.permute(2, 0, 1)[None], side, mode="area")[0].permute(1, 2, 0)

    def difference(azimuth: float) -> float:
        shown = SeenMesh(tracer, azimuth, elevation).view(RelativePose(0.0), COMPARED_SIDE).image
        return float((shown - small).square().mean())

    turns = [360 * turn / COMPARED_TURNS for turn in range(COMPARED_TURNS)]
    return SeenMesh(tracer, min(turns, key=difference), elevation)
