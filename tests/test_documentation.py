"""The examples of the README and of docs/ run as they stand.

A fence right after the line ``<!-- run in tests -->`` runs in an empty folder that holds a capture with masks,
``captures/statue``: Python as it is, of bash the lines that begin with ``unscene``. Every fit ends after three steps.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.box_scene import box_scene, write_capture
from unscene.cli import main
from unscene.training.fit import FitConfig

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"^<!-- run in tests -->\n```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_OURS = ("make", "git", "pip", "python", "cd", "#")
STEPS = 3


@dataclass(frozen=True)
class Example:
    """A marked fence. name: its file and line."""

    name: str
    language: str
    code: str


def examples(text: str, file: str) -> list[Example]:
    return [
        Example(f"{file}:{text.count(chr(10), 0, found.start()) + 2}", found[1], found[2])
        for found in MARKED.finditer(text)
    ]


def all_examples() -> list[Example]:
    files = [file for file in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if file.is_file()]
    return [example for file in files for example in examples(file.read_text(), file.relative_to(ROOT).as_posix())]


def commands(code: str) -> list[list[str]]:
    """The arguments of the lines of a bash example that begin with ``unscene``; others must be known not to be ours."""
    lines = [line.strip() for line in code.replace("\\\n", " ").splitlines()]
    found = []
    for line in filter(None, lines):
        words = shlex.split(line, comments=True)
        if words and words[0] == "unscene":
            found.append(words[1:])
        else:
            assert line.startswith(NOT_OURS), f"{line!r}: not a command that this test knows how to treat"
    return found


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_capture(tmp_path / "captures" / "statue", box_scene(views=6, width=128, height=96).scene)
    monkeypatch.chdir(tmp_path)
    progress: Callable[[FitConfig, int, float], float] = lambda config, step, seconds: step / STEPS  # noqa: E731
    monkeypatch.setattr("unscene.training.fit._progress", progress)
    monkeypatch.setattr("unscene.training.meter.REPORT_SECONDS", 0.0)
    return tmp_path


@pytest.mark.parametrize("example", all_examples(), ids=lambda example: example.name)
@pytest.mark.usefixtures("one_thread", "workplace")
def test_the_example_runs(example: Example) -> None:
    if example.language == "python":
        exec(compile(example.code, example.name, "exec"), {"__name__": "__main__"})
        return
    assert example.language == "bash", f"{example.name}: only python and bash run, not {example.language}"
    asked = commands(example.code)
    assert asked, f"{example.name}: nothing to run"
    for arguments in asked:
        assert main(arguments) == 0, f"{example.name}: unscene {shlex.join(arguments)} failed"


def test_the_readme_shows_both_languages() -> None:
    marked = [example for example in all_examples() if example.name.startswith("README.md")]
    assert {example.language for example in marked} == {"python", "bash"}


def test_only_marked_fences_run_and_are_named_by_their_line() -> None:
    text = "# Title\n\n```python\nboom\n```\n<!-- run in tests -->\n```python\nx = 1\n```\n\n<!-- run in tests -->\n"
    text += "```bash\nmake demo\nunscene fit captures/statue \\\n    --out 'my run'  # a minute\n```\n"
    assert examples(text, "README.md") == [
        Example("README.md:7", "python", "x = 1\n"),
        Example("README.md:12", "bash", "make demo\nunscene fit captures/statue \\\n    --out 'my run'  # a minute\n"),
    ]
    assert commands(examples(text, "README.md")[1].code) == [["fit", "captures/statue", "--out", "my run"]]
