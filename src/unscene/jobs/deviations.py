"""In what a run's settings are not its paper's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

Preset = Literal["laptop", "paper"]


@dataclasses.dataclass(frozen=True)
class Deviation:
    """A setting that is not the paper's. option: its name on the command line; here, paper: the values, in words."""

    option: str
    here: str
    paper: str


def deviations(pairs: Iterable[tuple[str, Any, Any]]) -> list[Deviation]:
    """Of settings (option, value, the paper's value) those that are not the paper's, settings within settings apart."""
    leaves = [leaf for pair in pairs for leaf in _leaves(*pair)]
    return [
        Deviation(name.replace("_", "-"), _in_words(here), _in_words(there))
        for name, here, there in leaves
        if here != there
    ]


def _leaves(name: str, here: Any, there: Any) -> list[tuple[str, Any, Any]]:
    """(name, here, there) of two settings of one class, down to plain values."""
    if not dataclasses.is_dataclass(here):
        return [(name, here, there)]
    pairs = []
    for field in dataclasses.fields(here):
        pairs += _leaves(f"{name}.{field.name}", getattr(here, field.name), getattr(there, field.name))
    return pairs


def _in_words(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value == "" else str(value)
