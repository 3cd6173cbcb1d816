"""Real captures: what they hold is known from their own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.scenes.tiny_scenes import project
from unscene.scenes.load import load_scene


def test_statue(shared_data: Path) -> None:
    scene = load_scene(shared_data / "statue", scale=4)
    assert scene.images.shape == (29, 189, 252, 3) and scene.notes == ()
    assert scene.names[0] == "IMG_2707.jpg" and scene.test.tolist() == [0, 8, 16, 24]
    assert scene.masks is not None and scene.masks.shape == (29, 189, 252)
    assert 0.05 < scene.masks.float().mean() < 0.15 and scene.masks.flatten(1).any(1).all()
    torch.testing.assert_close(scene.cameras.focal[0], torch.full((2,), 740.324812 / 4))


def test_fox(shared_data: Path) -> None:
    scene = load_scene(shared_data / "fox", scale=8)
    assert scene.images.shape == (50, 240, 135, 3)
    assert scene.notes == (
        "17 of 67 frames have no image file and are skipped: images/0005.jpg, images/0016.jpg, images/0017.jpg, ...",
    )
    torch.testing.assert_close(
        scene.cameras.distortion[0], torch.tensor([0.0578421, -0.0805099, -0.000980296, 0.00015575, 0.0])
    )


def test_desk_points_reproject_onto_their_observations(shared_data: Path) -> None:
    import pycolmap

    scale = 4
    scene = load_scene(shared_data / "desk", scale=scale)
    assert scene.points is not None and len(scene.points) == 7562 and scene.images.shape == (29, 268, 477, 3)
    reconstruction = pycolmap.Reconstruction(shared_data / "desk" / "sparse" / "0")
    to_original = np.array([1906 / 477, 1070 / 268])
    errors = []
    for view, name in enumerate(scene.names):
        image = reconstruction.find_image_with_name(name)
        assert image is not None
        seen = [point for point in image.points2D if point.has_point3D()]
        points = np.array([reconstruction.points3D[point.point3D_id].xyz for point in seen])
        observed = np.array([point.xy for point in seen])
        errors.append(np.linalg.norm(project(scene.cameras, view, points) * to_original - observed, axis=1))
    assert np.median(np.concatenate(errors)) < 1.5
