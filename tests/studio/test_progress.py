"""How far a run is, from what it has written: by whomever, whole or in the middle of a line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from unscene.studio.progress import RunProgress
from unscene.training.events import ItemDone, Note, Provenance, StageDone, StageStarted, StepDone
from unscene.training.run import RunFolder


def write(folder: Path, *lines: dict) -> None:
    with (folder / "events.jsonl").open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def test_a_stage_its_share_and_the_time_left(tmp_path):
    progress = RunProgress(tmp_path)
    assert not progress.look() and progress.stage is None
    write(
        tmp_path,
        {"event": "StageStarted", "stage": "fit", "time": 100.0},
        {"event": "StepDone", "stage": "fit", "progress": 0.2, "time": 110.0},
    )
    assert progress.look() and progress.stage is not None
    assert progress.stage.share == 0.2 and progress.stage.left is None  # a start may have been slow
    write(tmp_path, {"event": "StepDone", "stage": "fit", "progress": 0.4, "time": 130.0})
    progress.look()
    assert progress.stage.left == pytest.approx(60)
    write(tmp_path, {"event": "StageDone", "stage": "fit", "seconds": 90.0, "time": 190.0})
    progress.look()
    assert progress.stage is None and progress.stages == {"fit": 90.0}


def test_half_a_line_waits_for_the_rest(tmp_path):
    line = json.dumps({"event": "Note", "text": "all of it", "time": time.time()})
    file = tmp_path / "events.jsonl"
    file.write_text(line[:12])
    progress = RunProgress(tmp_path)
    assert not progress.look()
    file.write_text(line + "\n")
    progress.look()
    assert list(progress.notes) == ["all of it"] and not progress.is_silent


def test_what_was_half_written_before_a_kill_is_passed_over(tmp_path):
    (tmp_path / "events.jsonl").write_text('{"event": "Note", "te\n[1]\n{"event": "StepDone"}\n')
    write(tmp_path, {"event": "Note", "text": "it goes on", "time": 1.0})
    progress = RunProgress(tmp_path)
    progress.look()
    assert list(progress.notes) == ["it goes on"] and progress.is_silent


def test_the_log_of_a_run_tells_all_of_it(tmp_path):
    """What `RunFolder.logging` keeps is enough: items too, though not every one of many."""
    folder = RunFolder.create(tmp_path / "run", {"job": "remove"}, resume=False)
    watch = folder.logging(lambda event: None)
    progress = RunProgress(folder.path)
    for event in (StageStarted("fit"), StepDone("fit", 5, 0.5, {"rgb": 1.0}, 10.0), StageDone("fit", 3.0)):
        watch(event)
    watch(StageStarted("views"))
    for done in range(1, 200):
        watch(ItemDone("views", done, 200))
    progress.look()
    assert progress.stage is not None and progress.stage.name == "views" and progress.stage.share == 1 / 200
    watch(ItemDone("views", 200, 200))
    watch(Provenance("copies"))
    watch(Note("a note"))
    progress.look()
    assert progress.stage.share == 1 and progress.provenance == ["copies"] and "a note" in progress.notes
    assert (folder.path / "events.jsonl").read_text().count("ItemDone") == 2
