from __future__ import annotations

import numpy as np
import pytest

from tests.objects.object_cameras import camera_at
from unscene.objects.lettering import lettering
from unscene.objects.mesh import face_normals
from unscene.objects.parts import LETTERING_SHARE, Paint
from unscene.objects.procedural import THINGS, procedural_object
from unscene.objects.ray_tracer import RayTracer, random_lighting
from unscene.objects.textures import PAINTERS


@pytest.mark.parametrize("seed", range(20))
def test_objects_are_sound(seed: int) -> None:
    """Finite, inside the unit ball, uv and textures in order, facing outwards wherever they are seen."""
    rng = np.random.default_rng(seed)
    mesh = procedural_object(rng, texture_size=32)
    for values in (mesh.vertices, mesh.normals, mesh.uv):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    assert np.linalg.norm(mesh.vertices, axis=1).max() <= 1
    assert mesh.faces.dtype == mesh.face_texture.dtype == np.int32
    assert mesh.faces.max() < len(mesh.vertices) == len(mesh.normals) == len(mesh.uv)
    assert mesh.face_texture.max() < len(mesh.textures)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals[mesh.faces], axis=-1), 1, atol=1e-4)
    cameras = camera_at(seed * 40, 20)
    tracer = RayTracer(mesh, random_lighting(rng))
    view = tracer.render(cameras, 0)
    assert 0.02 < float(view.alpha.mean()) < 0.6
    assert ((view.color >= 0) & (view.color <= 1)).all()
    rays = cameras.image_rays(0)
    face = tracer.trace(rays.origins.numpy(), rays.directions.numpy()).face
    towards = (face_normals(mesh.vertices, mesh.faces)[face] * -rays.directions.numpy()).sum(1)[face >= 0]
    assert (towards > 0).mean() > 0.97


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
def test_every_kind_of_thing_is_made_of_solid_parts(thing) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        mesh = thing(rng, Paint(rng, 16))
        assert np.isfinite(mesh.vertices).all()
        surface = np.linalg.norm(face_normals(mesh.vertices, mesh.faces), axis=1)
        assert (surface > 0).all()


def test_the_same_seed_gives_the_same_object() -> None:
    first, second = (procedural_object(np.random.default_rng(7), texture_size=32) for _ in range(2))
    for a, b in zip(first.textures, second.textures, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first.vertices, second.vertices)
    np.testing.assert_array_equal(first.uv, second.uv)


def test_objects_differ() -> None:
    shapes = {procedural_object(np.random.default_rng(seed), texture_size=16).vertices.tobytes() for seed in range(10)}
    assert len(shapes) == 10


def test_lettering_is_legible_ink_on_quiet_ground() -> None:
    for seed in range(10):
        picture = lettering(64, np.random.default_rng(seed), "HI\n42")
        assert picture.shape == (64, 64, 3)
        assert picture.dtype == np.uint8
        luminance = picture @ np.array([0.2126, 0.7152, 0.0722])
        assert np.percentile(luminance, 98) - np.percentile(luminance, 2) > 70
    plain, other = (lettering(64, np.random.default_rng(3), text) for text in ("I", "WWW"))
    assert (plain != other).any(-1).mean() > 0.1


def test_lettering_leaves_the_painters_of_the_bundled_prior_alone() -> None:
    assert list(PAINTERS) == ["wood", "tiles", "cloth", "gradient", "noise", "shapes", "lines"]
    assert 0 < LETTERING_SHARE < 1
