"""The numbered examples run, with few steps."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import unscene
from tests.box_scene import box_scene, write_capture

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "capture", box_scene().scene)


def example(name: str):
    return runpy.run_path(str(EXAMPLES / name))["main"]


def test_fit_a_scene(capture: Path, tmp_path: Path) -> None:
    example("01_fit_a_scene.py")(str(capture), str(tmp_path / "run"), steps=3)
    assert len(list((tmp_path / "run" / "orbit").glob("*.png"))) == 72


def test_remove_an_object(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On the small room in place of the still life, whose pictures take a minute to fill."""
    monkeypatch.setattr(unscene, "still_life", lambda: box_scene(test_views=2).scene, raising=False)
    example("02_remove_an_object.py")(str(tmp_path / "run"), effort=0.005)
    assert "psnr_masked" in capsys.readouterr().out


def test_bring_your_own_masks(capture: Path, tmp_path: Path) -> None:
    room = box_scene().scene
    assert room.masks is not None
    red, green, blue = (room.images[room.masks].float().mean(0) / 255).tolist()
    example("03_bring_your_own_masks.py")(str(capture), str(tmp_path / "run"), (red, green, blue), effort=0.003)
    assert (tmp_path / "run" / "dataset" / "transforms.json").is_file()


def test_see_an_object_from_the_side(tmp_path: Path) -> None:
    example("04_see_an_object_from_the_side.py")("example", str(tmp_path / "run"))
    assert len(list((tmp_path / "run" / "views").glob("*.png"))) == 2


def test_every_example_is_tested() -> None:
    source = Path(__file__).read_text()
    assert all(f'example("{file.name}")' in source for file in EXAMPLES.glob("*.py"))
