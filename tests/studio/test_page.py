"""What the page makes of presses and clicks, without a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("viser", reason="the studio's extra is not installed: pip install 'unscene[studio]'")

from tests.segmentation.seen_box import overlap, truth
from tests.studio.test_door import free_port
from tests.studio.test_workshop import place
from unscene.file_names import view_files
from unscene.files import write_png
from unscene.studio.page import BOX, NOT_OBJECT, Page
from unscene.studio.server import open_server
from unscene.studio.workshop import Workshop


@pytest.fixture
def page(workshop: Workshop) -> Iterator[Page]:
    server, _ = open_server(port=free_port())
    opened = Page(server, workshop, "cpu")
    yield opened
    opened.close()
    server.stop()


def wide(aspect: float) -> SimpleNamespace:
    return SimpleNamespace(camera=SimpleNamespace(aspect=aspect))


def aspect_of(workshop: Workshop) -> float:
    assert workshop.scene is not None
    return workshop.scene.cameras.width / workshop.scene.cameras.height


def test_a_click_in_a_wide_window_hits_what_is_under_it(page: Page, workshop: Workshop) -> None:
    page._view.value = 3
    x, y = place(3)
    half = SimpleNamespace(client=wide(2 * aspect_of(workshop)), screen_pos=(0.25 + x / 2, y))
    page._clicked(half)
    workshop.wait_idle()
    assert workshop.pointing is not None and overlap(workshop.pointing.masks, truth()) > 0.8
    assert not page._remove.disabled and not page._undo.disabled and not page._help.visible
    page._clicked(SimpleNamespace(client=half.client, screen_pos=(0.1, 0.5)))  # beside the photo
    workshop.wait_idle()
    assert workshop.problem is None and len(workshop.clicks(3)) == 1
    page._tool.value = NOT_OBJECT
    page._clicked(half)
    workshop.wait_idle()
    assert [wanted for *_, wanted in workshop.clicks(3)] == [True, False]


def test_a_box_that_leaves_the_photo_ends_at_its_rim(page: Page, workshop: Workshop) -> None:
    page._view.value, page._tool.value = 3, BOX
    rows, columns = np.nonzero(truth()[3])
    height, width = truth().shape[1:]
    first, last = (columns.min() / width - 0.02, rows.min() / height - 0.02), (columns.max() / width + 0.03, 1.2)
    page._boxed(SimpleNamespace(client=wide(aspect_of(workshop)), screen_min=first, screen_max=last))
    workshop.wait_idle()
    assert workshop.problem is None and workshop.pointing is not None
    page._boxed(SimpleNamespace(client=wide(aspect_of(workshop)), screen_min=(0.5, 0.5), screen_max=(0.501, 0.501)))
    workshop.undo()
    assert workshop.pointing is None  # the slip of the hand was no second step


def test_what_there_is_to_know_of_the_scene_is_shown(page: Page, workshop: Workshop) -> None:
    workshop.notes.append("a <b>note</b>")
    page.refresh()
    assert page._notes.visible and r"a \<b\>note" in page._noted.content and "computing on" in page._noted.content


def test_another_base_view_starts_from_the_removal_shown(
    page: Page, workshop: Workshop, started: list[tuple[str, ...]]
) -> None:
    workshop.click(3, *place(3))
    workshop.remove()
    workshop.wait_idle()
    first = workshop.removals.shown
    assert first is not None and workshop.scene is not None and not page._another.visible
    file = view_files(workshop.scene.names)[workshop.scene.names[2]]
    (first / "previews").mkdir(parents=True)
    (first / "config.json").write_text(json.dumps({"job": "remove", "options": {}}))
    write_png(first / "previews" / f"candidate-{file}.png", np.zeros((4, 4, 3), np.uint8))
    page.refresh()
    assert page._another.visible and page._base.value == file
    picture = page._candidate()
    page._remove_again(picture)
    page._remove_again(None)
    workshop.wait_idle()
    taken, anew = (dict(zip(words[2::2], words[3::2], strict=True)) for words in started[1:])
    assert picture is not None and taken["--in-n-out.base-picture"] == str(picture)
    assert taken["--in-n-out.base-view"] == anew["--in-n-out.base-view"] == workshop.scene.names[2]
    assert taken["--start-from"] == str(first) and int(anew["--in-n-out.base-seed"]) > 0


def test_objects_are_chosen_among_once_there_are_two(page: Page, workshop: Workshop) -> None:
    assert page._beside.disabled and not page._which.visible
    workshop.click(3, *place(3))
    workshop.wait_idle()
    assert not page._beside.disabled and not page._which.visible
    workshop.another_object()
    workshop.wait_idle()
    assert page._which.visible and page._which.options == ("object", "object-2") and page._which.value == "object-2"
    assert not page._remove.disabled and page._anew.disabled  # the first can go already
