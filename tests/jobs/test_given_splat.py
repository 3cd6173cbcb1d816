"""A given splat without its object, from the command line to the file: with photos and without; what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.box_scene import BoxScene, write_capture
from tests.scenes.test_posed_masks import cameras_of_3dgs, write_masks
from tests.splat_room import room_gaussians
from unscene.cli import main
from unscene.fields.splats import Splats
from unscene.files import to_uint8
from unscene.jobs.given_splat import GivenSplat, check_frame, in_its_coordinates, open_splat, without_object
from unscene.results.run import open_run, open_under_way
from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene
from unscene.splat_files import splat_file
from unscene.splat_files.formats import read_splats, write_splats
from unscene.splat_files.splat_error import SplatError
from unscene.splat_files.splat_file import SplatFile, silent
from unscene.stages.splat_filling import TracedGaussians

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ["--prior", "telea", "--effort", "0.01", "--video-frames", "2", "--mask-margin", "1"]


@pytest.fixture(scope="module")
def given(room: BoxScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The room's Gaussians as a file with a number for each."""
    gaussians, _ = room_gaussians(room)
    path = tmp_path_factory.mktemp("splat") / "room.ply"
    extras = {"label": np.arange(len(gaussians), dtype=np.int32) + 1}
    write_splats(path, SplatFile(gaussians, extras, comments=("made by hand",)))
    return path


@pytest.fixture(scope="module")
def photographed(room: BoxScene) -> Scene:
    """The room as its Gaussians show it."""
    gaussians, _ = room_gaussians(room)
    field = Splats.around(room.scene.cameras, gaussians)
    photos = [to_uint8(field.draw(room.scene.cameras, view).color) for view in range(8)]
    return room.scene.with_images(torch.arange(8), photos)


def rows_of(path: Path) -> dict[int, bytes]:
    """The numbers of each Gaussian of a file that has a label, by that."""
    content = read_splats(path)
    numbers = np.concatenate([t.numpy().reshape(len(content.gaussians), -1) for t in content.gaussians.tensors], 1)
    labels = content.extras["label"].tolist()
    return {label: row.tobytes() for label, row in zip(labels, numbers, strict=True) if label}


def check(out: Path, given: Path) -> None:
    """What is left of the file is as it was, but at the hole's border; there are new ones, and the rest of a run."""
    before, after = rows_of(given), rows_of(out / "scene.ply")
    assert set(after) < set(before) and len(after) > 0.4 * len(before)
    assert sum(after[label] == before[label] for label in after) > 0.6 * len(after)
    written = read_splats(out / "scene.ply")
    assert written.comments == ("made by hand",)
    labels = written.extras["label"]
    assert (np.diff(labels[labels > 0]) > 0).all() and (labels == 0).sum() > 20  # in the file's order, new ones behind
    assert (out / "report.html").is_file() and len(list((out / "dataset" / "images").iterdir())) == 8
    assert isinstance(open_run(out, "cpu").field, Splats)
    (out / "splats.ply").unlink()
    assert open_under_way(out, "cpu") is None  # its checkpoints have what fills the hole, not the rest


def test_with_photos_the_data_set_is_of_photos(
    given: Path, photographed: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, out = write_capture(tmp_path / "room", photographed), tmp_path / "run"
    assert main(["remove", str(scene), "--splat", str(given), "--out", str(out), *QUICK]) == 0
    check(out, given)
    log = (out / "events.jsonl").read_text(encoding="utf-8")
    assert "renders agree with 8 photos by" in log and "Gaussians are the object" in log
    assert "the field is Gaussian splats" in log
    cleaned = load_scene(out / "dataset", holdout=0)
    assert photographed.masks is not None
    outside = ~torch.nn.functional.max_pool2d(photographed.masks.float(), 3, 1, 1).bool()
    assert torch.equal(cleaned.images[outside], photographed.images[outside])
    assert (cleaned.images != photographed.images)[~outside].any(-1).float().mean() > 0.5


def test_poses_and_masks_are_enough(given: Path, room: BoxScene, tmp_path: Path) -> None:
    """A scene whose photos are gone, and the cameras.json of 3DGS, give the same."""
    scene = write_capture(tmp_path / "room", room.scene)
    for photo in (scene / "images").iterdir():
        photo.unlink()
    assert main(["remove", str(scene), "--splat", str(given), "--out", str(tmp_path / "a"), *QUICK]) == 0
    check(tmp_path / "a", given)
    cameras = tmp_path / "cameras.json"
    cameras.write_text(json.dumps(cameras_of_3dgs(room.scene)), encoding="utf-8")
    masks = write_masks(tmp_path / "masks of it", room.scene)
    arguments = ["--cameras", str(cameras), "--masks", str(masks), "--splat", str(given)]
    assert main(["remove", *arguments, "--out", str(tmp_path / "b"), *QUICK]) == 0
    check(tmp_path / "b", given)
    images = [load_scene(tmp_path / run / "dataset", holdout=0).images.float() for run in "ab"]
    assert images[0].std() > 20 and (images[0] - images[1]).abs().mean() < 3


def test_a_splat_of_another_frame_is_refused_with_the_number(
    given: Path, photographed: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is written."""
    content = read_splats(given)
    turned = content.gaussians.means[:, [1, 2, 0]].contiguous()
    path = tmp_path / "turned.ply"
    write_splats(path, dataclasses.replace(content, gaussians=dataclasses.replace(content.gaussians, means=turned)))
    scene, out = write_capture(tmp_path / "room", photographed), tmp_path / "run"
    assert main(["remove", str(scene), "--splat", str(path), "--out", str(out), *QUICK]) != 0
    complaint = " ".join(capsys.readouterr().err.split())
    assert "expected a splat in the coordinates of the poses" in complaint and "dB only" in complaint
    assert not out.exists()
    agreement = check_frame(photographed, GivenSplat(given, content, True))
    assert float(agreement.split(" by ")[1].split()[0]) > 40  # the photos are its renders


@pytest.mark.parametrize(("fill", "complaint"), [(0, "nothing to remove"), (255, "leave some of each photo")])
def test_masks_that_select_nothing_or_all_are_refused(
    given: Path, room: BoxScene, tmp_path: Path, capsys: pytest.CaptureFixture[str], fill: int, complaint: str
) -> None:
    assert room.scene.masks is not None
    empty = room.scene.with_masks(torch.full_like(room.scene.masks, bool(fill)))
    arguments = ["remove", str(write_capture(tmp_path / "room", empty)), "--splat", str(given)]
    assert main([*arguments, "--out", str(tmp_path / "run"), *QUICK]) != 0
    assert complaint in " ".join(capsys.readouterr().err.split())


def test_masks_beside_everything_are_refused(
    given: Path, photographed: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A corner that no Gaussian keeps to: each is seen elsewhere too."""
    assert photographed.masks is not None
    masks = torch.zeros_like(photographed.masks)
    masks[0, :2, :2] = True
    scene = write_capture(tmp_path / "room", photographed.with_masks(masks))
    content = read_splats(given)
    kept = content.gaussians[_seen_by_others(photographed, content)]
    path = tmp_path / "some.ply"
    write_splats(path, SplatFile(kept))
    assert main(["remove", str(scene), "--splat", str(path), "--out", str(tmp_path / "run"), *QUICK]) != 0
    assert "expected them to cover Gaussians of the splat" in " ".join(capsys.readouterr().err.split())


def _seen_by_others(scene: Scene, content: SplatFile) -> torch.Tensor:
    from unscene.stages.splat_selection import rendered_weights

    corner = torch.zeros(8, 36, 48, dtype=torch.bool)
    corner[0, :2, :2] = True
    return rendered_weights(content.gaussians, scene.cameras, scene.train, corner).share < 0.05


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ROOM", "--method", "naive", "--field", "splats", "--naive.rays", "5"], "--naive.rays: expected a radiance"),
        (["ROOM", "--method", "spin-nerf", "--splat", "SPLAT"], "--method spin-nerf: expected in-n-out"),
        (["ROOM", "--splat", "SPLAT", "--in-n-out.restart"], "--in-n-out.restart: expected a radiance field"),
        (["--splat", "SPLAT"], "expected either a scene or --cameras"),
        (["ROOM", "--cameras", "ROOM/transforms.json", "--splat", "SPLAT"], "got both"),
        (["--cameras", "ROOM/transforms.json"], "--cameras: expected --splat FILE with it"),
        (["ROOM", "--splat", "ROOM/transforms.json"], "expected .ply, .splat, .spz, .sog"),
        (["ROOM", "--splat", "SPLAT", "--start-from", "ROOM"], "--start-from: expected a scene that is reconstructed"),
        (["ROOM", "--field", "splats", "--clean"], "--clean: expected a radiance field"),
        (
            ["--cameras", "ROOM/transforms.json", "--masks", "ROOM/masks", "--splat", "SPLAT", "--grow-shadow"],
            "--grow-shadow: expected photos",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    given: Path, photographed: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str],
    complaint: str,
) -> None:  # fmt: skip
    room = write_capture(tmp_path / "room", photographed)
    filled = [text.replace("ROOM", str(room)).replace("SPLAT", str(given)) for text in arguments]
    assert main(["remove", *filled, "--out", str(tmp_path / "run"), *QUICK]) != 0
    assert complaint in " ".join(capsys.readouterr().err.split()) and not (tmp_path / "run").exists()


def test_memory_is_told_before_editing_begins(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    amount = 4e-9 * sum(tensor.numel() for tensor in read_splats(given).gaussians.tensors)
    between = (splat_file.COPIES + 1) * amount  # what reading takes, and what editing does
    monkeypatch.setattr(splat_file, "WORTH_SAYING_GB", between)
    open_splat(given, has_photos=False, announce=said.append)
    assert len(said) == 1 and "room.ply: editing" in said[0] and "GB of memory" in said[0]
    monkeypatch.setattr(splat_file, "machine_memory_gb", lambda: (1.0, between))
    with pytest.raises(SplatError, match="expected a splat that can be edited in memory"):
        open_splat(given, has_photos=False, announce=silent)


def test_far_scenes_meet_their_splat_in_its_coordinates(given: Path, photographed: Scene) -> None:
    """A scene's own origin is added back, the splat's is taken off; no Gaussian moves."""
    origin = torch.tensor([5e5, 4e6, 100.0], dtype=torch.float64)
    content = dataclasses.replace(read_splats(given), comments=("scene_origin 500000 4000001 100",))
    moved = in_its_coordinates(dataclasses.replace(photographed, origin=origin), GivenSplat(given, content, True))
    shift = moved.cameras.positions - photographed.cameras.positions
    torch.testing.assert_close(shift, torch.tensor([0.0, -1.0, 0.0]).expand(8, 3))
    assert moved.origin.tolist() == [5e5, 4000001.0, 100.0]


def test_rows_go_back_to_their_places_with_all_that_was_said_of_them(given: Path) -> None:
    content = read_splats(given)
    traced = TracedGaussians.of_file(content.gaussians)[torch.tensor([7, 2, 5])].and_new(content.gaussians[:2])
    file = without_object(GivenSplat(given, content, False), traced.gaussians, traced.rows)
    assert file.extras["label"].tolist() == [3, 6, 8, 0, 0] and file.extras["label"].dtype == np.int32
    assert torch.equal(file.gaussians.means, content.gaussians.means[[2, 5, 7, 0, 1]])
