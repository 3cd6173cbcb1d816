"""Photos of a room whose cameras are known become a scene, whole, interrupted, and where they cannot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from PIL import Image

from tests.capture.rooms import Lens, arc, centre_error, photo, turning, write_photos
from unscene.capture.capture_error import CaptureError
from unscene.cli import main
from unscene.jobs.capture import Captured, CaptureOptions, capture_scene
from unscene.scenes.load import load_scene
from unscene.training.events import Event, ItemDone, Note, StageStarted, Watch
from unscene.training.run import RunError

VIEWS = 7
LENS = Lens(k1=-0.08)
STAGES = ("features", "matches", "poses", "undistorted photos")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, arc(VIEWS), LENS)
    (folder / "notes.txt").write_text("not a photo")
    return folder


@pytest.fixture(scope="module")
def made(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Captured, list[Event]]:
    events: list[Event] = []
    return capture_scene(photos, tmp_path_factory.mktemp("scenes") / "room", watch=events.append), events


def centres(scene: Path) -> np.ndarray:
    return load_scene(scene, holdout=0).cameras.positions.numpy().astype(float)


def truth(views: int = VIEWS) -> np.ndarray:
    return np.stack([pose[:, 3] for pose in arc(views)])


def notes(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Note))


def test_cameras_stand_where_they_stood(made: tuple[Captured, list[Event]]) -> None:
    captured, events = made
    assert len(captured.photos) == VIEWS and captured.missing == () and captured.models == (VIEWS,)
    assert captured.reprojection_error < 1 and captured.points > 100
    assert centre_error(centres(captured.folder), truth()) < 0.01
    assert [event.stage for event in events if isinstance(event, StageStarted)] == list(STAGES)
    assert "notes.txt" in notes(events) and f"{VIEWS} of {VIEWS} photos have a pose" in notes(events)


def test_every_stage_says_how_far_it_is(made: tuple[Captured, list[Event]]) -> None:
    for stage in STAGES:
        done = [event for event in made[1] if isinstance(event, ItemDone) and event.stage == stage]
        assert done and done[-1].done == done[-1].total, stage
        assert [event.done for event in done] == sorted(event.done for event in done)


def test_both_files_of_cameras_say_the_same(made: tuple[Captured, list[Event]]) -> None:
    folder = made[0].folder
    by_json, by_colmap = load_scene(folder), load_scene(folder / "sparse" / "0")
    assert by_json.names == by_colmap.names == tuple(f"IMG_{view:03}.jpg" for view in range(VIEWS))
    for name in ("T_world_camera", "focal", "principal", "distortion"):
        np.testing.assert_allclose(getattr(by_json.cameras, name), getattr(by_colmap.cameras, name), atol=1e-4)
    assert not by_json.cameras.distortion.any() and by_json.notes == by_colmap.notes == ()
    assert by_colmap.points is not None and len(by_colmap.points) == made[0].points


def test_photos_fit_their_cameras(made: tuple[Captured, list[Event]]) -> None:
    """Traced anew with the pinhole cameras that were found, from where the photos were taken."""
    scene = load_scene(made[0].folder)
    for view in (0, VIEWS // 2):
        focal = float(scene.cameras.focal[view, 0])
        expected = photo(arc(VIEWS)[view], Lens(focal))[..., ::-1].astype(float)
        assert abs(scene.images[view].numpy() - expected).mean() < 9
    assert focal == pytest.approx(LENS.focal / 1.02, rel=0.05)


def test_observations_and_colours_are_those_of_the_undistorted_photos(made: tuple[Captured, list[Event]]) -> None:
    folder = made[0].folder
    model = pycolmap.Reconstruction(folder / "sparse" / "0")
    assert {camera.model_name for camera in model.cameras.values()} == {"PINHOLE"}
    stated = model.compute_mean_reprojection_error()
    model.update_point_3d_errors()
    assert model.compute_mean_reprojection_error() == pytest.approx(stated, abs=0.1)
    image = next(iter(model.images.values()))
    pixels = cv2.imread(str(folder / "images" / image.name))
    assert pixels is not None
    seen = [point for point in image.points2D if point.has_point3D()]
    shown = np.array([pixels[int(p.y()), int(p.x()), ::-1] for p in seen], float)
    colors = np.array([model.points3D[p.point3D_id].color for p in seen], float)
    assert abs(shown - colors).mean() < 15 < abs(shown - np.roll(colors, 1, 0)).mean()


def test_what_a_capture_leaves(made: tuple[Captured, list[Event]], photos: Path) -> None:
    folder = made[0].folder
    assert {file.name for file in folder.iterdir()} == {
        "checkpoint", "config.json", "events.jsonl", "images", "metrics.json", "previews", "report.html", "sparse",
        "sparse_pc.ply", "transforms.json",
    }  # fmt: skip
    assert {file.name for file in photos.iterdir()} == {f"IMG_{i:03}.JPG" for i in range(VIEWS)} | {"notes.txt"}
    page = (folder / "report.html").read_text()
    assert f"{VIEWS} of {VIEWS}" in page and "from above" in page and "reprojection error" in page
    above = cv2.imread(str(next((folder / "previews").glob("*.png"))))
    assert above is not None and len(np.unique(above.reshape(-1, 3), axis=0)) > 100


def test_a_rerun_gives_the_same(made: tuple[Captured, list[Event]], photos: Path, tmp_path: Path) -> None:
    again = capture_scene(photos, tmp_path / "again")
    assert again.points == made[0].points
    np.testing.assert_allclose(centres(again.folder), centres(made[0].folder), atol=1e-5)


def test_a_finished_capture_is_done_and_another_s_folder_is_not_touched(
    made: tuple[Captured, list[Event]], photos: Path
) -> None:
    events: list[Event] = []
    assert capture_scene(photos, made[0].folder, resume=True, watch=events.append) == made[0] and not events
    with pytest.raises(RunError, match="expected a new or empty output folder"):
        capture_scene(photos, made[0].folder)
    with pytest.raises(RunError, match="other values for options"):
        capture_scene(photos, made[0].folder, CaptureOptions(features=500), resume=True)


def test_a_capture_goes_on_from_every_stage(
    made: tuple[Captured, list[Event]], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in each stage in turn, it does nothing twice and comes to the same."""
    monkeypatch.setattr("unscene.capture.matching.AT_ONCE", 8)
    out, reports = tmp_path / "scene", list[tuple[str, int]]()
    for stage in STAGES:
        with pytest.raises(KeyboardInterrupt):
            capture_scene(photos, out, resume=out.exists(), watch=_stopping_in(stage, reports))
        assert not (out / "transforms.json").exists()
    captured = capture_scene(photos, out, resume=True, watch=_stopping_in("", reports))
    stages = [stage for stage, _ in reports]
    assert stages == sorted(stages, key=STAGES.index), "a stage is done again"
    for stage in ("features", "matches"):
        done = [count for name, count in reports if name == stage]
        assert done == sorted(set(done)), "what was done is done again"
    assert captured.points == made[0].points
    np.testing.assert_allclose(centres(captured.folder), centres(made[0].folder), atol=1e-5)


KILLED = """
import os, signal, sys
from unscene.jobs.capture import capture_scene
from unscene.training.events import ItemDone

def watch(event):
    if isinstance(event, ItemDone) and event.stage == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

capture_scene(sys.argv[1], sys.argv[2], watch=watch)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_killed_capture_goes_on(made: tuple[Captured, list[Event]], photos: Path, tmp_path: Path) -> None:
    out, environment = tmp_path / "scene", {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", KILLED, photos, out, "poses"], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL and not (out / "transforms.json").exists()
    captured = capture_scene(photos, out, resume=True)
    np.testing.assert_allclose(centres(captured.folder), centres(made[0].folder), atol=1e-5)
    assert not [file for file in out.rglob("*.partial*")]


def test_turned_photos_of_two_formats_and_sizes(photos: Path, tmp_path: Path) -> None:
    """As phones make them: EXIF orientation, PNG among JPEG, one photo of another size and one cropped."""
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    for number, orientation in ((1, 3), (4, 6)):
        with Image.open(folder / f"IMG_{number:03}.JPG") as image:
            upright = image.convert("RGB")
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = upright.rotate({3: 180, 6: 90}[orientation], expand=True)
        turned.save(folder / f"IMG_{number:03}.JPG", exif=exif, quality=95)
    with Image.open(folder / "IMG_002.JPG") as image:
        image.resize((640, 480), Image.Resampling.BICUBIC).save(folder / "IMG_002.png")
    with Image.open(folder / "IMG_005.JPG") as image:
        image.crop((20, 30, 300, 210)).save(folder / "IMG_005.JPG", quality=95)
    (folder / "IMG_002.JPG").unlink()
    events: list[Event] = []
    captured = capture_scene(folder, tmp_path / "scene", watch=events.append)
    scene = load_scene(captured.folder, holdout=0)
    assert len(scene) == VIEWS and scene.images.shape[1:] == (240, 320, 3)
    assert centre_error(centres(captured.folder), truth()) < 0.03
    assert "2 of 7 photos have another size than 320x240" in notes(events)
    for view in (1, 2, 4, 5):
        expected = photo(arc(VIEWS)[view], Lens(float(scene.cameras.focal[view, 0])))[..., ::-1].astype(float)
        assert abs(scene.images[view].numpy() - expected).mean() < 20, "not the photo of this camera"


def test_what_moves_is_masked(photos: Path, tmp_path: Path) -> None:
    """A patterned square that hangs in the same place of all photos, as a rig in view, would hold the camera still."""
    folder, masks = tmp_path / "photos", tmp_path / "ignore"
    masks.mkdir()
    shutil.copytree(photos, folder)
    square = photo(turning(1)[0], seed=5)[:200, :200]
    for file in folder.glob("*.JPG"):
        pixels = cv2.imread(str(file))
        assert pixels is not None
        pixels[20:220, 60:260] = square
        cv2.imwrite(str(file), pixels)
        mask = np.zeros((240, 320), np.uint8)
        mask[16:224, 56:264] = 255
        cv2.imwrite(str(masks / f"{file.stem}.png"), mask)
    captured = capture_scene(folder, tmp_path / "masked", CaptureOptions(masks=masks))
    assert len(captured.photos) == VIEWS and centre_error(centres(captured.folder), truth()) < 0.05
    one = capture_scene(folder, tmp_path / "one", CaptureOptions(masks=masks / "IMG_000.png"))
    np.testing.assert_allclose(centres(one.folder), centres(captured.folder), atol=1e-5)
    with pycolmap.Database.open(captured.folder / "checkpoint" / "database.db") as database:
        for image in database.read_all_images():
            x, y = database.read_keypoints(image.image_id)[:, :2].T
            assert not ((x > 60) & (x < 260) & (y > 20) & (y < 220)).any()


def test_masks_of_another_shape_or_all_white_are_refused(photos: Path, tmp_path: Path) -> None:
    for name, mask, said in (
        ("square", np.zeros((100, 100), np.uint8), "expected a mask of IMG_000.JPG's shape, 320x240, got 100x100"),
        ("full", np.full((240, 320), 255, np.uint8), "invert the masks"),
    ):
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask)
        with pytest.raises(CaptureError, match=said):
            capture_scene(photos, tmp_path / name, CaptureOptions(masks=tmp_path / f"{name}.png"))


def test_a_camera_that_only_turned_is_told(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", turning(6))
    with pytest.raises(CaptureError, match=r"the camera only turned, or stood still: 6 of 6 .* walk around the object"):
        capture_scene(tmp_path / "photos", tmp_path / "scene")


def test_photos_that_do_not_overlap_are_named(tmp_path: Path) -> None:
    for seed in range(4):
        write_photos(tmp_path / "photos", arc(1), seed=seed, first=seed)
    with pytest.raises(CaptureError, match=r"no 3 of 4 overlap: IMG_000.JPG, .*IMG_003.JPG stand apart; take photos"):
        capture_scene(tmp_path / "photos", tmp_path / "scene")


def test_blurred_photos_are_told(tmp_path: Path) -> None:
    for file in write_photos(tmp_path / "photos", arc(5)):
        pixels = cv2.imread(str(file))
        assert pixels is not None
        cv2.imwrite(str(file), cv2.GaussianBlur(pixels, (0, 0), 8))
    with pytest.raises(CaptureError, match=r"5 of 5 are blurred, dark or of plain surfaces: .* IMG_000.JPG"):
        capture_scene(tmp_path / "photos", tmp_path / "scene")


def test_blank_photos_are_told(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(4):
        cv2.imwrite(str(tmp_path / "photos" / f"{i}.png"), np.full((48, 64, 3), 128, np.uint8))
    with pytest.raises(CaptureError, match="no features in any of 4 photos"):
        capture_scene(tmp_path / "photos", tmp_path / "scene")


def test_two_places_are_two_models_of_which_the_larger_is_the_scene(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", arc(6))
    write_photos(tmp_path / "photos", arc(4), seed=1, first=6)
    pixels = np.full((240, 320, 3), 100, np.uint8)
    cv2.imwrite(str(tmp_path / "photos" / "IMG_010.JPG"), pixels)
    events: list[Event] = []
    captured = capture_scene(tmp_path / "photos", tmp_path / "scene", watch=events.append)
    assert captured.models == (6, 4) and len(captured.photos) == 6 and len(captured.missing) == 5
    said = notes(events)
    assert "fall into 2 models that do not connect, of 6, 4 photos" in said and "--resume --model 2" in said
    assert "IMG_010.JPG" in said and "blurred, dark or of plain surfaces" in said
    assert "show nothing that the scene's photos show" in said
    other = capture_scene(tmp_path / "photos", tmp_path / "scene", CaptureOptions(model=2), resume=True)
    assert other.photos == tuple(f"IMG_{i:03}.JPG" for i in range(6, 10))
    assert len(load_scene(tmp_path / "scene")) == 4 and len(list((tmp_path / "scene" / "images").iterdir())) == 4
    with pytest.raises(CaptureError, match=r"--model: expected 1 to 2 \(models of 6, 4 photos\), got 3"):
        capture_scene(tmp_path / "photos", tmp_path / "scene", CaptureOptions(model=3), resume=True)


def test_a_video_becomes_a_scene(tmp_path: Path) -> None:
    video = tmp_path / "room.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 10, (320, 240))
    poses = arc(24, step=0.035)
    for frame, pose in enumerate(poses):
        pixels = photo(pose)
        writer.write(pixels if frame % 3 == 1 else cv2.GaussianBlur(pixels, (0, 0), 4))
    writer.release()
    captured = capture_scene(video, tmp_path / "scene", CaptureOptions(frames=8))
    assert captured.photos == tuple(f"frame_{frame:06}.jpg" for frame in range(1, 24, 3))
    assert centre_error(centres(captured.folder), np.stack([pose[:, 3] for pose in poses[1::3]])) < 0.02


def test_the_command(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capture", str(photos), "--out", str(tmp_path / "scene"), "--features", "800"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "scene")
    assert json.loads((tmp_path / "scene" / "config.json").read_text())["options"]["features"] == 800
    for arguments, said in (
        (["nowhere", "--out", str(tmp_path / "x")], "expected a folder of photos or a video file, found nothing"),
        ([str(photos), "--out", str(photos / "scene")], "expected a folder outside that of the photos"),
        ([str(photos), "--out", str(tmp_path / "x"), "--size", "5"], "--size: expected 100 to 10000, got 5"),
        ([str(photos), "--out", str(tmp_path / "x"), "--masks", "none"], "expected a folder of masks or one mask"),
    ):
        assert main(["capture", *arguments]) == 1
        assert said in " ".join(capsys.readouterr().err.split())


def _stopping_in(stage: str, reports: list[tuple[str, int]]) -> Watch:
    """Interrupts after the first report of a stage; all reports are kept."""

    def watch(event: Event) -> None:
        if isinstance(event, ItemDone):
            reports.append((event.stage, event.done))
            if event.stage == stage:
                raise KeyboardInterrupt

    return watch
