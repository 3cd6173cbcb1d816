"""The one optimisation loop. It knows parameters and an objective, and yields what happens."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unscene.threads import torch_on_one_thread
from unscene.training.captured_steps import CapturableObjective, CapturedSteps, CudaGraphs, StepByStep, can_capture
from unscene.training.checkpoints import Checkpoints, StageRandomness
from unscene.training.events import Event, Note, StageDone, StageStarted
from unscene.training.meter import DivergedError, Meter, diverged
from unscene.training.optimizer import Optimizer

__all__ = ["Companion", "DivergedError", "FitConfig", "Objective", "fit"]

Objective = Callable[[int, float, torch.Generator], dict[str, Tensor]]
"""(step, progress in [0, 1], random numbers) -> the weighted terms of the loss, by name."""

MOST_ROLLBACKS = 3


class Companion(nn.Module):
    """What a stage trains or changes beside the model: a discriminator, images that are inpainted again.

    Its weights and buffers are saved with the stage. Raise DivergedError anywhere in it to go back.
    """

    def before_step(self, step: int, progress: float, generator: torch.Generator) -> Iterator[Event]:
        """What to do before a step; its events are passed on."""
        return iter(())

    def is_healthy(self) -> bool:
        """Whether the present state is one to go back to."""
        return True

    def calm(self, rollbacks: int) -> None:
        """Go more carefully from now on: the fit has been rolled back this many times."""


@dataclass(frozen=True)
class FitConfig:
    """How long and how fast to learn; ends at ``steps`` or ``seconds``, whichever comes first."""

    steps: int | None = None
    """Steps to take."""
    seconds: float | None = None
    """Wall-clock time to take."""
    learning_rate: float = 1e-2
    """Adam's step size at the start."""
    final_learning_rate: float = 1e-3
    """Adam's step size at the end, reached exponentially."""
    warmup_steps: int = 20
    """Steps over which the step size rises linearly."""
    checkpoint_seconds: float = 10.0
    """Time between checkpoints, which also are what `unscene view` shows of a run under way."""

    def scaled(self, effort: float) -> FitConfig:
        """The same schedule with ``effort`` times the steps and seconds."""
        return dataclasses.replace(
            self,
            steps=None if self.steps is None else max(1, round(self.steps * effort)),
            seconds=None if self.seconds is None else self.seconds * effort,
        )


def fit(
    stage: str,
    model: nn.Module,
    objective: Objective,
    config: FitConfig,
    checkpoints: Checkpoints,
    *,
    rays_per_step: int,
    companion: Companion | None = None,
    native: bool = False,
    rates: Sequence[float] | None = None,
) -> Generator[Event, None, None]:
    """Minimise the sum of the objective's terms over the model's parameters with Adam.

    A finished stage is restored from its checkpoint instead of run; an unfinished one goes on where it was. A fit with
    a companion that diverges goes back to its last good checkpoint with half the step size, MOST_ROLLBACKS times; then,
    and without a companion at once, DivergedError is raised when a loss is not finite, naming the term. On a processor
    that is at once; elsewhere no step is taken on such a loss, and it is found when the next report is due.

    native: the steps are mostly native functions' work, so torch keeps to one thread, see `torch_on_one_thread`. rates:
    how fast each of the model's parameters learns, in step sizes; by default all alike.
    On CUDA a `CapturableObjective` without a companion is run as CUDA graphs.
    """
    if config.steps is None and config.seconds is None:
        raise ValueError("FitConfig needs `steps`, `seconds` or both")
    saved_modules = nn.ModuleDict({"model": model} | ({"companion": companion} if companion else {}))
    captured = companion is None and isinstance(objective, CapturableObjective) and can_capture(_device(model))
    optimizer = Optimizer(model.parameters(), config.learning_rate, captured=captured, rates=rates)
    random = StageRandomness(checkpoints, stage, optimizer.device if captured else None)
    step, spent, rollbacks = 0, 0.0, 0

    def take(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        terms = objective(step, progress, generator)
        loss = torch.stack(list(terms.values())).sum()
        if loss.device.type == "cpu" and not torch.isfinite(loss):  # elsewhere to look would be to wait
            raise diverged(stage, step, {name: value.item() for name, value in terms.items()})
        optimizer.step_down(loss)
        return {name: value.detach() for name, value in terms.items()}

    steps: StepByStep | CapturedSteps = StepByStep(take, random.host)
    if captured and isinstance(objective, CapturableObjective) and random.device is not None:
        graphs = CudaGraphs(optimizer.device, random.device)
        steps = CapturedSteps(take, objective.kind, graphs, random.device, random.host)

    def restore(tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        nonlocal step, spent, rollbacks
        step, spent, rollbacks = values["step"], values["seconds"], values.get("rollbacks", 0)
        _load_modules(saved_modules, tensors)
        optimizer.restore(tensors)
        random.restore(tensors, step)
        steps.forget()  # the optimiser's memory is another now
        if companion and rollbacks:
            companion.calm(rollbacks)

    def save() -> None:
        tensors = saved_modules.state_dict() | optimizer.state() | random.state()
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            return  # the next loss will tell; this is nothing to go back to
        values = {"step": step, "seconds": time.monotonic() - started, "rollbacks": rollbacks}
        checkpoints.save(stage, tensors, finished=False, values=values)

    saved = checkpoints.load(stage)
    if saved and not set(saved_modules.state_dict()) <= saved[0].keys():
        saved = None  # of another version: as good as damaged
    if saved:
        tensors, values, finished = saved
        if finished:
            _load_modules(saved_modules, tensors)
            return
        restore(tensors, values)

    yield StageStarted(stage)
    meter = Meter(stage, rays_per_step)
    started = time.monotonic() - spent
    last_saved = time.monotonic()
    if companion and not saved:
        save()  # something to go back to
    while True:
        progress = _progress(config, step, time.monotonic() - started)
        due = time.monotonic() - last_saved > config.checkpoint_seconds
        try:
            if due or progress >= 1:
                meter.look(step - 1)  # before anything is kept
            if due and (companion is None or companion.is_healthy()):
                save()
                last_saved = time.monotonic()
            if progress >= 1:
                break
            optimizer.set_rate(0.5**rollbacks * _learning_rate(config, step, progress))
            if companion:
                yield from companion.before_step(step, progress, random.host)
            with torch_on_one_thread() if native else nullcontext():
                meter.add(steps(step, progress))
            report = meter.report(step + 1, progress)
        except DivergedError as error:
            good = checkpoints.load(stage) if companion and rollbacks < MOST_ROLLBACKS else None
            if good is None:
                raise
            again = rollbacks + 1
            restore(good[0], good[1] | {"rollbacks": again})
            meter.forget()
            save()
            yield Note(f"{error}; back to step {step} with half the step size ({again} of {MOST_ROLLBACKS} times)")
            continue
        step += 1
        if note := steps.take_note():
            yield Note(f"'{stage}': {note}")
        if report:
            yield report
    checkpoints.save(stage, saved_modules.state_dict(), finished=True)
    yield StageDone(stage, time.monotonic() - started)


def _progress(config: FitConfig, step: int, seconds: float) -> float:
    by_steps = 0.0 if config.steps is None else step / config.steps if config.steps > 0 else 1.0
    by_time = 0.0 if config.seconds is None else seconds / config.seconds if config.seconds > 0 else 1.0
    return max(by_steps, by_time)


def _learning_rate(config: FitConfig, step: int, progress: float) -> float:
    warmup = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    return warmup * config.learning_rate * (config.final_learning_rate / config.learning_rate) ** min(progress, 1)


def _load_modules(modules: nn.Module, tensors: dict[str, Tensor]) -> None:
    own = modules.state_dict()
    modules.load_state_dict({name: tensors[name] for name in own})


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
