"""The removals of a studio: `unscene remove` in processes of its own, each with a numbered folder, one at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

from unscene.files import write_json
from unscene.studio.process import Command
from unscene.studio.studio_error import StudioError


class Removals:
    """The removals in ``folder``: 1, 2, ..., what each was started by in 1.json and what it printed in 1.txt.

    shown: the one that is looked at. changed: is told when one starts or ends; failed: what one said that failed.
    """

    def __init__(self, folder: Path, changed: Callable[[], None], failed: Callable[[str], None]):
        self.folder = folder
        self.shown: Path | None = None
        self._changed, self._failed = changed, failed
        self._command: Command | None = None

    @property
    def folders(self) -> list[Path]:
        """Folders of all removals, the first one first."""
        found = self.folder.glob("[0-9]*")
        return sorted((path for path in found if path.name.isdecimal()), key=lambda path: int(path.name))

    @property
    def is_running(self) -> bool:
        return self._command is not None and self._command.status is None

    @property
    def command_text(self) -> str | None:
        """The command of the one under way, or of the last."""
        return None if self._command is None else self._command.text

    def start(self, scene: Path, scale: float, masks: Path, arguments: tuple[str, ...]) -> None:
        """Start the next one with further arguments; see `check_idle`."""
        number = max((int(path.name) for path in self.folders), default=0) + 1
        out = self.folder / str(number)
        words = ("remove", str(scene), "--scale", f"{scale:g}", "--masks", str(masks), "--out", str(out), *arguments)
        self._run(words, out)

    def check_idle(self) -> None:
        """Raise StudioError while one runs."""
        if self.is_running:
            raise StudioError("expected one removal at a time; stop the one under way, or wait for it.")

    def go_on(self) -> None:
        """Take up the one shown, which was interrupted."""
        if self.shown is None or self.is_running:
            return
        words = json.loads((self.shown.parent / f"{self.shown.name}.json").read_text(encoding="utf-8"))
        self._run((*words, "--resume"), self.shown)

    def stop(self) -> None:
        """End the one under way; `go_on` takes it up again."""
        if (command := self._command) is not None and command.status is None:
            command.stop()
            self._changed()

    def _run(self, words: tuple[str, ...], out: Path) -> None:
        write_json(out.parent / f"{out.name}.json", [word for word in words if word != "--resume"])
        self._command = Command.start(words, out.parent / f"{out.name}.txt")
        self.shown = out
        threading.Thread(target=self._await, args=(self._command,), daemon=True).start()

    def _await(self, command: Command) -> None:
        if command.wait() > 0:
            self._failed(command.complaint)
        self._changed()
