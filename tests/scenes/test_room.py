"""The bundled room: its files say one thing, in images, masks, depth and cameras."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import unscene.scenes.room as package_scene
from unscene.geometry.cameras import Cameras
from unscene.scenes.image_files import read_image
from unscene.scenes.room import room, true_depth
from unscene.scenes.scene import Scene

CENTRE = torch.tensor([0.0, 0.0, 0.3])  # of the object, metres


@pytest.fixture(scope="module")
def scene() -> Scene:
    return room()


@pytest.fixture(scope="module")
def half_size(scene: Scene) -> Cameras:
    """The cameras of the depth images."""
    return scene.cameras.resized(160, 120)


def truth(view: int) -> Tensor:
    """What is really there in a training view, H W 3 float in [0, 1]."""
    return (
        torch.from_numpy(read_image(package_scene.FOLDER / "truth" / f"{view:03d}.jpg", "truth", (320, 240))).float()
        / 255
    )


def test_the_package_s_share_of_the_disk_stays_small() -> None:
    files = [file for file in package_scene.FOLDER.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 5e6
    assert not [file for file in files if file.suffix == ".partial"]


def test_views_go_around_the_object_and_see_it_from_two_heights(scene: Scene) -> None:
    assert len(scene) == 54 and len(scene.train) == 36 and len(scene.test) == 18
    x, y, height = scene.cameras.positions.T
    around = torch.rad2deg(torch.atan2(y, x)) % 360
    steps = torch.diff(around, append=around[:1]) % 360
    assert steps.max() < 12 and steps.sum() == pytest.approx(360, abs=1e-3)
    assert ((height[scene.train[::2]] - 0.7).abs() < 0.05).all()
    assert ((height[scene.train[1::2]] - 1.3).abs() < 0.05).all()
    assert (height[scene.test] > 0.75).all() and (height[scene.test] < 1.25).all()


def test_masks_cover_the_object_in_the_middle_of_every_view(scene: Scene) -> None:
    assert scene.masks is not None
    for view in range(len(scene)):
        (column, row), _ = (told[0] for told in scene.cameras.project(torch.tensor([view]), CENTRE[None]))
        assert scene.masks[view, int(row), int(column)]
    shares = scene.masks.flatten(1).float().mean(1)
    assert shares.min() > 0.05 and shares.max() < 0.3


def test_training_photos_differ_from_the_truth_inside_their_masks_only(scene: Scene) -> None:
    assert scene.masks is not None
    for view in scene.train.tolist()[::5]:
        change = (scene.image(view) - truth(view)).square().mean(-1)
        inside, outside = change[scene.masks[view]].mean(), change[~scene.masks[view]].mean()
        assert inside > 20 * outside and outside < 10**-3.3  # 33 dB


def test_depth_and_cameras_carry_one_view_s_colours_into_another(scene: Scene, half_size: Cameras) -> None:
    """Where a view's points are in plain sight of its neighbour, depths agree and so do colours."""
    for view in (1, 19, 40):
        beside = view + 3  # both are test views
        colour, depth = seen_from(half_size, scene, view, beside)
        expected = true_depth(beside)
        near = (depth / expected - 1).abs() < 0.01
        assert near.float().mean() > 0.65
        there, unmoved = (
            F.avg_pool2d(scene.image(v).permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0) for v in (beside, view)
        )
        apart, before = ((image - there)[near].abs().mean() for image in (colour, unmoved))
        assert apart < 0.25 * before  # 0.15 to 0.22; two pixels beside it is 0.56 at least


def seen_from(cameras: Cameras, scene: Scene, view: int, beside: int) -> tuple[Tensor, Tensor]:
    """Colours (H W 3) and depths (H W) in `beside` of its own surfaces, as `view` tells them; 0 where out of sight."""
    rays = cameras.image_rays(beside)
    depth = true_depth(beside).flatten()
    points = rays.origins + rays.directions * (depth / rays.depth_per_distance)[:, None]
    xy, z = cameras.project(torch.full((len(points),), view), points)
    size = torch.tensor([cameras.width, cameras.height])
    grid = (2 * xy / size - 1)[None, None]
    photo = F.avg_pool2d(scene.image(view).permute(2, 0, 1)[None], 2)
    colour = F.grid_sample(photo, grid, align_corners=False)[0, :, 0].T
    told = F.grid_sample(true_depth(view)[None, None], grid, mode="nearest", align_corners=False).flatten()
    agrees = torch.where(z > 0, told / z, 0)  # 1 where both see the same surface
    shape = cameras.height, cameras.width
    return colour.view(*shape, 3), (depth * agrees).view(shape)


def test_a_third_of_the_photos_still_goes_all_around(scene: Scene) -> None:
    few = scene.thinned(3)
    assert len(few.train) == 12 and len(few.test) == 18
    assert [few.names[view] for view in few.train] == [scene.names[view] for view in scene.train[::3]]
    assert [few.names[view] for view in few.test] == [scene.names[view] for view in scene.test]
    x, y, height = few.cameras.positions[few.train].T
    around = torch.rad2deg(torch.atan2(y, x)) % 360
    assert (torch.diff(around, append=around[:1]) % 360).max() < 40
    assert (height < 1).sum() == 6  # both heights
