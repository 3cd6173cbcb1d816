"""What a method says when it cannot run."""

from __future__ import annotations


class MethodError(ValueError):
    """A method that cannot run with the settings it was given: what was expected, what came, what to do."""
