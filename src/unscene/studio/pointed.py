"""What was pointed at: one object or several, each as far as it is told. Values: to undo is to keep the one before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from unscene.segmentation.session import Selection


@dataclass(frozen=True, eq=False)
class Pointing:
    """An object as it was told so far. masks: N h w bool at the session's size, as far as they are known by now.
    drawn: N H W bool at the photos' size, of an object that no prompts told of: its masks were there before."""

    selection: Selection | None
    masks: np.ndarray
    drawn: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Pointed:
    """All that was pointed at. at: the name of the object that clicks change; objects: each by its name, None before
    anything was told of it."""

    at: str
    objects: Mapping[str, Pointing | None]

    @property
    def current(self) -> Pointing | None:
        """The object that clicks change."""
        return self.objects[self.at]

    @property
    def told(self) -> dict[str, Pointing]:
        """The objects of which something is told."""
        return {name: pointing for name, pointing in self.objects.items() if pointing is not None}

    def telling(self, current: Pointing | None) -> Pointed:
        """The same with the current object told otherwise."""
        return Pointed(self.at, {**self.objects, self.at: current})

    def beside(self) -> Pointed:
        """With another object, of which nothing is told yet, as the current one."""
        empty = [name for name, pointing in self.objects.items() if pointing is None]
        first = next(iter(self.objects))
        names = (f"{first}-{number}" for number in range(2, len(self.objects) + 3))
        name = empty[0] if empty else next(name for name in names if name not in self.objects)
        return Pointed(name, {**self.objects, name: None})

    def at_name(self, name: str) -> Pointed:
        """The same with another of the objects as the current one."""
        return Pointed(name, self.objects)
