"""What can be asked of `unscene mask`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from unscene.file_names import portable
from unscene.scenes.view_names import views_called
from unscene.segmentation.fitted_surfaces import QUICK_FIT, RAYS
from unscene.segmentation.prompts import Box, Click, PromptError
from unscene.training.fit import FitConfig


@dataclass(frozen=True)
class MaskOptions:
    """Mask an object in all photos of a capture that is pointed at in one or a few of them."""

    click: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """VIEW,X,Y on the object: the photo's name or its number from 0, and a pixel of the photo at full size, counted
    from the left and the top. The first one finds the object, further ones add the parts that they hit. May be
    repeated."""
    not_: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="not")] = ()
    """VIEW,X,Y on a part to take out of the mask again. May be repeated."""
    box: str | None = None
    """VIEW,X,Y,WIDTH,HEIGHT around the object, left and top first: finds the object in place of a first click."""
    name: str = "object"
    """Of the object, if there are several: each has its masks in OUT/objects/NAME, all together are in OUT."""
    choice: int = 1
    """Which of the objects that the first click may have meant (a head, a statue, a statue with its plinth): the run
    tells how many there are, the clearest first."""
    with_shadow: bool = False
    """Add what darkens around the object's foot."""
    segmenter: str = "surface"
    """What tells the object apart in the clicked photo and draws outlines: surface, which needs no weights, or sam2,
    an id of the hub or a folder with Segment Anything 2."""
    fit: FitConfig = QUICK_FIT
    """How long and how fast the field learns whose depths are the surface. It is kept in OUT."""
    rays: int = RAYS
    """Rays per step."""
    seed: int = 0
    """Of all random numbers."""
    device: str = "auto"
    """Where to compute: auto (CUDA where it works, else the processor), cpu, cuda, cuda:N or mps."""


@dataclass(frozen=True)
class Pointers:
    """first: a click or box that finds the object, None if masks made by hand do; edits: clicks in order."""

    first: Click | Box | None
    edits: tuple[Click, ...]


def read_pointers(options: MaskOptions, names: Sequence[str], scale: float) -> Pointers:
    """Clicks and box in pixels of photos that are ``scale`` times smaller; names: of the photos. Raises PromptError."""
    wanted = [_click(text, names, scale, wanted=True) for text in options.click]
    unwanted = [_click(text, names, scale, wanted=False) for text in options.not_]
    if options.box is not None:
        return Pointers(_box(options.box, names, scale), (*wanted, *unwanted))
    return Pointers(wanted[0] if wanted else None, (*wanted[1:], *unwanted))


def check_name(name: str) -> None:
    """Raise PromptError for a name that cannot be a folder's on every system."""
    if not name or "/" in name or name.startswith(".") or portable(name) != name:
        raise PromptError(f"name: expected a word that can name a folder, such as teapot, got '{name}'.")


def _click(text: str, names: Sequence[str], scale: float, *, wanted: bool) -> Click:
    option = "click" if wanted else "not"
    view, (x, y) = _split(text, names, 2, f"{option}: expected VIEW,X,Y such as 0,120,80, got '{text}'")
    return Click(view, (x + 0.5) / scale, (y + 0.5) / scale, wanted)


def _box(text: str, names: Sequence[str], scale: float) -> Box:
    view, (x, y, width, height) = _split(
        text, names, 4, f"box: expected VIEW,X,Y,WIDTH,HEIGHT such as 0,100,50,80,120, got '{text}'"
    )
    return Box(view, x / scale, y / scale, (x + width) / scale, (y + height) / scale)


def _split(text: str, names: Sequence[str], count: int, expected: str) -> tuple[int, list[float]]:
    """The view and the numbers after it."""
    view, *numbers = text.rsplit(",", count)
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        values = []
    if len(values) != count or not all(abs(value) < 1e9 for value in values):  # which is true of no NaN
        raise PromptError(f"{expected}.")
    found = views_called(view, names)
    if len(found) == 1:
        return found[0], values
    problem = "several photos are called so" if found else f"the photos are {names[0]} to {names[-1]}"
    raise PromptError(f"{expected}: {problem}, numbered from 0 to {len(names) - 1}.")
