"""What is asked of every removal method: a run that was killed goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import torch

from unscene.stages.removal import Removal
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, StepDone

SEED = 5


def finish(events: Generator[Event, None, Removal]) -> tuple[Removal, list[Event]]:
    """What a run leaves, and what it said."""
    log = []
    while True:
        try:
            log.append(next(events))
        except StopIteration as done:
            return done.value, log


def uninterrupted(start: Callable[[Checkpoints], Generator[Event, None, Removal]]) -> Removal:
    """What a run leaves that nothing kills."""
    return finish(start(Checkpoints(None, SEED)))[0]


def check_that_a_killed_run_goes_on(
    start: Callable[[Checkpoints], Generator[Event, None, Removal]], reached: Callable[[Event], bool], folder: Path,
    steps: int, whole: Removal | None = None,
) -> None:  # fmt: skip
    """A run killed at an event and resumed takes fewer than all of its ``steps``, and leaves what a whole one does.

    whole: what that left, if several are compared with it: `uninterrupted`.
    """
    whole = whole or uninterrupted(start)
    killed = start(Checkpoints(folder, SEED))
    assert any(reached(event) for event in killed)
    killed.close()
    resumed, log = finish(start(Checkpoints(folder, SEED)))
    assert sum(isinstance(event, StepDone) for event in log) < steps
    for name, value in whole.field.state_dict().items():
        assert torch.equal(value, resumed.field.state_dict()[name]), name
    assert torch.equal(whole.scene.images, resumed.scene.images) and torch.equal(whole.filled, resumed.filled)
