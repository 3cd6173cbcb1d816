"""Scenes in survey coordinates: nothing is lost on the way in, while working, and on the way out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.scenes.tiny_scenes import FOCAL, PRINCIPAL, TinyScene, project
from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene
from unscene.scenes.transforms import read_cameras, write_transforms

PLACES = {"UTM": (441547.15, 5121945.7, 2345.6), "ECEF": (-2693000.25, -4297000.5, 3854000.75)}


def world(scene: Scene) -> np.ndarray:
    """Camera positions in the files' coordinates, N 3 float64."""
    return scene.cameras.positions.double().numpy() + scene.origin.numpy()


@pytest.fixture(params=PLACES)
def far(tiny: TinyScene, request: pytest.FixtureRequest) -> TinyScene:
    tiny.poses[:, :, 3] += PLACES[request.param]
    tiny.photos()
    return tiny


def test_nothing_is_lost_on_the_way_in(far: TinyScene, points: np.ndarray) -> None:
    far.json(far.transforms() | {"k1": 0, "k2": 0, "p1": 0, "p2": 0, "k3": 0})
    scene = load_scene(far.root)
    assert scene.origin.dtype == torch.float64 and scene.cameras.positions.abs().max() < 20
    np.testing.assert_allclose(world(scene), far.poses[:, :, 3], atol=1e-6, rtol=0)
    offset = far.poses[0, :, 3] - [0, -0.5, -3]  # how far the tiny scene was moved
    for view in range(6):
        expected = far.projected(points + offset, view, [0.0] * 5)
        seen = project(scene.cameras, view, points + offset - scene.origin.numpy())
        np.testing.assert_allclose(seen, expected, atol=2e-3)


def test_what_is_written_is_in_the_worlds_coordinates(far: TinyScene, tmp_path: Path) -> None:
    far.json(far.transforms())
    scene = load_scene(far.root)
    written = json.loads(write_transforms(tmp_path / "out", scene).read_text())
    positions = np.array([np.array(frame["transform_matrix"])[:3, 3] for frame in written["frames"]])
    np.testing.assert_allclose(positions, far.poses[:, :, 3], atol=1e-6, rtol=0)
    again = load_scene(tmp_path / "out")
    np.testing.assert_allclose(world(again), world(scene), atol=1e-6, rtol=0)


def test_cameras_are_read_relative_to_an_origin(far: TinyScene) -> None:
    file = far.json(far.transforms())
    scene = load_scene(file)
    assert torch.equal(read_cameras(file, scene.origin).T_world_camera, scene.cameras.T_world_camera)
    assert read_cameras(file).positions.abs().max() > 1e5


def test_points_that_come_with_the_capture_move_along(tiny: TinyScene) -> None:
    tiny.photos()
    tiny.colmap("PINHOLE", [*FOCAL, *PRINCIPAL])
    near = load_scene(tiny.root)
    tiny.poses[:, :, 3] += PLACES["UTM"]
    tiny.colmap("PINHOLE", [*FOCAL, *PRINCIPAL], folder="moved/sparse/0", points_at=PLACES["UTM"])
    (tiny.root / "images").rename(tiny.root / "moved" / "images")
    scene = load_scene(tiny.root / "moved")
    assert near.points is not None and scene.points is not None and scene.points.dtype == torch.float32
    order, expected = scene.points[:, 0].argsort(), near.points[near.points[:, 0].argsort()].double()
    moved = scene.points[order].double() + scene.origin - torch.tensor(PLACES["UTM"], dtype=torch.float64)
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)


def test_the_note_names_the_origin(tiny: TinyScene) -> None:
    tiny.photos()
    tiny.poses[:, :, 3] += PLACES["UTM"]
    tiny.json(tiny.transforms())
    scene = load_scene(tiny.root)
    x, y, z = scene.origin.tolist()
    assert scene.notes == (
        f"cameras are spread over 1 units, but far from the origin: ({x:.0f}, {y:.0f}, {z:.0f}) is taken from all "
        "coordinates while working and added back in what is written",
    )
    assert (x, y, z) == (round(x), round(y), round(z))


def test_the_scene_keeps_it(far: TinyScene) -> None:
    far.json(far.transforms())
    scene = load_scene(far.root)
    kept = [scene.subset(torch.tensor([1, 3])), scene.with_holdout(2), scene.with_masks(None), scene.to(scene.device)]
    kept.append(scene.with_images(torch.tensor([0]), [scene.images[1]]))
    assert all(torch.equal(copy.origin, scene.origin) for copy in kept) and scene.origin.any()


@pytest.mark.parametrize("distance", [0.0, 10.0, 100.0])
def test_a_scene_near_its_origin_stays_as_it_is_bit_for_bit(tiny: TinyScene, distance: float) -> None:
    tiny.photos()
    tiny.poses[:, :, 3] += [distance, -distance, 0]
    tiny.json(tiny.transforms())
    scene = load_scene(tiny.root)
    assert not scene.origin.any() and scene.notes == ()
    assert torch.equal(scene.cameras.positions, torch.from_numpy(tiny.poses[:, :, 3]).float())


def test_a_stray_pose_changes_nothing(far: TinyScene) -> None:
    """One photo left at the origin, as failed registrations are."""
    far.poses[3, :, 3] = 0
    far.json(far.transforms())
    scene = load_scene(far.root)
    np.testing.assert_allclose(world(scene)[[0, 1, 2, 4, 5]], far.poses[[0, 1, 2, 4, 5], :, 3], atol=1e-6, rtol=0)


def test_from_a_tripod(far: TinyScene) -> None:
    """Most photos from one place: what the others are apart counts."""
    far.poses[:4, :, 3] = far.poses[0, :, 3]
    far.json(far.transforms())
    np.testing.assert_allclose(world(load_scene(far.root)), far.poses[:, :, 3], atol=1e-6, rtol=0)


def test_a_scene_without_origin_writes_what_it_always_wrote(tiny: TinyScene, tmp_path: Path) -> None:
    tiny.nerfstudio()
    scene = load_scene(tiny.root)
    content = json.loads(write_transforms(tmp_path / "out", scene).read_text())
    assert "scene_origin" not in content
    moved = replace(scene, origin=torch.tensor([1e6, 0.0, 0.0], dtype=torch.float64))
    assert json.loads(write_transforms(tmp_path / "moved", moved).read_text())["scene_origin"] == [1e6, 0, 0]
