"""What every novel-view method returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unscene.geometry.partial_view import PartialView
from unscene.geometry.splatting import SurfacePoints


@dataclass(frozen=True)
class NovelView:
    """image: H W 3 in [0, 1], on white; partial: what was known of it, if the method asks; invented: the points that
    the view adds to that, if others are to know of them."""

    image: Tensor
    partial: PartialView | None = None
    invented: SurfacePoints | None = None
