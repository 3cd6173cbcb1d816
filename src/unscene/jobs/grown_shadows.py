"""Masks that grow over the shadow at the object's foot, shown before anything is removed."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unscene.evaluation.mask_report import mask_sheet, report_masks
from unscene.fields.nerf import NerfConfig
from unscene.scenes.scene import Scene
from unscene.segmentation.fitted_surfaces import QUICK_FIT, RAYS, fit_surfaces
from unscene.segmentation.full_size import enlarged, shrunk
from unscene.segmentation.masked_shadows import masked_shadows
from unscene.segmentation.session import Session
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note, Picture, StageDone, StageStarted
from unscene.training.run import RunError, RunFolder

STAGE = "shadows"


def grow_shadows(
    scene: Scene, nerf: NerfConfig, effort: float, folder: RunFolder, checkpoints: Checkpoints,
    lent: Tensor | None = None,
) -> Generator[Event, None, Scene]:  # fmt: skip
    """The scene with its training masks grown over what darkens around the object's foot.

    A field of the scene with its object, fitted for this alone, tells what the object stands on. What goes is shown in
    the run's report and previews. nerf: that field's settings; effort: multiplies its steps; lent: what another run
    found, T H W bool, in place of all that.
    """
    assert scene.masks is not None
    kept = checkpoints.product(STAGE)
    if kept is None and lent is not None:
        kept = {"shadows": lent}
        checkpoints.save(STAGE, kept, finished=True)
    if kept is None:
        photos = scene.subset(scene.train)
        fitting = fit_surfaces(photos, nerf, QUICK_FIT.scaled(effort), RAYS, checkpoints, stage="fit to all photos")
        surfaces = yield from fitting
        yield StageStarted(STAGE)
        started = time.monotonic()
        masks, shape = scene.masks[scene.train].cpu().numpy(), (scene.cameras.height, scene.cameras.width)
        small = np.stack([shrunk(mask, surfaces.depth.shape[1:]) for mask in masks])
        shadows = np.stack([enlarged(shadow, shape) for shadow in masked_shadows(Session(surfaces), small)])
        kept = {"shadows": torch.from_numpy(shadows & ~masks)}
        checkpoints.save(STAGE, kept, finished=True)
        yield StageDone(STAGE, time.monotonic() - started)
    shadows = kept["shadows"]
    shown = {"object": scene.masks[scene.train].cpu(), "shadow": shadows}
    yield Picture("masks-and-shadows", torch.from_numpy(mask_sheet(scene.subset(scene.train), shown)) / 255)
    yield Note(_told(scene, shadows))
    report = report_masks(folder, scene.subset(scene.train), shown, {"next": "the object is removed with its shadow"})
    yield Note(f"what will go: {report}")
    return with_shadows(scene, shadows)


def with_shadows(scene: Scene, shadows: Tensor) -> Scene:
    """The scene with shadows (T H W bool) added to its training masks."""
    assert scene.masks is not None
    masks = scene.masks.clone()
    masks[scene.train] |= shadows.to(masks.device)
    return scene.with_masks(masks)


def lent_shadows(run: Path) -> Tensor:
    """The shadows that another run found, T H W bool. Raises RunError if it looked for none."""
    shadows = RunFolder(run.expanduser()).checkpoints(0).product(STAGE)
    if shadows is None:
        raise RunError(
            f"{run}: expected a run with --grow-shadow to start from, got one without; leave out --grow-shadow, or "
            "--start-from."
        )
    return shadows["shadows"]


def _told(scene: Scene, shadows: Tensor) -> str:
    assert scene.masks is not None
    share = float(shadows.sum() / scene.masks[scene.train].sum().clamp_min(1))
    if not shadows.any():
        return "--grow-shadow: nothing darkens around the object's foot beyond its masks; they stay as they are"
    kept = f"; the masks of {len(scene.test)} photos held out for testing stay" if len(scene.test) else ""
    return f"--grow-shadow: masks grow by {share:.0%} over what darkens around the object's foot{kept}"
