"""Progress on the terminal: a bar with the time left for every stage, and the notes as they come."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from unscene.training.events import (
    Event,
    GameHealth,
    ItemDone,
    Note,
    Picture,
    StageDone,
    StageStarted,
    StepDone,
    TrainingStep,
    ViewInpainted,
    ViewUpdated,
)


class Screen:
    """Shows events; use as a context manager and pass it as ``watch``."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description:<28}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[detail]}"),
            console=self.console,
        )  # fmt: skip
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Screen:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case StageStarted(stage):
                self._task(stage)
            case StepDone(stage, step, progress, losses, speed):
                detail = f"step {step}, loss {sum(losses.values()):.4f}, {speed / 1000:.0f}k rays/s"
                self.progress.update(self._task(stage), completed=progress, detail=detail)
            case TrainingStep(stage, step, steps, loss, speed):
                detail = f"step {step}, loss {loss:.4f}, {speed:.2g} steps/s"
                self.progress.update(self._task(stage), completed=step / steps, detail=detail)
            case ItemDone(stage, done, total):
                self.progress.update(self._task(stage), completed=done / total, detail=f"{done} of {total}")
            case StageDone(stage, _):
                self.progress.update(self._task(stage), completed=1.0)
            case Note(text):
                self.progress.print(text, markup=False, highlight=False)
            case Picture() | GameHealth() | ViewInpainted() | ViewUpdated():
                pass

    def _task(self, stage: str) -> TaskID:
        if stage not in self.tasks:
            self.tasks[stage] = self.progress.add_task(stage, total=1.0, detail="")
        return self.tasks[stage]
