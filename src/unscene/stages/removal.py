"""What every removal method returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unscene.fields.nerf import Nerf
from unscene.scenes.scene import Scene


@dataclass(frozen=True)
class Removal:
    """A scene without its object. field: the radiance field; scene: the input with the object gone from its training
    images; filled: N H W bool, where content was invented rather than seen."""

    field: Nerf
    scene: Scene
    filled: Tensor
