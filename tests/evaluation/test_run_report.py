"""The report of a removal begins with what was done, by which part, and with the object's place shown without it."""

from __future__ import annotations

import re

import pytest
import torch

from tests.box_scene import box_scene
from unscene.evaluation.run_report import report_run
from unscene.fields.nerf import Nerf, NerfConfig
from unscene.scenes.scene import Scene
from unscene.stages.removal import Removal
from unscene.training.events import Note, Provenance
from unscene.training.run import RunFolder

VIEWS, WIDTH, HEIGHT = 4, 40, 30


@pytest.fixture
def scene() -> Scene:
    """The object covers columns 20 to 29 of every photo, of the last one 12 to 29."""
    scene = box_scene(views=VIEWS, width=WIDTH, height=HEIGHT).scene
    masks = torch.zeros(VIEWS, HEIGHT, WIDTH, dtype=torch.bool)
    masks[:, 5:15, 20:30] = masks[-1, 5:15, 12:30] = True
    return scene.with_masks(masks)


def page(tmp_path, scene: Scene, filled: torch.Tensor, *events) -> str:
    folder = RunFolder.create(tmp_path / "run", {"job": "remove"}, resume=False)
    for event in events:
        folder.log(event)
    nerf = Nerf.around(scene.cameras, NerfConfig(), torch.Generator().manual_seed(0))
    summary = {"method": "in-n-out", "preset": "laptop", "prior": "copies of copies"}
    path = report_run(folder, scene, Removal(nerf, scene, filled), {}, summary, 0, [], [])
    return path.read_text(encoding="utf-8")


def headline(text: str) -> str:
    found = re.search(r'<p class="headline">(.*?)</p>', text)
    assert found
    return found[1]


def test_the_slider_starts_left_of_the_object_in_every_view(tmp_path, scene):
    text = page(tmp_path, scene, scene.masks, Note("x"))
    (at,) = {int(found) for found in re.findall(r"--at: (\d+)%", text)}
    assert 12 / WIDTH * 100 - 3 <= at < 12 / WIDTH * 100
    assert set(re.findall(r'max="100" value="(\d+)"', text)) == {str(at)}


def test_the_headline_says_how_much_was_invented_and_by_what(tmp_path, scene):
    filled = scene.masks.clone()
    filled[:, :10] = False  # half of what was hidden was seen from elsewhere
    filled[:, 20:] = True  # a margin beyond the object does not count
    text = page(tmp_path, scene, filled, Note("a note"), Provenance("the base view's picture: a painter"))
    assert headline(text) == (
        f"in-n-out took the object out of {VIEWS} photos: other photos show 50% of what it hid, 50% was invented; "
        "the base view&#39;s picture: a painter."
    )


def test_a_method_that_does_not_say_is_credited_by_its_prior(tmp_path, scene):
    assert headline(page(tmp_path, scene, scene.masks, Note("a note"))) == (
        f"in-n-out took the object out of {VIEWS} photos and invented all that it hid; invented by copies of copies."
    )


def test_nothing_invented_is_said_too(tmp_path, scene):
    text = headline(page(tmp_path, scene, torch.zeros_like(scene.masks), Provenance("a painter")))
    assert text.endswith("so nothing was invented.")
