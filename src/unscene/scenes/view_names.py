"""Views by what users call them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath


def views_called(text: str, names: Sequence[str]) -> list[int]:
    """The views that a user may mean, by the names of their photos: those of that name, with or without folders, else
    those of that name without its ending, else the one of that number, counted from 0."""
    found = [view for view, name in enumerate(names) if text in (name, PurePosixPath(name).name)]
    found = found or [view for view, name in enumerate(names) if text == PurePosixPath(name).stem]
    numbered = not found and text.isascii() and text.isdecimal() and len(text) < 10 and int(text) < len(names)
    return [int(text)] if numbered else found
