"""What a file of splats holds, and what every reader makes sure of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unscene.geometry.gaussians import ALMOST, Gaussians
from unscene.memory import machine_memory_gb
from unscene.splat_files.splat_error import SplatError

Announce = Callable[[str], None]
"""Is told, in words for the user, what will take long or much before it begins."""

WORTH_SAYING_GB = 2.0
COPIES = 2  # of the numbers, in memory while a file is read and checked


@dataclass(frozen=True)
class SplatFile:
    """The Gaussians of a file, and what else it says of each.

    extras: further properties by name, N each, in the file's own types: normals, labels. properties: the names of all
    in the file's order, none for the usual order; comments: of its header. notes: what the reader skipped or assumed.
    """

    gaussians: Gaussians
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    properties: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def silent(text: str) -> None:
    """Announces nothing."""


def check_memory(path: Path, count: int, harmonics: int, announce: Announce) -> None:
    """Say what ``count`` Gaussians of ``harmonics`` coefficients a colour will take, before it is taken.

    Raises SplatError for none at all, and for more than the machine has left.
    """
    if count == 0:
        raise SplatError(f"{path}: expected Gaussians, but the file holds none; export it again.")
    numbers, task = COPIES * count * (11 + 3 * harmonics), f"{count:,} Gaussians take"
    check_copies(path, count, numbers, announce, expected="a splat that fits into memory", task=task)


def check_copies(path: Path, count: int, numbers: int, announce: Announce, *, expected: str, task: str) -> None:
    """The same of a task that takes so many ``numbers`` of four bytes, in words for what it is."""
    needed, (_, available) = 4 * numbers / 1e9, machine_memory_gb()
    if available and needed > available:
        raise SplatError(
            f"{path}: expected {expected}, but its {count:,} Gaussians need {needed:.1f} GB and {available:.1f} GB are "
            "free; thin it first, or use a larger machine."
        )
    if needed > WORTH_SAYING_GB:
        announce(f"{path.name}: {task} about {needed:.1f} GB of memory")


def checked(path: Path, content: SplatFile) -> SplatFile:
    """The file's Gaussians that can be drawn, with finite opacities, and notes on the rest.

    Raises SplatError if there are none.
    """
    limit = float(np.log((1 - ALMOST) / ALMOST))
    logits = content.gaussians.opacity_logits
    if logits.isinf().any():  # opacities of exactly 0 or 1
        gaussians = dataclasses.replace(content.gaussians, opacity_logits=logits.clamp(-limit, limit))
        content = dataclasses.replace(content, gaussians=gaussians)
    drawable = content.gaussians.drawable
    if bool(drawable.all()):
        return content
    bad = (~drawable).nonzero()[:, 0]
    if len(bad) == len(drawable):
        raise SplatError(
            f"{path}: expected numbers that can be drawn, but in every Gaussian one is missing, infinite or beyond all "
            "measure; export it again."
        )
    note = (
        f"{path.name}: {len(bad):,} of {len(drawable):,} Gaussians have numbers that are missing, infinite or beyond "
        f"all measure and are left out; the first is number {int(bad[0])}"
    )
    kept = drawable.numpy()
    return dataclasses.replace(
        content,
        gaussians=content.gaussians[drawable],
        extras={name: values[kept] for name, values in content.extras.items()},
        notes=(*content.notes, note),
    )
