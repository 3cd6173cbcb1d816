from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.objects.object_cameras import plain
from unscene.objects.mesh import TexturedMesh, face_normals, joined, normalized, rotation, transformed, translation
from unscene.objects.shapes import box, extruded, rippled, superellipsoid, torus, tube, turned

RED, BLUE = plain((255, 0, 0)), plain((0, 0, 255))
SQUARE = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])


def volume(mesh: TexturedMesh) -> float:
    """By the divergence theorem: positive if closed and facing outwards."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    return float(np.linalg.det(corners).sum() / 6)


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (box(np.array([1.0, 2, 3]), [RED]), 6),
        (superellipsoid(np.array([1.0, 2, 3]), (1.0, 1.0), RED), np.pi),
        (superellipsoid(np.ones(3), (0.02, 0.02), RED), 1),
        (turned(np.array([(0.5, 0.0), (0.5, 2.0)]), RED, BLUE), np.pi / 2),
        (turned(np.array([(1.0, 0.0), (0.0, 1.0)]), RED, BLUE, 4), 2 / 3),
        (torus(1.0, 0.25, RED), 2 * np.pi**2 * 0.25**2),
        (tube(np.linspace((0, 0, 0), (1, 2, 2), 5), np.full(5, 0.2), RED), 3 * np.pi * 0.2**2),
        (extruded(SQUARE, 2.0, [RED], BLUE), 2),
    ],
)
def test_shapes_enclose_their_volume_and_face_outwards(mesh: TexturedMesh, expected: float) -> None:
    assert volume(mesh) == pytest.approx(expected, rel=0.04)
    agreement = (mesh.normals[mesh.faces] * face_normals(mesh.vertices, mesh.faces)[:, None]).sum(-1)
    assert (agreement > -1e-6).all()


def test_a_bent_tube_keeps_its_thickness_and_is_closed() -> None:
    angle = np.linspace(0, np.pi, 40)
    path = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], -1)
    mesh = tube(path, np.full(40, 0.1), RED)
    assert volume(mesh) == pytest.approx(np.pi * np.pi * 0.1**2, rel=0.04)
    axis = mesh.vertices / np.linalg.norm(mesh.vertices[:, [0, 2]], axis=1)[:, None]
    away = np.linalg.norm(mesh.vertices - axis * [1, 0, 1], axis=1)
    inner = (mesh.vertices[:, 2] > 0.1) & (mesh.vertices[:, 2] < 0.9)
    np.testing.assert_allclose(away[inner], 0.1, atol=2e-3)


def test_a_rippled_ball_is_moved_along_its_normals_and_stays_closed() -> None:
    ball = superellipsoid(np.full(3, 2.0), (1.0, 1.0), RED)
    waves, phases = np.array([[3.0, 0, 0], [0, 2, 1]]), np.array([0.3, 1.0])
    soft = rippled(ball, 0.1, waves, phases)
    centred = ball.vertices - [0, 0, 1]
    expected = 1 + 0.1 * np.sin(ball.vertices @ waves.T + phases).mean(1)
    np.testing.assert_allclose(np.linalg.norm(soft.vertices - [0, 0, 1], axis=1), expected, atol=4e-3)
    seam = np.unique(np.round(centred, 5), axis=0, return_inverse=True)[1].reshape(-1)
    for place in np.unique(seam)[:200]:  # vertices that differ in uv alone stay together
        np.testing.assert_allclose(soft.vertices[seam == place].std(0), 0, atol=1e-6)
    rest = rippled(ball, 0.0, waves, phases)
    np.testing.assert_allclose(rest.vertices, ball.vertices)


def test_joined_meshes_keep_their_textures_and_share_equal_ones() -> None:
    mesh = joined([box(np.ones(3), [RED]), box(np.ones(3), [BLUE]), box(np.ones(3), [RED])])
    assert len(mesh.textures) == 2
    assert mesh.face_texture.tolist() == [0] * 12 + [1] * 12 + [0] * 12
    assert mesh.faces.max() == len(mesh.vertices) - 1


def test_a_transformed_mesh_keeps_normals_on_faces_and_faces_outwards() -> None:
    ball = superellipsoid(np.ones(3), (1.0, 1.0), RED)
    for matrix in (rotation(0, 0.7) @ np.diag([1, 2, 0.3, 1]), np.diag([-1.0, 1, 1, 1]), translation(1, 2, 3)):
        mesh = transformed(ball, matrix)
        assert volume(mesh) == pytest.approx(volume(ball) * abs(np.linalg.det(matrix[:3, :3])), rel=1e-3)
        agreement = (mesh.normals[mesh.faces] * face_normals(mesh.vertices, mesh.faces)[:, None]).sum(-1)
        assert (agreement > 0).all()
        np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)


def test_vertices_without_triangles_do_not_shrink_a_mesh() -> None:
    cube = box(np.ones(3), [RED])
    stray = dataclasses.replace(
        cube,
        vertices=np.concatenate([cube.vertices, [[50.0, 0, 0]]]).astype(np.float32),
        normals=np.concatenate([cube.normals, cube.normals[:1]]),
        uv=np.concatenate([cube.uv, cube.uv[:1]]),
    )
    np.testing.assert_array_equal(normalized(stray).vertices[:-1], normalized(cube).vertices)


def test_rotations_are_right_handed() -> None:
    for axis in range(3):
        turned_axis = rotation(axis, np.pi / 2)[:3, :3] @ np.eye(3)[(axis + 1) % 3]
        np.testing.assert_allclose(turned_axis, np.eye(3)[(axis + 2) % 3], atol=1e-12)


def test_a_normalized_mesh_fills_the_unit_ball() -> None:
    mesh = normalized(transformed(box(np.array([1.0, 2, 4]), [RED]), translation(5, 6, 7)))
    np.testing.assert_allclose(mesh.vertices.min(0), -mesh.vertices.max(0), atol=1e-6)
    assert 1 - 1e-5 < np.linalg.norm(mesh.vertices, axis=1).max() <= 1
