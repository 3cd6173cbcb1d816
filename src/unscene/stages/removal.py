"""What every removal method returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unscene.fields.nerf import Nerf
from unscene.fields.splats import Splats
from unscene.scenes.scene import Scene


@dataclass(frozen=True)
class Removal:
    """A scene without its object. field: what was fitted; scene: the input with the object gone from its training
    images; filled: N H W bool, where content was invented rather than seen. rows: of splats that were given, which of
    the given ones each Gaussian is, -1 for new ones."""

    field: Nerf | Splats
    scene: Scene
    filled: Tensor
    rows: Tensor | None = None
