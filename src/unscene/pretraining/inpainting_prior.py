"""Train the bundled prior: first its autoencoder, then its inpainting U-Net with the text encoder.

Both stages share one loop. Batch k depends on the seed and k alone, checkpoints hold everything else, so a run that
was killed goes on exactly where it stopped: call `train_prior` again with the same folder.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unscene.files import write_png
from unscene.pretraining.prior_data import PhotoFolder, PriorBatch, draw_batch
from unscene.pretraining.prior_export import (
    export_pipeline,
    inpainting_sheet,
    load_parts,
    reconstruction_sheet,
    whiten_latents,
    write_model_card,
)
from unscene.pretraining.prior_objectives import AutoencoderObjective, DenoisingObjective
from unscene.pretraining.training_loop import Accelerator, LoopConfig, accelerator_for, train_network
from unscene.pretraining.training_schedule import draw_times
from unscene.priors.diffusion.architecture import DOWNSCALE, LATENT_CHANNELS, PipelineParts, build_parts
from unscene.training.events import Watch, ignore

STAGES = ("autoencoder", "unet")


@dataclass
class PriorTraining:
    """Settings of a training run of the bundled inpainting prior."""

    photos: list[Path]
    """Folders of training photos, searched recursively."""
    out: Path = Path("runs/prior")
    """Run folder: checkpoints, losses.jsonl, sample sheets and the finished pipeline in `model/`."""
    device: str = "auto"
    """Where to train: auto (CUDA where it works, else the processor), cpu, cuda, cuda:N or mps."""
    initial: Path | None = None
    """Pipeline folder to start from instead of random weights; with `autoencoder_steps` 0 its autoencoder stays."""
    vgg_weights: Path | None = None
    """Safetensors of the first VGG19 layers for the perceptual losses; without it the autoencoder's loss is L1 and the
    U-Net's the regression alone."""
    width: float = 1.0
    """Scale of all channel counts; 1.0 is the bundled model."""
    autoencoder_steps: int = 6000
    """Optimiser steps of the autoencoder."""
    unet_steps: int = 20000
    """Optimiser steps of the U-Net and text encoder."""
    batch: int = 8
    """Crops of the smallest side per step and process; of larger ones as many as make the same number of pixels."""
    crops: list[int] = field(default_factory=lambda: [96, 128, 192])
    """Sides of the training crops, pixels, multiples of 16; each step draws one of them."""
    autoencoder_learning_rate: float = 8e-4
    """Adam's rate for the autoencoder: warmed up, then constant, then down to zero over the last fifth."""
    unet_learning_rate: float = 4e-4
    """The same for the U-Net and text encoder."""
    perceptual: float = 0.1
    """Weight of the VGG feature distance beside L1."""
    unet_perceptual: float = 0.0
    """Weight of the feature distances of the decoded one-step denoising, beside the regression; it costs half as much
    again."""
    kl: float = 1e-4
    """Weight of the autoencoder's mean KL divergence."""
    unmasked_weight: float = 0.2
    """Weight of the denoising error outside the mask, where the masked region has weight 1."""
    text_dropout: float = 0.2
    """Share of captions replaced by the empty prompt, for classifier-free guidance."""
    noise_centre: float = -0.4
    """Centre of the logit-normal draw of noise levels; below 0 favours the levels that heal a start image."""
    noise_spread: float = 1.0
    """Spread of that draw; about 1.7 is nearly uniform."""
    procedural: float = 0.2
    """Share of drawn textures among the training images."""
    average_decay: float = 0.999
    """Decay per step of the exponential moving average of the weights, which is what is exported."""
    warmup: int = 200
    """Steps over which the learning rate rises."""
    seed: int = 0
    """Seed of weights, batches and noise."""
    checkpoint_every: int = 500
    """Steps between checkpoints; each also writes a sample sheet and the pipeline so far."""
    minutes: float | None = None
    """Stop after this many minutes, leaving a checkpoint to resume from."""
    mixed_precision: str = "bf16"
    """`bf16` (twice as fast, on recent processors too: those with AVX-512 BF16 or AMX; others take ten times as long)
    or `no`."""
    workers: int = 0
    """Processes that draw batches ahead; beside an accelerator, one per core."""


@dataclass
class Stage:
    """One half of the training: what is optimised, for how long, and how a batch becomes the objective's inputs."""

    name: str
    objective: AutoencoderObjective | DenoisingObjective
    steps: int
    learning_rate: float
    inputs: Callable[[PriorBatch, np.random.Generator], dict[str, Tensor]]
    sheet: Callable[[PipelineParts], np.ndarray]


@dataclass
class Run:
    """What both stages share."""

    config: PriorTraining
    accelerator: Accelerator
    photos: PhotoFolder
    parts: PipelineParts
    watch: Watch
    deadline: float = field(default=float("inf"))


def train_prior(config: PriorTraining, watch: Watch = ignore) -> Path:
    """Train, or go on training, both stages. Returns the diffusers folder of the pipeline, `out/model`."""
    run = Run(
        config=config,
        accelerator=accelerator_for(config.mixed_precision, config.device),
        watch=watch,
        photos=PhotoFolder(config.photos),
        parts=load_parts(config.initial) if config.initial else build_parts(width=config.width, seed=config.seed),
        deadline=time.monotonic() + 60 * config.minutes if config.minutes else float("inf"),
    )
    config.out.mkdir(parents=True, exist_ok=True)
    if train_stage(run, autoencoder_stage(run)):
        if config.autoencoder_steps:
            whiten_latents(run.parts.autoencoder, evaluation_images(run, 64)[0])
        train_stage(run, unet_stage(run))
    return write_model(run)


def autoencoder_stage(run: Run) -> Stage:
    config = run.config
    objective = AutoencoderObjective(
        run.parts.autoencoder, config.vgg_weights, perceptual=config.perceptual, kl=config.kl
    )

    def inputs(batch: PriorBatch, rng: np.random.Generator) -> dict[str, Tensor]:
        return {"images": batch.images, "noise": _latent_noise(batch.images, rng)}

    def sheet(parts: PipelineParts) -> np.ndarray:
        return reconstruction_sheet(parts.autoencoder, evaluation_images(run, 8)[0])

    return Stage("autoencoder", objective, config.autoencoder_steps, config.autoencoder_learning_rate, inputs, sheet)


def unet_stage(run: Run) -> Stage:
    config, parts = run.config, run.parts
    objective = DenoisingObjective(
        parts, config.vgg_weights, unmasked_weight=config.unmasked_weight, perceptual=config.unet_perceptual
    )

    def inputs(batch: PriorBatch, rng: np.random.Generator) -> dict[str, Tensor]:
        captions = ["" if rng.random() < config.text_dropout else caption for caption in batch.captions]
        tokens = parts.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        times = draw_times(len(captions), config.noise_centre, config.noise_spread, rng)
        times = (times * parts.scheduler.config["num_train_timesteps"]).long()
        noise = _latent_noise(batch.images, rng)
        return {"images": batch.images, "masks": batch.masks, "tokens": tokens, "noise": noise, "times": times}

    def sheet(averaged: PipelineParts) -> np.ndarray:
        return inpainting_sheet(averaged, *evaluation_images(run, 8))

    return Stage("unet", objective, config.unet_steps, config.unet_learning_rate, inputs, sheet)


class StageBatches(Dataset):
    """Item k is what the objective wants at step k, which depends on the seed and k alone."""

    def __init__(self, run: Run, stage: Stage):
        self.run, self.stage = run, stage

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        config = self.run.config
        process = self.run.accelerator.process_index
        rng = np.random.default_rng([config.seed, STAGES.index(self.stage.name), step, process])
        crop = int(rng.choice(config.crops))
        count = max(1, round(config.batch * (min(config.crops) / crop) ** 2))
        batch = draw_batch(self.run.photos, batch=count, crop=crop, procedural=config.procedural, rng=rng)
        return self.stage.inputs(batch, rng)


def drawn_ahead(batches: StageBatches, steps: range, workers: int) -> DataLoader:
    """The batches of `steps` in order, drawn by `workers` forked processes of one thread each, or none.

    None elsewhere than on Linux: what a stage draws with cannot be sent to processes that are not forked.
    """
    workers = workers if sys.platform == "linux" else 0
    if workers:
        cv2.setNumThreads(0)  # OpenCV's thread pool does not survive a fork: the first resize would wait for ever
    return DataLoader(
        batches,
        sampler=steps,
        batch_size=None,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="fork" if workers else None,
    )


def train_stage(run: Run, stage: Stage) -> bool:
    """Run one stage from its newest checkpoint; its averaged weights end up in `run.parts`. True when complete."""
    config = run.config
    loop = LoopConfig(
        steps=stage.steps, learning_rate=stage.learning_rate, warmup=config.warmup,
        average_decay=config.average_decay, checkpoint_every=config.checkpoint_every,
    )  # fmt: skip

    def batches(step: int) -> DataLoader:
        return drawn_ahead(StageBatches(run, stage), range(step, stage.steps), config.workers)

    def keep(step: int) -> None:
        """Sample sheet and pipeline so far."""
        write_png(config.out / "samples" / f"{stage.name}-{step:07d}.png", stage.sheet(run.parts))
        write_model(run)

    return train_network(
        stage.name, stage.objective, batches, loop, run.accelerator, config.out,
        deadline=run.deadline, keep=keep, watch=run.watch,
    )  # fmt: skip


def write_model(run: Run) -> Path:
    """Export what there is so far, with its model card, to `model/` in the run folder."""
    folder = export_pipeline(run.parts, run.config.out / "model")
    title, losses = "Latent diffusion inpainting prior", run.config.out / "losses.jsonl"
    write_model_card(folder, title, "unscene train prior", asdict(run.config), losses)
    return folder


def evaluation_images(run: Run, count: int) -> tuple[Tensor, Tensor]:
    """Fixed images and masks, the same at every step, for sample sheets and latent statistics."""
    rng = np.random.default_rng([run.config.seed, 999])
    crop = sorted(run.config.crops)[len(run.config.crops) // 2]
    batch = draw_batch(run.photos, batch=count, crop=crop, procedural=run.config.procedural, rng=rng)
    return batch.floats(run.accelerator.device)


def _latent_noise(images: Tensor, rng: np.random.Generator) -> Tensor:
    count, _, height, width = images.shape
    noise = rng.standard_normal((count, LATENT_CHANNELS, height // DOWNSCALE, width // DOWNSCALE), dtype=np.float32)
    return torch.from_numpy(noise)
