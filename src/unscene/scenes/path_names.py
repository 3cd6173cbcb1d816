"""Paths of photos and masks taken apart, with / between folders: what names them, what counts them up."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from unscene.file_names import folded
from unscene.scenes.image_formats import IMAGE_SUFFIXES


def stem_parts(path: str) -> tuple[str, ...]:
    """Folders and name, folded, the name without any extensions of images: mask of ``a.jpg.png`` is ``a``."""
    *folders, name = folded(path).split("/")
    while (cut := os.path.splitext(name))[1] in IMAGE_SUFFIXES and cut[0]:
        name = cut[0]
    return (*folders, name)


def spellings(path: str) -> list[tuple[str, ...]]:
    """Folders and name, folded: with the extension, without the last one, and without any."""
    *folders, name = folded(path).split("/")
    return [(*folders, name), (*folders, os.path.splitext(name)[0]), stem_parts(path)]


def natural_order(path: str) -> list[tuple[int, str]]:
    """A sorting key by which numbers in names count as numbers: 2 comes before 10."""
    parts = re.split(r"([0-9]+)", folded(path))
    return [(int(part), part) if i % 2 else (-1, part) for i, part in enumerate(parts)]


def running_numbers(paths: Sequence[str]) -> list[int | None]:
    """What counts files up: the number that is left of each name without what all begin and end with."""
    stems = [stem_parts(path)[-1] for path in paths]
    if len(set(stems)) < 2:
        return [_last(path) for path in paths]
    prefix = re.sub(r"[0-9]+$", "", start := _common_start(stems))
    suffix = re.sub(r"[0-9]+$", "", _common_start([stem[len(start) :][::-1] for stem in stems]))[::-1]
    rests = [stem[len(prefix) : len(stem) - len(suffix)] for stem in stems]
    return [int(rest) if re.fullmatch(r"[0-9]{1,18}", rest) else None for rest in rests]


def by_number(paths: Sequence[str]) -> dict[int, str]:
    """Paths by what counts them up, else by the last number of their names."""
    running = zip(paths, running_numbers(paths), strict=True)
    numbers = {path: _last(path) if number is None else number for path, number in running}
    return {number: path for path, number in numbers.items() if number is not None}


def last_digits(path: str) -> str:
    """The last number of a name as it is written, "" if there is none."""
    found = re.findall(r"[0-9]{1,18}", stem_parts(path)[-1])
    return found[-1] if found else ""


def splits_number(stem: str, position: int) -> bool:
    """Whether a cut before that position goes through a number."""
    return 0 < position < len(stem) and stem[position - 1].isdigit() and stem[position].isdigit()


def _last(path: str) -> int | None:
    digits = last_digits(path)
    return int(digits) if digits else None


def _common_start(names: Sequence[str]) -> str:
    """What all names begin with: what the first and the last in order do."""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]
