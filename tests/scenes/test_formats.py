"""Each format: geometry against OpenCV's own projection, pixels, splits, and layouts found in the wild."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from tests.scenes.tiny_scenes import DISTORTION, FOCAL, PRINCIPAL, SIZE, TinyScene, project
from unscene.scenes.load import load_scene
from unscene.scenes.transforms import read_cameras

LENS = [DISTORTION[key] for key in ("k1", "k2", "p1", "p2", "k3")]
F, (CX, CY) = FOCAL[0], PRINCIPAL


def assert_projects(scene, tiny: TinyScene, points: np.ndarray, distortion, focal=FOCAL) -> None:
    for view in range(len(scene)):
        expected = tiny.projected(points, view, distortion, focal)
        np.testing.assert_allclose(project(scene.cameras, view, points), expected, atol=1e-3)


def test_nerfstudio_with_distortion(tiny: TinyScene, points: np.ndarray) -> None:
    scene = load_scene(tiny.nerfstudio())
    assert_projects(scene, tiny, points, LENS)
    assert scene.names == tuple(tiny.names) and scene.name == "scene" and scene.notes == ()
    assert scene.images.shape == (6, 24, 32, 3) and scene.images.dtype == torch.uint8
    pixels = cv2.imread(str(tiny.root / "images" / "003.png"))[..., ::-1]
    np.testing.assert_array_equal(scene.images[3].numpy(), pixels)
    assert scene.masks is None and scene.test.tolist() == [0] and scene.train.tolist() == [1, 2, 3, 4, 5]


def test_a_json_file_is_as_good_as_its_folder(tiny: TinyScene) -> None:
    tiny.photos()
    file = tiny.json(tiny.transforms(), "cleaned.json")
    assert load_scene(file).name == "scene"


def test_intrinsics_per_frame(tiny: TinyScene, points: np.ndarray) -> None:
    content = tiny.transforms()
    shared = {key: content.pop(key) for key in ("fl_x", "fl_y", "cx", "cy", "w", "h", *DISTORTION)}
    content["frames"] = [frame | shared for frame in content["frames"]]
    content["frames"][2]["fl_x"] = 50.0
    tiny.photos()
    tiny.json(content)
    scene = load_scene(tiny.root)
    np.testing.assert_allclose(project(scene.cameras, 1, points), tiny.projected(points, 1, LENS), atol=1e-3)
    expected = tiny.projected(points, 2, LENS, (50.0, FOCAL[1]))
    np.testing.assert_allclose(project(scene.cameras, 2, points), expected, atol=1e-3)


def test_holdout_0_keeps_all_for_training(tiny: TinyScene) -> None:
    scene = load_scene(tiny.nerfstudio(), holdout=0)
    assert len(scene.train) == 6 and len(scene.test) == 0


@pytest.mark.parametrize(
    "held_out",
    [{"val_filenames": [], "test_filenames": [4, 5]}, {"val_filenames": [4, 5]}, {"val_filenames": [0, 4, 5]}],
    ids=["test", "val", "val shares a view with train"],
)
def test_the_files_own_split_wins(tiny: TinyScene, held_out: dict[str, list[int]]) -> None:
    tiny.photos()
    lists = {"train_filenames": [0, 1, 2, 3], **held_out}
    files = {key: [f"images/{tiny.names[view]}" for view in views] for key, views in lists.items()}
    tiny.json(tiny.transforms() | files)
    scene = load_scene(tiny.root, holdout=2)
    assert scene.train.tolist() == [0, 1, 2, 3] and scene.test.tolist() == [4, 5]


def write_blender(tiny: TinyScene) -> None:
    for split, views in (("train", range(4)), ("test", (4, 5))):
        frames = []
        for i, view in enumerate(views):
            rgba = np.random.default_rng(view).integers(0, 256, (24, 32, 4), np.uint8)
            rgba[:12, :, 3], rgba[12:, :, 3] = 0, 255
            tiny.array(f"{split}/r_{i}.png", rgba)
            frames.append({"file_path": f"./{split}/r_{i}", "transform_matrix": tiny.matrix(view)})
        tiny.json({"camera_angle_x": 0.7, "frames": frames}, f"transforms_{split}.json")


def test_blender(tiny: TinyScene, points: np.ndarray) -> None:
    write_blender(tiny)
    scene = load_scene(tiny.root)
    assert scene.names == (*(f"train/r_{i}.png" for i in range(4)), "test/r_0.png", "test/r_1.png")
    assert scene.train.tolist() == [0, 1, 2, 3] and scene.test.tolist() == [4, 5]
    focal = 16 / math.tan(0.35)
    torch.testing.assert_close(scene.cameras.focal, torch.full((6, 2), focal))
    torch.testing.assert_close(scene.cameras.principal, torch.tensor([16.0, 12.0]).expand(6, 2))
    centred = tiny.projected(points, 4, [0.0] * 5, (focal, focal)) - PRINCIPAL + (16.0, 12.0)
    np.testing.assert_allclose(project(scene.cameras, 4, points), centred, atol=1e-3)
    assert (scene.images[:, :12] == 255).all(), "transparent pixels are white"
    pixels = cv2.imread(str(tiny.root / "train" / "r_1.png"))[12:, :, ::-1]
    np.testing.assert_array_equal(scene.images[1, 12:].numpy(), pixels)


def test_blender_by_the_path_of_one_of_its_files(tiny: TinyScene) -> None:
    write_blender(tiny)
    assert len(load_scene(tiny.root / "transforms_train.json")) == 6


COLMAP_CAMERAS = [
    ("SIMPLE_PINHOLE", [F, CX, CY], [0, 0, 0, 0, 0], (F, F)),
    ("PINHOLE", [*FOCAL, CX, CY], [0, 0, 0, 0, 0], FOCAL),
    ("SIMPLE_RADIAL", [F, CX, CY, 0.05], [0.05, 0, 0, 0, 0], (F, F)),
    ("RADIAL", [F, CX, CY, 0.05, -0.02], [0.05, -0.02, 0, 0, 0], (F, F)),
    ("OPENCV", [*FOCAL, CX, CY, 0.05, -0.02, 0.003, -0.002], [0.05, -0.02, 0.003, -0.002, 0], FOCAL),
]


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
@pytest.mark.parametrize(("model", "params", "distortion", "focal"), COLMAP_CAMERAS, ids=[c[0] for c in COLMAP_CAMERAS])
def test_colmap(tiny: TinyScene, points: np.ndarray, model, params, distortion, focal, text: bool) -> None:
    tiny.photos()
    tiny.colmap(model, params, text=text)
    scene = load_scene(tiny.root)
    assert scene.names == tuple(tiny.names), "views come in name order, not by id"
    assert_projects(scene, tiny, points, [float(d) for d in distortion], focal)
    assert scene.points is not None and scene.point_colors is not None
    assert scene.points.shape == (10, 3) and scene.points.dtype == torch.float32
    order = scene.points[:, 0].argsort()
    assert scene.point_colors[order].tolist() == [[i, 2, 3] for i in range(10)]


@pytest.mark.parametrize("folder", ["colmap/sparse/0", "sparse"])
def test_colmap_folders(tiny: TinyScene, folder: str) -> None:
    tiny.photos()
    tiny.colmap("PINHOLE", [*FOCAL, CX, CY], folder=folder)
    assert len(load_scene(tiny.root)) == 6


def test_colmap_skips_images_without_a_file_and_says_so(tiny: TinyScene) -> None:
    tiny.photos(names=tiny.names[:4])
    tiny.colmap("PINHOLE", [*FOCAL, CX, CY])
    scene = load_scene(tiny.root)
    assert len(scene) == 4
    assert scene.notes == ("2 of 6 frames have no image file and are skipped: images/004.png, images/005.png",)


def test_llff(tiny: TinyScene, points: np.ndarray) -> None:
    tiny.photos()
    tiny.llff()
    scene = load_scene(tiny.root)
    for view in range(6):
        expected = tiny.projected(points, view, [0.0] * 5, (F, F)) - PRINCIPAL + (16.0, 12.0)
        np.testing.assert_allclose(project(scene.cameras, view, points), expected, atol=1e-3)


@pytest.mark.parametrize("prefix", ["", "../{}/"], ids=["below", "beside"])
@pytest.mark.parametrize("format", ["nerfstudio", "colmap", "llff"])
def test_a_relative_path(tiny: TinyScene, monkeypatch: pytest.MonkeyPatch, format: str, prefix: str) -> None:
    tiny.photos()
    tiny.masks()
    match format:
        case "nerfstudio":
            tiny.json(tiny.transforms())
        case "colmap":
            tiny.colmap("PINHOLE", [*FOCAL, CX, CY])
        case "llff":
            tiny.llff()
    monkeypatch.chdir(tiny.root.parent)
    scene = load_scene(prefix.format(tiny.root.parent.name) + tiny.root.name)
    assert len(scene) == 6 and scene.masks is not None


def test_intrinsics_follow_photos_of_another_resolution(tiny: TinyScene) -> None:
    tiny.photos()
    tiny.llff(size=(128, 96), focal=160.0)
    scene = load_scene(tiny.root)
    torch.testing.assert_close(scene.cameras.focal[0], torch.tensor([40.0, 40.0]))
    torch.testing.assert_close(scene.cameras.principal[0], torch.tensor([16.0, 12.0]))
    assert scene.notes == ("intrinsics are given for 128x96, the photos are 32x24: rescaled",)


def test_scale_averages_areas_and_intrinsics_follow(tiny: TinyScene) -> None:
    full = load_scene(tiny.nerfstudio())
    scene = load_scene(tiny.root, scale=4)
    averaged = full.images.float().reshape(6, 6, 4, 8, 4, 3).mean((2, 4))
    assert scene.images.shape == (6, 6, 8, 3) and (scene.images - averaged).abs().max() <= 0.51
    torch.testing.assert_close(scene.cameras.focal, full.cameras.focal / 4)
    torch.testing.assert_close(scene.cameras.principal, full.cameras.principal / 4)
    torch.testing.assert_close(scene.cameras.distortion, full.cameras.distortion)


def test_a_fractional_scale(tiny: TinyScene) -> None:
    scene = load_scene(tiny.nerfstudio(), scale=2.5)
    assert (scene.cameras.width, scene.cameras.height) == (13, 10)
    torch.testing.assert_close(scene.cameras.focal[0], torch.tensor([40 * 13 / 32, 42 * 10 / 24]))


@pytest.mark.parametrize("names", [None, [f"image{i:03}.png" for i in range(6)]], ids=["by name", "by order"])
def test_stored_down_scaled_photos_are_used(tiny: TinyScene, names: list[str] | None) -> None:
    tiny.nerfstudio()
    for view, name in enumerate(names or tiny.names):
        tiny.array(f"images_4/{name}", np.full((6, 8, 3), view, np.uint8))
    scene = load_scene(tiny.root, scale=4)
    assert scene.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5] and scene.names == tuple(tiny.names)
    assert load_scene(tiny.root, scale=2).images.shape == (6, 12, 16, 3)


def test_stored_photos_that_do_not_fit_are_not_used(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.photos("images_4", size=(16, 12))
    scene = load_scene(tiny.root, scale=4)
    assert scene.images.shape == (6, 6, 8, 3)
    assert scene.notes == (
        "images_4/ does not match images/ in count or size; the photos of images/ are scaled down instead",
    )


def test_only_the_down_scaled_photos_were_kept(tiny: TinyScene) -> None:
    tiny.photos("images_4", size=(8, 6))
    tiny.llff()
    scene = load_scene(tiny.root, scale=4)
    torch.testing.assert_close(scene.cameras.focal[0], torch.tensor([10.0, 10.0]))
    assert scene.images.shape == (6, 6, 8, 3) and scene.notes == ()


def test_frames_without_files_and_repeated_frames_are_noted(tiny: TinyScene) -> None:
    content = tiny.transforms()
    content["frames"].insert(1, content["frames"][0])
    tiny.json(content)
    tiny.photos(names=tiny.names[:5])
    scene = load_scene(tiny.root)
    assert scene.names == tuple(tiny.names[:5])
    assert scene.notes == (
        "1 of 7 frames have no image file and are skipped: images/005.png",
        "1 of 7 frames repeat an earlier photo and are skipped: images/000.png",
    )


@pytest.mark.parametrize("format", ["llff", "colmap", "nerfstudio"])
def test_the_image_folder_may_be_a_link_to_another_disk(tiny: TinyScene, format: str) -> None:
    tiny.photos("../elsewhere")
    match format:
        case "llff":
            tiny.llff()
        case "colmap":
            tiny.colmap("PINHOLE", [*FOCAL, CX, CY])
        case _:
            tiny.json(tiny.transforms())
    (tiny.root / "images").symlink_to(tiny.root.parent / "elsewhere")
    scene = load_scene(tiny.root)
    assert scene.names == tuple(tiny.names)
    assert scene.notes == (f"images is a link to {(tiny.root.parent / 'elsewhere').resolve()}",)


def test_two_photos_may_share_a_pose_and_a_name(tiny: TinyScene) -> None:
    tiny.photos("images/left", names=tiny.names[:2])
    tiny.photos("images/right", names=tiny.names[:2])
    content = tiny.transforms()
    files = ["left/000.png", "left/001.png", "right/000.png", "right/001.png"]
    content["frames"] = [
        {"file_path": f"images/{f}", "transform_matrix": tiny.matrix(i // 2)} for i, f in enumerate(files)
    ]
    tiny.json(content)
    assert load_scene(tiny.root).names == tuple(files)


def test_small_drift_of_a_rotation_is_removed(tiny: TinyScene) -> None:
    tiny.photos()
    content = tiny.transforms()
    drifted = np.array(content["frames"][2]["transform_matrix"])
    drifted[:3, :3] *= 1.003
    content["frames"][2]["transform_matrix"] = drifted.tolist()
    tiny.json(content)
    rotation = load_scene(tiny.root).cameras.T_world_camera[2, :, :3]
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(3), atol=1e-6, rtol=0)
    np.testing.assert_allclose(rotation.numpy(), tiny.poses[2, :, :3], atol=1e-6)


def test_exif_orientation_is_ignored_as_in_colmap(tiny: TinyScene) -> None:
    from PIL import Image

    tiny.nerfstudio()
    photo = Image.open(tiny.root / "images" / "001.png").copy()
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees"
    photo.save(tiny.root / "images" / "001.png", exif=exif)
    np.testing.assert_array_equal(load_scene(tiny.root).images[1].numpy(), np.asarray(photo))


def test_grey_and_16_bit_photos(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.array("images/001.png", np.full((24, 32), 77, np.uint8))
    tiny.array("images/002.png", np.full((24, 32), 257 * 200, np.uint16))
    images = load_scene(tiny.root).images
    assert (images[1] == 77).all() and (images[2] == 200).all()


def test_read_cameras_needs_no_photos(tiny: TinyScene, points: np.ndarray) -> None:
    content = tiny.transforms()
    for frame in content["frames"]:
        del frame["file_path"]
    cameras = read_cameras(tiny.json(content, "path.json"))
    assert (len(cameras), cameras.width, cameras.height) == (6, *SIZE)
    np.testing.assert_allclose(project(cameras, 5, points), tiny.projected(points, 5, LENS), atol=1e-3)
