"""A removal that starts from another's reconstruction, the field fitted to everything but the object.

It is taken over if all that it depends on is the same: the training photos, their cameras and masks, and the settings
and seed of that fit. Everything after it is made anew. Methods share this stage, so a removal may start from another
method's; the numbers of later stages do not depend on whether it was run (`Checkpoints`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from unscene.files import write_json
from unscene.jobs.remove_options import Settings
from unscene.losses.rays import PixelError
from unscene.methods import InNOutConfig, InpaintNerf360Config, NaiveConfig, SpinNerfConfig
from unscene.scenes.scene import Scene
from unscene.stages.reconstruction import STAGE
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Note, Watch
from unscene.training.run import RunError, RunFolder, as_recorded, is_as_recorded

RECORD = "reconstruction.json"  # beside the checkpoint: what it was made of
IN_WORDS = {
    "masks": "masks or --mask-margin",
    "seed": "--seed",
    "reconstruction": "steps of the reconstruction or --effort",
}

Inputs = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Lender:
    """The run that another starts from, and its finished reconstruction."""

    run: Path
    reconstruction: dict[str, Tensor]


def reconstruction_inputs(scene: Scene, settings: Settings, seed: int) -> Inputs | None:
    """All that the reconstruction of a scene (with its margin) depends on, None for methods without one."""
    if isinstance(settings, NaiveConfig | SpinNerfConfig):
        return None
    assert scene.masks is not None
    train, cameras = scene.train.tolist(), scene.cameras[scene.train]
    lenses = (cameras.T_world_camera, cameras.focal, cameras.principal, cameras.distortion)
    return {
        "photos": _digest(scene.images[view] for view in train),
        "poses or lenses": _digest(lenses),
        "masks": _digest(scene.masks[view] for view in train),
        "seed": seed,
        "nerf": settings.nerf,
        "reconstruction": settings.reconstruction,
        "regularizer": settings.regularizer,
        "rays": settings.rays,
        "pixel error": _pixel_error(settings),
    }


def borrow(run: Path, out: Path, inputs: Inputs | None) -> Lender | None:
    """The reconstruction of ``run`` for one in ``out``; None if that has its own already, as when it goes on.

    Raises RunError for a run that has none, or none like it.
    """
    run = run.expanduser()
    if _finished(out) is not None:
        return None
    RunFolder.open(run)
    if run.resolve() == out.resolve():
        raise RunError(f"{run}: expected another run to start from than the one to write; choose another --out.")
    if inputs is None:
        raise RunError(f"{run}: expected a method that reconstructs first, got one without; leave out --start-from.")
    reconstruction, recorded = _finished(run), _read_record(run)
    if reconstruction is None:
        raise RunError(
            f"{run}: expected a run that has finished its reconstruction, got one that has not; finish it with "
            "--resume, or leave out --start-from."
        )
    if recorded is None:
        raise RunError(
            f"{run}: expected a run that says what its reconstruction was made of, got one of an earlier version; "
            "leave out --start-from."
        )
    others = [IN_WORDS.get(name, name) for name in inputs if not is_as_recorded(inputs[name], recorded.get(name))]
    if others:
        raise RunError(
            f"{run}: expected a run whose reconstruction can be taken over, got one with other {', '.join(others)}; "
            "ask for the same, or leave out --start-from."
        )
    return Lender(run, reconstruction)


def begin_reconstruction(
    folder: RunFolder, checkpoints: Checkpoints, inputs: Inputs | None, lender: Lender | None, watch: Watch
) -> None:
    """Record what the reconstruction will be made of, and take the lender's; a run that has begun it goes on with its
    own."""
    if inputs is None or checkpoints.load(STAGE) is not None:
        return
    write_json(folder.path / "checkpoint" / RECORD, as_recorded(inputs))
    if lender is not None:
        checkpoints.save(STAGE, lender.reconstruction, finished=True)
        watch(Note(f"'{STAGE}' is taken over from {lender.run}"))


def _pixel_error(settings: Settings) -> PixelError:
    if isinstance(settings, InNOutConfig):
        return settings.pixel_error
    return settings.loss.pixel_error if isinstance(settings, InpaintNerf360Config) else "charbonnier"


def _finished(run: Path) -> dict[str, Tensor] | None:
    return RunFolder(run).checkpoints(0).product(STAGE)  # whatever its seed, which only new numbers come from


def _read_record(run: Path) -> dict[str, Any] | None:
    try:
        recorded = json.loads((run / "checkpoint" / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return recorded if isinstance(recorded, dict) else None


def _digest(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
