"""Cameras around an object."""

import math

import pytest
import torch

from unscene.geometry.turntable import (
    RelativePose,
    focal_length,
    object_cameras,
    object_poses,
    rotation_angle,
    rotation_angles,
    turntable,
)


def one(azimuth: float, elevation: float, distance: float = 3.0):
    values = (torch.tensor([value]) for value in (azimuth, elevation, distance))
    return object_cameras(*values, field_of_view=60, size=100)


def test_cameras_look_at_the_origin_with_z_up_and_move_to_their_right_with_azimuth():
    camera = one(0.0, 0.0)
    torch.testing.assert_close(camera.positions[0], torch.tensor([3.0, 0.0, 0.0]))
    origin, depth = camera.project(torch.zeros(1, dtype=torch.long), torch.zeros(1, 3))
    torch.testing.assert_close(origin[0], torch.tensor([50.0, 50.0]))
    assert depth.item() == pytest.approx(3)
    above, _ = camera.project(torch.zeros(1, dtype=torch.long), torch.tensor([[0.0, 0.0, 0.5]]))
    assert above[0, 1] < 50
    moved = one(10.0, 0.0).positions[0] - camera.positions[0]
    assert moved @ camera.T_world_camera[0, :, 0] > 0  # the camera's x axis points to its right


def test_poses_are_read_back_from_cameras():
    azimuth, elevation, distance = (
        torch.tensor([-170.0, 30.0, 0.0]),
        torch.tensor([-20.0, 0.0, 75.0]),
        torch.ones(3) * 2,
    )
    cameras = object_cameras(azimuth, elevation, distance, field_of_view=45, size=64)
    for got, expected in zip(object_poses(cameras), (azimuth, elevation, distance), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)


def test_straight_above_and_below_stay_finite():
    for elevation in (90.0, -90.0):
        assert one(40.0, elevation).T_world_camera.isfinite().all()


def test_rotation_angles_and_the_lens():
    assert rotation_angle(one(0.0, 0.0), one(90.0, 0.0)) == pytest.approx(90, abs=1e-3)
    assert rotation_angle(one(0.0, 30.0), one(180.0, 30.0, 9.0)) == pytest.approx(120, abs=1e-3)
    assert rotation_angle(one(15.0, 5.0), one(15.0, 5.0)) == pytest.approx(0, abs=0.1)
    around = object_cameras(
        torch.tensor([0.0, 90.0]), torch.tensor([30.0, 0.0]), torch.ones(2), field_of_view=45, size=8
    )
    torch.testing.assert_close(rotation_angles(around, 1), torch.tensor([90.0, 0.0]), atol=0.1, rtol=0)
    assert focal_length(90, 64) == pytest.approx(32)
    assert math.degrees(2 * math.atan(50 / float(one(0, 0).focal[0, 0]))) == pytest.approx(60, abs=1e-3)


def test_a_turn_begins_at_the_photo_and_never_repeats():
    poses = turntable(8)
    assert poses[0] == RelativePose(0.0) and [pose.azimuth for pose in poses] == [45.0 * i for i in range(8)]
