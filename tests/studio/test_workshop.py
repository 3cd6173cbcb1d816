"""The studio without a page: what is pointed at, undone, kept, and handed to the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.segmentation.seen_box import overlap, truth
from tests.studio.conftest import QUICK, FinishedProcess
from unscene.file_names import view_files
from unscene.files import write_png
from unscene.scenes.load import load_scene
from unscene.segmentation.prompts import PromptError
from unscene.studio.studio_error import StudioError
from unscene.studio.workshop import Workshop


def place(view: int) -> tuple[float, float]:
    """The middle of the box in a photo, in shares of its size."""
    rows, columns = np.nonzero(truth()[view])
    height, width = truth().shape[1:]
    return float(np.median(columns)) / width, float(np.median(rows)) / height


def pointed(workshop: Workshop) -> np.ndarray:
    assert workshop.pointing is not None
    return workshop.pointing.masks


def test_a_click_finds_the_box_and_undo_forgets_it(workshop: Workshop) -> None:
    assert workshop.problem is None and workshop.pointing is None and not workshop.can_undo
    workshop.click(3, *place(3))
    workshop.wait_idle()
    assert overlap(pointed(workshop), truth()) > 0.8 and workshop.problem is None
    assert workshop.clicks(3) == [pytest.approx((*place(3), True))] and workshop.clicks(2) == []
    (mask,) = workshop.masks(3).values()
    assert workshop.scene is not None and mask.shape == tuple(workshop.scene.images.shape[1:3])
    found = pointed(workshop)
    workshop.start_over()
    assert workshop.pointing is None
    workshop.undo()
    assert (pointed(workshop) == found).all()
    workshop.undo()
    assert workshop.pointing is None and not workshop.can_undo


def test_a_click_is_seen_before_it_is_answered(workshop: Workshop) -> None:
    """Whatever is under way: it waits its turn, and the page shows where it was."""
    seen = []
    workshop.do(lambda: (workshop.click(3, *place(3)), seen.append((workshop.clicks(3), workshop.waiting))))  # pyright: ignore
    workshop.wait_idle()
    assert seen == [([(*place(3), True)], 1)] and workshop.waiting == 0


def test_a_slip_changes_nothing_and_says_why(workshop: Workshop) -> None:
    workshop.click(3, *place(3))
    workshop.click(3, 1.5, 0.5)
    workshop.wait_idle()
    assert workshop.problem is not None and "expected a click within the photo" in workshop.problem
    assert overlap(pointed(workshop), truth()) > 0.8
    workshop.start_over()
    workshop.click(3, *place(3), wanted=False)
    workshop.wait_idle()
    assert workshop.problem is not None and "first click on the object" in workshop.problem
    assert workshop.pointing is None


def test_a_first_look_that_leads_to_nothing_is_taken_back(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> None:
        assert workshop.pointing is not None  # what was seen at once
        raise PromptError("nothing there")

    assert workshop.session is not None
    monkeypatch.setattr(workshop.session, "select", nothing)
    monkeypatch.setattr(workshop.session, "glimpse", lambda prompt: pointed_at_nothing(workshop))
    workshop.click(3, *place(3))
    workshop.wait_idle()
    assert workshop.problem == "nothing there" and workshop.pointing is None and not workshop.can_undo


def pointed_at_nothing(workshop: Workshop) -> np.ndarray:
    assert workshop.session is not None
    return np.zeros(workshop.session.surfaces.depth.shape[1:], bool)


def test_a_removal_is_a_command_that_finds_the_masks(workshop: Workshop, started: list[tuple[str, ...]]) -> None:
    workshop.remove()
    workshop.wait_idle()
    assert not started and workshop.problem is not None and "expected an object" in workshop.problem
    workshop.click(3, *place(3))
    workshop.remove("--effort", "0.1")
    workshop.wait_idle()
    (words,) = started
    options = dict(zip(words[2::2], words[3::2], strict=True))
    out = workshop.out / "removals" / "1"
    assert words[:2] == ("remove", str(workshop.source)) and options["--effort"] == "0.1"
    assert options["--out"] == str(out) and workshop.removals.shown == out and options["--scale"] == "1"
    masks = load_scene(workshop.source, masks=options["--masks"]).masks
    assert masks is not None and overlap(masks.numpy(), truth()) > 0.8
    assert tuple(json.loads((workshop.out / "removals" / "1.json").read_text())) == words

    out.mkdir()
    workshop.go_on()
    workshop.remove_again("--in-n-out.base-view", "3")
    workshop.wait_idle()
    assert started[1] == (*words, "--resume")
    assert started[2][-4:] == ("--in-n-out.base-view", "3", "--start-from", str(out))
    assert workshop.removals.shown == workshop.out / "removals" / "2"


def test_opened_again_it_goes_on_where_it_was(workshop: Workshop, started: list[tuple[str, ...]]) -> None:
    (workshop.out / "removals" / "1").mkdir(parents=True)
    (workshop.out / "removals" / "1.json").write_text('["remove"]')
    again = Workshop(workshop.source, workshop.out, scale=1, options=QUICK)
    again.open_scene()
    again.go_on()
    again.wait_idle()
    assert again.problem is None and started == [("remove", "--resume")]
    again.close()


def test_what_cannot_be_opened_is_told(tmp_path: Path, exact_depths: None) -> None:
    (tmp_path / "transforms.json").write_text("{")
    workshop = Workshop(tmp_path, tmp_path / "out", options=QUICK)
    workshop.open_scene()
    workshop.click(0, 0.5, 0.5)
    workshop.wait_idle()
    assert workshop.problem is not None and workshop.session is None
    workshop.close()


def test_photos_are_captured_first(tmp_path: Path, started: list[tuple[str, ...]]) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"")
    workshop = Workshop(photos, tmp_path / "out", options=QUICK)
    workshop.open_scene()
    workshop.wait_idle()
    assert started == [("capture", str(photos), "--out", str(tmp_path / "out" / "scene"))]
    assert workshop.problem is not None  # as nothing was captured here
    workshop.close()


def test_only_pictures_are_taken_as_pictures(workshop: Workshop) -> None:
    with pytest.raises(StudioError, match="expected a picture"):
        workshop.keep_picture("x.sh", b"")
    kept = workshop.keep_picture("../../mine.PNG", b"pixels")
    assert kept == workshop.out / "pictures" / "1.png" and kept.read_bytes() == b"pixels"


# Several objects


def beside(workshop: Workshop) -> tuple[float, float]:
    """A place in photo 3 beside the box."""
    x, y = place(3)
    return x, min(y + 0.4, 0.95)


def masks_in(workshop: Workshop) -> np.ndarray:
    masks = load_scene(workshop.source, masks=workshop.out / "masks").masks
    assert masks is not None
    return masks.numpy()


def test_several_objects_are_told_apart_and_removed_together(workshop: Workshop, started: list) -> None:
    workshop.click(3, *place(3))
    workshop.another_object()
    workshop.another_object()  # there is an empty one already
    workshop.wait_idle()
    assert list(workshop.pointed.objects) == ["object", "object-2"] and workshop.pointing is None
    assert workshop.clicks(3) == []
    workshop.click(3, *beside(workshop))
    workshop.wait_idle()
    assert workshop.problem is None and list(workshop.masks(3)) == ["object", "object-2"]
    second = workshop.masks(3)["object-2"]
    assert second.any() and not (second & truth()[3]).any()
    assert workshop.clicks(3) == [pytest.approx((*beside(workshop), True))]
    workshop.remove()
    workshop.wait_idle()
    both = masks_in(workshop)
    assert overlap(both & ~second_of(workshop), truth()) > 0.8 and (both & second_of(workshop)).any()

    workshop.turn_to("object")
    workshop.wait_idle()
    assert workshop.clicks(3) == [pytest.approx((*place(3), True))]
    workshop.turn_to("object-2")
    workshop.wait_idle()
    workshop.start_over()
    workshop.remove()
    workshop.wait_idle()
    assert len(started) == 2 and overlap(masks_in(workshop), truth()) > 0.8  # the second went with its masks
    assert not (workshop.out / "masks" / "objects" / "object-2").exists()


def second_of(workshop: Workshop) -> np.ndarray:
    folder = workshop.out / "masks" / "objects" / "object-2"
    masks = load_scene(workshop.source, masks=folder).masks
    assert masks is not None
    return masks.numpy()


def test_undo_takes_back_another_object(workshop: Workshop) -> None:
    workshop.click(3, *place(3))
    workshop.another_object()
    workshop.wait_idle()
    workshop.undo()
    assert list(workshop.pointed.objects) == ["object"] and workshop.pointing is not None


def test_opened_again_it_shows_the_objects_of_before(workshop: Workshop, started: list) -> None:
    workshop.click(3, *place(3))
    workshop.remove()
    workshop.wait_idle()
    kept = masks_in(workshop)
    again = Workshop(workshop.source, workshop.out, scale=1, options=QUICK)
    again.open_scene()
    again.wait_idle()
    assert again.problem is None and not again.can_undo and (again.masks(3)["object"] == kept[3]).mean() > 0.99
    again.another_object()
    again.click(3, *beside(workshop))
    again.remove()
    again.wait_idle()
    assert again.problem is None and (kept & ~masks_in(again)).sum() == 0 and masks_in(again).sum() > kept.sum()
    again.close()


def test_masks_by_hand_are_the_first_object_s(workshop: Workshop, tmp_path: Path) -> None:
    assert workshop.scene is not None
    file = view_files(workshop.scene.names)[workshop.scene.names[2]]
    write_png(tmp_path / "by-hand" / f"{file}.png", truth()[2].astype(np.uint8) * 255)
    taught = Workshop(workshop.source, tmp_path / "taught", scale=1, masks=tmp_path / "by-hand", options=QUICK)
    taught.open_scene()
    taught.click(3, *place(3))
    taught.another_object()
    taught.click(3, *beside(workshop))
    taught.wait_idle()
    assert taught.problem is None
    assert taught._by_hand == (2,)
    drawn = taught.masks(2)
    assert overlap(drawn["object"][None], truth()[2][None]) > 0.8
    assert drawn["object-2"].sum() > truth()[2].sum() and not (drawn["object-2"] & truth()[2]).any()
    taught.close()


def test_one_removal_at_a_time(workshop: Workshop, started: list, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.click(3, *place(3))
    workshop.remove()
    workshop.wait_idle()
    monkeypatch.setattr(FinishedProcess, "poll", lambda _: None)
    assert workshop.removals.is_running
    workshop.remove()
    workshop.wait_idle()
    assert len(started) == 1 and workshop.problem is not None and "one removal at a time" in workshop.problem
