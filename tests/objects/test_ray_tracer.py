from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.objects.object_cameras import camera_at, halves, holed, plain
from unscene.objects.mesh import TexturedMesh, joined, normalized, rotation, transformed, translation
from unscene.objects.object_error import ObjectError
from unscene.objects.ray_tracer import Lamp, Lighting, RayTracer
from unscene.objects.shapes import box, quad, superellipsoid, turned
from unscene.objects.texture_atlas import TextureAtlas

EVEN = Lighting((0.0, 0.0, 1.0), ambient=1.0, specular=0.0)  # sky only: no shadows
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def ball(radius: float = 1.0) -> TexturedMesh:
    return transformed(superellipsoid(np.full(3, 2 * radius), (1.0, 1.0), plain(WHITE)), translation(0, 0, -radius))


def floor(half: float, height: float = 0.0, color: tuple[int, int, int] = WHITE) -> TexturedMesh:
    """A square seen from above, z = height."""
    side = np.diag([2 * half, 2 * half, 0])
    return quad(np.array([-half, -half, height]), side[0], side[1], plain(color))


def test_the_depth_of_a_ball_is_that_of_a_sphere() -> None:
    cameras = camera_at(30, 20)
    view = RayTracer(ball(), EVEN).render(cameras, 0)
    rays = cameras.image_rays(0)
    along = (rays.origins * rays.directions).sum(1)
    discriminant = along.square() - rays.origins.square().sum(1) + 1
    expected = (-along - discriminant.clamp_min(0).sqrt()) * rays.depth_per_distance
    inside = (discriminant > 0.05).reshape(32, 32)  # the polygon's outline lies a little inside the sphere's
    torch.testing.assert_close(view.depth[inside], expected.reshape(32, 32)[inside], atol=0.02, rtol=0)
    assert (view.depth[(discriminant < 0).reshape(32, 32)] == 0).all()


def test_the_depth_of_a_plane_across_the_axis_is_constant() -> None:
    view = RayTracer(floor(10.0), EVEN).render(camera_at(0, 90), 0)
    torch.testing.assert_close(view.depth, torch.full((32, 32), 3.0), atol=1e-4, rtol=0)
    assert (view.alpha == 1).all()


def test_alpha_is_the_covered_share_of_each_pixel() -> None:
    cameras = camera_at(0, 90, size=16)
    half = 3.0 / float(cameras.focal[0, 0]) * 4.25  # the square ends a quarter into a pixel
    view = RayTracer(floor(half), EVEN).render(cameras, 0, samples=4)
    share = torch.zeros(16)
    share[4:12], share[3], share[12] = 1, 0.25, 0.25
    torch.testing.assert_close(view.alpha, share[:, None] * share)
    assert (view.color[view.alpha > 0] > 0.9).all(), "colour is straight, not multiplied by alpha"
    assert (view.color[view.alpha == 0] == 0).all()


def test_more_samples_reach_the_area_of_a_disc() -> None:
    cameras = camera_at(0, 0, size=24)
    view = RayTracer(ball(0.9), EVEN).render(cameras, 0, samples=4)
    radius = float(cameras.focal[0, 0]) * 0.9 / math.sqrt(9 - 0.81)
    assert float(view.alpha.sum()) == pytest.approx(math.pi * radius**2, rel=0.02)


@pytest.mark.parametrize("side", range(6))
def test_pictures_on_a_box_are_not_mirrored(side: int) -> None:
    """Red is left and blue is right on each side, seen from outside."""
    textures = [plain(WHITE)] * 6
    textures[side] = halves(RED, BLUE)
    mesh = transformed(box(np.ones(3), textures), translation(0, 0, -0.5))
    azimuth, elevation = [(0, 0), (90, 0), (180, 0), (270, 0), (0, 90), (0, -90)][side]
    cameras = camera_at(azimuth, elevation)
    if side == 5:
        cameras = dataclasses.replace(cameras, T_world_camera=_rolled(cameras.T_world_camera))
    color = RayTracer(mesh, EVEN).render(cameras, 0).color
    if side == 4:  # the top's right is x, as in the image
        assert float(cameras.T_world_camera[0, 0, 0]) == pytest.approx(1)
    assert color[16, 12].argmax() == 0
    assert color[16, 12, 2] < 0.1
    assert color[16, 19].argmax() == 2
    assert color[16, 19, 0] < 0.1


def _rolled(poses: torch.Tensor) -> torch.Tensor:
    """The camera turned about its axis until x runs to the right, as on a box's top and bottom."""
    right = torch.tensor([1.0, 0.0, 0.0])
    forward = poses[0, :, 2]
    return torch.stack([right, torch.linalg.cross(forward, right), forward, poses[0, :, 3]], -1)[None]


def test_pictures_on_a_turned_surface_are_not_mirrored() -> None:
    can = turned(np.array([(0.8, -0.6), (0.8, 0.6)]), halves(RED, BLUE), plain(WHITE))
    repeats = int(can.uv[:, 0].max())
    color = RayTracer(can, EVEN).render(camera_at(180 / repeats, 0), 0).color  # at the middle of a picture
    assert color[16, 13].argmax() == 0
    assert color[16, 18].argmax() == 2


def test_a_picture_stands_upright() -> None:
    texture = np.ascontiguousarray(halves(RED, BLUE).transpose(1, 0, 2))  # red above
    mesh = transformed(box(np.ones(3), [texture]), translation(0, 0, -0.5))
    color = RayTracer(mesh, EVEN).render(camera_at(0, 0), 0).color
    assert color[12, 16].argmax() == 0
    assert color[19, 16].argmax() == 2


def test_what_stands_in_the_light_casts_a_shadow() -> None:
    lamp = Lighting((0.6, 0.0, 0.8), ambient=0.3, specular=0.0)
    post = transformed(box(np.array([0.2, 0.2, 0.6]), [plain(RED)]), translation(0, 0, 0))
    alone = RayTracer(floor(1.0), lamp).render(camera_at(0, 90), 0).color
    both = RayTracer(joined([floor(1.0), post]), lamp).render(camera_at(0, 90), 0).color
    shadow, open_floor = (16, 16 - 4), (16, 16 + 6)  # the lamp stands at +x, right in the image
    assert both[shadow][0] < 0.75 * alone[shadow][0]
    torch.testing.assert_close(both[open_floor], alone[open_floor])
    expected = (0.3 * 1.0 + 0.7 * 1.2 * 0.8) ** (1 / 2.2)
    assert float(alone[open_floor][0]) == pytest.approx(expected, abs=2e-3)


def test_further_lamps_share_the_light_with_the_main_one() -> None:
    """Each with shadows of its own; one from below adds nothing above."""
    main = Lighting((0.6, 0.0, 0.8), ambient=0.3, specular=0.0)
    post = joined([floor(1.0), transformed(box(np.array([0.2, 0.2, 0.6]), [plain(RED)]), translation(0, 0, 0))])
    sides = dataclasses.replace(main, further=(Lamp((-0.6, 0.0, 0.8), 1.0),))
    color = RayTracer(post, sides).render(camera_at(0, 90), 0).color[..., 0]
    left, right, far = (16, 16 - 4), (16, 16 + 4), (16 + 6, 16)
    open_floor = (0.3 + 0.7 * 1.2 * 0.8) ** (1 / 2.2)
    half = (0.3 + 0.7 * 1.2 * 0.4) ** (1 / 2.2)
    assert float(color[far]) == pytest.approx(open_floor, abs=2e-3)
    assert float(color[left]) == pytest.approx(half, abs=0.03) == float(color[right])
    below = dataclasses.replace(main, further=(Lamp((0.0, 0.0, -1.0), 1.0),))
    assert float(RayTracer(floor(1.0), below).render(camera_at(0, 90), 0).color[16, 22, 0]) == pytest.approx(
        half, abs=2e-3
    )


def test_a_convex_body_does_not_shadow_its_lit_side() -> None:
    lamp = Lighting((1.0, 0.0, 0.0), ambient=0.0, specular=0.0)
    color = RayTracer(ball(), lamp).render(camera_at(0, 0, size=64), 0).color[..., 0]
    rays = camera_at(0, 0, size=64).image_rays(0)
    along = (rays.origins * rays.directions).sum(1)
    discriminant = along.square() - 8
    points = rays.origins + rays.directions * (-along - discriminant.clamp_min(0).sqrt())[:, None]
    well_lit = ((discriminant > 0) & (points[:, 0] > 0.5)).reshape(64, 64)
    expected = (1.2 * points[:, 0].clamp_min(0)).pow(1 / 2.2).clamp_max(1).reshape(64, 64)
    torch.testing.assert_close(color[well_lit], expected[well_lit], atol=0.03, rtol=0)


def test_both_sides_of_a_sheet_are_lit() -> None:
    lamp = Lighting((0.0, 0.0, -1.0), ambient=0.2, specular=0.0)
    color = RayTracer(floor(1.0), lamp).render(camera_at(0, -90), 0).color
    assert float(color[16, 16, 0]) == pytest.approx(min(1.0, (0.2 * 0.5 + 0.8 * 1.2) ** (1 / 2.2)), abs=2e-3)


def test_hits_lie_on_their_faces() -> None:
    """Distance, face and weights agree with each other, for rays that hit and rays that miss."""
    rng = np.random.default_rng(0)
    mesh = normalized(transformed(box(np.array([1.0, 0.7, 0.4]), [plain(RED)]), rotation(0, 0.4)))
    origins = (3 * rng.normal(size=(6000, 3))).astype(np.float32) + np.float32([0, 0, 4])
    directions = rng.uniform(-0.9, 0.9, (6000, 3)).astype(np.float32) - origins
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    hits = RayTracer(mesh, EVEN).trace(origins, directions)
    hit = hits.face >= 0
    assert 0.2 < hit.mean() < 0.98
    assert np.isinf(hits.distance[~hit]).all()
    weights = np.concatenate([hits.weights, 1 - hits.weights.sum(1, keepdims=True)], 1)[hit]
    on_face = (mesh.vertices[mesh.faces[hits.face[hit]]] * weights[..., None]).sum(1)
    np.testing.assert_allclose(on_face, (origins + directions * hits.distance[:, None])[hit], atol=1e-4)


def test_texture_lookup_matches_a_slow_reference() -> None:
    rng = np.random.default_rng(1)
    textures = (rng.integers(0, 256, (5, 7, 3), np.uint8), rng.integers(0, 256, (16, 12, 3), np.uint8))
    sheet = floor(1.0)
    mesh = dataclasses.replace(sheet, face_texture=np.array([0, 1], np.int32), textures=textures)
    face, uv = rng.integers(0, 2, 200), rng.uniform(-2, 3, (200, 2)).astype(np.float32)
    found = TextureAtlas.of(mesh).colors(face, uv, np.zeros(200, np.float32))
    for index in range(200):
        texture = textures[face[index]].astype(float) / 255
        height, width = texture.shape[:2]
        x, y = uv[index, 0] * width - 0.5, (1 - uv[index, 1]) * height - 0.5
        expected = np.zeros(3)
        for column in (math.floor(x), math.floor(x) + 1):
            for row in (math.floor(y), math.floor(y) + 1):
                share = (1 - abs(x - column)) * (1 - abs(y - row))
                expected += share * texture[row % height, column % width]
        np.testing.assert_allclose(found[index], expected, atol=1e-4)


def test_distant_textures_average_instead_of_flickering() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    side = np.diag([2.0, 2.0, 0])
    mesh = quad(np.array([-1.0, -1, 0]), side[0], side[1], stripes)
    far = RayTracer(mesh, EVEN).render(camera_at(0, 90, size=16), 0).color[5:11, 5:11]
    torch.testing.assert_close(far, torch.full_like(far, 0.5), atol=0.01, rtol=0)
    near = RayTracer(mesh, EVEN).render(camera_at(0, 90, size=512), 0).color[200:300, 200:300]
    assert near.std() > 0.25


def card(half: float, height: float, texture: np.ndarray) -> TexturedMesh:
    return dataclasses.replace(floor(half, height), textures=(texture,))


def test_a_hole_in_a_card_shows_what_is_behind() -> None:
    """A red card 0.5 above a smaller blue floor: blue through the hole's middle, nothing around it."""
    cameras = camera_at(0, 90, size=64)
    view = RayTracer(joined([card(1.0, 0.5, holed(RED)), floor(0.2, 0.0, BLUE)]), EVEN).render(cameras, 0)
    scale = float(cameras.focal[0, 0])
    card_half, hole_half, floor_half = scale / 2.5, scale * 0.5 / 2.5, scale * 0.2 / 3
    reach = (torch.arange(64) + 0.5 - 32).abs()
    reach = torch.maximum(reach[:, None], reach)
    for low, high, color, depth in ((0, floor_half, BLUE, 3.0), (hole_half, card_half, RED, 2.5)):
        inside = (reach > low + 1) & (reach < high - 1) if low else reach < high - 1
        torch.testing.assert_close(view.color[inside], (torch.tensor(color) / 255).expand(int(inside.sum()), 3))
        assert (view.alpha[inside] == 1).all()
        torch.testing.assert_close(view.depth[inside], torch.full((int(inside.sum()),), depth), atol=1e-4, rtol=0)
    empty = (reach > floor_half + 1) & (reach < hole_half - 1)
    assert empty.any()
    assert (view.alpha[empty] == 0).all() and (view.depth[empty] == 0).all()


def test_light_falls_through_a_hole() -> None:
    lamp = Lighting((0.0, 0.0, 1.0), ambient=0.3, specular=0.0)
    below, under = camera_at(0, 30, size=64), (32, 32)  # the camera sees the floor under the card
    lit = RayTracer(floor(1.0), lamp).render(below, 0).color[under]
    through = RayTracer(joined([floor(1.0), card(0.5, 0.9, holed(RED))]), lamp).render(below, 0).color[under]
    shaded = RayTracer(joined([floor(1.0), floor(0.5, 0.9)]), lamp).render(below, 0).color[under]
    torch.testing.assert_close(through, lit)
    assert (shaded < 0.8 * lit).all()


@pytest.mark.parametrize(("layers", "alpha"), [(8, 1.0), (9, 0.0)])
def test_rays_pass_eight_transparent_layers(layers: int, alpha: float) -> None:
    clear = [card(1.0, 0.1 * (1 + layer), holed(RED)) for layer in range(layers)]
    view = RayTracer(joined([floor(1.0), *clear]), EVEN).render(camera_at(0, 90), 0)
    assert view.alpha[16, 16] == alpha


def test_transparent_texels_do_not_darken_the_edge_and_opaque_alpha_changes_nothing() -> None:
    view = RayTracer(card(1.0, 0.0, holed(RED)), EVEN).render(camera_at(0, 90, size=24), 0)
    assert (view.color[view.alpha > 0][:, 0] > 0.99).all()
    solid = np.dstack([halves(RED, BLUE), np.full((32, 32), 255, np.uint8)])
    lamp, cameras = Lighting((0.6, 0.0, 0.8), 0.4, 0.2), camera_at(0, 60)
    one, other = (RayTracer(card(0.7, 0.0, picture), lamp).render(cameras, 0) for picture in (solid, solid[..., :3]))
    assert torch.equal(one.color, other.color) and torch.equal(one.depth, other.depth)


def test_threads_do_not_change_the_picture() -> None:
    tracer, threads = RayTracer(ball(), Lighting((0.6, 0.0, 0.8), 0.4, 0.2)), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = tracer.render(camera_at(10, 10, size=48), 0)
        torch.set_num_threads(3)
        three = tracer.render(camera_at(10, 10, size=48), 0)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one.color, three.color)
    assert torch.equal(one.depth, three.depth)


def test_a_mesh_without_triangles_is_refused() -> None:
    sheet = floor(1.0)
    empty = dataclasses.replace(sheet, faces=sheet.faces[:0], face_texture=sheet.face_texture[:0])
    with pytest.raises(ObjectError, match="without any"):
        RayTracer(empty, EVEN)
