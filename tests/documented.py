"""What the documentation names: links, files, options and commands, and what is wrong with them."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import tyro

from unscene import cli
from unscene.cli import COMMANDS
from unscene.training_commands import TRAININGS

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
FILE = re.compile(r"(?<![\w/.-])(?:benchmarks|docs|examples|scripts|src|tests)/(?:[\w-]+/)*(?:[\w-]+\.\w+)?")
RUNNERS = ("unscene", "python", "pytest", "make", "pip")
PARTS = "..."  # in a command of which only a part is shown


def pages() -> list[Path]:
    """Every page, from the README to the cards of the bundled models."""
    folders = {ROOT: "*.md", ROOT / "docs": "**/*.md", ROOT / "benchmarks": "*.md", ROOT / "src": "**/README.md"}
    return sorted(page for folder, pattern in folders.items() for page in folder.glob(pattern))


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to headings."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(FENCE.sub("", text))}


def broken_links(text: str, folder: Path) -> list[str]:
    """Relative links and pictures of a page in a folder that lead to no file, or to no heading of it."""
    broken = []
    for link in LINK.findall(FENCE.sub("", text)):
        name, _, anchor = link.partition("#")
        target = folder / name
        if re.match(r"\w+:", link) or (name and not anchor and target.exists()):
            continue
        there = text if not name else target.read_text() if target.is_file() else ""
        if anchor not in anchors(there):
            broken.append(link)
    return broken


def missing_files(text: str) -> list[str]:
    """Paths of this repository that a page names outside its links, and that are not there."""
    return [path for path in FILE.findall(LINK.sub("", text)) if not (ROOT / path).exists()]


def drawn_tree(text: str) -> list[str]:
    """The paths below src/unscene that a page draws: a folder a line, inner ones indented, or some files a line."""
    (drawn,) = re.findall(r"^```\nsrc/unscene/\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    paths, outer = [], ""
    for line in drawn.splitlines():
        names = re.split(r" {2,}", line.strip()) if ".py" in line else line.split()[:1]
        if line.startswith("   "):
            names = [outer + name for name in names]
        elif names[0].endswith("/"):
            outer = names[0]
        paths += names
    return paths


def commands_of(text: str) -> list[list[str]]:
    """The words of all commands in fences and backticks; a lone word in backticks is no command."""
    lines = [" ".join(span.split()) for span in SPAN.findall(FENCE.sub("", text))]
    lines = [line for line in lines if " " in line]
    for _, code in FENCE.findall(text):
        lines += code.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.split()[:1] and line.split()[0] in RUNNERS]


def options_of(text: str) -> list[str]:
    """The options that stand alone in backticks."""
    spans = (span.split()[0] for span in SPAN.findall(FENCE.sub("", text)) if span.startswith("--"))
    return [span.partition("=")[0] for span in spans]


def fault(words: list[str]) -> str | None:
    """What is wrong with a command, None if nothing is."""
    check = {"unscene": _unscene, "python": _script, "pytest": _tests, "make": _make, "pip": _pip}[words[0]]
    found = check(words[1:])
    return found and f"{shlex.join(words)}: {found}"


def _unscene(arguments: list[str]) -> str | None:
    """The command's own parser reads whole commands; of partial ones the options are looked up in its help."""
    if arguments[0] == "COMMAND":
        arguments = ["fit", *arguments[1:], PARTS]
    if arguments[0] not in COMMANDS:
        return f"no command {arguments[0]}"
    name = " ".join(arguments[: 2 if arguments[0] == "train" else 1])
    if PARTS not in arguments and arguments != name.split():
        return _refusal(arguments)
    given = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    unknown = given - (all_options() if PARTS in name else options(name))
    return f"no option {', '.join(unknown)}" if unknown else None


class _Read(Exception):
    """The arguments of a command are understood; it is not to run."""


def _refusal(arguments: list[str]) -> str | None:
    real = tyro.cli

    def only_parse(function: Callable[..., Any], **settings: Any) -> None:
        @functools.wraps(function)
        def stub(*_: Any, **__: Any) -> None:
            return None

        real(function if isinstance(function, type) else stub, **settings)
        raise _Read

    said = io.StringIO()
    with mock.patch.object(tyro, "cli", only_parse), contextlib.redirect_stderr(said):
        try:
            cli.run(arguments[0], arguments[1:])
        except _Read:
            return None
        except SystemExit as stopped:
            return said.getvalue() if stopped.code else None
    raise AssertionError(f"unscene {arguments[0]} does not parse its options with tyro.cli")


@functools.cache
def options(command: str) -> set[str]:
    """The options that a command's help tells of."""
    told = io.StringIO()
    wide = mock.patch.dict(os.environ, COLUMNS="400")
    with wide, contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        name, *model = command.split()
        cli.run(name, [*model, "--help"])
    return set(re.findall(r"(?<!\S)--[\w.-]+", told.getvalue().replace(",", " ")))


@functools.cache
def all_options() -> set[str]:
    """Those of all commands and of the benchmarks."""
    names = [*(name for name in COMMANDS if name != "train"), *(f"train {model}" for model in TRAININGS)]
    scripts = (file.read_text() for file in (ROOT / "benchmarks").glob("*.py"))
    return set().union(*(options(name) for name in names), *(re.findall(r'"(--[\w-]+)"', text) for text in scripts))


def _script(arguments: list[str]) -> str | None:
    """A script of the repository, or a module of the package or of the tests, whose source names the options."""
    name = arguments[0]
    if name == "-m":
        name = f"{'' if arguments[1].startswith('tests.') else 'src/'}{arguments[1].replace('.', '/')}.py"
    file = ROOT / name
    if not file.is_file():
        return f"no file {name}"
    source = file.read_text()
    given = [word.partition("=")[0][2:] for word in arguments if word.startswith("--")]
    unknown = [
        option for option in given
        if f'"--{option}"' not in source and not re.search(rf"^    {option.replace('-', '_')}: ", source, re.MULTILINE)
    ]  # fmt: skip
    return f"no option --{', --'.join(unknown)}" if unknown else None


def _tests(arguments: list[str]) -> str | None:
    files = [ROOT / word for word in arguments if "/" in word]
    missing = [str(file.relative_to(ROOT)) for file in files if not file.is_file()]
    if missing or not files:
        return f"no file {', '.join(missing)}"
    word = arguments[arguments.index("-k") + 1] if "-k" in arguments else ""
    named = any(re.search(rf"def test_\w*{word}", file.read_text()) for file in files)
    return None if named else f"no test of the name {word}"


def _make(arguments: list[str]) -> str | None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return None if arguments[0] in targets else f"no target {arguments[0]}"


def _pip(arguments: list[str]) -> str | None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {extra for word in arguments for extra in re.findall(r"^\.\[(.*)\]$", word)}
    missing = [word for word in arguments if word.endswith(".txt") and not (ROOT / word).is_file()]
    return f"no {', '.join([*(asked - known.keys()), *missing])}" if asked - known.keys() or missing else None
