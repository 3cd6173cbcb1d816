"""A command of Unscene that goes on by itself: it outlives the tab, and what it does can be had without the page."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ENDING = 10.0  # seconds that a command has to end by itself
SAID = 2000  # characters of what it said last


@dataclass
class Command:
    """A started command. words: its arguments after `unscene`; output: the file that has what it prints."""

    words: tuple[str, ...]
    output: Path
    _process: subprocess.Popen[bytes]

    @staticmethod
    def start(words: tuple[str, ...], output: Path) -> Command:
        """Start it in a process of its own."""
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "unscene", *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        return Command(words, output, process)

    @property
    def text(self) -> str:
        """What a shell would be told."""
        return command_text(self.words)

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Its exit status, once it has one."""
        return self._process.wait()

    def stop(self) -> None:
        """End it. What it has finished is kept: with --resume it goes on from there."""
        self._process.terminate()
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def complaint(self) -> str:
        """The last of what it printed: why it failed, if it did."""
        return self.output.read_text(encoding="utf-8", errors="replace")[-SAID:].strip()


def command_text(words: tuple[str, ...]) -> str:
    """The command of these arguments as a shell would be told it."""
    return shlex.join(["unscene", *words])
