"""Points beside a transforms.json: read where they are good, told of and passed over where they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.scenes.tiny_scenes import TinyScene
from unscene.scenes.load import load_scene
from unscene.scenes.scene import SceneError
from unscene.splat_files.ply_elements import header_bytes

ROW = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])
POINTS = np.array([(0, 0.5, 1, 255, 0, 10), (np.nan, 0, 0, 1, 1, 1), (-2, 3, 0.25, 0, 128, 0)], ROW)
TEXT = """ply
format ascii 1.0
element vertex 1
property float x
property float y
property float z
property uint8 red
property uint8 green
property uint8 blue
end_header
1 2 3 4 5 6
"""


def scene_with(root: Path, listed: object) -> TinyScene:
    scene = TinyScene(root)
    scene.photos()
    scene.json(scene.transforms() | {"ply_file_path": listed})
    return scene


def test_points_are_read_with_their_colours(tmp_path: Path) -> None:
    scene_with(tmp_path, "points.ply")
    (tmp_path / "points.ply").write_bytes(header_bytes([("vertex", ROW, len(POINTS))], ()) + POINTS.tobytes())
    scene = load_scene(tmp_path)
    assert scene.points is not None and scene.point_colors is not None
    torch.testing.assert_close(scene.points, torch.tensor([[0, 0.5, 1], [-2, 3, 0.25]]))  # the one that is none went
    assert scene.point_colors.tolist() == [[255, 0, 10], [0, 128, 0]]


def test_points_as_text_are_read_too(tmp_path: Path) -> None:
    scene_with(tmp_path, "sparse/points.ply")
    (tmp_path / "sparse").mkdir()
    (tmp_path / "sparse" / "points.ply").write_text(TEXT)
    scene = load_scene(tmp_path)
    assert scene.points is not None and scene.points.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no file 'points.ply'"),
        (b"solid", "expected a PLY file"),
        (header_bytes([("vertex", ROW, 9)], ()) + POINTS.tobytes(), "ends after 3"),
        (header_bytes([("vertex", ROW, 0)], ()), "no points"),
        (header_bytes([("face", ROW, 1)], ()) + POINTS[:1].tobytes(), "no points"),
        (header_bytes([("vertex", ROW, 1)], ()) + POINTS[1:2].tobytes(), "finite"),
    ],
)
def test_a_scene_goes_without_points_that_cannot_be_read(tmp_path: Path, content: bytes | None, told: str) -> None:
    scene_with(tmp_path, "points.ply")
    if content is not None:
        (tmp_path / "points.ply").write_bytes(content)
    scene = load_scene(tmp_path)
    assert scene.points is None and any("sparse points" in note and told in note for note in scene.notes)


def test_points_outside_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    folder.mkdir()
    scene_with(folder, "../points.ply")
    with pytest.raises(SceneError, match="inside the scene folder"):
        load_scene(folder)
