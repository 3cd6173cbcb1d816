"""The one loop that trains diffusion models: resumable, averaged, on one process or several."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor
from torch.nn.utils import convert_conv2d_weight_memory_format
from torch.optim.swa_utils import AveragedModel

from unscene.device import choose_device
from unscene.pretraining.launch import join_processes
from unscene.pretraining.training_checkpoint import is_kept, load_checkpoint, mark_kept, save_checkpoint
from unscene.pretraining.training_schedule import learning_rate_factor, moving_average
from unscene.training.events import StageDone, StageStarted, TrainingStep, Watch

LOG_EVERY = 10  # steps


@dataclass(frozen=True)
class LoopConfig:
    """How long one network learns, and how."""

    steps: int
    learning_rate: float
    """Adam's: warmed up, then constant, then down to zero over the last fifth."""
    warmup: int
    """Steps over which the learning rate rises."""
    average_decay: float
    """Decay per step of the exponential moving average of the weights."""
    checkpoint_every: int
    """Steps between checkpoints."""


Batches = Callable[[int], Iterable[dict[str, Tensor]]]
"""From a step on, the objective's inputs of every step: bytes and truth values become floats on the device."""


def accelerator_for(mixed_precision: str, device: str = "auto") -> Accelerator:
    """This process's share of the machine: the device asked for, among several the launcher's choice. Raises
    DeviceError."""
    chosen = choose_device(device)
    if chosen.type == "cuda" and device.startswith("cuda:"):
        torch.cuda.set_device(chosen)
    join_processes(chosen.type)
    return Accelerator(mixed_precision=mixed_precision, cpu=chosen.type == "cpu")


def train_network(
    stage: str,
    objective: Any,
    batches: Batches,
    config: LoopConfig,
    accelerator: Accelerator,
    folder: Path,
    *,
    keep: Callable[[int], None],
    watch: Watch,
    deadline: float = float("inf"),
) -> bool:
    """Train `objective.network` from its newest checkpoint on; its averaged weights are in it at the end.

    objective: a module whose call returns named losses, "loss" the one to minimise; folder: the run's, for
    `checkpoints/STAGE` and `losses.jsonl`; keep: called with the step at every checkpoint, on the main process, while
    the network holds the averaged weights, and once more if a kill came between the last checkpoint and it; deadline:
    `time.monotonic()` after which to stop, leaving a checkpoint. True when all steps are done.
    """
    objective.to(accelerator.device)
    convert_conv2d_weight_memory_format(objective, torch.channels_last)  # what GPUs want in bf16
    network = objective.network
    average = AveragedModel(network, multi_avg_fn=moving_average(config.average_decay))
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3)
    checkpoints = folder / "checkpoints" / stage
    step = first = load_checkpoint(checkpoints, network=network, average=average, optimizer=optimizer)
    prepared, optimizer = accelerator.prepare(objective, optimizer)
    recent: list[dict[str, Tensor]] = []
    began = time.perf_counter()  # finer than Windows' monotonic clock
    watch(StageStarted(stage))
    for step, drawn in zip(range(first + 1, config.steps + 1), batches(first), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(step - 1, config.steps, config.warmup)
        losses = prepared(**{name: as_floats(value, accelerator.device) for name, value in drawn.items()})
        optimizer.zero_grad()
        accelerator.backward(losses["loss"])
        accelerator.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        recent.append({name: value.detach() for name, value in losses.items()})
        if step % LOG_EVERY == 0 or step == config.steps:
            means = {
                name: _mean_over_processes(torch.stack([entry[name] for entry in recent]).mean(), accelerator)
                for name in losses
            }
            recent.clear()
            if accelerator.is_main_process:
                seconds = time.perf_counter() - began
                _log(folder, stage, step, seconds, means)
                watch(TrainingStep(stage, step, config.steps, means["loss"], (step - first) / seconds))
        last = step == config.steps or _is_over(deadline, accelerator)
        if (last or step % config.checkpoint_every == 0) and accelerator.is_main_process:
            save_checkpoint(checkpoints, step, network=network, average=average, optimizer=optimizer)
            live = {name: value.clone() for name, value in network.state_dict().items()}
            network.load_state_dict(average.module.state_dict())
            keep(step)
            mark_kept(checkpoints, step)
            network.load_state_dict(live)
        if last:
            break
    network.load_state_dict(average.module.state_dict())
    # only where a checkpoint lacks it: an earlier stage's would undo what a later stage has made of the same model
    if first >= config.steps and first and accelerator.is_main_process and not is_kept(checkpoints, first):
        keep(first)
        mark_kept(checkpoints, first)
    accelerator.wait_for_everyone()
    watch(StageDone(stage, time.perf_counter() - began))
    return step >= config.steps


def as_floats(values: Tensor, device: torch.device | str) -> Tensor:
    """Move to a device; there bytes become floats in [0, 1] and truth values 0 and 1. A quarter of the traffic."""
    values = values.to(device, non_blocking=True)
    if values.dtype == torch.uint8:
        return values.float() / 255
    return values.float() if values.dtype == torch.bool else values


def _mean_over_processes(value: Tensor, accelerator: Accelerator) -> float:
    mean: Any = accelerator.reduce(value.detach(), "mean")
    return mean.item()


def _log(folder: Path, stage: str, step: int, seconds: float, losses: dict[str, float]) -> None:
    """Append one JSON line: stage, step, seconds since this process began the stage, and every named term."""
    entry = {"stage": stage, "step": step, "seconds": round(seconds, 1)}
    entry |= {name: round(value, 5) for name, value in losses.items()}
    with (folder / "losses.jsonl").open("a", encoding="utf-8", newline="\n") as log:
        log.write(json.dumps(entry) + "\n")


def _is_over(deadline: float, accelerator: Accelerator) -> bool:
    """Whether the main process's clock says so: all must stop at one step, or the rest would wait for ever."""
    if deadline == float("inf"):
        return False
    over: Any = broadcast(torch.tensor(float(time.monotonic() >= deadline), device=accelerator.device), 0)
    return over.item() > 0
