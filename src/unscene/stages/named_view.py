"""The training view that a user names."""

from __future__ import annotations

from torch import Tensor

from unscene.scenes.scene import Scene
from unscene.scenes.view_names import views_called
from unscene.stages.method_error import MethodError


def named_view(scene: Scene, name: str, option: str) -> int:
    """The training view that a user calls ``name``, see `views_called`. option: that says so on the command line.
    Raises MethodError if it is not exactly one."""
    train = scene.train.tolist()
    found = [view for view in views_called(name, scene.names) if view in train]
    if len(found) != 1:
        came = f"{len(found)} of that name" if found else "none of that name"
        raise MethodError(
            f"--{option}: expected the name or number of one training photo, such as {_some(scene, scene.train)}, got "
            f"'{name}', {came}."
        )
    return found[0]


def view_to_inpaint(scene: Scene, name: str, possible: Tensor, option: str) -> int:
    """The same of the ``possible`` views, those that have something to inpaint. Raises MethodError for others."""
    view = named_view(scene, name, option)
    if view not in possible.tolist():
        others = f"choose another, such as {_some(scene, possible)}" if len(possible) else "leave it out"
        raise MethodError(
            f"--{option}: expected a view with something to inpaint, but '{name}' hides nothing that no other view "
            f"shows, or the prior has none of it; {others}."
        )
    return view


def _some(scene: Scene, views: Tensor) -> str:
    return ", ".join(scene.names[view] for view in views[:3].tolist())
