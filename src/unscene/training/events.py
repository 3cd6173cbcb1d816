"""What a running method tells the world: one typed stream that the screen, the log file and the report all read."""

from __future__ import annotations

from collections.abc import Callable
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
class TrainingStep:
    """A step of a diffusion model's training, reported now and then."""

    stage: str
    step: int
    steps: int
    loss: float
    steps_per_second: float


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
    """An intermediate image worth keeping: H W 3 in [0, 1]. view: the photo that it belongs to, if to one."""

    name: str
    image: Tensor
    view: str | None = None


@dataclass(frozen=True)
class Note:
    """Something the user should know: a substitution, a skipped item, a choice made."""

    text: str


@dataclass(frozen=True)
class Provenance(Note):
    """What made the pictures of what was invented; the report begins with it."""


@dataclass(frozen=True)
class GameHealth:
    """How an adversarial game goes, means since the last report. accuracy: share of patches that the discriminator told
    apart rightly; gradient_norm: of its weights; gradient_penalty: R1, unweighted."""

    stage: str
    step: int
    accuracy: float
    gradient_norm: float
    gradient_penalty: float


@dataclass(frozen=True)
class ViewInpainted:
    """A training view has its first inpainting: H W 3 in [0, 1]. To look at while it runs; the log does not keep it."""

    view: str
    image: Tensor


@dataclass(frozen=True)
class ViewUpdated:
    """A training view's inpainting has been replaced. update: which one of this view, from 0; timestep: of the noise it
    was made from, as a share of the schedule; change: mean absolute difference from the last inpainting, None at the
    first; image: the new one, H W 3 in [0, 1]; exemplary: one of a few views whose pictures are worth keeping."""

    stage: str
    step: int
    view: str
    update: int
    timestep: float
    change: float | None
    image: Tensor
    exemplary: bool


Event = (
    StageStarted
    | StepDone
    | TrainingStep
    | ItemDone
    | StageDone
    | Picture
    | Note
    | Provenance
    | GameHealth
    | ViewInpainted
    | ViewUpdated
)

Watch = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Watch nothing."""
