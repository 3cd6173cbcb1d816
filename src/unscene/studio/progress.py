"""How far a run is, read from what it writes: the same for one of this process, of another, or of yesterday."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUIET = 60.0  # seconds without a word after which a run that is not finished counts as stopped


@dataclass(frozen=True)
class Stage:
    """share: of it that is done, in [0, 1]; left: seconds that the rest will take, None while that cannot be told."""

    name: str
    share: float
    left: float | None


@dataclass
class RunProgress:
    """The events of a run as its folder has them. `look` reads what is new."""

    folder: Path
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds that each finished stage took, in order."""
    notes: dict[str, None] = field(default_factory=dict)
    provenance: list[str] = field(default_factory=list)
    _read: int = 0
    _stage: str | None = None
    _share: float = 0.0
    _began: tuple[float, float] | None = None
    _spoke: float = 0.0

    def look(self) -> bool:
        """Read what the run has written since; returns whether that was anything."""
        file = self.folder / "events.jsonl"
        if not file.is_file():
            return False
        with file.open("rb") as log:
            log.seek(self._read)
            content = log.read()
        content = content[: content.rfind(b"\n") + 1]  # a line that is being written is for next time
        self._read += len(content)
        for line in content.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # half a line, from a run that was killed
            if isinstance(event, dict):
                self._take(event)
        return bool(content)

    @property
    def stage(self) -> Stage | None:
        """What it is doing, None before and after."""
        if self._stage is None:
            return None
        left = None
        if self._began and self._share > self._began[1]:
            left = (self._spoke - self._began[0]) / (self._share - self._began[1]) * (1 - self._share)
        return Stage(self._stage, self._share, left)

    @property
    def is_silent(self) -> bool:
        """Whether it has said nothing for so long that it will have been stopped."""
        return time.time() - self._spoke > QUIET

    def _take(self, event: dict[str, Any]) -> None:
        self._spoke = event.get("time", self._spoke)
        match event:
            case {"event": "StageStarted", "stage": str(stage)}:
                self._stage, self._share, self._began = stage, 0.0, None
            case {"event": "StepDone", "stage": str(stage), "progress": float(progress)}:
                self._go_on(stage, progress)
            case {"event": "TrainingStep", "stage": str(stage), "step": int(step), "steps": int(steps)} if steps:
                self._go_on(stage, step / steps)
            case {"event": "ItemDone", "stage": str(stage), "done": int(done), "total": int(total)} if total:
                self._go_on(stage, done / total)
            case {"event": "StageDone", "stage": str(stage), "seconds": float(seconds)}:
                self.stages[stage] = self.stages.get(stage, 0.0) + seconds
                self._stage = None
            case {"event": "Provenance", "text": str(text)}:
                self.notes[text] = None
                self.provenance = [*dict.fromkeys([*self.provenance, text])]
            case {"event": "Note", "text": str(text)}:
                self.notes[text] = None

    def _go_on(self, stage: str, share: float) -> None:
        if stage != self._stage or self._began is None or share < self._began[1]:
            self._stage, self._began = stage, (self._spoke, share)
        self._share = min(1.0, share)
