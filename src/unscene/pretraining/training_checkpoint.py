"""Resumable state of one training stage: written to a temporary folder, then renamed, so it is whole or absent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from unscene.files import atomic_write

KEPT = "kept"


def save_checkpoint(
    folder: Path, step: int, *, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> Path:
    """Write `folder/step-NNNNNNN` and drop the older checkpoints there."""
    final = folder / f"step-{step:07d}"
    with atomic_write(final) as temporary:
        temporary.mkdir()
        for name, module in (("network", network), ("average", average)):
            weights = {key: value.contiguous() for key, value in module.state_dict().items()}
            save_file(weights, str(temporary / f"{name}.safetensors"))
        torch.save(optimizer.state_dict(), temporary / "optimizer.pt")
        (temporary / "progress.json").write_text(json.dumps({"step": step}), encoding="utf-8")
    for older in folder.glob("step-*"):
        if older != final:
            shutil.rmtree(older)
    return final


def mark_kept(folder: Path, step: int) -> None:
    """Note beside a checkpoint that what is made of it (a model, a sample sheet) has been written too."""
    (folder / f"step-{step:07d}" / KEPT).touch()


def is_kept(folder: Path, step: int) -> bool:
    """Whether what is made of that checkpoint was written; a kill may come in between."""
    return (folder / f"step-{step:07d}" / KEPT).is_file()


def load_checkpoint(
    folder: Path, *, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> int:
    """Restore the newest checkpoint in `folder` in place and return its step; 0 when there is none."""
    checkpoints = sorted(folder.glob("step-*"))
    if not checkpoints:
        return 0
    newest = checkpoints[-1]
    network.load_state_dict(load_file(str(newest / "network.safetensors")))
    average.load_state_dict(load_file(str(newest / "average.safetensors")))
    if optimizer is not None:
        optimizer.load_state_dict(torch.load(newest / "optimizer.pt", weights_only=True))
    return json.loads((newest / "progress.json").read_text(encoding="utf-8"))["step"]
