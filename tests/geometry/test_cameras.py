from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from unscene.geometry.cameras import (
    Cameras,
    focus_point,
    look_at,
    look_at_one_point,
    orbit_path,
    pixel_centers,
)
from unscene.geometry.lenses import undistort

UP = torch.tensor([0.0, 0.0, 1.0])
LENS = torch.tensor([0.06, -0.08, -0.001, 0.0005, 0.01])


def ring(views: int = 8, distortion: torch.Tensor | None = None) -> Cameras:
    """Cameras on an arc of radius 4 around (1, 2, 0.5), looking at it."""
    angle = torch.linspace(-0.7, 0.7, views)
    target = torch.tensor([1.0, 2.0, 0.5])
    positions = target + 4 * torch.stack([angle.sin(), -angle.cos(), 0.3 * torch.cos(3 * angle)], -1)
    return Cameras(
        look_at(positions, target, UP),
        torch.tensor([50.0, 55.0]).expand(views, 2).clone(),
        torch.tensor([31.0, 25.0]).expand(views, 2).clone(),
        (torch.zeros(5) if distortion is None else distortion).expand(views, 5).clone(),
        64,
        48,
    )


@pytest.mark.parametrize("distortion", [None, LENS], ids=["pinhole", "opencv"])
def test_project_inverts_rays(distortion: torch.Tensor | None) -> None:
    cameras = ring(distortion=distortion)
    xy = pixel_centers(64, 48).reshape(-1, 2)
    view = torch.arange(len(xy)) % len(cameras)
    rays = cameras.rays(view, xy)
    distance = torch.rand(len(xy), generator=torch.Generator().manual_seed(0)) * 5 + 0.5
    projected, depth = cameras.project(view, rays.origins + distance[:, None] * rays.directions)
    torch.testing.assert_close(projected, xy, atol=2e-3, rtol=0)
    torch.testing.assert_close(depth, distance * rays.depth_per_distance, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(rays.directions.norm(dim=-1), torch.ones(len(xy)))


def test_the_central_ray_is_the_optical_axis() -> None:
    cameras = ring()
    rays = cameras.rays(torch.arange(8), cameras.principal)
    torch.testing.assert_close(rays.directions, cameras.forward)
    torch.testing.assert_close(rays.origins, cameras.positions)


def test_x_runs_right_and_y_down() -> None:
    camera = Cameras(torch.eye(4)[None, :3], torch.ones(1, 2), torch.zeros(1, 2), torch.zeros(1, 5), 2, 2)
    xy, depth = camera.project(torch.zeros(1, dtype=torch.long), torch.tensor([[2.0, 4.0, 2.0]]))
    assert xy.tolist() == [[1.0, 2.0]] and depth.tolist() == [2.0]


def test_image_rays_run_row_by_row() -> None:
    cameras = ring()
    rays = cameras.image_rays(3)
    assert len(rays) == 64 * 48
    pixel = torch.tensor([[5.5, 7.5]])
    torch.testing.assert_close(rays.directions[7 * 64 + 5], cameras.rays(torch.tensor([3]), pixel).directions[0])


def test_posed_rays_are_differentiable_in_the_pose() -> None:
    cameras = ring(distortion=LENS)
    view, xy = torch.tensor([1, 2]), torch.tensor([[3.0, 4.0], [40.0, 20.0]])
    poses = cameras.T_world_camera[view].clone().requires_grad_()
    rays = cameras.posed_rays(view, xy, poses)
    torch.testing.assert_close(rays.directions.detach(), cameras.rays(view, xy).directions)
    (rays.directions.sum() + rays.origins.sum()).backward()
    assert poses.grad is not None and poses.grad.abs().sum((1, 2)).min() > 0


def test_resized_cameras_see_the_same_rays() -> None:
    cameras = ring(distortion=LENS)
    small = cameras.resized(16, 12)
    assert (small.width, small.height) == (16, 12)
    view, xy = torch.tensor([0, 4]), torch.tensor([[8.0, 4.0], [60.0, 44.0]])
    torch.testing.assert_close(small.rays(view, xy / 4).directions, cameras.rays(view, xy).directions)
    anamorphic = cameras.resized(32, 12)
    squeezed = xy * torch.tensor([0.5, 0.25])
    torch.testing.assert_close(anamorphic.rays(view, squeezed).directions, cameras.rays(view, xy).directions)


def test_padded_cameras_keep_their_pixels() -> None:
    cameras = ring()
    view, xy = torch.tensor([0]), torch.tensor([[8.0, 4.0]])
    torch.testing.assert_close(cameras.padded(72, 56).rays(view, xy).directions, cameras.rays(view, xy).directions)


def test_indexing_keeps_views_together() -> None:
    cameras = ring()
    some = cameras[torch.tensor([5, 2])]
    assert len(some) == 2 and (some.width, some.height) == (64, 48)
    torch.testing.assert_close(some.positions, cameras.positions[[5, 2]])


def test_look_at_is_a_right_handed_rotation_with_up_upwards() -> None:
    rotation = ring().T_world_camera[:, :, :3]
    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(3).expand(8, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(8))
    assert (rotation[:, :, 1] @ UP).max() < 0  # the image's y axis points down


def test_focus_point_is_where_the_axes_meet() -> None:
    torch.testing.assert_close(focus_point(ring()), torch.tensor([1.0, 2.0, 0.5]), atol=0.05, rtol=0)


def test_focus_point_of_parallel_axes_lies_ahead() -> None:
    positions = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    T = look_at(positions, positions + torch.tensor([0.0, 5.0, 0.0]), UP)
    cameras = Cameras(T, torch.ones(3, 2), torch.ones(3, 2), torch.zeros(3, 5), 2, 2)
    x, y, z = focus_point(cameras).tolist()
    assert y > 0.5 and abs(x) < 1e-4 and abs(z) < 1e-4


def test_orbit_path_is_closed_smooth_and_looks_at_the_focus_point() -> None:
    cameras = ring(distortion=LENS)
    path = orbit_path(cameras, 24)
    assert len(path) == 24 and not path.distortion.any()
    xy, depth = path.project(torch.arange(24), focus_point(cameras).expand(24, 3))
    torch.testing.assert_close(xy, path.principal, atol=1e-2, rtol=0)
    assert depth.min() > 0
    steps = (path.positions - path.positions.roll(1, 0)).norm(dim=-1)
    assert steps.max() < 0.3 * (path.positions - path.positions.mean(0)).norm(dim=-1).max()
    assert (path.positions.mean(0) - cameras.positions.mean(0)).norm() < 1e-4


def test_an_orbit_of_cameras_that_diverge_looks_ahead() -> None:
    """Fanned out a little, as hand-held captures of one side often are: their axes meet behind them."""
    positions = torch.tensor([[x, 0.0, z] for x in (-1.0, 0.0, 1.0) for z in (-0.5, 0.5)])
    targets = positions * torch.tensor([1.3, 1.0, 1.3]) + torch.tensor([0.0, 5.0, 0.0])
    cameras = Cameras(
        look_at(positions, targets, UP), torch.full((6, 2), 50.0), torch.full((6, 2), 32.0), torch.zeros(6, 5), 64, 64
    )  # fmt: skip
    assert focus_point(cameras)[1] < 0  # the case at hand
    path = orbit_path(cameras, 12)
    assert (path.forward[:, 1] > 0.9).all()
    xy, depth = path.project(torch.arange(12), torch.tensor([0.0, 8.0, 0.0]).expand(12, 3))
    assert (depth > 0).all() and ((xy > 0) & (xy < 64)).all()


def around(views: int = 12) -> Cameras:
    """All around (0, 0, 0.3) in turns of two heights and changing distances, looking at it."""
    angle = torch.arange(views) * (2 * torch.pi / views)
    away, height = 1.3 + 0.3 * (2 * angle).cos(), torch.tensor([0.7, 1.3]).repeat(views // 2)
    positions = torch.stack([away * angle.cos(), away * angle.sin(), height], -1)
    pinhole = torch.full((views, 2), 50.0), torch.full((views, 2), 32.0), torch.zeros(views, 5)
    return Cameras(look_at(positions, torch.tensor([0.0, 0.0, 0.3]), UP), *pinhole, 64, 64)


def test_cameras_all_around_look_at_one_point_and_those_that_turn_their_back_on_it_do_not() -> None:
    cameras = around()
    assert look_at_one_point(cameras, focus_point(cameras))
    outwards = replace(cameras, T_world_camera=cameras.T_world_camera * torch.tensor([-1.0, 1.0, -1.0, 1.0]))
    assert not look_at_one_point(outwards, focus_point(outwards))
    many = around(24)
    poses = many.T_world_camera.clone()
    poses[5, :, :3] *= torch.tensor([-1.0, 1.0, -1.0])
    stray = replace(many, T_world_camera=poses)
    assert look_at_one_point(stray, focus_point(stray))


def test_an_orbit_of_cameras_all_around_goes_all_around_on_their_level() -> None:
    cameras = around()
    path = orbit_path(cameras, 24)
    torch.testing.assert_close(path.positions[:, 2], torch.full((24,), 1.0), atol=0.02, rtol=0)
    turned = torch.atan2(path.positions[:, 1], path.positions[:, 0]).unique()
    assert turned.diff().max() < 0.5 and turned.max() - turned.min() > 5.5
    assert path.positions[:, :2].norm(dim=-1).min() > 0.8
    xy, depth = path.project(torch.arange(24), focus_point(cameras).expand(24, 3))
    torch.testing.assert_close(xy, path.principal, atol=1e-2, rtol=0)
    assert depth.min() > 0


def test_whether_lenses_bend_rays_is_carried_to_a_device_that_cannot_be_asked() -> None:
    """Tensors of the device "meta" have no values: to look into one raises."""
    for lens in (None, LENS):
        bends, cameras = lens is not None, ring(distortion=lens)
        moved = cameras.to("meta")
        everything = [cameras, moved, moved[[1, 2]], moved.resized(32, 24), moved.padded(72, 56), moved[:2].to("meta")]
        assert [copy.bends_rays for copy in everything] == [bends] * 6
        moved.rays(torch.zeros(3, dtype=torch.long, device="meta"), torch.ones(3, 2, device="meta"))
    unknown = Cameras(moved.T_world_camera, moved.focal, moved.principal, moved.distortion, 64, 48)
    assert unknown.bends_rays  # undistortion of a pinhole's rays changes nothing
    straight = ring()
    assert torch.equal(undistort(torch.ones(8, 2), straight.distortion), torch.ones(8, 2))


def test_new_lenses_are_looked_at() -> None:
    cameras = ring()
    assert replace(cameras, distortion=cameras.distortion + 0.1).bends_rays
    assert not replace(ring(distortion=LENS), distortion=cameras.distortion).bends_rays
