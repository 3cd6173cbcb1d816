"""The one optimisation loop. It knows parameters and an objective, and yields what happens."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, StageDone, StageStarted, StepDone

Objective = Callable[[int, float, torch.Generator], dict[str, Tensor]]
"""(step, progress in [0, 1], random numbers) -> the weighted terms of the loss, by name."""

REPORT_SECONDS = 0.25


class DivergedError(RuntimeError):
    """The loss is no longer a number."""


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
    checkpoint_seconds: float = 30.0
    """Time between checkpoints."""

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
    extra: nn.Module | None = None,
) -> Generator[Event, None, None]:
    """Minimise the sum of the objective's terms over the model's parameters with Adam.

    A finished stage is restored from its checkpoint instead of run; an unfinished one goes on where it was. ``extra``
    is a further module whose weights and buffers belong to the stage's state (a discriminator with its own optimiser).
    Raises DivergedError as soon as a loss is not finite, naming the term.
    """
    if config.steps is None and config.seconds is None:
        raise ValueError("FitConfig needs `steps`, `seconds` or both")
    saved_modules = nn.ModuleDict({"model": model} | ({"extra": extra} if extra else {}))
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), eps=1e-15, fused=True)
    generator = checkpoints.generator(stage)
    step, spent = 0, 0.0
    if saved := checkpoints.load(stage):
        tensors, values, finished = saved
        _load_modules(saved_modules, tensors)
        if finished:
            return
        step, spent = values["step"], values["seconds"]
        _load_adam(optimizer, tensors)
        generator.set_state(tensors["generator"])

    yield StageStarted(stage)
    meter = _Meter(stage, rays_per_step)
    started = time.monotonic() - spent
    last_saved = time.monotonic()
    while (progress := _progress(config, step, time.monotonic() - started)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(config, step, progress)
        terms = objective(step, progress, generator)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            bad = ", ".join(f"{name} = {value.item():g}" for name, value in terms.items())
            raise DivergedError(f"the loss of stage '{stage}' is not finite at step {step}: {bad}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        if report := meter.update(step, progress, terms):
            yield report
        if time.monotonic() - last_saved > config.checkpoint_seconds:
            tensors = saved_modules.state_dict() | _adam_state(optimizer) | {"generator": generator.get_state()}
            values = {"step": step, "seconds": time.monotonic() - started}
            checkpoints.save(stage, tensors, finished=False, values=values)
            last_saved = time.monotonic()
    checkpoints.save(stage, saved_modules.state_dict(), finished=True)
    yield StageDone(stage, time.monotonic() - started)


class _Meter:
    """Averages losses between reports and counts rays."""

    def __init__(self, stage: str, rays_per_step: int):
        self.stage, self.rays_per_step = stage, rays_per_step
        self.sums: dict[str, Tensor] = {}
        self.steps, self.since = 0, time.monotonic()

    def update(self, step: int, progress: float, terms: dict[str, Tensor]) -> StepDone | None:
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, torch.zeros(())) + value.detach().cpu()
        self.steps += 1
        elapsed = time.monotonic() - self.since
        if elapsed < REPORT_SECONDS:
            return None
        losses = {name: value.item() / self.steps for name, value in self.sums.items()}
        report = StepDone(self.stage, step, progress, losses, self.steps * self.rays_per_step / elapsed)
        self.sums, self.steps, self.since = {}, 0, time.monotonic()
        return report


def _progress(config: FitConfig, step: int, seconds: float) -> float:
    by_steps = 0.0 if config.steps is None else step / config.steps if config.steps > 0 else 1.0
    by_time = 0.0 if config.seconds is None else seconds / config.seconds if config.seconds > 0 else 1.0
    return max(by_steps, by_time)


def _learning_rate(config: FitConfig, step: int, progress: float) -> float:
    warmup = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    return warmup * config.learning_rate * (config.final_learning_rate / config.learning_rate) ** min(progress, 1)


def _adam_state(optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"adam.{index}.{name}": value for index, entry in state.items() for name, value in entry.items()}


def _load_adam(optimizer: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("adam."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _load_modules(modules: nn.Module, tensors: dict[str, Tensor]) -> None:
    own = modules.state_dict()
    modules.load_state_dict({name: tensors[name] for name in own})
