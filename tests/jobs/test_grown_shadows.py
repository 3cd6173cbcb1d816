"""`unscene remove --grow-shadow`: what grows, what is shown first, and what is taken over."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import unscene
from tests.conftest import TINY_NERF
from tests.segmentation.standing_boxes import standing_boxes
from unscene.files import read_pixels
from unscene.methods import InNOutConfig
from unscene.scenes.scene import Scene
from unscene.training.events import Event, Note, StageStarted
from unscene.training.fit import FitConfig
from unscene.training.run import RunError

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = FitConfig(steps=3)
SETTINGS = InNOutConfig(nerf=TINY_NERF, reconstruction=STEPS, rays=64, prior_rays=32, candidates=2)
OPTIONS = unscene.RemoveOptions(
    prior="telea", fill="mask", video_frames=0, effort=0.002, in_n_out=SETTINGS, grow_shadow=True
)


class Killed(BaseException):
    """Stands for a kill in mid-run."""


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Depths that are right after a fit of two steps; the list grows by one with every fit."""
    made: list[int] = []

    def depths(field: object, cameras: object) -> Generator[None, None, torch.Tensor]:
        made.append(1)
        yield from ()
        return torch.from_numpy(standing_boxes().depths)

    monkeypatch.setattr("unscene.segmentation.fitted_surfaces.median_depths", depths)
    return made


def begin(scene: Scene, out: Path, until: str, options: unscene.RemoveOptions = OPTIONS, **more: object) -> list[Event]:
    """What a run told until a stage began, at which it was killed."""
    log: list[Event] = []

    def watch(event: Event) -> None:
        log.append(event)
        if isinstance(event, StageStarted) and event.stage == until:
            raise Killed

    with pytest.raises(Killed):
        unscene.remove(scene, out, options, watch=watch, **more)  # pyright: ignore[reportArgumentType]
    return log


def notes(log: list[Event]) -> str:
    return "\n".join(event.text for event in log if isinstance(event, Note))


def test_what_will_go_is_shown_before_the_reconstruction_begins(tmp_path: Path, fits: list[int]) -> None:
    boxes, out = standing_boxes(), tmp_path / "run"
    told = notes(begin(boxes.scene, out, "reconstruction"))
    assert "--grow-shadow: masks grow by" in told and str(out / "report.html") in told
    assert "shadow" in (out / "report.html").read_text(encoding="utf-8")
    sheet = read_pixels(out / "previews" / "masks-and-shadows.png")
    assert sheet is not None and sheet.shape[2] == 3

    begin(boxes.scene, out, "depth maps", resume=True)
    assert len(fits) == 1, "the field is kept"


def test_the_object_goes_with_its_shadow(tmp_path: Path, fits: list[int]) -> None:
    boxes = standing_boxes()
    assert boxes.scene.masks is not None
    method = replace(SETTINGS, prior=STEPS, joint=STEPS, patch_loss=False)
    run = unscene.remove(boxes.scene, tmp_path / "run", replace(OPTIONS, effort=0.01, in_n_out=method))
    read = [read_pixels(file) for file in sorted((run.folder / "masks").glob("*.png"))]
    masks = np.stack([image for image in read if image is not None]).max(-1) > 127
    assert (masks >= boxes.scene.masks.numpy()).all()
    assert (masks & boxes.shadows).sum() > 0.8 * boxes.shadows.sum()
    assert "masks and shadows" in (run.folder / "report.html").read_text(encoding="utf-8")


def test_test_views_keep_their_masks(tmp_path: Path, fits: list[int]) -> None:
    from unscene.jobs.grown_shadows import with_shadows

    boxes = standing_boxes()
    held = replace(boxes.scene, train=torch.arange(6), test=torch.arange(6, 8))
    grown = with_shadows(held, torch.from_numpy(boxes.shadows[:6]))
    assert grown.masks is not None and held.masks is not None
    assert (grown.masks[6:] == held.masks[6:]).all()
    assert (grown.masks[:6] == held.masks[:6] | torch.from_numpy(boxes.shadows[:6])).all()


def test_a_run_that_starts_from_another_takes_its_shadows(tmp_path: Path, fits: list[int]) -> None:
    scene = standing_boxes().scene
    begin(scene, tmp_path / "first", "look behind the object")
    log = begin(scene, tmp_path / "second", "look behind the object", start_from=tmp_path / "first")
    assert len(fits) == 1 and "'reconstruction' is taken over" in notes(log)
    begin(scene, tmp_path / "bare", "look behind the object", replace(OPTIONS, grow_shadow=False))
    with pytest.raises(RunError, match="expected a run with --grow-shadow"):
        unscene.remove(scene, tmp_path / "third", OPTIONS, start_from=tmp_path / "bare")
    assert not (tmp_path / "third").exists()
    without = replace(OPTIONS, grow_shadow=False)
    with pytest.raises(RunError, match="other masks"):
        unscene.remove(scene, tmp_path / "third", without, start_from=tmp_path / "first")
