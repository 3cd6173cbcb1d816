from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path

import pytest
import torch

from tests.scenes.tiny_scenes import TinyScene
from unscene.files import write_bytes
from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene
from unscene.scenes.transforms import read_cameras, write_transforms


def load_tiny(tiny: TinyScene) -> Scene:
    tiny.nerfstudio()
    tiny.masks()
    return load_scene(tiny.root, holdout=3)


def assert_same_cameras(a: Scene, b: Scene) -> None:
    for field in ("T_world_camera", "focal", "principal", "distortion"):
        torch.testing.assert_close(getattr(a.cameras, field), getattr(b.cameras, field), atol=1e-6, rtol=1e-6)
    assert (a.cameras.width, a.cameras.height) == (b.cameras.width, b.cameras.height)


def test_a_written_scene_loads_again(tiny: TinyScene, tmp_path: Path) -> None:
    scene = load_tiny(tiny)
    written = load_scene(write_transforms(tmp_path / "out", scene))
    assert_same_cameras(scene, written)
    assert torch.equal(scene.images, written.images) and scene.names == written.names
    assert scene.masks is not None and written.masks is not None and torch.equal(scene.masks, written.masks)
    assert torch.equal(scene.train, written.train) and torch.equal(scene.test, written.test)
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_without_held_out_views_all_stay_for_training(tiny: TinyScene, tmp_path: Path) -> None:
    file = write_transforms(tmp_path / "out", load_tiny(tiny).with_holdout(0))
    assert json.loads(file.read_text())["val_filenames"], "nerfstudio fails on an empty list"
    written = load_scene(file)
    assert len(written.train) == 6 and len(written.test) == 0


def test_cameras_that_differ_are_written_per_frame(tiny: TinyScene, tmp_path: Path) -> None:
    scene = load_tiny(tiny).with_masks(None)
    focal = scene.cameras.focal + torch.arange(6)[:, None]
    scene = dataclasses.replace(scene, cameras=dataclasses.replace(scene.cameras, focal=focal))
    file = write_transforms(tmp_path / "out", scene)
    content = json.loads(file.read_text())
    assert "fl_x" not in content and content["frames"][5]["fl_x"] == 45.0 and "mask_path" not in content["frames"][0]
    assert_same_cameras(scene, load_scene(file))
    torch.testing.assert_close(read_cameras(file).focal, focal)


def test_what_nerfstudio_expects_is_there(tiny: TinyScene, tmp_path: Path) -> None:
    content = json.loads(write_transforms(tmp_path / "out", load_tiny(tiny)).read_text())
    # As its parser asks: all three lists, lens values at the top level or in every frame, OpenGL axes.
    assert content["train_filenames"] == [f"images/00{i}.png" for i in (1, 2, 4, 5)]
    assert content["val_filenames"] == content["test_filenames"] == ["images/000.png", "images/003.png"]
    assert {"fl_x", "fl_y", "cx", "cy", "w", "h", "k1", "k2", "p1", "p2", "k3"} <= content.keys()
    assert content["camera_model"] == "OPENCV"
    for view, frame in enumerate(content["frames"]):
        assert torch.allclose(torch.tensor(frame["transform_matrix"]), torch.tensor(tiny.matrix(view)), atol=1e-6)
        assert (tmp_path / "out" / frame["file_path"]).is_file() and (tmp_path / "out" / frame["mask_path"]).is_file()


def test_names_that_would_collide_keep_their_extension(tiny: TinyScene, tmp_path: Path) -> None:
    scene = dataclasses.replace(load_tiny(tiny), names=("a.jpg", "a.png", "b.jpg", "sub/c.jpg", "d.jpg", "e.jpg"))
    written = load_scene(write_transforms(tmp_path / "out", scene))
    assert written.names == ("a.jpg.png", "a.png.png", "b.jpg.png", "sub/c.jpg.png", "d.jpg.png", "e.jpg.png")
    assert torch.equal(scene.images, written.images)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "transforms.json"
    write_bytes(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_a_failure_in_mid_write_leaves_no_transforms_json(
    tiny: TinyScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = load_tiny(tiny)
    replace = Path.replace

    def fail_on_the_fourth(self: Path, target: Path) -> Path:
        if target.name == "003.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_on_the_fourth)
    with pytest.raises(OSError, match="No space left"):
        write_transforms(tmp_path / "out", scene)
    assert not (tmp_path / "out" / "transforms.json").exists() and not list((tmp_path / "out").rglob("*.tmp"))
