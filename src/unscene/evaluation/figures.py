"""Figures about renders: what is measured, of what, how, and what came out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from unscene.evaluation.regions import BOX_MARGIN, Region
from unscene.geometry.cameras import Cameras

REGIONS: tuple[Region, ...] = ("image", "mask", "box")
BOX = f"box of the mask, {BOX_MARGIN:.0%} wider on each side"
AS_PIXELS: Mapping[Region, str] = {"image": "whole images", "mask": "pixels inside the mask", "box": BOX}
"""Regions as a metric of single pixels sees them."""
AS_PICTURES: Mapping[Region, str] = {**AS_PIXELS, "mask": f"{BOX}, black outside the mask"}
"""Regions as a network is shown them."""


@dataclass(frozen=True)
class Views:
    """Renders to be judged, and what is known about them; all of one size, in main memory.

    images: H W 3 in [0, 1]. truths: what is really there, the same. masks: where the object was, H W bool, None if
    that is not known; masks_from: whose they are, for the protocol. cameras and depths: of the images, z-depth H W.
    photos: real photos of the place (H W 3) and what of each was hidden by the object (H W bool).
    """

    images: Sequence[Tensor]
    truths: Sequence[Tensor] | None = None
    masks: Sequence[Tensor] | None = None
    masks_from: str = ""
    cameras: Cameras | None = None
    depths: Sequence[Tensor] | None = None
    photos: Sequence[tuple[Tensor, Tensor]] = ()

    def showing(self, region: Region) -> Views:
        """The views in which there is something of a region: all, or those with a mask."""
        if region == "image":
            return self
        kept = [index for index, mask in enumerate(self.masks or ()) if mask.any()]

        def pick(of: Sequence[Tensor] | None) -> list[Tensor] | None:
            return None if of is None else [of[index] for index in kept]

        return dataclasses.replace(
            self, images=[self.images[index] for index in kept], truths=pick(self.truths), masks=pick(self.masks),
            cameras=None if self.cameras is None else self.cameras[kept], depths=pick(self.depths),
        )  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """One way to judge views.

    name: as it is printed. measure: the figure of views that all show the region, NaN if they do not give one.
    better: "higher", "lower" or "near 1". how: what belongs beside a number besides views and region. regions: those it
    can judge, and what it sees of them. called: other names that papers give it in a region. needs: names of fields of
    `Views` that must be known, and the least number of views.
    """

    name: str
    measure: Callable[[Views, Region], float]
    better: str
    how: str
    unit: str = ""
    regions: Mapping[Region, str] = dataclasses.field(default_factory=lambda: AS_PIXELS)
    called: Mapping[Region, str] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ("truths",)
    least_views: int = 1


@dataclass(frozen=True)
class Figure:
    """One number. protocol: how it was measured, in words; figures of unlike protocols do not compare."""

    metric: str
    region: Region
    value: float
    unit: str
    better: str
    views: int
    protocol: str


NEEDS = {
    "truths": "what is really there (--truth)",
    "masks": "masks of the object",
    "photos": "the photos and masks of a removal",
    "cameras": "cameras",
    "depths": "depths",
    "images": "renders",
}
"""Fields of `Views` in words."""


def figure(metric: Metric, views: Views, region: Region) -> Figure | None:
    """A metric's figure for a region; None where it has none, or too little of what it needs is known."""
    if region not in metric.regions or any(not getattr(views, need) for need in metric.needs):
        return None
    views = views.showing(region)
    if len(views.images) < metric.least_views:
        return None
    value = metric.measure(views, region)
    if math.isnan(value):
        return None
    height, width = views.images[0].shape[:2]
    masks = f"; masks of {views.masks_from}" if region != "image" and views.masks_from else ""
    protocol = f"{len(views.images)} views of {width}x{height}; {metric.regions[region]}{masks}; {metric.how}"
    return Figure(
        metric.called.get(region, metric.name), region, value, metric.unit, metric.better, len(views.images), protocol
    )  # fmt: skip
