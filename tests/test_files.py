"""Atomic writes: after an error the old content stands and nothing is left beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from unscene.files import atomic_write, write_json


class Killed(BaseException):
    """Stands for a kill in mid-write."""


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def write_folder(path: Path, **files: str) -> None:
    with atomic_write(path) as temporary:
        temporary.mkdir()
        for name, text in files.items():
            (temporary / name).write_text(text)


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    for text in ("first", "second"):
        with atomic_write(path) as temporary:
            assert temporary.parent == path.parent and temporary.suffix == ".html"
            temporary.write_text(text)
        assert contents(tmp_path) == {"new/report.html": text}


def test_a_folder_is_written_and_replaced_as_a_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "dataset", a="1", b="2")
    write_folder(tmp_path / "dataset", b="3")
    assert contents(tmp_path) == {"dataset/b": "3"}


@pytest.mark.parametrize("error", [OSError("no space left on device"), Killed()], ids=["full disk", "kill"])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "config.json"
    write_json(path, {"seed": 1})
    with pytest.raises(type(error)), atomic_write(path) as temporary:
        temporary.write_text('{"se')
        assert json.loads(path.read_text()) == {"seed": 1}
        raise error
    assert contents(tmp_path) == {"config.json": '{\n  "seed": 1\n}\n'}


@pytest.mark.parametrize("error", [OSError("no space left on device"), Killed()], ids=["full disk", "kill"])
def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "dataset"
    write_folder(path, a="1")
    with pytest.raises(type(error)), atomic_write(path) as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("2")
        raise error
    assert contents(tmp_path) == {"dataset/a": "1"}
    assert [p.name for p in tmp_path.iterdir()] == ["dataset"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_at_the_last_moment_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "result"

    def write(text: str) -> None:
        if kind == "folder":
            write_folder(path, a=text)
        else:
            with atomic_write(path) as temporary:
                temporary.write_text(text)

    write("old")
    before = contents(tmp_path)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            write("new")
    assert contents(tmp_path) == before


def test_a_leftover_of_a_killed_run_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with atomic_write(path) as temporary:
        leftover = temporary
        temporary.mkdir()
    leftover.mkdir()
    (leftover / "half").write_text("x")
    write_folder(path, a="1")
    assert contents(tmp_path) == {"checkpoint/a": "1"}


def test_json_is_readable_and_knows_paths(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"scene": Path("scenes") / "statue", "scale": 4})
    assert json.loads((tmp_path / "config.json").read_text()) == {"scene": "scenes/statue", "scale": 4}
