"""Checkpoints of a run: one safetensors file a stage, replaced atomically, so that a killed run goes on where it was.

Randomness is seeded per stage, so a finished stage can be skipped without changing what follows.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unscene.file_names import portable
from unscene.files import atomic_write


class Checkpoints:
    """The saved stages of one run. folder None keeps in memory what an unfinished stage may go back to, no more."""

    def __init__(self, folder: Path | None, seed: int):
        self.folder = folder
        self.seed = seed
        self._unfinished: dict[str, tuple[dict[str, Tensor], dict[str, Any], bool]] = {}  # without a folder

    def generator(self, stage: str, device: torch.device | str = "cpu") -> torch.Generator:
        """The random numbers of a stage: depends on the run's seed, the stage's name and the kind of device only.

        Ask for another device's than the processor's only where `unscene.geometry.randomness` says so.
        """
        return torch.Generator(device).manual_seed(zlib.crc32(f"{self.seed} {stage}".encode()))

    def save(
        self, stage: str, tensors: dict[str, Tensor], *, finished: bool, values: dict[str, Any] | None = None
    ) -> None:
        """Replace the stage's state. finished: the stage need not run again."""
        if self.folder is None and finished:
            self._unfinished.pop(stage, None)
            return
        tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
        if self.folder is None:
            self._unfinished[stage] = (tensors, values or {}, False)
            return
        metadata = {"finished": json.dumps(finished), "values": json.dumps(values or {})}
        with atomic_write(self._path(stage)) as temporary:
            save_file(tensors, temporary, metadata)

    def load(self, stage: str) -> tuple[dict[str, Tensor], dict[str, Any], bool] | None:
        """Tensors, values and whether the stage is finished; None if it never was saved or is damaged."""
        if self.folder is None:
            return self._unfinished.get(stage)
        if not self._path(stage).is_file():
            return None
        try:
            with safe_open(self._path(stage), framework="pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
                return tensors, json.loads(metadata["values"]), json.loads(metadata["finished"])
        except (SafetensorError, ValueError, KeyError, TypeError, OSError):
            return None  # a damaged checkpoint is as good as none: the stage runs again

    def product(self, stage: str, device: torch.device | str = "cpu") -> dict[str, Tensor] | None:
        """What a finished stage left, on ``device``, or None if it has to run."""
        saved = self.load(stage)
        return {name: tensor.to(device) for name, tensor in saved[0].items()} if saved and saved[2] else None

    def _path(self, stage: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{portable(stage.replace(' ', '-'))}.safetensors"


class StageRandomness:
    """The generators of an unfinished stage, whose states are saved with it.

    host: the processor's. device: one of the given device besides, None if none is given. A stage saved where there was
    no such generator gets a fresh one when it goes on, so it may go on anywhere, with other numbers.
    """

    def __init__(self, checkpoints: Checkpoints, stage: str, device: torch.device | None):
        self._checkpoints, self._stage = checkpoints, stage
        self.host = checkpoints.generator(stage)
        self.device = None if device is None else checkpoints.generator(stage, device)

    def state(self) -> dict[str, Tensor]:
        """The generators' states by name, in the host's memory."""
        state = {"generator": self.host.get_state()}
        return state if self.device is None else state | {"device generator": self.device.get_state()}

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Go on from what `state` gave at ``step``, on whatever device that was."""
        self.host.set_state(tensors["generator"])
        if self.device is None:
            return
        if (state := tensors.get("device generator")) is None:
            fresh = self._checkpoints.generator(f"{self._stage} from step {step}", self.device.device)
            state = fresh.get_state()
        self.device.set_state(state)
