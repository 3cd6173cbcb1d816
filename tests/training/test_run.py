"""The run folder: what it records, what it refuses, what it logs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unscene.training.events import Note, Picture, StageDone, StepDone, ViewUpdated
from unscene.training.run import RunError, RunFolder, to_uint8


@dataclass(frozen=True)
class Settings:
    """Settings of a run."""

    seed: int = 0
    groups: tuple[int, ...] = (2, 2, 3)


def record(scale: float = 4, **settings: int) -> dict:
    return {"scene": Path("scenes") / "statue", "scale": scale, "options": Settings(**settings)}


def test_a_new_run_records_settings_and_versions(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "runs" / "statue", record(seed=7), resume=False)
    config = json.loads((tmp_path / "runs" / "statue" / "config.json").read_text())
    assert config == run.config
    assert config["scene"] == "scenes/statue" and config["options"] == {"seed": 7, "groups": [2, 2, 3]}
    assert torch.__version__.startswith(config["versions"]["torch"])
    assert RunFolder.open(run.path).config == config


def test_an_empty_folder_may_become_a_run(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path, record(), resume=False).path == tmp_path


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_or_a_folder_in_use_may_not(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(RunError, match="expected a new or empty output folder"):
            RunFolder.create(path, record(), resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_goes_on_with_its_own_settings_only(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, record(), resume=False)
    before = (tmp_path / "config.json").read_text()
    RunFolder.create(tmp_path, record(), resume=True)
    for other in (record(seed=1), record(scale=2)):
        with pytest.raises(RunError, match=r"got other values for (options|scale);"):
            RunFolder.create(tmp_path, other, resume=True)
    with pytest.raises(RunError, match="--resume"):
        RunFolder.create(tmp_path, record(), resume=False)
    assert (tmp_path / "config.json").read_text() == before


def test_resume_of_nothing_is_a_new_run(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "new", record(), resume=True)
    assert (tmp_path / "new" / "config.json").is_file()


def test_a_folder_without_config_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"expected a run folder with a config\.json"):
        RunFolder.open(tmp_path)


def test_events_become_lines_and_pictures_become_previews(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.log(Note("façade"))
    run.log(StepDone("fit", 3, 0.5, {"reconstruction": 0.25}, 1e5))
    run.log(Picture("candidate", torch.rand(4, 6, 3), "004.jpg"))
    run.log(StageDone("fit", 1.5))
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["Note", "StepDone", "StageDone"]
    assert lines[0]["text"] == "façade" and lines[1]["losses"] == {"reconstruction": 0.25}
    assert all(line["time"] > 1.7e9 for line in lines)
    with Image.open(tmp_path / "previews" / "candidate-004.png") as image:
        assert image.size == (6, 4)


def test_updated_views_become_a_line_and_where_they_are_exemplary_a_preview(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.log(ViewUpdated("training", 30, "photos/004.jpg", 2, 0.25, 0.1, torch.rand(4, 6, 3), True))
    run.log(ViewUpdated("training", 40, "photos/005.jpg", 2, 0.2, None, torch.rand(4, 6, 3), False))
    first, second = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert (first["event"], first["view"], first["timestep"]) == ("ViewUpdated", "photos/004.jpg", 0.25)
    assert "image" not in first
    assert second["change"] is None
    assert [file.name for file in (tmp_path / "previews").iterdir()] == ["update-photos-004-02.png"]


def test_images_are_written_as_they_are(tmp_path: Path) -> None:
    image = torch.randint(0, 256, (5, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mask = image[..., 0] > 100
    for value, wanted in ((image, image), (image.float() / 255, image), (mask, mask * 255)):
        path = RunFolder(tmp_path).write_image("renders/image.png", value)
        with Image.open(path) as written:
            assert np.array_equal(np.asarray(written), wanted.numpy())


def test_floats_are_clamped_and_rounded() -> None:
    values = torch.tensor([-0.5, 0.0, 0.499 / 255, 0.501 / 255, 1.0, 3.0])
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 255, 255]


def test_a_run_that_goes_on_elsewhere_records_where(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", {"seed": 1, "device": "cuda:0"}, resume=False)
    run = RunFolder.create(tmp_path / "run", {"seed": 1, "device": "cpu"}, resume=True)
    assert run.config["device"] == "cpu" and run.config["seed"] == 1 and run.config["versions"]


@dataclass(frozen=True)
class NewerPart:
    """A part of newer settings; fast and its own device came later."""

    rate: float = 0.1
    checkpoint_seconds: float = 30.0
    fast: bool = False
    device: str = "auto"


@dataclass(frozen=True)
class NewerSettings(Settings):
    """Settings of a later version."""

    part: NewerPart = NewerPart()
    other: NewerPart = NewerPart(rate=0.2)


def begin_and_go_on(folder: Path, begun: dict, later: NewerSettings) -> None:
    """A run that an earlier version recorded, with settings in a plain dictionary too, as some jobs have them."""
    (folder / "config.json").write_text(json.dumps({"options": begun, "more": {"part": begun.get("part", {})}}))
    RunFolder.create(folder, {"options": later, "more": {"part": later.part}}, resume=True)


def test_options_that_came_later_must_have_their_defaults(tmp_path: Path) -> None:
    earlier = {"seed": 0, "groups": [2, 2, 3], "part": {"rate": 0.1, "checkpoint_seconds": 10}}
    begin_and_go_on(tmp_path, earlier, NewerSettings())
    elsewhere = NewerSettings(part=NewerPart(device="cuda", checkpoint_seconds=5), other=NewerPart(0.2, device="cuda"))
    begin_and_go_on(tmp_path, earlier, elsewhere)
    for other in (
        NewerSettings(part=NewerPart(fast=True)), NewerSettings(other=NewerPart(rate=0.3)),
        NewerSettings(part=NewerPart(rate=0.2)), NewerSettings(seed=1),
    ):  # fmt: skip
        with pytest.raises(RunError, match=r"other values for .*options;"):
            begin_and_go_on(tmp_path, earlier, other)


def test_options_that_are_gone_are_a_difference(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="other values for options;"):
        begin_and_go_on(tmp_path, {"seed": 0, "groups": [2, 2, 3], "speed": 3}, NewerSettings())
