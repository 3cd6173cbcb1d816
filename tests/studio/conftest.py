"""A workshop on the box in the room, whose depths are right at once, and whose commands do nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import torch

from tests.box_scene import write_capture
from tests.segmentation.seen_box import depths_of, seen_box
from unscene.jobs.mask_options import MaskOptions
from unscene.studio.process import Command
from unscene.studio.workshop import Workshop
from unscene.training.fit import FitConfig

QUICK = MaskOptions(fit=FitConfig(steps=2), rays=64)


@pytest.fixture
def exact_depths(monkeypatch: pytest.MonkeyPatch) -> None:
    def depths(field: object, cameras: object) -> Generator[None, None, torch.Tensor]:
        yield from ()
        return torch.from_numpy(depths_of(seen_box()[0]))

    monkeypatch.setattr("unscene.segmentation.fitted_surfaces.median_depths", depths)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that are started, none of which does anything."""
    commands: list[tuple[str, ...]] = []

    def start(words: tuple[str, ...], output: Path) -> Command:
        commands.append(words)
        return Command(words, output, FinishedProcess())  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Command, "start", start)
    return commands


class FinishedProcess:
    def poll(self) -> int:
        return 0

    def wait(self, timeout: float | None = None) -> int:
        return 0

    def terminate(self) -> None: ...


@pytest.fixture
def workshop(tmp_path: Path, exact_depths: None) -> Iterator[Workshop]:
    scene, _ = seen_box()
    capture = write_capture(tmp_path / "capture", scene.with_masks(None))
    opened = Workshop(capture, tmp_path / "out", scale=1, options=QUICK)
    opened.open_scene()
    opened.wait_idle()
    yield opened
    opened.close()
