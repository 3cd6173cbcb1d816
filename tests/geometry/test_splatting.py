"""Partial views against slow references and against views with closed forms."""

import math

import pytest
import torch

from tests.sphere_views import RADIUS, cameras, sphere_view
from unscene.geometry.cameras import Cameras
from unscene.geometry.epipolar import epipolar_sweep, is_behind
from unscene.geometry.masks import dilate, erode
from unscene.geometry.partial_view import partial_view
from unscene.geometry.splatting import near_importance, ray_angles, softmax_splat, surface_normals, unproject
from unscene.geometry.turntable import object_cameras


def slow_splat(values, xy, importance, height, width):
    """The definition, pixel by pixel and point by point."""
    color, coverage = torch.zeros(height, width, values.shape[1]).double(), torch.zeros(height, width).double()
    for row in range(height):
        for column in range(width):
            total = 0.0
            for value, (x, y), alpha in zip(values, xy.tolist(), importance.tolist(), strict=True):
                share = max(0, 1 - abs(x - column - 0.5)) * max(0, 1 - abs(y - row - 0.5))
                color[row, column] += share * math.exp(alpha) * value
                total += share * math.exp(alpha)
                coverage[row, column] += share
            if total:
                color[row, column] /= total
    return color, coverage.clamp(max=1)


def test_splatting_agrees_with_its_definition_pixel_by_pixel():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(60, 3, generator=generator).double()
    xy = torch.rand(60, 2, generator=generator).double() * torch.tensor([9.0, 7.0]) - 1  # some fall off the image
    importance = torch.rand(60, generator=generator).double() * 20 - 10
    color, coverage = softmax_splat(values, xy, importance, 6, 7)
    expected, expected_coverage = slow_splat(values, xy, importance, 6, 7)
    torch.testing.assert_close(color, expected)
    torch.testing.assert_close(coverage, expected_coverage)


def test_splatting_is_differentiable_in_values_positions_and_importance():
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(12, 2, generator=generator).double().requires_grad_()
    xy = (torch.rand(12, 2, generator=generator).double() * 4).requires_grad_()
    importance = torch.rand(12, generator=generator).double().requires_grad_()

    def splat(*inputs):
        return softmax_splat(*inputs, 4, 4)[0]

    assert torch.autograd.gradcheck(splat, (values, xy, importance), eps=1e-7)


def test_nothing_to_splat_is_an_empty_view_and_far_apart_importances_stay_finite():
    empty = torch.zeros(0)
    color, coverage = softmax_splat(torch.zeros(0, 3), torch.zeros(0, 2), empty, 3, 4)
    assert color.shape == (3, 4, 3) and not color.any() and not coverage.any()
    importance = torch.tensor([-500.0, 500.0, 0.0], requires_grad=True)
    xy = torch.tensor([[1.5, 1.5], [2.5, 1.5], [2.6, 1.5]])
    color, _ = softmax_splat(torch.ones(3, 1), xy, importance, 3, 4)
    color.sum().backward()
    assert color.isfinite().all() and importance.grad.isfinite().all()


def test_the_nearer_of_two_surfaces_wins():
    depth = torch.tensor([1.0, 3.0])
    importance = near_importance(depth)
    torch.testing.assert_close(importance, torch.tensor([10.0, -10.0]))
    color, _ = softmax_splat(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.5, 1.5], [1.5, 1.5]]), importance, 3, 3)
    assert color[1, 1, 0] < 1e-8
    assert near_importance(torch.full((4,), 2.0)).isfinite().all()  # all at one depth


def shifted_camera(right: float, size: int = 32) -> Cameras:
    """A camera at z = -2, moved to the right, that looks along +z."""
    pose = torch.eye(3, 4)[None].clone()
    pose[0, :, 3] = torch.tensor([right, 0.0, -2.0])
    half = torch.full((1, 2), size / 2)
    return Cameras(pose, torch.full((1, 2), float(size)), half, torch.zeros(1, 5), size, size)


def test_a_plane_seen_from_the_side_moves_by_its_disparity():
    image = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(2))
    view = partial_view(image, torch.full((32, 32), 2.0), shifted_camera(0.0), shifted_camera(0.25))
    # disparity = focal * baseline / depth = 32 * 0.25 / 2 = 4 pixels
    torch.testing.assert_close(view.color[:, :28], image[:, 4:], atol=1e-4, rtol=0)
    assert view.covered[:, :28].all() and not view.covered[:, 29:].any()
    torch.testing.assert_close(view.depth[:, :28], torch.full((32, 28), 2.0))
    # pixels deeper in the scene move to the left less than near ones: to the right of where they are splatted; the ball
    # that holds the object is as wide as the photo, and the photo shows nothing of its right rim
    assert view.epipolar_mask[14:18, 28].all()


@pytest.mark.parametrize("closer", [0.5, 0.7])
def test_a_camera_that_comes_closer_sees_no_gaps(closer):
    source = cameras(0.0)
    image, depth = sphere_view(source)
    near = object_cameras(torch.tensor([10.0]), torch.zeros(1), torch.tensor([3.0 * closer]), field_of_view=45, size=64)
    true_image, true_depth = sphere_view(near)
    view = partial_view(image, depth, source, near)
    rotated = ((source.positions[0] - unproject(true_depth, near)) * unproject(true_depth, near)).sum(-1) > 0.4
    middle = erode(((true_depth > 0) & rotated)[None], 2)[0]  # seen well by both
    assert middle.sum() > 500 and view.covered[middle].float().mean() > 0.995
    assert (view.color - true_image)[middle].abs().mean() < 0.02


def test_the_same_camera_sees_the_photo_again_and_nothing_new():
    camera = cameras(30.0, elevation=20.0)
    image, depth = sphere_view(camera)
    view = partial_view(image, depth, camera, camera)
    on_object = depth > 0
    assert torch.equal(view.covered, on_object) and not view.epipolar_mask.any()
    torch.testing.assert_close(view.color[on_object], image[on_object], atol=1e-3, rtol=0)
    assert view.soft_mask.max() < 1e-3


@pytest.mark.parametrize("turn", [10, 30, 60, -45])
def test_a_sphere_from_the_side_shows_its_true_colours_and_angles(turn):
    source, target = cameras(0.0, elevation=15.0), cameras(float(turn), elevation=5.0)
    image, depth = sphere_view(source)
    true_image, true_depth = sphere_view(target)
    view = partial_view(image, depth, source, target)
    inside = view.covered & erode((true_depth > 0)[None], 1)[0]
    assert inside.sum() > 0.2 * (true_depth > 0).sum()
    assert (view.color - true_image)[inside].abs().mean() < 0.02
    assert (view.covered & ~dilate((true_depth > 0)[None], 1)[0]).sum() == 0
    points = unproject(true_depth, target)[inside]
    expected = ray_angles(points, source.positions[0], target.positions[0])
    # the angle at the true surface; only the very near silhouette may be a neighbour's
    assert (view.ray_angle[inside] - expected).abs().median() < 0.5


def test_back_faces_are_dropped():
    """At 80 degrees most of what the photo shows is on the far side: only a strip on the near side may stay."""
    source, target = cameras(0.0), cameras(80.0)
    image, depth = sphere_view(source)
    _, true_depth = sphere_view(target)
    view = partial_view(image, depth, source, target)
    points = unproject(true_depth, target)
    seen_by_source = ((source.positions[0] - points) * points).sum(-1) > 0
    wrong = view.covered & (true_depth > 0) & ~dilate(seen_by_source[None], 1)[0]
    assert wrong.sum() == 0
    assert partial_view(image, depth, source, cameras(175.0)).covered.sum() == 0


def seen_along(starts, headings, lengths, values, camera):
    """The definition: walk every segment in small steps and note the least value at every pixel it is seen at."""
    least = torch.full((camera.height, camera.width), math.inf)
    for start, heading, length, (value, growth) in zip(starts, headings, lengths.tolist(), values, strict=True):
        along = torch.arange(0, length + 1e-9, 0.01).double()
        walked = start + along[:, None] * heading
        xy, _ = camera.project(torch.zeros(len(along), dtype=torch.long), walked.float())
        for (column, row), distance in zip(xy.floor().long().tolist(), along.tolist(), strict=True):
            if 0 <= column < camera.width and 0 <= row < camera.height:
                least[row, column] = min(float(least[row, column]), float(value + growth * distance))
    return least


def agree(ours, slow):
    """Up to a rim of a pixel, and in their values."""
    first, second = ours.isfinite(), slow.isfinite()
    assert second.any()
    assert not (second & ~dilate(first[None], 1)[0]).any()
    assert not (first & ~dilate(second[None], 1)[0]).any()
    assert (first ^ second).float().mean() < 0.07
    assert (ours - slow)[first & second].abs().median() < 0.08  # a pixel sees a piece of a line


SIDES = [(20, 0), (75, 40), (140, 10), (180, -20)]


@pytest.mark.parametrize(("turn", "elevation"), SIDES)
def test_the_epipolar_sweep_agrees_with_pushing_every_point(turn, elevation):
    source, target = cameras(0.0, elevation=5.0, size=32), cameras(float(turn), elevation=float(elevation), size=32)
    _, depth = sphere_view(source)
    points = unproject(depth, source)[depth > 0].double()
    away = torch.nn.functional.normalize(points - source.positions[0], dim=-1)
    # in the ball of radius 1 around the origin; to the mirror image behind the plane x = 0, as the camera is at +x
    lengths = -(points * away).sum(-1) + ((points * away).sum(-1).square() - points.square().sum(-1) + 1).sqrt()
    values = [
        (0.0, 1 / max(-2 * float(point[0]) / float(ray[0]), 0.05)) for point, ray in zip(points, away, strict=True)
    ]
    agree(epipolar_sweep(points, source, target), seen_along(points, away, lengths, values, target))


def test_nothing_is_swept_outside_of_the_object_s_ball():
    source, target = cameras(0.0, size=96), cameras(90.0, elevation=20.0, size=96)
    _, depth = sphere_view(source)
    swept = epipolar_sweep(unproject(depth, source)[depth > 0], source, target).isfinite()
    rays = target.image_rays(0)
    nearest = (rays.origins - (rays.origins * rays.directions).sum(-1, keepdim=True) * rays.directions).norm(dim=-1)
    ball = (nearest < 1).view(96, 96)
    assert not (swept & ~dilate(ball[None], 1)[0]).any()
    # across the sphere's outline the ball is reached
    assert (swept & ~erode(ball[None], 3)[0]).any()


def test_what_is_hidden_lies_neither_beside_nor_in_front_of_what_is_shown():
    source = cameras(0.0)  # at x = 3, looking at a ball of radius 0.8
    _, depth = sphere_view(source)
    places = torch.tensor(
        [(-0.8, 0, 0), (0.0, 0.5, 0), (1.0, 0, 0), (0.0, 1.2, 0), (0.79, 0, 0), (0.82, 0, 0), (4, 0, 0)]
    )
    assert is_behind(places, depth, source).tolist() == [True, True, False, False, True, False, False]
    assert is_behind(places, depth, source, slack=0.03).tolist() == [True, True, False, False, True, True, False]


def test_the_sweep_reaches_everything_that_comes_into_sight():
    source, target = cameras(0.0, elevation=10.0, size=96), cameras(50.0, elevation=25.0, size=96)
    image, depth = sphere_view(source)
    _, true_depth = sphere_view(target)
    view = partial_view(image, depth, source, target)
    points = unproject(true_depth, target)
    hidden_before = (true_depth > 0) & (((source.positions[0] - points) * points).sum(-1) <= 0)
    assert hidden_before.sum() > 100
    assert (view.epipolar_mask | view.covered)[hidden_before].float().mean() > 0.995
    # and leaves alone what cannot be: the side from which the camera came stays background
    assert not view.epipolar_mask[:, :20].any()
    assert (view.depth - true_depth)[view.covered & erode((true_depth > 0)[None], 1)[0]].abs().mean() < 0.02


@pytest.mark.parametrize(("turn", "swept"), [(0.2, False), (2.0, True)])
def test_hardly_any_parallax_hides_nothing(turn, swept):
    """At 0.2 degrees even infinity moves by a third of a pixel only: nothing new can come into sight."""
    source, target = cameras(0.0), cameras(turn)
    _, depth = sphere_view(source)
    reach = epipolar_sweep(unproject(depth, source)[depth > 0], source, target)
    assert reach.isfinite().any() == swept


def test_normals_of_a_sphere_point_along_its_radius():
    camera = cameras(0.0, size=96)
    _, depth = sphere_view(camera)
    points = unproject(depth, camera)
    normals = surface_normals(points, depth > 0, camera.positions[0])
    inner = erode((depth > 0)[None], 3)[0]
    assert ((normals * points / RADIUS).sum(-1)[inner] > 0.98).all()


def test_ray_angles_are_exact_and_differentiable_even_at_zero_and_half_a_turn():
    points = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]], requires_grad=True)
    source, target = torch.tensor([0.0, 0.0, 2.0]), torch.tensor([2.0, 0.0, 0.0])
    angles = ray_angles(points, source, target)
    cosine = torch.nn.functional.cosine_similarity(points - source, points - target, dim=-1)
    torch.testing.assert_close(angles, torch.rad2deg(cosine.acos()), atol=0.02, rtol=0)
    same = ray_angles(points, source, source)
    opposite = ray_angles(torch.zeros(1, 3, requires_grad=True) + points[:1] * 0, source, -source)
    assert same.max() < 1e-3 and opposite.item() == pytest.approx(180, abs=0.2)
    (same.sum() + opposite.sum() + angles.sum()).backward()
    assert points.grad.isfinite().all()


def test_a_partial_view_teaches_depth():
    """iNVS trains through the splat: moving the surface moves the picture, and the gradient says which way."""
    source, target = cameras(0.0, size=48), cameras(20.0, size=48)
    image, depth = sphere_view(source)
    truth, true_depth = sphere_view(target)
    for wrong, sign in ((1.03, 1), (0.97, -1)):
        scale = torch.tensor(wrong, requires_grad=True)
        view = partial_view(image, depth * scale, source, target)
        inside = (view.covered & (true_depth > 0)).detach()
        (view.color - truth)[inside].square().mean().backward()
        assert scale.grad.isfinite() and scale.grad * sign > 0
