"""COLMAP models as they come: several, without points, as hand-made text, named by their own folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.scenes.tiny_scenes import FOCAL, PRINCIPAL, TinyScene
from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene, SceneError

PINHOLE = ("PINHOLE", [*FOCAL, *PRINCIPAL])


def add_model(tiny: TinyScene, folder: str, views: int, *, text: bool = False) -> None:
    """A model that registers the first ``views`` photos, in a folder that may hold other things."""
    names, tiny.names = tiny.names, tiny.names[:views]
    tiny.colmap(*PINHOLE, folder="made", text=text)
    tiny.names = names
    (tiny.root / folder).mkdir(parents=True, exist_ok=True)
    for file in (tiny.root / "made").iterdir():
        file.rename(tiny.root / folder / file.name)
    (tiny.root / "made").rmdir()


def refusal(path: Path) -> str:
    with pytest.raises(SceneError) as caught:
        load_scene(path, holdout=0)
    return str(caught.value)


def change(file: Path, edit: Callable[[list[str]], list[str]]) -> None:
    """Edit the lines of a text file."""
    file.write_text("\n".join(edit(file.read_text().split("\n"))))


@pytest.fixture
def text_model(tiny: TinyScene) -> Path:
    """A text model in which every photo sees points, and its photos."""
    tiny.photos()
    tiny.colmap(*PINHOLE, text=True)
    model = tiny.root / "sparse" / "0"
    points = iter(["1.5 2 -1 3 4 7", "", "9 9 1", "1 2 3 4 5 6 7 8 9 10 11 12", "1e1 2.5 -1", ""])
    change(model / "images.txt", lambda lines: [line or next(points, "") for line in lines])
    return model


@pytest.fixture
def expected(tiny: TinyScene, text_model: Path) -> Scene:
    """What the model gives before a test edits it."""
    return load_scene(tiny.root, holdout=0)


def assert_same(scene: Scene, expected: Scene) -> None:
    assert scene.names == expected.names and len(scene) == 6
    np.testing.assert_allclose(scene.cameras.T_world_camera, expected.cameras.T_world_camera, atol=1e-6)
    np.testing.assert_array_equal(scene.cameras.focal, expected.cameras.focal)


def is_comment(line: str) -> bool:
    return line.startswith("#")


# Text


def test_text_and_binary_say_the_same(tiny: TinyScene, expected: Scene) -> None:
    shutil.rmtree(tiny.root / "sparse")
    tiny.colmap(*PINHOLE)
    binary = load_scene(tiny.root, holdout=0)
    assert_same(binary, expected)
    assert binary.points is not None and expected.points is not None
    order = [points[:, 0].argsort() for points in (binary.points, expected.points)]
    np.testing.assert_array_equal(binary.points[order[0]], expected.points[order[1]])


def pycolmap_poses(model: Path) -> np.ndarray:
    import pycolmap

    images = sorted(pycolmap.Reconstruction(model).images.values(), key=lambda image: image.name)
    return np.stack([image.cam_from_world().inverse().matrix() for image in images])


def test_text_poses_are_pycolmap_s(tiny: TinyScene, text_model: Path) -> None:
    def scale_quaternions(lines: list[str]) -> list[str]:
        def scaled(line: str) -> str:
            words = line.split()
            return " ".join([words[0], *(str(3 * float(q)) for q in words[1:5]), *words[5:]]) if "png" in line else line

        return [line if is_comment(line) else scaled(line) for line in lines]

    change(text_model / "images.txt", scale_quaternions)
    scene = load_scene(tiny.root, holdout=0)
    np.testing.assert_allclose(scene.cameras.T_world_camera, pycolmap_poses(text_model), atol=1e-6)


def without_point_lines(lines: list[str]) -> list[str]:
    return [line for line in lines if is_comment(line) or "png" in line]


def with_some_point_lines(lines: list[str]) -> list[str]:
    return [line for line in lines if line]


def with_more_empty_lines(lines: list[str]) -> list[str]:
    return [part for line in lines for part in ("", line, "  ", "")]


def with_tabs(lines: list[str]) -> list[str]:
    return [line.replace(" ", "\t") for line in lines]


@pytest.mark.parametrize("edit", [without_point_lines, with_some_point_lines, with_more_empty_lines, with_tabs])
def test_every_layout_gives_all_photos(tiny: TinyScene, text_model: Path, expected: Scene, edit) -> None:
    change(text_model / "images.txt", edit)
    assert_same(load_scene(tiny.root, holdout=0), expected)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_byte_order_marks_and_line_ends(
    tiny: TinyScene, text_model: Path, expected: Scene, encoding: str, newline: str
) -> None:
    for file in text_model.iterdir():
        file.write_bytes(file.read_text().replace("\n", newline).encode(encoding))
    assert_same(load_scene(tiny.root, holdout=0), expected)


@pytest.mark.parametrize("name", ["my photo {}.png", "2024 01 {}", "#{} (copy).png", "a  b {}.png"])
@pytest.mark.parametrize("edit", [list, without_point_lines], ids=["points", "no points"])
def test_names_with_spaces(tiny: TinyScene, text_model: Path, name: str, edit) -> None:
    (tiny.root / "images").rename(tiny.root / "old")
    (tiny.root / "images").mkdir()
    for view in range(6):
        file = name.format(view)
        shutil.copy(tiny.root / "old" / f"{view:03}.png", tiny.root / "images" / f"{file.removesuffix('.png')}.png")
    change(text_model / "images.txt", edit)
    rename = re.compile(r"00(\d)\.png")
    change(text_model / "images.txt", lambda lines: [rename.sub(lambda m: name.format(m[1]), line) for line in lines])
    scene = load_scene(tiny.root, holdout=0)
    assert scene.names == tuple(f"{name.format(view).removesuffix('.png')}.png" for view in range(6))


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
def test_points_are_optional(tiny: TinyScene, text: bool) -> None:
    tiny.photos()
    tiny.colmap(*PINHOLE, text=text)
    (tiny.root / "sparse" / "0" / ("points3D.txt" if text else "points3D.bin")).unlink()
    scene = load_scene(tiny.root)
    assert len(scene) == 6 and scene.points is None and scene.point_colors is None
    np.testing.assert_allclose(scene.cameras.T_world_camera, tiny.poses, atol=1e-6)


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
def test_files_of_rigs_are_optional(tiny: TinyScene, text: bool) -> None:
    tiny.photos()
    tiny.colmap(*PINHOLE, text=text)
    for file in ("rigs", "frames"):
        (tiny.root / "sparse" / "0" / f"{file}.{'txt' if text else 'bin'}").unlink()
    assert len(load_scene(tiny.root)) == 6


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("images", " 003.png", "", "expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, got 3 "),
        ("images", " 1 003.png", " 8 003.png", "expected a camera of cameras.txt for 003.png, got CAMERA_ID 8"),
        ("images", "1.5 2 -1 3 4 7", "1.5 2 -1 3 4", "NAME, got 1.5 2 -1 3 4;"),
        ("images", "1.5 2 -1 3 4 7", "1 2 3\n4 5 6", "NAME, got 4 5 6;"),
        ("cameras", " PINHOLE 32", " PINHOLE", "expected CAMERA_ID MODEL WIDTH HEIGHT and the model's parameters, "),
        ("cameras", " 15.5 ", " ", "expected CAMERA_ID MODEL WIDTH HEIGHT and the model's parameters, got 1 PINHOLE"),
        ("points3D", "\n3 ", "\nthree ", "expected POINT3D_ID X Y Z R G B ERROR TRACK[], got three "),
    ],
)  # fmt: skip
def test_lines_that_mean_nothing(tiny: TinyScene, text_model: Path, file: str, old: str, new: str, says: str) -> None:
    path = text_model / f"{file}.txt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert re.search(rf"^sparse/0/{file}.txt, line .*; correct it or export the model again\.$", refusal(tiny.root))
    assert says in refusal(tiny.root)


def test_text_that_is_none(tiny: TinyScene, text_model: Path) -> None:
    (text_model / "images.txt").write_bytes(b"1 \xe9")
    assert refusal(tiny.root) == ("sparse/0/images.txt: expected text in UTF-8, got other bytes; save it as UTF-8.")


@pytest.mark.parametrize("zero", ["0 0 0 0", "nan 0 0 1", "inf 0 0 0"])
def test_a_quaternion_that_is_none(tiny: TinyScene, text_model: Path, zero: str) -> None:
    path = text_model / "images.txt"
    path.write_text(re.sub(r"^(\d+) \S+ \S+ \S+ \S+ (.*003\.png)", rf"\1 {zero} \2", path.read_text(), flags=re.M))
    assert "003.png: expected a rigid camera pose" in refusal(tiny.root)


@pytest.mark.parametrize(("lost", "kept"), [("cameras.txt", "images.txt"), ("images.txt", "cameras.txt")])
def test_half_a_text_model(tiny: TinyScene, text_model: Path, lost: str, kept: str) -> None:
    (text_model / lost).unlink()
    assert refusal(tiny.root).startswith("sparse/0: expected a complete COLMAP model")


# Several models


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
@pytest.mark.parametrize(
    ("small", "large"),
    [("sparse/0", "sparse/1"), ("sparse/2", "sparse/10"), ("sparse", "sparse/0"), ("sparse/0", "sparse"),
     ("sparse/0", "colmap/sparse/1"), ("colmap/sparse", "colmap/sparse/3"), ("colmap/0", "colmap/1")],
)  # fmt: skip
def test_the_largest_model_is_the_scene_s(tiny: TinyScene, small: str, large: str, text: bool) -> None:
    tiny.photos()
    add_model(tiny, small, 3, text=text)
    add_model(tiny, large, 6, text=text)
    (tiny.root / "sparse" / "7").mkdir(parents=True)  # holds nothing
    scene = load_scene(tiny.root)
    assert len(scene) == 6
    assert scene.notes[0] == f"{large} is used, which has 6 photos; of the other models {small} has 3"


def test_the_note_has_all_sizes(tiny: TinyScene) -> None:
    tiny.photos()
    for model, views in enumerate([2, 5, 3, 4]):
        add_model(tiny, f"sparse/{model}", views)
    (tiny.root / "sparse/3/images.bin").write_bytes(b"")
    assert load_scene(tiny.root).notes[0] == (
        "sparse/1 is used, which has 5 photos; of the other models sparse/0 has 2, sparse/2 has 3, sparse/3 has 0"
    )


def test_the_first_of_equals(tiny: TinyScene) -> None:
    tiny.photos()
    for model in ("sparse/10", "sparse/9"):
        add_model(tiny, model, 5)
    assert load_scene(tiny.root).notes[0].startswith("sparse/9 is used")


@pytest.mark.parametrize("path", ["sparse/1", "sparse/1/images.bin", "sparse/1/cameras.bin"])
def test_a_model_that_is_named(tiny: TinyScene, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.photos()
    tiny.masks()
    add_model(tiny, "sparse/0", 6)
    add_model(tiny, "sparse/1", 5)
    scene = load_scene(tiny.root / path)
    assert len(scene) == 5 and scene.name == "scene" and scene.masks is not None
    monkeypatch.chdir(tiny.root / path if path == "sparse/1" else tiny.root / "sparse")
    assert len(load_scene("." if path == "sparse/1" else path.removeprefix("sparse/"))) == 5


def test_the_folder_of_models_that_is_named(tiny: TinyScene) -> None:
    tiny.photos()
    add_model(tiny, "colmap/sparse/0", 4)
    add_model(tiny, "colmap/sparse/1", 6)
    assert len(load_scene(tiny.root / "colmap")) == len(load_scene(tiny.root / "colmap" / "sparse")) == 6


def test_a_model_without_photos_above_it(tiny: TinyScene) -> None:
    add_model(tiny, "sparse/0", 6)
    assert "expected the photos in a folder images/, found none; put the photos there" in refusal(
        tiny.root / "sparse/0"
    )


def test_a_model_beside_the_photo_folder(tiny: TinyScene) -> None:
    tiny.photos()
    add_model(tiny, ".", 6, text=True)
    assert len(load_scene(tiny.root)) == 6


# Photos without a pose


def test_photos_without_a_pose_are_counted(tiny: TinyScene) -> None:
    tiny.photos()
    add_model(tiny, "sparse/0", 4)
    tiny.masks("images/label")
    tiny.masks("images", names=[f"{name}.mask.png" for name in tiny.names])
    tiny.photo("images/001_depth.png")
    tiny.photo("images/second/007.png")
    assert load_scene(tiny.root).notes[0] == (
        "3 of 7 photos in images/ have no pose in sparse/0 and are left out: "
        "images/004.png, images/005.png, images/second/007.png"
    )


def test_no_note_when_all_have_one(tiny: TinyScene) -> None:
    tiny.photos()
    tiny.masks("images", names=[f"{name[:-4]}_mask.png" for name in tiny.names])
    tiny.colmap(*PINHOLE)
    assert not [note for note in load_scene(tiny.root).notes if "pose" in note]
