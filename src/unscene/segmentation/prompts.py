"""What a user points at: clicks and boxes in photos."""

from __future__ import annotations

from dataclasses import dataclass


class PromptError(ValueError):
    """A click or box that cannot be used; the text says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Click:
    """A position in the photo of a view, in pixels (the first pixel's centre is at 0.5, 0.5).

    wanted: whether the object is there, or something that must not go with it.
    """

    view: int
    x: float
    y: float
    wanted: bool = True

    def scaled(self, factor: float) -> Click:
        """The same place in photos that are ``factor`` times as large."""
        return Click(self.view, self.x * factor, self.y * factor, self.wanted)


@dataclass(frozen=True)
class Box:
    """A rectangle around the object in the photo of a view, in pixels."""

    view: int
    left: float
    top: float
    right: float
    bottom: float

    def scaled(self, factor: float) -> Box:
        """The same place in photos that are ``factor`` times as large."""
        return Box(self.view, self.left * factor, self.top * factor, self.right * factor, self.bottom * factor)

    @property
    def middle(self) -> Click:
        return Click(self.view, (self.left + self.right) / 2, (self.top + self.bottom) / 2)


def check_prompts(prompts: list[Click | Box], views: int, width: int, height: int) -> None:
    """Raise PromptError for a prompt outside the photos, of which there are ``views``."""
    for prompt in prompts:
        if not 0 <= prompt.view < views:
            raise PromptError(f"expected a view from 0 to {views - 1}, got {prompt.view}.")
        if isinstance(prompt, Click) and not (0 <= prompt.x < width and 0 <= prompt.y < height):
            raise PromptError(
                f"expected a click within the photo of {width} x {height} pixels, got ({prompt.x:g}, {prompt.y:g})."
            )
        if isinstance(prompt, Box) and not (
            0 <= prompt.left < prompt.right <= width and 0 <= prompt.top < prompt.bottom <= height
        ):
            raise PromptError(
                f"expected a box within the photo of {width} x {height} pixels, got columns {prompt.left:g} to "
                f"{prompt.right:g} and rows {prompt.top:g} to {prompt.bottom:g}."
            )
