"""Fisheyes and the rational model: what a pinhole shows after resampling against COLMAP's own projection."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
import torch

from tests.scenes.tiny_scenes import TinyScene
from unscene.scenes.capture import Frame, build_cameras
from unscene.scenes.colmap_binary import PARAMETERS
from unscene.scenes.load import load_scene
from unscene.scenes.pinhole import Resampling, to_pinhole
from unscene.scenes.scene import Scene
from unscene.scenes.transforms import read_cameras, write_transforms
from unscene.scenes.wide_lenses import FisheyeLens, RationalLens

SIZE = (96, 72)
LENSES = {  # focal length, principal point and coefficients as COLMAP lists them
    "SIMPLE_FISHEYE": (32.0, 47.0, 37.0),
    "FISHEYE": (32.0, 34.0, 47.0, 37.0),
    "SIMPLE_RADIAL_FISHEYE": (32.0, 47.0, 37.0, 0.03),
    "RADIAL_FISHEYE": (32.0, 47.0, 37.0, 0.03, -0.01),
    "OPENCV_FISHEYE": (32.0, 34.0, 47.0, 37.0, 0.03, -0.01, 0.004, -0.001),
    "FULL_OPENCV": (70.0, 72.0, 47.0, 37.0, 0.2, 0.1, 0.002, -0.001, 0.01, 0.4, 0.05, 0.01),
}
NAMES = {
    "SIMPLE_RADIAL_FISHEYE": ("k1",),
    "RADIAL_FISHEYE": ("k1", "k2"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
    "FULL_OPENCV": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
}


def camera(model: str, size: tuple[int, int] = SIZE) -> pycolmap.Camera:
    return pycolmap.Camera(model=model, width=size[0], height=size[1], params=list(LENSES[model]), camera_id=1)


def sky(directions: np.ndarray) -> np.ndarray:
    """What is seen in a direction (... 3): smooth colours, uint8."""
    x, y, z = np.moveaxis(directions / np.linalg.norm(directions, axis=-1, keepdims=True), -1, 0)
    waves = [np.sin(9 * x + 2 * y), np.sin(8 * y - 3 * z), np.cos(7 * x * y + 4 * z)]
    return np.round(127.5 + 100 * np.stack(waves, -1)).astype(np.uint8)


def photo(lens: pycolmap.Camera) -> np.ndarray:
    """What the lens shows of the sky, by COLMAP's own inverse: height width 3 uint8."""
    columns, rows = np.meshgrid(np.arange(lens.width) + 0.5, np.arange(lens.height) + 0.5)
    plane = np.array(lens.cam_from_img(np.stack([columns, rows], -1).reshape(-1, 2)))
    directions = np.concatenate([plane, np.ones((len(plane), 1))], 1)
    return sky(np.nan_to_num(directions)).reshape(lens.height, lens.width, 3)


def write(tiny: TinyScene, model: str, *, as_colmap: bool = False) -> Path:
    """Six photos of the sky from the same direction, with masks: the left of a line through the world."""
    tiny.poses[:, :, :3] = np.eye(3)
    lens, pixels = camera(model), photo(camera(model))
    for name in tiny.names:
        tiny.array(f"images/{name}", pixels[..., ::-1])
        tiny.array(f"masks/{name}", np.where(pixels[..., 0] > 127, 255, 0).astype(np.uint8))
    if as_colmap:
        tiny.colmap(model, LENSES[model], size=SIZE)
        return tiny.root
    values = dict(zip(NAMES[model], LENSES[model][-len(NAMES[model]) :], strict=True))
    K = {"fl_x": lens.focal_length_x, "fl_y": lens.focal_length_y, "cx": lens.principal_point_x}
    K |= {"cy": lens.principal_point_y, "w": SIZE[0], "h": SIZE[1]}
    frames = [{"file_path": f"images/{n}", "transform_matrix": tiny.matrix(v)} for v, n in enumerate(tiny.names)]
    return tiny.json({"camera_model": model, **K, **values, "frames": frames}).parent


def seen(scene: Scene, view: int) -> np.ndarray:
    """The direction of each pixel of a view, H W 3."""
    directions = scene.cameras.image_rays(view).directions
    return directions.reshape(scene.cameras.height, scene.cameras.width, 3).numpy()


def field_of_view(scene: Scene) -> tuple[float, float]:
    cameras = scene.cameras
    (cx, cy), (fx, fy) = cameras.principal[0].tolist(), cameras.focal[0].tolist()
    across, down = ((c, size - c) for c, size in ((cx, cameras.width), (cy, cameras.height)))
    return tuple(math.degrees(sum(math.atan(a / f) for a in sides)) for f, sides in ((fx, across), (fy, down)))


@pytest.mark.parametrize(("model", "as_colmap"), [*((m, True) for m in LENSES), *((m, False) for m in NAMES)])
def test_each_pixel_shows_what_its_ray_meets(tiny: TinyScene, model: str, as_colmap: bool) -> None:
    scene = load_scene(write(tiny, model, as_colmap=as_colmap))
    assert not scene.cameras.bends_rays
    expected, masks = sky(seen(scene, 2)).astype(int), scene.masks
    error = abs(scene.images[2].numpy() - expected)
    assert error.mean() < 1 and np.quantile(error, 0.99) < 5
    assert masks is not None
    clear = abs(expected[..., 0] - 127) > 25  # off the line by a pixel and more
    assert (masks[2].numpy() == (expected[..., 0] > 127))[clear].all()


@pytest.mark.parametrize("model", LENSES)
def test_the_whole_pinhole_lies_in_the_photo_and_touches_its_rim_or_the_widest_field(
    tiny: TinyScene, model: str
) -> None:
    scene = load_scene(write(tiny, model, as_colmap=True))
    cameras, lens = scene.cameras, camera(model)
    sides = np.linspace(0, 1, 50)[:, None]
    corners = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    rim = np.concatenate([a + (b - a) * sides for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]) * SIZE
    view = torch.zeros(len(rim), dtype=torch.long)
    plane = cameras.image_plane(view, torch.from_numpy(rim).float()).double().numpy()
    shown = np.array(lens.img_from_cam(np.concatenate([plane, np.ones((len(plane), 1))], 1)))
    assert shown.min() > -1e-2 and (shown < np.array(SIZE) + 1e-2).all()
    rim_distance = min(shown.min(), (np.array(SIZE) - shown).min())
    assert rim_distance < 0.05 or max(field_of_view(scene)) == pytest.approx(120, abs=0.01)


def test_the_note_says_what_is_cropped(tiny: TinyScene) -> None:
    scene = load_scene(write(tiny, "OPENCV_FISHEYE"))
    note = scene.notes[0]
    across, down = field_of_view(scene)
    assert across == pytest.approx(120, abs=0.01)
    resampled = f"6 photos of a fisheye lens are resampled to a pinhole camera of 120 x {down:.0f} degrees; "
    assert note.startswith(resampled)
    # The share of the photo's pixels whose rays the pinhole shows; rays from behind have no place on the plane.
    xy = np.stack(np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5), -1).reshape(-1, 2)
    plane = np.array(camera("OPENCV_FISHEYE").cam_from_img(xy))
    back = np.array(camera("OPENCV_FISHEYE").img_from_cam(np.concatenate([plane, np.ones((len(plane), 1))], 1)))
    shown = plane * scene.cameras.focal[0].numpy() + scene.cameras.principal[0].numpy()
    lost = 1 - ((shown > 0) & (shown < SIZE) & (abs(back - xy) < 0.1)).all(1).mean()
    assert note.endswith(f"{lost:.0%} of each, at its rim and corners, is cropped") and 0.1 < lost < 0.6


def test_down_scaling_and_resampling_average_once(tiny: TinyScene) -> None:
    """Stripes of two pixels are grey at a quarter of the size, at the centre as at the rim: no beats."""
    root = write(tiny, "OPENCV_FISHEYE")
    stripes = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    stripes[:, ::2] = 255
    for name in tiny.names:
        tiny.array(f"images/{name}", stripes)
    small = load_scene(root, scale=4)
    assert (small.cameras.width, small.cameras.height) == (24, 18)
    full = load_scene(root)
    torch.testing.assert_close(small.cameras.focal, full.cameras.focal / 4)
    values = small.images.float()
    assert 117 < values.mean() < 138 and values.std() < 22


@pytest.mark.parametrize("scale", [1, 4])
def test_photos_and_masks_of_other_resolutions_than_the_lens_is_given_for(tiny: TinyScene, scale: float) -> None:
    root = write(tiny, "OPENCV_FISHEYE")
    for name in tiny.names:
        for folder in ("images", "masks"):
            pixels = cv2.imread(str(root / folder / name), cv2.IMREAD_UNCHANGED)
            shrunk = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            tiny.array(f"{folder}/{name}", shrunk if folder == "images" else pixels)
    scene = load_scene(root, scale=scale)
    assert (scene.cameras.width, scene.cameras.height) == (48 / scale, 36 / scale)
    expected = sky(seen(scene, 0)).astype(int)
    assert abs(scene.images[0].numpy() - expected).mean() < (2 if scale == 1 else 8)
    assert scene.masks is not None
    agrees = scene.masks[0].numpy() == (expected[..., 0] > 127)
    assert agrees[abs(expected[..., 0] - 127) > 60].all()


def test_a_capture_of_several_lenses(tiny: TinyScene) -> None:
    """A fisheye, another fisheye and a plain camera: each photo by its own lens."""
    root = write(tiny, "OPENCV_FISHEYE")
    content = json.loads((root / "transforms.json").read_text())
    plain = pycolmap.Camera(model="PINHOLE", width=SIZE[0], height=SIZE[1], params=[60, 60, 48, 36], camera_id=1)
    content["frames"][1] |= {"camera_model": "PINHOLE", "fl_x": 60, "fl_y": 60, "cx": 48, "cy": 36, "k1": 0, "k2": 0}
    content["frames"][1] |= {"k3": 0, "k4": 0}
    other = camera("OPENCV_FISHEYE")
    other.params = np.array([32.0, 34.0, 47.0, 37.0, 0.5, 0.0, 0.0, 0.0])
    content["frames"][4] |= {"k1": 0.5, "k2": 0.0, "k3": 0.0, "k4": 0.0}
    tiny.json(content)
    tiny.array(f"images/{tiny.names[1]}", photo(plain)[..., ::-1])
    tiny.array(f"images/{tiny.names[4]}", photo(other)[..., ::-1])
    scene = load_scene(root)
    assert len(scene.cameras.focal.unique(dim=0)) == 3
    assert torch.equal(scene.images[1], torch.from_numpy(photo(plain)))
    for view in (0, 1, 4):
        assert abs(scene.images[view].numpy() - sky(seen(scene, view)).astype(int)).mean() < 1, view
    assert [note[:26] for note in scene.notes if "lens" in note] == ["5 photos of a fisheye lens"]


def test_a_rational_lens_without_denominator_stays_as_it_is(tiny: TinyScene) -> None:
    tiny.photos(size=SIZE)
    tiny.colmap("FULL_OPENCV", [70, 72, 47, 37, 0.05, -0.02, 0.003, -0.002, 0.01, 0, 0, 0], size=SIZE)
    scene = load_scene(tiny.root)
    torch.testing.assert_close(scene.cameras.distortion[0], torch.tensor([0.05, -0.02, 0.003, -0.002, 0.01]))
    assert scene.notes == ()


def test_a_fisheye_says_so_by_its_own_key(tiny: TinyScene) -> None:
    """instant-ngp's is_fisheye, whatever the camera model is called."""
    root = write(tiny, "OPENCV_FISHEYE")
    expected = load_scene(root)
    content = json.loads((root / "transforms.json").read_text())
    tiny.json(content | {"camera_model": "OPENCV", "is_fisheye": True})
    scene = load_scene(root)
    assert torch.equal(scene.images, expected.images) and torch.equal(scene.cameras.focal, expected.cameras.focal)


def test_the_users_folder_stays_as_it_is_and_what_is_written_loads_again(tiny: TinyScene, tmp_path: Path) -> None:
    root = write(tiny, "OPENCV_FISHEYE")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    scene = load_scene(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    written = load_scene(write_transforms(tmp_path / "out", scene))
    assert torch.equal(written.images, scene.images) and written.notes[0].startswith("masks are the frames' mask_path")
    torch.testing.assert_close(written.cameras.focal, scene.cameras.focal)


def test_cameras_to_render_are_the_pinholes_of_the_scene(tiny: TinyScene) -> None:
    root = write(tiny, "OPENCV_FISHEYE")
    torch.testing.assert_close(read_cameras(root).focal, load_scene(root).cameras.focal)


def test_masks_keep_their_values() -> None:
    """Labels 0, 5 and 200 side by side: nothing in between appears where they meet."""
    lens = FisheyeLens((0.03, -0.01, 0.004, -0.001))
    frame = Frame("a.png", Path("a.png"), np.eye(4)[:3], (32.0, 34.0), (47.0, 37.0), *SIZE, wide_lens=lens)
    (_,), (resampling,), _ = to_pinhole([frame])
    assert resampling is not None
    labels = np.random.default_rng(0).choice(np.array([0, 5, 200], np.uint8), SIZE[::-1])
    for size in (SIZE, (24, 18)):
        assert set(np.unique(resampling.labels(labels, size))) == {0, 5, 200}


def test_memory_is_bounded_whatever_the_lens() -> None:
    """A lens that is all but blind towards its rim, so that its axis is magnified fifty times."""
    lens = RationalLens((0.0, 0.0, 0.0, 0.0, 0.0, 1000.0, 0.0, 0.0))
    frame = Frame("a.png", Path("a.png"), np.eye(4)[:3], (1500.0, 1500.0), (48.0, 36.0), *SIZE, wide_lens=lens)
    sizes = []

    def find_maps(lens: object, photo: object, pinhole: object, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(size)
        return np.zeros(size[::-1], np.float32), np.zeros(size[::-1], np.float32)

    pinhole = replace(frame, focal=(30.0, 30.0), wide_lens=None)
    photo = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    assert Resampling(frame, pinhole, find_maps).photo(photo, SIZE).shape == photo.shape
    assert sizes == [(2 * SIZE[0], 2 * SIZE[1])]


def test_how_many_parameters_each_model_of_colmap_has() -> None:
    models = [model for model in pycolmap.CameraModelId.__members__.values() if int(model) >= 0]
    counts = {int(model): len(pycolmap.Camera.create_from_model_id(0, model, 100, 80, 60).params) for model in models}
    assert dict(enumerate(PARAMETERS)) == counts


def test_a_lens_without_distortion_is_never_said_to_fold() -> None:
    frame = Frame("a.png", Path("a.png"), np.eye(4)[:3], (32.0, 34.0), (1e14, 37.0), *SIZE)
    assert len(build_cameras([frame], *SIZE)) == 1


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
def test_captures_of_two_cameras_load(tiny: TinyScene, model: str, text: bool) -> None:
    tiny.photos(size=SIZE)
    tiny.colmap(model, LENSES[model], size=SIZE, text=text, cameras=2)
    assert len(load_scene(tiny.root)) == 6
