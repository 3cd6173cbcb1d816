"""Train the novel-view models, iNVS and its peer Zero-1-to-3, on shards of rendered objects.

Both learn from the very same pairs, noise and noise levels. One process or many, on CPUs or GPUs, is the launcher's
choice (`accelerate launch`, or `--processes`); a killed run goes on where its last checkpoint was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unscene.files import write_json, write_png
from unscene.pretraining.novel_view_objectives import CompletionObjective, Zero123Objective
from unscene.pretraining.object_shards import ShardError
from unscene.pretraining.prior_export import sheet, write_model_card
from unscene.pretraining.training_loop import LoopConfig, accelerator_for, as_floats, train_network
from unscene.pretraining.view_pairs import NoiseDraw, PairBatches, loaded
from unscene.priors.diffusion.checkpoints import BUNDLED
from unscene.priors.novel_views.view_inpainter import ViewInpainter, initial_view_inpainter, load_view_inpainter
from unscene.priors.novel_views.zero123 import Zero123, initial_zero123, load_zero123
from unscene.ranges import check_ranges
from unscene.training.events import Watch, ignore
from unscene.training.run import RunError

SHEET_PAIRS = 8
FREE = ("out", "steps", "minutes", "workers", "checkpoint_every")  # settings that a later call may change


@dataclass(frozen=True)
class NovelViewTraining:
    """Settings of a training run of a novel-view model."""

    shards: Path
    """Folder that `unscene shards` wrote."""
    out: Path
    """Run folder: checkpoints, losses.jsonl, sample sheets and the finished model in `model/`."""
    initial: str = "bundled"
    """Where the weights come from: an inpainting checkpoint (bundled, sd-1.5, a folder, a hub id), or a model folder of
    an earlier run."""
    size: int = 128
    """Side of the views, pixels; the shards' own."""
    steps: int = 2000
    """Optimiser steps."""
    batch: int = 8
    """Pairs per step and process."""
    learning_rate: float = 3e-4
    """Adam's: warmed up, then constant, then down to zero over the last fifth."""
    noise_bias: float = 1.0
    """How much likelier noisy levels t are drawn, with density (1 + bias) t^bias; at 0 all alike (the law is ours).
    iNVS favours the noisy end: an object's outline is decided within the first tenth of the sampler's steps."""
    told_photo: bool = True
    """Tell iNVS of the photo as a whole and the pose, as Zero-1-to-3 is told (ours), so that what no pixel of the photo
    shows gets its colours; without it the model is the paper's."""
    told_symmetry: bool = True
    """Tell iNVS in the holes of a partial view what would be there if the object were symmetric, and how far behind the
    visible surface they are (ours); without it they are grey, as in the paper."""
    untold: float = 0.1
    """Share of pairs that Zero-1-to-3 is told nothing about, so that it can be guided."""
    average_decay: float = 0.998
    """Decay per step of the exponential moving average of the weights, which is what is exported."""
    warmup: int = 100
    """Steps over which the learning rate rises."""
    seed: int = 0
    """Of weights, pairs and noise."""
    checkpoint_every: int = 250
    """Steps between checkpoints; each also writes a sample sheet and the model so far."""
    minutes: float | None = None
    """Stop after this many minutes, leaving a checkpoint to resume from."""
    mixed_precision: str = "no"
    """`bf16` on accelerators and recent processors, or `no`."""
    device: str = "auto"
    """Where to train: auto (CUDA where it works, else the processor), cpu, cuda, cuda:N or mps."""
    processes: int | None = None
    """Processes on this machine, each with a batch of its own; by default one per accelerator. Over several machines:
    `accelerate launch -m unscene train ...`."""
    workers: int = 0
    """Processes that draw batches ahead; beside an accelerator, one per core."""


def train_invs(config: NovelViewTraining, watch: Watch = ignore) -> Path:
    """Train, or go on training, iNVS's view inpainter. Returns its folder, `out/model`.

    Raises RunError for settings that mean nothing, or other than the run in that folder began with.
    """
    check_settings(config)
    folder = _model_folder(config.initial)
    if folder:
        model = load_view_inpainter(folder)
        if (model.photo_token is not None) != config.told_photo:
            given = "is not" if config.told_photo else "is"
            option = "--no-told-photo" if config.told_photo else "--told-photo"
            raise RunError(f"--initial: {folder} {given} told the photo, which its weights decide; say {option}.")
        model.told_symmetry = config.told_symmetry  # takes no weights of its own, so any model can learn to read it
    else:
        start = _inpainter(config.initial)
        model = initial_view_inpainter(
            start, size=config.size, seed=config.seed, told_photo=config.told_photo, told_symmetry=config.told_symmetry
        )

    def draw(batch: dict[str, Tensor]) -> list[Tensor]:
        partial, source = (batch[name].permute(0, 2, 3, 1) for name in ("partial", "source"))
        soft, epipolar = batch["soft_masks"][:, 0], batch["epipolar_masks"][:, 0]
        completed = model.complete(partial, soft, epipolar, source, batch["poses"], noise=batch["noise"])
        masks = (batch["soft_masks"].expand(-1, 3, -1, -1), batch["epipolar_masks"].expand(-1, 3, -1, -1))
        return [batch["source"], batch["partial"], *masks, completed.permute(0, 3, 1, 2), batch["target"]]

    return _train("invs", model, CompletionObjective(model), draw, config, watch)


def train_zero123(config: NovelViewTraining, watch: Watch = ignore) -> Path:
    """Train, or go on training, Zero-1-to-3. Returns the model's folder, `out/model`; raises as `train_invs` does."""
    check_settings(config)
    folder = _model_folder(config.initial)
    model = (
        load_zero123(folder)
        if folder
        else initial_zero123(_inpainter(config.initial), size=config.size, seed=config.seed)
    )

    def draw(batch: dict[str, Tensor]) -> list[Tensor]:
        generated = model.generate(batch["source"].permute(0, 2, 3, 1), batch["poses"], noise=batch["noise"])
        return [batch["source"], generated.permute(0, 3, 1, 2), batch["target"]]

    return _train("zero123", model, Zero123Objective(model), draw, config, watch)


def check_settings(config: NovelViewTraining) -> None:
    """Raise RunError for numbers that mean nothing."""
    ranges: dict[str, tuple[float | None, float, float]] = {
        "size": (config.size, 1, 100_000),
        "steps": (config.steps, 1, 1e12),
        "batch": (config.batch, 1, 1_000_000),
        "learning-rate": (config.learning_rate, 1e-12, 1e3),
        "noise-bias": (config.noise_bias, 0, 100),
        "untold": (config.untold, 0, 0.999),
        "average-decay": (config.average_decay, 0, 0.999999),
        "warmup": (config.warmup, 0, 1e12),
        "seed": (config.seed, 0, 1e18),
        "checkpoint-every": (config.checkpoint_every, 1, 1e12),
        "minutes": (config.minutes, 1e-9, 1e9),
        "processes": (config.processes, 1, 100_000),
        "workers": (config.workers, 0, 100_000),
    }
    check_ranges(ranges, RunError)


def _train(
    stage: str,
    model: ViewInpainter | Zero123,
    objective: Any,
    draw: Callable[[dict[str, Tensor]], list[Tensor]],
    config: NovelViewTraining,
    watch: Watch,
) -> Path:
    accelerator = accelerator_for(config.mixed_precision, config.device)
    timesteps = model.scheduler.config.num_train_timesteps
    noise = NoiseDraw(model.latent_shape, config.noise_bias, config.untold, timesteps)
    share = {"process": accelerator.process_index, "processes": accelerator.num_processes}
    symmetry = model.told_symmetry if isinstance(model, ViewInpainter) else config.told_symmetry

    def batches(first: int) -> Iterable[dict[str, Tensor]]:
        drawn = PairBatches(
            config.shards, noise, batch=config.batch, first=first, seed=config.seed, symmetry=symmetry, **share
        )
        for batch in loaded(drawn, config.workers):
            yield {name: batch[name] for name in objective.inputs}

    def keep(step: int) -> None:
        write_png(config.out / "samples" / f"{stage}-{step:07d}.png", _sheet(objective.network, draw, shown))
        folder, losses = model.save(config.out / "model"), config.out / "losses.jsonl"
        write_model_card(folder, f"Novel-view model: {stage}", f"unscene train {stage}", asdict(config), losses)

    sheet_pairs = PairBatches(config.shards, noise, batch=SHEET_PAIRS, first=0, seed=config.seed + 1, symmetry=symmetry)
    shown = next(iter(sheet_pairs))
    side = shown["target"].shape[-1]
    if side != model.size:
        raise ShardError(
            f"{config.shards}: expected views of {model.size} pixels, got {side}; set --size, or render others."
        )
    shown = {name: as_floats(value, accelerator.device) for name, value in shown.items()}
    actual = {
        "size": model.size,
        "told_photo": objective.told_photo,
        "told_symmetry": symmetry,
        "processes": accelerator.num_processes,
    }
    settings = asdict(config) | {"model": stage} | actual
    _check_as_begun(config.out, settings)
    if accelerator.is_main_process:
        write_json(config.out / "settings.json", settings)
    loop = LoopConfig(config.steps, config.learning_rate, config.warmup, config.average_decay, config.checkpoint_every)
    deadline = time.monotonic() + 60 * config.minutes if config.minutes else float("inf")
    train_network(
        stage,
        objective,
        batches,
        loop,
        accelerator,
        config.out,
        keep=keep,
        watch=watch if accelerator.is_main_process else ignore,
        deadline=deadline,
    )
    return config.out / "model"


def _check_as_begun(out: Path, settings: dict[str, Any]) -> None:
    """Raise RunError if the run in that folder began with other settings: going on would mix two runs unnoticed."""
    noted = out / "settings.json"
    before = json.loads(noted.read_text(encoding="utf-8")) if noted.is_file() else {}
    now = json.loads(json.dumps(settings, default=str))
    # what the record lacks is a setting younger than the run; what is there no more, one that nothing can repeat
    differing = sorted(name for name in before.keys() - set(FREE) if now.get(name) != before[name])
    if differing:
        changes = ", ".join(f"{name} ({before[name]}, now {now.get(name, 'gone')})" for name in differing)
        raise RunError(
            f"{out}: expected the settings its run began with, got other values for {changes}; repeat them to go on "
            "with it, choose another --out, or delete it."
        )


def _sheet(
    network: nn.Module, draw: Callable[[dict[str, Tensor]], list[Tensor]], batch: dict[str, Tensor]
) -> np.ndarray:
    network.eval()
    with torch.no_grad():
        rows = draw(batch)
    network.train()
    return sheet(rows)


def _model_folder(initial: str) -> Path | None:
    """The folder if it holds a novel-view model, not an inpainting checkpoint."""
    folder = Path(initial).expanduser()
    return folder if (folder / "novel_view.json").is_file() else None


def _inpainter(initial: str) -> str | Path:
    return BUNDLED if initial == "bundled" else initial
