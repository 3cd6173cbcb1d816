"""What a running method tells the world: one typed stream that the screen, the log file and the report all read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class StageStarted:
    """A named part of the method begins."""

    stage: str


@dataclass(frozen=True)
class StepDone:
    """An optimisation step, reported a few times a second. losses: weighted terms, means since the last report."""

    stage: str
    step: int
    progress: float
    losses: dict[str, float]
    rays_per_second: float


@dataclass(frozen=True)
class ItemDone:
    """One of ``total`` like things is done (a view rendered, a view inpainted)."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class StageDone:
    """A stage is complete; seconds of this process spent in it."""

    stage: str
    seconds: float


@dataclass(frozen=True)
class Picture:
    """An intermediate image worth keeping: H W 3 in [0, 1]."""

    name: str
    image: Tensor


@dataclass(frozen=True)
class Note:
    """Something the user should know: a substitution, a skipped item, a choice made."""

    text: str


Event = StageStarted | StepDone | ItemDone | StageDone | Picture | Note
