"""The examples of the README and of docs/ run as they stand, and what all pages name is there.

A fence right after the line ``<!-- run in tests -->`` runs in an empty folder that holds a capture with masks,
``captures/statue``: Python as it is, of bash the lines that begin with ``unscene``. Every fit ends after three steps, a
novel view is sampled in two.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import documented
from tests.box_scene import box_scene, write_capture
from unscene.cli import main
from unscene.priors.novel_views import view_inpainter
from unscene.priors.novel_views.sampler import sample
from unscene.training.fit import FitConfig

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"^<!-- run in tests -->\n```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_OURS = ("make", "git", "pip", "python", "cd", "#")
STEPS = 2
MOST_LINES = 200  # of the README


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
    monkeypatch.setattr(
        view_inpainter, "sample",
        lambda predict, scheduler, noise, steps, **begun: sample(predict, scheduler, noise, STEPS, **begun),
    )  # fmt: skip
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


every_page = pytest.mark.parametrize(
    "page", documented.pages(), ids=lambda page: page.relative_to(ROOT).as_posix()
)  # fmt: skip


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MOST_LINES


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    assert documented.broken_links(page.read_text(), page.parent) == []


@every_page
def test_files_that_a_page_names_are_there(page: Path) -> None:
    assert documented.missing_files(page.read_text()) == []


@every_page
def test_commands_and_options_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    assert [fault for words in documented.commands_of(text) if (fault := documented.fault(words))] == []
    known = documented.all_options()
    unknown = [
        option for option in documented.options_of(text)
        if option not in known and not (option.endswith(".*") and any(name.startswith(option[:-1]) for name in known))
    ]  # fmt: skip
    assert unknown == []


def test_the_code_is_laid_out_as_the_readme_draws_it() -> None:
    source = ROOT / "src" / "unscene"
    drawn = documented.drawn_tree((ROOT / "README.md").read_text())
    assert [path for path in drawn if not (source / path).exists()] == []
    code = {f"{path.name}/" for path in source.iterdir() if (path / "__init__.py").is_file()}
    code |= {path.name for path in source.glob("[!_]*.py")}
    assert code - set(drawn) == set(), "not in the README's picture of the code"


PAGE = """# A page: `what` it's about

[to](#a-page-what-its-about) [gone](#nowhere) [away](https://example.org) ![none](docs/none.jpg) [to](README.md#results)

`tests/none.py` is not there, `docs/` is, `runs/none.py` is the reader's; `--prior` and `--no-such-option`,
`--diffusion.*` and `unscene fit`, and `unscene train invs ... --no-told-photo`.

```bash
make demo   # not `make tea`
unscene remove captures/statue \\
    --out RUN --metod naive
```
"""


def test_a_page_is_taken_apart() -> None:
    assert documented.broken_links(PAGE, ROOT) == ["#nowhere", "docs/none.jpg"]
    assert documented.missing_files(PAGE) == ["tests/none.py"]
    assert documented.options_of(PAGE) == ["--prior", "--no-such-option", "--diffusion.*"]
    assert documented.commands_of(PAGE) == [
        ["unscene", "fit"], ["unscene", "train", "invs", "...", "--no-told-photo"], ["make", "demo"],
        ["unscene", "remove", "captures/statue", "--out", "RUN", "--metod", "naive"],
    ]  # fmt: skip


@pytest.mark.parametrize(("command", "wrong"), [
    ("unscene remove captures/statue --out RUN --metod naive", "--metod"),
    ("unscene remove captures/statue --out RUN --method lama", "lama"),
    ("unscene remove captures/statue", "--out"),
    ("unscene remove ... --costumize", "no option --costumize"),
    ("unscene train prior ... --told-photo", "no option --told-photo"),
    ("unscene paint RUN", "no command paint"),
    ("python benchmarks/none.py", "no file benchmarks/none.py"),
    ("python benchmarks/orbit_speed.py --turn 3", "no option --turn"),
    ("python -m unscene.pretraining.prior_evaluation --photo DIR", "no option --photo"),
    ("pytest tests/none.py", "no file tests/none.py"),
    ("pytest tests/test_documentation.py -k seam", "no test of the name seam"),
    ("make tea", "no target tea"),
    ("pip install '.[tea]'", "no tea"),
])  # fmt: skip
def test_what_is_wrong_with_a_command_is_found(command: str, wrong: str) -> None:
    assert wrong in (documented.fault(shlex.split(command)) or "")
