"""``unscene view``: a page about a run, served until it is ended."""

from __future__ import annotations

import threading
import urllib.request
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY_NERF
from tests.splat_files.random_gaussians import random_gaussians
from unscene.cli import main
from unscene.fields.nerf import Nerf
from unscene.fields.splats import Splats
from unscene.results.run import Run, keep_run
from unscene.scenes.transforms import write_transforms
from unscene.splat_files.formats import write_splats
from unscene.splat_files.splat_file import SplatFile
from unscene.training.events import Note, Provenance
from unscene.training.run import RunFolder

pytest.importorskip("viser", reason="the studio's extra is not installed: pip install 'unscene[studio]'")

from unscene.studio.run_panel import cleaned_photo
from unscene.studio.server import plain
from unscene.studio.splat_view import show_splats, view_file
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


def test_a_file_of_splats_is_shown(tmp_path: Path) -> None:
    """viser gets the Gaussians' own centres, shapes, colours and opacities."""
    gaussians = random_gaussians(30, 1)
    write_splats(tmp_path / "a.ply", SplatFile(gaussians))
    said: list[str] = []
    page = view_file(tmp_path / "a.ply", port=18040, announce=said.append)
    try:
        assert page.address.startswith("http://127.0.0.1:")
        assert urllib.request.urlopen(page.address, timeout=10).status == 200
    finally:
        page.close()
    assert said == []


def test_splats_reach_the_page_as_they_are() -> None:
    gaussians, given = random_gaussians(20, 0), {}

    class Server:
        class scene:
            @staticmethod
            def add_gaussian_splats(name: str, **values: object) -> None:
                given.update(values)

    show_splats(Server, gaussians)
    shapes = gaussians.rotations @ torch.diag_embed(gaussians.scales**2) @ gaussians.rotations.mT
    scale = given["scale"]
    torch.testing.assert_close(torch.from_numpy(given["covariances"]) * scale**2, shapes)
    torch.testing.assert_close(torch.from_numpy(given["centers"]) * scale, gaussians.means)
    assert given["opacities"].shape == (20, 1)
    gaussians.log_scales[0] = 30.0
    show_splats(Server, gaussians)
    assert (given["covariances"] < 65504).all()


def test_a_run_of_splats_is_shown_by_the_browser(tmp_path: Path, room, monkeypatch: pytest.MonkeyPatch) -> None:
    splats = Splats.around(room.scene.cameras, random_gaussians(40, 0))
    folder = RunFolder.create(tmp_path / "run", {"job": "fit"}, resume=False)
    kept = keep_run(folder, splats, room.scene)
    (kept.folder / "metrics.json").write_text("{}")
    shown: list[int] = []
    monkeypatch.setattr("unscene.studio.view.show_splats", lambda server, gaussians: shown.append(len(gaussians)))
    page = view_run(kept.folder, "cpu", port=18050)
    page.close()
    assert shown == [len(splats.used)]


def test_what_is_no_file_of_splats_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n")
    assert main(["view", str(tmp_path / "a.ply"), "--no-browser"]) == 1
    assert "expected a 3DGS splat" in capsys.readouterr().err
