"""`unscene mask` from a folder of photos to masks that `unscene remove` reads."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.box_scene import write_capture
from tests.segmentation.seen_box import depths_of, overlap, seen_box, truth
from unscene.cli import main
from unscene.jobs.mask import CONTACT_SHEET, mask
from unscene.jobs.mask_options import MaskOptions, read_pointers
from unscene.scenes.load import load_partly_masked, load_scene
from unscene.segmentation.prompts import Click, PromptError

NAMES = ("left/a.jpg", "left/b.jpg", "right/b.jpg")


@pytest.fixture
def exact_depths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Depths that are right after a fit of two steps; the list grows by one with every fit."""
    fits: list[int] = []

    def depths(field: object, cameras: object) -> Generator[None, None, torch.Tensor]:
        fits.append(1)
        yield from ()
        return torch.from_numpy(depths_of(seen_box()[0]))

    monkeypatch.setattr("unscene.segmentation.fitted_surfaces.median_depths", depths)
    return fits


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    scene, _ = seen_box()
    return write_capture(tmp_path / "capture", scene.with_masks(None))


def read(folder: Path) -> np.ndarray:
    files = sorted(folder.glob("0*.png"))
    return np.stack([cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) > 127 for file in files])


def middle() -> str:
    rows, columns = np.nonzero(truth()[3])
    return f"003,{int(np.median(columns))},{int(np.median(rows))}"


def test_clicks_make_masks_that_a_removal_reads(capture: Path, tmp_path: Path, exact_depths: list[int]) -> None:
    out = tmp_path / "masks"
    quick = ["--scale", "1", "--fit.steps", "2", "--rays", "64", "--out", str(out)]
    assert main(["mask", str(capture), *quick, "--click", middle(), "--name", "box"]) == 0
    assert overlap(read(out), truth()) > 0.85
    assert (read(out) == read(out / "objects" / "box")).all()
    assert (out / CONTACT_SHEET).is_file() and (out / "report.html").is_file()
    loaded = load_scene(capture, holdout=0, masks=out)
    assert not any("left out" in note for note in loaded.notes)
    assert loaded.masks is not None and (loaded.masks.numpy() == read(out)).all()

    assert main(["mask", str(capture), *quick, "--click", "3,48,70", "--name", "floor"]) == 0
    assert len(exact_depths) == 1, "the field is kept"
    floor = read(out / "objects" / "floor")
    assert (read(out) == (floor | read(out / "objects" / "box"))).all()


def test_masks_made_by_hand_stay(capture: Path, tmp_path: Path, exact_depths: list[int]) -> None:
    hand = tmp_path / "hand"
    hand.mkdir()
    drawn = truth()[2].copy()
    drawn[:3, :3] = True
    cv2.imwrite(str(hand / "002.png"), drawn.astype(np.uint8) * 255)
    scene, by_hand = load_partly_masked(capture, masks=hand)
    assert by_hand == (2,)
    options = MaskOptions(fit=MaskOptions().fit.scaled(0.002), rays=64)
    made = mask(scene, tmp_path / "out", options, by_hand=by_hand).masks.numpy()
    assert (made[2] == drawn).all()
    others = [0, 1, 3, 4, 5, 6, 7]
    assert overlap(made[others], truth()[others]) > 0.85


def test_a_folder_of_another_scene_is_left_alone(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    assert main(["mask", str(capture), "--out", str(out), "--click", "0,48,40"]) == 1
    assert "expected a new or empty output folder" in capsys.readouterr().err
    assert [file.name for file in out.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected something that shows the object"),
        (["--click", "0,48"], "click: expected VIEW,X,Y"),
        (["--click", "nobody,4,4"], "the photos are 000.png to 007.png"),
        (["--click", "0,4,nan"], "click: expected VIEW,X,Y"),
        (["--box", "0,4,4,9"], "box: expected VIEW,X,Y,WIDTH,HEIGHT"),
        (["--click", "0,4000,4"], "within the photo"),
        (["--click", "0,4,4", "--name", "../up"], "name: expected a word"),
        (["--click", "0,4,4", "--segmenter", "nothing"], "segmenter: expected surface"),
    ],
)
def test_prompts_are_judged_before_anything_is_written(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], words: str
) -> None:
    assert main(["mask", str(capture), "--out", str(tmp_path / "out"), *arguments]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_clicks_are_in_pixels_of_the_full_photo() -> None:
    pointers = read_pointers(MaskOptions(click=("left/b.jpg,10,21", "a,3,3"), not_=("1,0,0",)), NAMES, scale=4)
    assert pointers.first == Click(1, 10.5 / 4, 21.5 / 4)
    assert pointers.edits == (Click(0, 3.5 / 4, 3.5 / 4), Click(1, 0.125, 0.125, wanted=False))


def test_a_name_of_two_photos_is_refused() -> None:
    with pytest.raises(PromptError, match="several photos are called so"):
        read_pointers(MaskOptions(click=("b,1,1",)), NAMES, scale=1)
