"""Losses between two reports, summed where they are computed, and looked at only when a report is due."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from unscene.training.events import StepDone

REPORT_SECONDS = 0.25


class DivergedError(RuntimeError):
    """A fit that leads nowhere: the loss is no longer a number, or a game that nobody can lose any more."""


class Meter:
    """Averages losses between reports and counts rays.

    A look at the sums waits for the device. It raises DivergedError if one of them is not finite: what was added since
    the last look was not, or grew beyond all numbers.
    """

    def __init__(self, stage: str, rays_per_step: int):
        self.stage, self.rays_per_step = stage, rays_per_step
        self.forget()

    def forget(self) -> None:
        """Start anew, as if nothing had been added since the last report."""
        self.sums: dict[str, Tensor] = {}
        self.steps, self.since = 0, time.monotonic()

    def add(self, terms: dict[str, Tensor]) -> None:
        """The terms of one more step, scalars without gradients."""
        for name, value in terms.items():
            if name in self.sums:
                self.sums[name] += value
            else:
                self.sums[name] = value.clone()
        self.steps += 1

    def look(self, step: int) -> dict[str, float]:
        """The sums; step: the last one added."""
        values = torch.stack(list(self.sums.values())).tolist() if self.sums else []
        sums = dict(zip(self.sums, values, strict=True))
        if not all(math.isfinite(value) for value in values):
            raise diverged(self.stage, step, sums, since=step - self.steps + 1)
        return sums

    def report(self, step: int, progress: float) -> StepDone | None:
        """What to tell after ``step`` steps, if a report is due."""
        if time.monotonic() - self.since < REPORT_SECONDS:
            return None
        losses = {name: value / self.steps for name, value in self.look(step - 1).items()}
        elapsed = time.monotonic() - self.since  # after the device has caught up
        report = StepDone(self.stage, step, progress, losses, self.steps * self.rays_per_step / elapsed)
        self.forget()
        return report


def diverged(stage: str, step: int, terms: dict[str, float], *, since: int | None = None) -> DivergedError:
    """The error for a loss that is not finite, with its terms; since: the first step that may be meant, if not one."""
    values = ", ".join(f"{name} = {value:g}" for name, value in terms.items())
    where = f"step {step}" if since in (None, step) else f"one of the steps {since} to {step}"
    return DivergedError(f"the loss of stage '{stage}' is not finite at {where}: {values}")
