"""``unscene view``: a page about a run, served until it is ended."""

from __future__ import annotations

import threading
import urllib.request
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY_NERF
from unscene.cli import main
from unscene.fields.nerf import Nerf
from unscene.results.run import Run, keep_run
from unscene.scenes.transforms import write_transforms
from unscene.training.events import Note, Provenance
from unscene.training.run import RunFolder

pytest.importorskip("viser", reason="the studio's extra is not installed: pip install 'unscene[studio]'")

from unscene.studio.run_panel import cleaned_photo
from unscene.studio.server import plain
from unscene.studio.view import serve_run, view_run


@pytest.fixture
def run(tmp_path: Path, room) -> Run:
    folder = RunFolder.create(tmp_path / "run", {"job": "remove"}, resume=False)
    folder.log(Provenance("copies <b>of</b> [what](http://evil.example) is there"))
    folder.log(Note("a note"))
    nerf = Nerf.around(room.scene.cameras, TINY_NERF, torch.Generator().manual_seed(0))
    write_transforms(folder.path / "dataset", room.scene)
    return keep_run(folder, nerf, room.scene)


def test_a_run_is_served_until_it_is_ended(run):
    told, ended = [], threading.Event()
    options = {"host": "127.0.0.1", "port": 18010, "browser": False, "announce": told.append, "ended": ended}
    serving = threading.Thread(target=serve_run, args=(run.folder, "cpu"), kwargs=options)
    serving.start()
    while not told:
        serving.join(0.05)
        assert serving.is_alive()
    address = told[0].split()[0]
    assert urllib.request.urlopen(address, timeout=10).status == 200
    ended.set()
    serving.join(10)
    assert not serving.is_alive()


def test_a_port_that_is_taken_gives_the_next(run):
    first, second = view_run(run.folder, port=18020), view_run(run.folder, port=18020)
    assert first.address != second.address
    first.close()
    second.close()


def test_cleaned_photos_are_shown_in_their_colours(run, room):
    name = run.names[int(run.train[1])]
    assert (torch.from_numpy(cleaned_photo(run, name)) == room.scene.images[int(run.train[1])]).all()


def test_texts_are_shown_as_they_are():
    assert plain("a_b <b>*c*</b>") == r"a\_b \<b\>\*c\*\</b\>"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "203.0.113.5"], "--host 203.0.113.5: expected an address of this machine"),
        (["--port", "70000"], "--port: expected a number from 1 to 65535, got 70000."),
    ],
)
def test_addresses_that_cannot_be_listened_on(run, capsys, options, words):
    assert main(["view", str(run.folder), "--no-browser", *options]) == 1
    assert words in capsys.readouterr().err


def test_what_is_no_run_is_told_of(tmp_path, capsys):
    assert main(["view", str(tmp_path), "--no-browser"]) == 1
    assert "expected a run folder with a config.json" in capsys.readouterr().err
