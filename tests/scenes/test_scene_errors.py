"""The text of every error, word for word: what was expected, what came, what to do."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.scenes.tiny_scenes import FOCAL, PRINCIPAL, SIZE, TinyScene
from unscene.scenes.capture import listing, usable_files
from unscene.scenes.load import load_scene
from unscene.scenes.scene import SceneError
from unscene.scenes.transforms import read_cameras


def error_of(tiny: TinyScene, call: Callable[[], object]) -> str:
    with pytest.raises(SceneError) as caught:
        call()
    return str(caught.value).replace(str(tiny.root.resolve()), "SCENE").replace(str(tiny.root.parent), "PARENT")


def load_error(tiny: TinyScene, **options) -> str:
    return error_of(tiny, lambda: load_scene(tiny.root, **options))


# Folders and formats


LAYOUTS = """
  nerfstudio, Blender   transforms.json (or transforms_train.json) and the photos it names
  COLMAP                sparse/0/ (cameras, images, points3D as .bin or .txt) and images/
  LLFF                  poses_bounds.npy and images/
  Polycam               keyframes/ of its raw data (cameras and images, corrected or not)
  Record3D              metadata.json and rgb/ (also in EXR_RGBD/), or an unpacked .r3d
  RealityCapture        a .csv of internal/external camera parameters and the photos
  Metashape             an .xml of cameras and the photos
Point to the folder that holds these, or make a scene of photos or a video with unscene capture."""


def test_no_such_folder(tiny: TinyScene) -> None:
    assert load_error(tiny) == ("SCENE: expected a scene folder or its transforms.json, found nothing; check the path.")


def test_photos_without_cameras(tiny: TinyScene) -> None:
    tiny.photos()
    assert load_error(tiny) == f"SCENE: expected a scene in one of these layouts, found images:{LAYOUTS}"


def test_an_empty_folder(tiny: TinyScene) -> None:
    tiny.root.mkdir()
    assert load_error(tiny) == f"SCENE: expected a scene in one of these layouts, found an empty folder:{LAYOUTS}"


def test_a_file_that_is_no_scene(tiny: TinyScene) -> None:
    tiny.photos()
    error = error_of(tiny, lambda: load_scene(tiny.root / "images" / "000.png"))
    assert error == f"SCENE/images/000.png: expected a scene in one of these layouts, found 000.png:{LAYOUTS}"


@pytest.mark.parametrize(("scale", "got"), [(0, "0"), (0.5, "0.5"), (-2, "-2"), (math.nan, "nan"), (math.inf, "inf")])
def test_scale(tiny: TinyScene, scale: float, got: str) -> None:
    assert load_error(tiny, scale=scale) == (
        f"scale: expected a number of at least 1 (4: a quarter of the width), got {got}."
    )


def test_negative_holdout(tiny: TinyScene) -> None:
    assert load_error(tiny, holdout=-1) == (
        "holdout: expected 0 (none) or every how many views to hold one out, got -1."
    )


def test_no_image_folder(tiny: TinyScene) -> None:
    tiny.llff()
    assert load_error(tiny) == ("SCENE: expected the photos in a folder images/, found none; put the photos there.")


def test_only_down_scaled_photos(tiny: TinyScene) -> None:
    tiny.llff()
    tiny.photos("images_4", size=(8, 6))
    assert load_error(tiny) == (
        "SCENE: expected the photos in a folder images/, found only images_4; load it with scale 4."
    )


# Photos


@pytest.mark.parametrize("keep", [0.5, 0.0], ids=["truncated", "empty"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_unreadable_photo(tiny: TinyScene, keep: float, suffix: str) -> None:
    tiny.names = [f"{name[:-4]}{suffix}" for name in tiny.names]
    photo = tiny.nerfstudio() / "images" / tiny.names[3]
    content = photo.read_bytes()
    photo.write_bytes(content[: int(len(content) * keep)])
    assert load_error(tiny) == (
        f"images/003{suffix}: expected a readable image, but the file is truncated or no image; "
        "copy it again or remove the frame."
    )


def test_no_photo_at_all(tiny: TinyScene) -> None:
    tiny.json(tiny.transforms())
    assert load_error(tiny) == (
        "transforms.json: expected the photos of 6 frames in SCENE, found none of them "
        "(the first is images/000.png); put the photos there."
    )


@pytest.mark.parametrize("views", [1, 2])
def test_too_few_photos(tiny: TinyScene, views: int) -> None:
    tiny.names = tiny.names[:views]
    tiny.nerfstudio()
    assert load_error(tiny, holdout=0) == (
        f"expected at least 3 photos to train on, got {views} of {views} usable photos "
        "(0 are held out for testing); add photos."
    )


def test_too_many_held_out(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    assert load_error(tiny, holdout=1) == (
        "expected at least 3 photos to train on, got 0 of 6 usable photos (6 are held out for testing); hold out fewer."
    )


def test_photos_of_different_sizes(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.photo("images/004.png", size=(24, 32))
    assert load_error(tiny) == (
        "SCENE: expected photos of one size, got 5 of 32x24, but images/004.png is 24x32; "
        "remove the others or load each size as a scene of its own."
    )


def test_intrinsics_for_another_aspect_ratio(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.json(tiny.transforms() | {"w": 64, "h": 32})
    assert load_error(tiny) == (
        "images/000.png: expected a photo with the aspect ratio of its intrinsics, 64x32, got 32x24; correct w and h."
    )


def test_photos_turned_by_90_degrees(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.json(tiny.transforms() | {"w": 24, "h": 32})
    assert load_error(tiny) == (
        "images/000.png: expected a photo with the aspect ratio of its intrinsics, 24x32, got 32x24; "
        "rotate the photos (their EXIF orientation is ignored, as in COLMAP)."
    )


# Paths that leave the scene folder


@pytest.mark.parametrize("listed", ["../secret.png", "PARENT/secret.png", "images/link.png", "images/../../secret"])
def test_a_photo_outside_the_scene_folder(tiny: TinyScene, listed: str) -> None:
    tiny.nerfstudio()
    tiny.photo("../secret.png")
    (tiny.root / "images" / "link.png").symlink_to(tiny.root.parent / "secret.png")
    content = tiny.transforms()
    content["frames"][1]["file_path"] = listed.replace("PARENT", str(tiny.root.parent))
    tiny.json(content)
    resolved = "PARENT/secret" if listed.endswith("secret") else "PARENT/secret.png"
    assert load_error(tiny) == (
        f"{listed}: expected a path inside the scene folder, got one that leads out of it to {resolved}; "
        "copy the file into the scene folder and correct the path."
    )


@pytest.mark.parametrize("format", ["llff", "colmap", "nerfstudio"])
def test_a_link_out_of_a_linked_image_folder(tiny: TinyScene, format: str) -> None:
    tiny.photos("../elsewhere")
    tiny.photo("../secret.png")
    (tiny.root.parent / "elsewhere" / "003.png").unlink()
    (tiny.root.parent / "elsewhere" / "003.png").symlink_to(tiny.root.parent / "secret.png")
    write_poses(tiny, format)
    (tiny.root / "images").symlink_to(tiny.root.parent / "elsewhere")
    assert load_error(tiny).endswith(
        "003.png: expected a path inside the scene folder, got one that leads out of it to PARENT/secret.png; "
        "copy the file into the scene folder and correct the path."
    )


def test_another_folder_that_is_a_link_out(tiny: TinyScene) -> None:
    tiny.photos("../elsewhere")
    content = tiny.transforms()
    for frame in content["frames"]:
        frame["file_path"] = frame["file_path"].replace("images", "rgb")
    tiny.json(content)
    (tiny.root / "rgb").symlink_to(tiny.root.parent / "elsewhere")
    assert load_error(tiny) == (
        "rgb/000.png: expected a path inside the scene folder, got one that leads out of it to "
        "PARENT/elsewhere/000.png; copy the file into the scene folder and correct the path."
    )


def write_poses(tiny: TinyScene, format: str) -> None:
    match format:
        case "llff":
            tiny.llff()
        case "colmap":
            tiny.colmap("PINHOLE", [*FOCAL, *PRINCIPAL])
        case _:
            tiny.json(tiny.transforms())


def test_a_colmap_name_outside(tiny: TinyScene) -> None:
    tiny.photos()
    tiny.names[2] = "../../secret.png"
    tiny.colmap("PINHOLE", [*FOCAL, *PRINCIPAL])
    assert load_error(tiny) == (
        "../../secret.png: expected a path inside the scene folder, got one that leads out of it to "
        "PARENT/secret.png; copy the file into the scene folder and correct the path."
    )


def test_a_mask_outside(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks("../elsewhere")
    (tiny.root / "masks").symlink_to(tiny.root.parent / "elsewhere")
    assert load_error(tiny) == (
        "masks/000.png: expected a path inside the scene folder, got one that leads out of it to "
        "PARENT/elsewhere/000.png; copy the file into the scene folder and correct the path."
    )


def test_a_null_byte(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    content = tiny.transforms()
    content["frames"][1]["file_path"] = "images/\0.png"
    tiny.json(content)
    assert load_error(tiny) == (
        r"'images/\x00.png': expected a file path, got one that cannot be resolved; correct it."
    )


# Cameras


def frame_error(tiny: TinyScene, **changes) -> str:
    """The error after a change of the third frame."""
    tiny.photos()
    content = tiny.transforms()
    content["frames"][2] |= changes
    tiny.json(content)
    return load_error(tiny)


def changed_matrix(tiny: TinyScene, change: np.ndarray) -> list[list[float]]:
    return (np.array(tiny.matrix(2)) @ change).tolist()


RIGID = "images/002.png: expected a rigid camera pose (a rotation and a position), got"
REMEDY = "correct the pose or remove the frame."


def test_nan_in_a_pose(tiny: TinyScene) -> None:
    matrix = tiny.matrix(2)
    matrix[1][3] = math.nan
    assert frame_error(tiny, transform_matrix=matrix) == f"{RIGID} NaN or infinite numbers; {REMEDY}"


def test_a_scaled_pose(tiny: TinyScene) -> None:
    matrix = changed_matrix(tiny, np.diag([1.1, 1.1, 1.1, 1.0]))
    assert (
        frame_error(tiny, transform_matrix=matrix) == f"{RIGID} axes that are not orthonormal (off by 0.21); {REMEDY}"
    )


def test_a_mirrored_pose(tiny: TinyScene) -> None:
    matrix = changed_matrix(tiny, np.diag([-1.0, 1.0, 1.0, 1.0]))
    assert frame_error(tiny, transform_matrix=matrix) == f"{RIGID} a mirrored one (determinant -1); {REMEDY}"


def test_a_projective_pose(tiny: TinyScene) -> None:
    matrix = [*tiny.matrix(2)[:3], [0.0, 0.0, 0.0, 2.0]]
    assert frame_error(tiny, transform_matrix=matrix) == (
        f"{RIGID} the last row [0.0, 0.0, 0.0, 2.0] in place of [0, 0, 0, 1]; {REMEDY}"
    )


@pytest.mark.parametrize("matrix", [None, [1, 2, 3], [["a"] * 4] * 4, [[1, 2], [3]], {}])
def test_a_matrix_that_is_none(tiny: TinyScene, matrix: object) -> None:
    assert frame_error(tiny, transform_matrix=matrix) == (
        "images/002.png: expected transform_matrix as 4 rows of 4 numbers, got something else; "
        "correct it or remove the frame."
    )


@pytest.mark.parametrize(("focal", "got"), [(0, "0 and 42"), (-40, "-40 and 42")])
def test_focal_length(tiny: TinyScene, focal: float, got: str) -> None:
    assert frame_error(tiny, fl_x=focal) == (
        f"images/002.png: expected a focal length above 0 pixels, got {got}; correct the intrinsics."
    )


@pytest.mark.parametrize("key", ["fl_y", "cx", "k1", "w"])
def test_nan_in_the_intrinsics(tiny: TinyScene, key: str) -> None:
    assert frame_error(tiny, **{key: math.nan}) == (
        "images/002.png: expected finite camera intrinsics, got NaN or infinity; correct them."
    )


def test_an_image_size_of_0(tiny: TinyScene) -> None:
    assert frame_error(tiny, w=0, h=0) == (
        "images/002.png: expected an image size of at least 1x1, got 0x0; correct the intrinsics."
    )


@pytest.mark.parametrize(("value", "got"), [("40", "'40'"), (None, "None"), (True, "True")])
def test_a_focal_length_that_is_no_number(tiny: TinyScene, value: object, got: str) -> None:
    assert frame_error(tiny, fl_x=value) == f"images/002.png: expected a number as fl_x, got {got}; correct it."


def test_a_camera_that_sees_all_around(tiny: TinyScene) -> None:
    assert frame_error(tiny, camera_model="EQUIRECTANGULAR") == (
        "images/002.png: expected a perspective or fisheye lens as camera_model (OPENCV, OPENCV_FISHEYE, FULL_OPENCV "
        "and their simpler forms), got EQUIRECTANGULAR; undistort the photos first."
    )


@pytest.mark.parametrize(
    ("terms", "got"), [({"k4": -0.002}, "k4 = -0.002"), ({"k4": 1e-9, "k6": 0.5}, "k4 = 1e-09, k6 = 0.5")]
)
def test_a_perspective_lens_with_more_terms(tiny: TinyScene, terms: dict, got: str) -> None:
    assert frame_error(tiny, **terms) == (
        f"images/002.png: expected a perspective lens of k1, k2, p1, p2, k3, got one with {got} besides; "
        "export undistorted photos, or calibrate the lens without it (if it is a fisheye, its camera_model is "
        "OPENCV_FISHEYE; if OpenCV's rational model, FULL_OPENCV)."
    )


def test_tangential_distortion_of_a_fisheye(tiny: TinyScene) -> None:
    assert frame_error(tiny, is_fisheye=True) == (
        "images/002.png: expected a fisheye lens of k1, k2, k3, k4 (OpenCV's), got p1 = 0.002, p2 = -0.001 besides; "
        "undistort the photos first in the program that calibrated it."
    )


def test_a_lens_that_folds_back(tiny: TinyScene) -> None:
    """At r = 0.41, as p1 and p2 have it; the photo's corners are at 0.48."""
    assert frame_error(tiny, k1=-1.5, k2=0.1) == (
        "images/002.png: expected a lens whose distortion can be undone all over the photo, but this one folds back "
        "inside it: k1 = -1.5, k2 = 0.1, p1 = 0.002, p2 = -0.001, k3 = 0.003; "
        "calibrate it again with fewer parameters, or undistort the photos first."
    )


def test_the_lens_of_all_photos_folds_back(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.json(tiny.transforms() | {"k1": -1.5, "k2": 0.0})
    assert load_error(tiny).startswith("images/000.png (and 5 other frames): expected a lens whose distortion can be")


def test_a_fisheye_that_folds_back(tiny: TinyScene) -> None:
    changes = dict.fromkeys(("p1", "p2", "k3"), 0) | {"camera_model": "OPENCV_FISHEYE", "k1": -0.5, "k2": -1.5}
    changes |= {"fl_x": 20, "fl_y": 20}
    assert frame_error(tiny, **changes) == (
        "images/002.png: expected a lens whose distortion can be undone all over the photo, but this one folds back "
        "inside it: k1 = -0.5, k2 = -1.5; calibrate it again with fewer parameters, or undistort the photos first."
    )


def test_a_lens_of_absurd_numbers(tiny: TinyScene) -> None:
    changes = {"camera_model": "FULL_OPENCV", "k4": 1}
    assert "folds back inside it: k1 = 1e+12, k2 = -0.01" in frame_error(tiny, **changes, k1=1e12)
    assert "expected intrinsics in pixels, got 1e+300" in frame_error(tiny, **changes, k1=1e300)


def test_a_fisheye_whose_axis_misses_the_photo(tiny: TinyScene) -> None:
    changes = {"camera_model": "OPENCV_FISHEYE", "p1": 0, "p2": 0, "cx": -100}
    assert frame_error(tiny, **changes) == (
        "images/002.png: expected a fisheye lens whose axis meets the photo, got the principal point (-100, 12.25) in "
        "32x24; correct it."
    )


@pytest.mark.parametrize("path", [None, 3, ""])
def test_a_frame_without_a_path(tiny: TinyScene, path: object) -> None:
    got = {None: "None", 3: "3", "": "''"}[path]
    label = "3" if path == 3 else "frame 2"
    assert frame_error(tiny, file_path=path) == (
        f"{label}: expected the photo's path as file_path, got {got}; add it to the frame."
    )


def test_no_focal_length(tiny: TinyScene) -> None:
    tiny.photos()
    content = tiny.transforms()
    del content["fl_x"], content["fl_y"]
    tiny.json(content)
    assert load_error(tiny) == (
        "images/000.png: expected fl_x or camera_angle_x, found neither; add it to the transforms file."
    )


def test_a_field_of_view_in_degrees(tiny: TinyScene) -> None:
    tiny.photos()
    content = tiny.transforms() | {"camera_angle_x": 40.0}
    del content["fl_x"], content["fl_y"]
    tiny.json(content)
    assert load_error(tiny) == ("images/000.png: expected camera_angle_x between 0 and pi radians, got 40; correct it.")


def test_a_split_that_is_no_list(tiny: TinyScene) -> None:
    tiny.photos()
    tiny.json(tiny.transforms() | {"train_filenames": "images/000.png"})
    assert load_error(tiny) == (
        "train_filenames: expected a list of photos, got 'images/000.png'; correct the transforms file."
    )


# Files


def test_malformed_json(tiny: TinyScene) -> None:
    file = tiny.nerfstudio() / "transforms.json"
    file.write_text('{"frames": [\n  {"file_path": }')
    assert load_error(tiny) == (
        "transforms.json: expected valid JSON, got an error at line 2, column 17: Expecting value; fix it."
    )


def test_json_that_is_not_text(tiny: TinyScene) -> None:
    (tiny.nerfstudio() / "transforms.json").write_bytes(b"\xff\xfe\x00\x81")
    assert load_error(tiny) == "transforms.json: expected JSON in UTF-8, got other bytes; export the file again."


@pytest.mark.parametrize("content", [[], {}, {"frames": []}, {"frames": [1]}, {"frames": {"a": 1}}])
def test_json_without_frames(tiny: TinyScene, content: object) -> None:
    tiny.json(content)
    assert load_error(tiny) == (
        "transforms.json: expected a list 'frames' of cameras, found none; export the file again."
    )


def test_truncated_poses_bounds(tiny: TinyScene) -> None:
    tiny.photos()
    tiny.llff()
    file = tiny.root / "poses_bounds.npy"
    file.write_bytes(file.read_bytes()[:-100])
    assert load_error(tiny) == (
        "poses_bounds.npy: expected an array of N rows with 17 numbers, but the file is truncated or no NumPy array; "
        "copy it again."
    )


@pytest.mark.parametrize("content", [b"", b"poses"])
def test_poses_bounds_that_are_no_array(tiny: TinyScene, content: bytes) -> None:
    tiny.photos()
    (tiny.root / "poses_bounds.npy").write_bytes(content)
    assert load_error(tiny) == (
        "poses_bounds.npy: expected an array of N rows with 17 numbers, but the file is truncated or no NumPy array; "
        "copy it again."
    )


def test_poses_bounds_never_unpickle(tiny: TinyScene) -> None:
    tiny.photos()
    np.save(tiny.root / "poses_bounds.npy", np.array([{"pickled": 1}]), allow_pickle=True)
    assert "truncated or no NumPy array" in load_error(tiny)


def test_poses_bounds_of_another_shape(tiny: TinyScene) -> None:
    tiny.photos()
    np.save(tiny.root / "poses_bounds.npy", np.zeros((6, 15)))
    assert load_error(tiny) == (
        "poses_bounds.npy: expected an array of N rows with 17 numbers, got shape (6, 15), float64; export it again."
    )


def test_poses_bounds_for_other_photos(tiny: TinyScene) -> None:
    tiny.photos(names=tiny.names[:5])
    tiny.llff()
    assert load_error(tiny) == (
        "poses_bounds.npy: expected one row per photo in images/, got 6 rows for 5 photos; "
        "add the missing photos or remove the extra ones (rows belong to them in name order)."
    )


def test_nan_in_poses_bounds(tiny: TinyScene) -> None:
    tiny.photos()
    rows = tiny.llff()
    rows[2, 3] = math.nan
    np.save(tiny.root / "poses_bounds.npy", rows)
    assert load_error(tiny) == f"{RIGID} NaN or infinite numbers; {REMEDY}"


INCOMPLETE = [(file, keep) for file in ("cameras", "frames", "images", "points3D") for keep in (0.98, 0.5, 0.1, None)]
INCOMPLETE.remove(("frames", None))  # models of older versions have none
INCOMPLETE.remove(("points3D", None))  # whoever needs only poses leaves them out


@pytest.mark.parametrize(("file", "keep"), INCOMPLETE)
def test_incomplete_colmap_model(tiny: TinyScene, file: str, keep: float | None) -> None:
    tiny.photos()
    tiny.colmap("PINHOLE", [*FOCAL, *PRINCIPAL])
    path = tiny.root / "sparse" / "0" / f"{file}.bin"
    if keep:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    else:
        path.rename(path.with_suffix(".lost"))
    assert load_error(tiny) == (
        "sparse/0: expected a complete COLMAP model (cameras and images, both .bin or both .txt; points3D where there "
        "are points), but it cannot be read; copy it again or export it with colmap model_converter."
    )


def test_unsupported_colmap_camera(tiny: TinyScene) -> None:
    tiny.photos()
    tiny.colmap("FOV", [*FOCAL, *PRINCIPAL, 0.1])
    assert load_error(tiny) == (
        "images/000.png: expected a camera model of OpenCV's kind (SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL, RADIAL, "
        "OPENCV, FULL_OPENCV, SIMPLE_FISHEYE, FISHEYE, SIMPLE_RADIAL_FISHEYE, RADIAL_FISHEYE, OPENCV_FISHEYE), "
        "got FOV; undistort the photos first: "
        "colmap image_undistorter --image_path images --input_path sparse/0 --output_path undistorted"
    )


# Masks


def test_missing_masks(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks(names=tiny.names[3:])
    assert load_error(tiny) == (
        "masks/: expected a mask for each of 5 training photos, found none for 2: 001.png, 002.png; "
        "add them (all black where the object is out of view). Photos taken after the object was gone must not be "
        "trained on: take them out, or put masks of where it was into test_label/, as SPIn-NeRF does, to test with "
        "them."
    )


def test_another_count_and_other_names(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks(names=["a.png", "b.png"])
    assert load_error(tiny) == (
        "masks/: expected one mask per photo, named like it, got 2 masks for 6 photos and no common name "
        "(a.png and 000.png); rename the masks like the photos."
    )


def test_no_masks_where_the_caller_says(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    assert load_error(tiny, masks=tiny.root / "nowhere") == (
        "SCENE/nowhere: expected a folder with one mask per photo, found none; check the path."
    )


def test_masks_of_another_aspect_ratio(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks(size=(24, 24))
    assert load_error(tiny) == (
        "000.png: expected a mask of 000.png's size 32x24 or the same aspect ratio, got 24x24; "
        "export the masks again from the photos as they are."
    )


def test_unreadable_mask(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks()
    (tiny.root / "masks" / "002.png").write_bytes(b"\x89PNG")
    assert load_error(tiny) == (
        "002.png: expected the readable mask of 002.png, but the file is truncated or no image; copy it again."
    )


def test_all_masks_empty(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks(white=0)
    assert load_error(tiny) == (
        "masks/: nothing to remove: expected white where the object is, got 5 masks that are all black; "
        "check the masks."
    )


def test_full_masks(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks()
    for name in tiny.names[4:]:
        tiny.array(f"masks/{name}", np.full((24, 32), 255, np.uint8))
    assert load_error(tiny) == (
        "masks/: expected masks that leave some of each photo, got full ones for 2 of 6: 004.png, 005.png; "
        "if black and white are swapped, invert the masks."
    )


# Camera files without photos


def test_a_camera_file_without_sizes(tiny: TinyScene) -> None:
    content = tiny.transforms()
    del content["w"]
    file = tiny.json(content)
    assert error_of(tiny, lambda: read_cameras(file)) == (
        "transforms.json: expected the image size as w and h, found none; add it at the top level."
    )


def test_a_camera_file_of_several_sizes(tiny: TinyScene) -> None:
    content = tiny.transforms()
    content["frames"][1]["w"] = 64
    file = tiny.json(content)
    assert error_of(tiny, lambda: read_cameras(file)) == (
        "transforms.json: expected one image size for all frames, got 32x24, 64x24; make them equal."
    )


def test_no_camera_file(tiny: TinyScene) -> None:
    missing: Path = tiny.root / "path.json"
    assert error_of(tiny, lambda: read_cameras(missing)) == (
        "SCENE/path.json: expected a transforms.json with cameras, found no such file; check the path."
    )


@pytest.mark.parametrize("text", ["[" * 100_000, '{"frames": ' + "9" * 5000 + "}"])
def test_json_that_python_gives_up_on(tiny: TinyScene, text: str) -> None:
    tiny.photos()
    (tiny.root / "transforms.json").write_text(text)
    assert load_error(tiny).startswith("transforms.json: expected JSON with cameras, got brackets nested too deep")


@pytest.mark.parametrize("changed", [{"fl_x": 1e39}, {"cx": -1e300}, {"k1": 1e20}])
def test_intrinsics_that_float32_does_not_hold(tiny: TinyScene, changed: dict) -> None:
    value = next(iter(changed.values()))
    assert f"expected intrinsics in pixels, got {value:g}; correct them." in frame_error(tiny, **changed)


def test_a_focal_length_next_to_nothing(tiny: TinyScene) -> None:
    assert "expected a focal length above 0 pixels, got 1e-300" in frame_error(tiny, fl_x=1e-300, fl_y=1e-300)


def test_positions_that_float32_does_not_hold(tiny: TinyScene) -> None:
    matrix = np.array(tiny.matrix(2))
    matrix[0, 3] = 1e39
    assert "got numbers up to 1e+39" in frame_error(tiny, transform_matrix=matrix.tolist())


def test_frames_with_a_name_that_no_file_can_have(tiny: TinyScene) -> None:
    tiny.photos()
    photo, none = tiny.root / "images/000.png", tiny.root / ("x" * 300)
    kept, notes = usable_files(tiny.root, [photo, none, none], "transforms.json")
    assert kept == [0] and notes[0].startswith("2 of 3 frames have no image file and are skipped")


def test_names_are_shortened_in_messages() -> None:
    assert listing(["a" * 9999, "b", "c", "d"]) == "a" * 117 + "..., b, c, ..."


def test_poses_with_a_header_that_numpy_stumbles_over(tiny: TinyScene) -> None:
    """Whatever the parser of the header raises, here tokenize.TokenError."""
    tiny.photos()
    tiny.llff()
    file = tiny.root / "poses_bounds.npy"
    file.write_bytes(file.read_bytes().replace(b"}", b"(", 1))
    assert load_error(tiny).startswith("poses_bounds.npy: expected an array of N rows with 17 numbers")


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_binary_model_with_a_rotation_that_is_none(tiny: TinyScene, value: float) -> None:
    """pycolmap takes it for no rotation at all, without a word."""
    tiny.photos()
    tiny.colmap("PINHOLE", [*FOCAL, *PRINCIPAL])
    for name, first in (("images.bin", 8 + 4), ("frames.bin", 8 + 8)):
        file = tiny.root / "sparse/0" / name
        whole = file.read_bytes()
        file.write_bytes(whole[:first] + struct.pack("<4d", *[value] * 4) + whole[first + 32 :])
        with pytest.raises(SceneError, match=f"{name}: expected rotations as quaternions, got "):
            load_scene(tiny.root)
        file.write_bytes(whole)


def test_a_mask_that_claims_to_be_huge_is_not_decoded(tiny: TinyScene, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.nerfstudio()
    tiny.masks()
    tiny.masks(size=(SIZE[0] * 20, SIZE[1] * 20), names=tiny.names[:1])
    monkeypatch.setattr("unscene.scenes.mask_files.decode_mask", lambda path: pytest.fail("decoded"))
    with pytest.raises(SceneError, match=r"000.png: expected a mask of 000.png's size 32x24"):
        load_scene(tiny.root)
