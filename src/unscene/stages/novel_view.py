"""What every novel-view method returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unscene.geometry.partial_view import PartialView


@dataclass(frozen=True)
class NovelView:
    """image: H W 3 in [0, 1], on white; partial: what the photo showed of it, if the method asks."""

    image: Tensor
    partial: PartialView | None = None
