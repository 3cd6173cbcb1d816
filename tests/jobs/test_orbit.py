"""One photo in, novel views out, with a tiny model."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.priors.tiny_checkpoints import tiny_checkpoint
from tests.sphere_views import cameras, sphere_view
from unscene.cli import main
from unscene.device import DeviceError
from unscene.geometry.turntable import RelativePose
from unscene.jobs.orbit import Orbit, grid, orbit, read_pose
from unscene.jobs.orbit_options import OrbitOptions
from unscene.methods.invs import InvsConfig
from unscene.methods.zero123 import Zero123Config
from unscene.priors.depth.completion import Estimate
from unscene.priors.novel_views.view_inpainter import initial_view_inpainter
from unscene.priors.novel_views.zero123 import initial_zero123
from unscene.priors.prior_error import PriorError
from unscene.stages.method_error import MethodError
from unscene.training.events import Event, ItemDone, Note
from unscene.training.run import RunError

SIZE = 32
STEPS = 4  # of the sampler


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo with depth, and tiny models."""
    folder = tmp_path_factory.mktemp("orbit")
    color, depth = sphere_view(cameras(0.0, size=96))
    pixels = torch.cat([color, (depth > 0).float()[..., None]], -1)
    Image.fromarray((pixels * 255).round().byte().numpy(), "RGBA").save(folder / "ball.png")
    cv2.imwrite(str(folder / "ball.depth.png"), (depth * 8192).round().numpy().astype(np.uint16))
    Image.open(folder / "ball.png").save(folder / "alone.png")
    checkpoint = tiny_checkpoint("sd-1.5", folder / "sd")
    initial_view_inpainter(checkpoint, size=SIZE, seed=0, told_photo=True).save(folder / "invs")
    initial_zero123(checkpoint, size=SIZE, seed=0).save(folder / "zero123")
    return folder


def options(folder: Path, **changes) -> OrbitOptions:
    settings = {
        "weights": str(folder / "invs"), "frames": 4, "field_of_view": 45.0, "invs": InvsConfig(steps=STEPS),
    } | changes  # fmt: skip
    return OrbitOptions(**settings)


@pytest.fixture(scope="module")
def turn(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Orbit, list[Event]]:
    """A turn around the ball that nothing interrupts, and what it said."""
    events: list[Event] = []
    out = tmp_path_factory.mktemp("turn") / "run"
    return orbit(folder / "ball.png", out, options(folder), watch=events.append), events


def test_a_turn_leaves_views_grid_video_and_report(turn: tuple[Orbit, list[Event]]) -> None:
    made, events = turn
    assert [pose.azimuth for pose in made.poses] == [0, 90, 180, 270]
    assert all(image.shape == (SIZE, SIZE, 3) and image.isfinite().all() for image in made.images)
    names = {path.relative_to(made.folder).parts[0] for path in made.folder.rglob("*") if path.is_file()}
    assert names == {
        "config.json", "events.jsonl", "grid.png", "metrics.json", "orbit.gif", "orbit.mp4", "photo.png", "points.ply",
        "previews", "report.html", "views",
    }  # fmt: skip
    assert len(list((made.folder / "views").glob("*.png"))) == 4 == len(list((made.folder / "previews").glob("*.png")))
    capture = cv2.VideoCapture(str(made.folder / "orbit.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    with Image.open(made.folder / "orbit.gif") as animation:
        assert (animation.n_frames, animation.size, animation.info["loop"]) == (4, (SIZE, SIZE), 0)
    header = (made.folder / "points.ply").read_bytes().split(b"end_header")[0].decode()
    on_object = int((made.photo < 0.99).any(-1).sum())
    assert int(header.split("element vertex ")[1].split()[0]) > 0.9 * on_object  # the photo's own points at least
    with Image.open(made.folder / "grid.png") as shown:
        corner = torch.from_numpy(np.array(shown))[:SIZE, :SIZE].float() / 255
    assert (corner - made.photo).abs().max() < 0.01
    assert [event.done for event in events if isinstance(event, ItemDone)] == [1, 2, 3, 4]
    notes = [event.text for event in events if isinstance(event, Note)]
    assert "cut out by its alpha channel" in notes and "depth: ball.depth.png" in notes
    guess = "what the photo does not show is guessed by symmetry: half a turn about its upright axis"
    assert any(note.startswith(guess) for note in notes)
    config = json.loads((made.folder / "config.json").read_text())
    assert config["model"].startswith("invs@") and config["options"]["seed"] == 0
    page = (made.folder / "report.html").read_text()
    assert "+90° around" in page and "cut out by its alpha channel" in page


def test_a_resumed_turn_keeps_the_views_it_has_and_ends_like_an_uninterrupted_one(
    folder: Path, turn: tuple[Orbit, list[Event]], tmp_path: Path
) -> None:
    whole, _ = turn

    class Killed(Exception):
        pass

    def kill(event) -> None:
        if isinstance(event, ItemDone) and event.done == 2:
            raise Killed

    with pytest.raises(Killed):
        orbit(folder / "ball.png", tmp_path / "run", options(folder), watch=kill)
    first = sorted((tmp_path / "run" / "views").glob("*.png"))
    stamps = [path.stat().st_mtime_ns for path in first]
    assert len(first) == 2
    with pytest.raises(RunError, match="--resume"):
        orbit(folder / "ball.png", tmp_path / "run", options(folder))
    resumed = orbit(folder / "ball.png", tmp_path / "run", options(folder), resume=True)
    assert [path.stat().st_mtime_ns for path in first] == stamps
    assert all(torch.equal(a, b) for a, b in zip(whole.images, resumed.images, strict=True))
    assert (resumed.folder / "points.ply").read_bytes() == (whole.folder / "points.ply").read_bytes()


def test_independent_views_of_a_turn_are_those_of_their_poses(folder: Path, tmp_path: Path) -> None:
    turn = orbit(folder / "ball.png", tmp_path / "turn", options(folder, turn="independent"))
    posed = orbit(folder / "ball.png", tmp_path / "posed", options(folder, pose=("90,0,1", "180,0,1")))
    assert all(torch.equal(a, b) for a, b in zip(turn.images[1:3], posed.images, strict=True))
    assert not (turn.folder / "points.ply").exists() and (turn.folder / "orbit.gif").exists()
    once = options(folder, invs=InvsConfig(steps=STEPS, rounds=1))
    agreeing = orbit(folder / "ball.png", tmp_path / "agreeing", once)
    assert torch.equal(agreeing.images[0], turn.images[0])  # the photo's own view is the first of both
    assert not torch.equal(agreeing.images[2], turn.images[2])  # the back knows of both sides


def test_from_noise_nothing_is_guessed(folder: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    config = InvsConfig(steps=STEPS, strength=1.0)
    views = options(folder, pose=("150,0,1",), invs=config)
    alone = orbit(folder / "ball.png", tmp_path / "alone", views, watch=events.append)
    assert not any("symmetry" in event.text for event in events if isinstance(event, Note))
    events.clear()
    told = initial_view_inpainter(folder / "sd", size=SIZE, seed=0, told_photo=False, told_symmetry=True)
    views = dataclasses.replace(views, weights=str(told.save(tmp_path / "told")))
    orbit(folder / "ball.png", tmp_path / "by-model", views, watch=events.append)
    assert any("symmetry" in event.text for event in events if isinstance(event, Note))  # the model is told of it
    guessed = orbit(folder / "ball.png", tmp_path / "guessed", options(folder, pose=("150,0,1",)))
    assert not torch.equal(alone.images[0], guessed.images[0])


def test_a_photo_without_depth_gets_a_turn_from_its_outline(folder: Path, tmp_path: Path) -> None:
    events = []
    outline = options(folder, depth="outline", pose=("0,0,1",))
    made = orbit(folder / "alone.png", tmp_path / "run", outline, watch=events.append)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert "depth: the outline alone, inflated smoothly: a guess" in notes
    assert json.loads((made.folder / "config.json").read_text())["depth"].endswith("a guess")
    soft = shown_of(made.folder)[1]
    assert (soft[(made.photo < 0.99).any(-1)] < 0.05).float().mean() > 0.9


def test_single_poses_and_their_names(folder: Path, tmp_path: Path) -> None:
    made = orbit(folder / "ball.png", tmp_path / "run", options(folder, pose=("30,10,1", "-45,0,1.5")))
    assert made.poses == [RelativePose(30, 10, 1), RelativePose(-45, 0, 1.5)]
    assert sorted(path.name for path in (made.folder / "views").iterdir()) == [
        "000_+30_+10_1.png",
        "001_-45_+0_1.5.png",
    ]
    assert not (made.folder / "orbit.mp4").exists() and (made.folder / "grid.png").is_file()


def shown_of(run: Path) -> list[torch.Tensor]:
    """Of the first view: partial view S S 3, soft and epipolar mask S S."""
    preview = min((run / "previews").glob("*.png"))
    shown = torch.from_numpy(cv2.imread(str(preview))[..., ::-1].copy()).float() / 255
    partial, soft, epipolar = (shown[:, start : start + SIZE] for start in (0, SIZE, 2 * SIZE))
    return [partial, soft[..., 0], epipolar[..., 0]]


def test_the_photo_s_own_pose_shows_all_of_the_photo_and_nothing_new(folder: Path, tmp_path: Path) -> None:
    made = orbit(folder / "ball.png", tmp_path / "run", options(folder, pose=("0,0,1",)))
    partial, soft, epipolar = shown_of(made.folder)
    on_object = (made.photo < 0.99).any(-1)
    assert on_object.sum() > 300
    assert (made.photo - partial).abs().amax(-1)[on_object].quantile(0.75) < 0.1  # but for half a pixel at the rim
    assert (soft[on_object] < 0.05).float().mean() > 0.9 and epipolar.mean() < 0.05


def test_views_are_named_apart_however_near_their_poses(folder: Path, tmp_path: Path) -> None:
    made = orbit(folder / "ball.png", tmp_path / "run", options(folder, pose=("30.001,0,1", "30.004,0,1")))
    assert len(list((made.folder / "views").iterdir())) == 2


def test_a_camera_inside_the_object_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="expected the camera outside of the object, at 0"):
        orbit(folder / "ball.png", tmp_path / "run", options(folder, pose=("0,0,0.3",), field_of_view=100.0))


def test_a_folder_in_use_is_refused_before_any_model_is_loaded(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("")
    with pytest.raises(RunError, match="expected a new or empty output folder"):
        orbit(folder / "ball.png", tmp_path / "run", options(folder, weights="nowhere"))


def test_a_depth_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=r"--depth: expected an image, .* but there is no 'typo.png'"):
        orbit(folder / "ball.png", tmp_path / "run", options(folder, depth="typo.png"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30,10", None),
        ("30", None),
        ("left", "expected AZIMUTH,ELEVATION,DISTANCE such as 30,10,1, got 'left'"),
        ("1,2,3,4", "expected AZIMUTH,ELEVATION,DISTANCE"),
        ("nan,0,1", "expected finite numbers, got 'nan,0,1'"),
        ("0,80,1", "-90 to 90 degrees; the photo's 15 and 80 make 95"),
        ("0,0,0.1", "expected a distance of 0.3 to 4 times the photo's, got 0.1"),
        ("1e300,0,1", "expected an azimuth within 360 degrees either way"),
        ("0,0,-1", "expected a distance"),
        ("0,0,inf", "expected finite numbers"),
    ],
)
def test_absurd_poses_are_refused_in_words(text: str, message: str | None) -> None:
    if message is None:
        assert read_pose(text, 15).azimuth == 30
    else:
        with pytest.raises(MethodError, match=message):
            read_pose(text, 15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 0}, "--frames: expected 1 to 10000, got 0"),
        ({"field_of_view": 0.0}, "--field-of-view: expected 1 to 120, got 0"),
        ({"elevation": 120.0}, "--elevation: expected -90 to 90, got 120"),
        ({"elevation": float("nan")}, "--elevation: expected -90 to 90, got nan"),
        ({"contamination": 0.9}, "--contamination: expected 0 to 0.5, got 0.9"),
        ({"device": "abacus"}, "--device: expected auto"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(folder: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises((MethodError, DeviceError), match=message):
        orbit(folder / "ball.png", tmp_path / "run", options(folder, **changes))
    assert not (tmp_path / "run").exists()


def test_a_photo_without_depth_says_how_to_get_one(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(PriorError, match=r"Four ways.*hf download Intel/zoedepth.*--method zero123.*--depth outline"):
        orbit(folder / "alone.png", tmp_path / "run", options(folder))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("contamination", [None, 0.0])
def test_a_network_s_depth_takes_the_image_s_place(folder: Path, tmp_path: Path, monkeypatch, contamination) -> None:
    """Of one that knows disparity up to scale and offset: the notes say what was assumed, and no outlier is a hole."""
    depth = torch.from_numpy(cv2.imread(str(folder / "ball.depth.png"), cv2.IMREAD_UNCHANGED).astype(np.float32)) / 8192

    class Network:
        def estimate(self, image: torch.Tensor) -> Estimate:
            assert image.shape == (512, 512, 3) and image[0, 0].tolist() == [1, 1, 1]  # not the model's 32 pixels
            part = depth[(depth > 0).any(1)][:, (depth > 0).any(0)]
            crop = torch.nn.functional.pad(part, [round(0.15 / 0.7 * part.shape[0])] * 4)
            large = torch.nn.functional.interpolate(crop[None, None], image.shape[:2], mode="nearest")[0, 0]
            return Estimate(torch.where(large > 0, 3 / large.clamp_min(0.1) + 1, 0), True, "")

    monkeypatch.setattr("unscene.priors.depth.network.DepthNetwork.load", lambda source, device: Network())
    found = (folder, "some/network@0123")
    monkeypatch.setattr("unscene.priors.depth.network.locate_depth_network", lambda source: found)
    events = []
    network = options(folder, depth="depth-anything-v2", pose=("0,0,1",), contamination=contamination)
    made = orbit(folder / "alone.png", tmp_path / "run", network, watch=events.append)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert "depth: some/network@0123" in notes
    assert "depth is known up to scale and offset: the object is taken to be as deep as wide" in notes
    named = [note for note in notes if note.startswith("depth of 30")]  # per cent, or little that lies outside
    assert bool(named) == (contamination is None)
    record = json.loads((made.folder / "config.json").read_text())
    assert record["depth"] == "some/network@0123" and record["field_of_view"] == 45
    soft = shown_of(made.folder)[1]
    on_object = (made.photo < 0.99).any(-1)
    assert (soft[on_object] < 0.05).float().mean() > 0.9  # every pixel of the photo's own view is reused, turned by 0


def test_a_depth_image_may_lie_anywhere(folder: Path, tmp_path: Path) -> None:
    elsewhere = options(folder, depth=str(folder / "ball.depth.png"), frames=1)
    beside = orbit(folder / "ball.png", tmp_path / "a", options(folder, frames=1))
    given = orbit(folder / "alone.png", tmp_path / "b", elsewhere)
    assert torch.equal(beside.images[0], given.images[0])


def test_zero_1_to_3_needs_no_depth(folder: Path, tmp_path: Path) -> None:
    zero123 = options(
        folder, method="zero123", weights=str(folder / "zero123"), frames=2,
        zero123=Zero123Config(guidance=1.0, steps=STEPS),
    )  # fmt: skip
    made = orbit(folder / "alone.png", tmp_path / "run", zero123)
    assert len(made.images) == 2 and not torch.equal(made.images[0], made.images[1])
    assert not (made.folder / "previews").exists()


def test_a_model_of_the_other_kind_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="expected a model of kind invs, got zero123"):
        orbit(folder / "ball.png", tmp_path / "run", options(folder, weights=str(folder / "zero123")))


def test_the_command_line_explains_a_photo_that_cannot_be_used(folder: Path, tmp_path: Path, capsys) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    for photo, words in ((tmp_path / "noise.png", "--box"), (tmp_path / "nothing.png", "nothing.png")):
        status = main(["orbit", str(photo), "--out", str(tmp_path / "run"), "--weights", str(folder / "invs")])
        text = capsys.readouterr().err
        assert status == 1 and words in text and "Traceback" not in text
    assert not (tmp_path / "run").exists()


def test_poses_may_be_repeated_on_the_command_line(folder: Path, tmp_path: Path) -> None:
    words = ["--weights", str(folder / "invs"), "--pose", "30,0,1", "--pose=-30,0,1", "--field-of-view", "45"]
    assert main(["orbit", str(folder / "ball.png"), "--out", str(tmp_path / "run"), *words]) == 0
    assert sorted(path.name for path in (tmp_path / "run" / "views").iterdir()) == [
        "000_+30_+0_1.png",
        "001_-30_+0_1.png",
    ]


def test_a_grid_is_full_and_in_order() -> None:
    images = [torch.full((4, 4, 3), index / 10) for index in range(5)]
    picture = grid(images)
    assert picture.shape == (8, 12, 3)
    assert picture[0, ::4, 0].tolist() == pytest.approx([0.0, 0.1, 0.2]) and picture[5, 9, 0] == 1
