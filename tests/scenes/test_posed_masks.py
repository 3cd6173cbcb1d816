"""Scenes of poses and masks alone: 3DGS's cameras.json, transforms.json, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.box_scene import BoxScene, write_capture
from tests.scenes.tiny_scenes import FOCAL, PRINCIPAL, TinyScene
from unscene.files import write_png
from unscene.scenes.capture import NoPhotosError
from unscene.scenes.load import load_scene
from unscene.scenes.posed_masks import load_posed_masks
from unscene.scenes.scene import Scene, SceneError


def cameras_of_3dgs(scene: Scene) -> list[dict[str, Any]]:
    """As its code writes them: centres, and rotations from camera to world."""
    poses = scene.cameras.T_world_camera.double().tolist()
    return [
        {
            "id": view, "img_name": Path(scene.names[view]).stem, "width": scene.cameras.width,
            "height": scene.cameras.height, "position": [row[3] for row in pose],
            "rotation": [row[:3] for row in pose], "fx": float(scene.cameras.focal[view, 0]),
            "fy": float(scene.cameras.focal[view, 1]),
        }
        for view, pose in enumerate(poses)
    ]  # fmt: skip


def write_masks(folder: Path, scene: Scene) -> Path:
    assert scene.masks is not None
    for name, mask in zip(scene.names, scene.masks, strict=True):
        write_png(folder / name, mask.to(torch.uint8).mul(255).numpy())
    return folder


def check_same_cameras(ours: Scene, theirs: Scene) -> None:
    for name in ("T_world_camera", "focal", "principal"):
        torch.testing.assert_close(getattr(ours.cameras, name), getattr(theirs.cameras, name), atol=1e-5, rtol=0)


def test_cameras_of_3dgs_are_those_of_the_scene(room: BoxScene, tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    file.write_text(json.dumps(cameras_of_3dgs(room.scene)[::-1]), encoding="utf-8")
    masks = write_masks(tmp_path / "of the box", room.scene)
    scene = load_posed_masks(file, masks=masks)
    check_same_cameras(scene, room.scene)
    assert [Path(name).stem for name in scene.names][:2] == ["000", "001"]
    assert scene.masks is not None and room.scene.masks is not None and torch.equal(scene.masks, room.scene.masks)
    assert scene.images.shape == room.scene.images.shape and not scene.images.any()
    assert len(scene.train) == 8 and len(scene.test) == 0


def test_a_transforms_json_without_its_photos_and_at_half_the_size(room: BoxScene, tmp_path: Path) -> None:
    folder = write_capture(tmp_path / "room", room.scene)
    for photo in (folder / "images").iterdir():
        photo.unlink()
    scene = load_posed_masks(folder, scale=2)
    assert (scene.cameras.width, scene.cameras.height) == (24, 18) and scene.images.shape == (8, 18, 24, 3)
    torch.testing.assert_close(scene.cameras.focal, room.scene.cameras.focal / 2)
    torch.testing.assert_close(scene.cameras.T_world_camera, room.scene.cameras.T_world_camera, atol=1e-5, rtol=0)


@pytest.mark.parametrize("text", [False, True])
def test_a_colmap_model_without_its_photos(tmp_path: Path, text: bool) -> None:
    written = TinyScene(tmp_path / "tiny")
    written.colmap("PINHOLE", [*FOCAL, *PRINCIPAL], text=text)
    written.masks()
    with pytest.raises(NoPhotosError):  # what makes `remove --splat` ask for poses and masks alone
        load_scene(tmp_path / "tiny")
    scene = load_posed_masks(tmp_path / "tiny")
    written.photos()
    whole = load_scene(tmp_path / "tiny")
    check_same_cameras(scene, whole)
    assert scene.names == whole.names and scene.masks is not None and whole.masks is not None
    assert torch.equal(scene.masks, whole.masks) and not scene.images.any()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rotation": [[1, 0], [0, 1]]}, "003: expected 9 numbers as rotation"),
        ({"position": "here"}, "003: expected 3 numbers as position"),
        ({"rotation": np.diag([1.0, 1.0, -1.0]).tolist()}, "003: expected a rigid camera pose.*mirrored"),
        ({"fx": 0}, "003: expected a focal length above 0"),
        ({"fx": None}, "003: expected a number as fx"),
        ({"width": 20}, "expected one image size for all cameras, got 20x36, 48x36"),
        ({"img_name": "../../outside"}, "leads out of it"),
    ],
)
def test_cameras_that_are_none_are_refused(
    room: BoxScene, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    cameras = cameras_of_3dgs(room.scene)
    cameras[3] |= change
    file = tmp_path / "scene" / "cameras.json"
    file.parent.mkdir()
    file.write_text(json.dumps(cameras), encoding="utf-8")
    with pytest.raises(SceneError, match=complaint):
        load_posed_masks(file, masks=write_masks(tmp_path / "masks", room.scene))


def test_what_is_missing_is_named(room: BoxScene, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"a cameras.json or a COLMAP model in sparse/, found none"):
        load_posed_masks(tmp_path)
    file = tmp_path / "cameras.json"
    file.write_text(json.dumps(cameras_of_3dgs(room.scene)), encoding="utf-8")
    with pytest.raises(SceneError, match=r"expected masks of the object to remove, found none.*named like 000"):
        load_posed_masks(tmp_path)
    file.write_text(json.dumps(cameras_of_3dgs(room.scene)[:2]), encoding="utf-8")
    with pytest.raises(SceneError, match="expected at least 3 cameras, got 2"):
        load_posed_masks(tmp_path)
    file.write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(SceneError, match="expected a list of cameras"):
        load_posed_masks(tmp_path)
