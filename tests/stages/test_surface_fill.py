"""Continuing the plane behind an object, with what all views see of it."""

import math

import pytest
import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras, look_at
from unscene.priors.classical import ExemplarInpainter, TeleaInpainter
from unscene.scenes.scene import Scene
from unscene.stages.surface_fill import continue_surface, fill_surface

WIDTH, HEIGHT, TILE = 96, 72, 0.25


def checkered_floor(points: Tensor) -> Tensor:
    """Smooth two-coloured squares of the plane z = 0, ... 3."""
    wave = torch.sin(points[..., 0] * math.pi / TILE) * torch.sin(points[..., 1] * math.pi / TILE)
    light = 0.5 + 0.4 * torch.tanh(6 * wave)
    return torch.stack([light, 0.8 * light, 1 - light], -1)


@pytest.fixture(scope="module")
def floor() -> tuple[Scene, Tensor, Tensor]:
    """Seven cameras above a tiled floor: the scene, its depth maps N H W, and each view's hole around the origin."""
    angle = torch.linspace(-0.5, 0.5, 7)
    positions = torch.stack([2 * angle.sin(), -2 * angle.cos(), torch.full_like(angle, 1.6)], -1)
    poses = look_at(positions, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    focal, principal = torch.full((7, 2), 90.0), torch.tensor([[WIDTH / 2, HEIGHT / 2]]).expand(7, 2)
    cameras = Cameras(poses, focal, principal, torch.zeros(7, 5), WIDTH, HEIGHT)
    images, depths, holes = [], [], []
    for view in range(7):
        rays = cameras.image_rays(view)
        distance = -rays.origins[:, 2] / rays.directions[:, 2]
        points = rays.origins + rays.directions * distance[:, None]
        images.append(checkered_floor(points).view(HEIGHT, WIDTH, 3))
        depths.append((distance * rays.depth_per_distance).view(HEIGHT, WIDTH))
        holes.append((points[:, :2].norm(dim=-1) < 0.3).view(HEIGHT, WIDTH))
    scene = Scene(
        name="floor", cameras=cameras, images=(torch.stack(images) * 255).round().byte(),
        names=tuple(f"{i}.png" for i in range(7)), train=torch.arange(7), test=torch.arange(0),
    )  # fmt: skip
    return scene, torch.stack(depths), torch.stack(holes)


def seen_planes(normals: Tensor, offsets: Tensor, *, inside: bool) -> tuple[Cameras, Tensor, Tensor]:
    """A camera, its z-depth of a room or a body of these planes (n . x = offset, K of them), H W, and which is seen."""
    pose = look_at(torch.tensor([[1.3, -1.6, 1.2]]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    focal, principal = torch.full((1, 2), 90.0), torch.tensor([[WIDTH / 2, HEIGHT / 2]])
    cameras = Cameras(pose, focal, principal, torch.zeros(1, 5), WIDTH, HEIGHT)
    rays = cameras.image_rays(0)
    distance = (offsets - rays.origins @ normals.T) / (rays.directions @ normals.T)
    distance = torch.where(distance > 0, distance, torch.inf if inside else -torch.inf)
    seen, which = distance.min(1) if inside else distance.max(1)
    return cameras, (seen * rays.depth_per_distance).view(HEIGHT, WIDTH), which.view(HEIGHT, WIDTH)


@pytest.mark.parametrize("inside", [True, False], ids=["a room's corner", "a body's edges"])
def test_planes_meet_behind_the_hole_where_they_meet_beside_it(inside: bool) -> None:
    faces = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    normals, offsets = (-faces, torch.tensor([0.2, 0.3, 0.4])) if inside else (faces, torch.tensor([0.3, 0.3, 0.3]))
    cameras, depth, which = seen_planes(normals, offsets, inside=inside)
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    hole = (rows - HEIGHT / 2).square() + (columns - WIDTH / 2).square() < 20**2
    assert len(which[hole].unique()) == 3
    hidden = torch.where(hole, 0.5, depth)
    surface = continue_surface(cameras, 0, hidden, hole, torch.Generator().manual_seed(0))
    assert len(surface.planes) == 3
    assert surface.on_plane[hole].float().mean() > 0.97
    error = (surface.depth / depth - 1).abs()[hole]
    assert error.mean() < 5e-3 and error.max() < 0.02


def test_what_lies_on_two_planes_is_copied_along_each() -> None:
    """Stripes that run down a wall and away on a floor: pieces of the one do not do for the other."""
    normals, offsets = torch.eye(3)[[2, 1]], torch.tensor([-0.3, 0.4])
    cameras, depth, which = seen_planes(normals, offsets, inside=True)
    rays = cameras.image_rays(0)
    points = rays.origins + rays.directions * (depth.flatten() / rays.depth_per_distance)[:, None]
    light = 0.5 + 0.4 * torch.sin(points[:, 0] * 2 * math.pi / 0.2).view(HEIGHT, WIDTH)
    image = torch.stack([light, 0.3 + 0.4 * which, 1 - light], -1)
    hole = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    hole[20:52, 36:60] = True
    assert 0.2 < which[hole].float().mean() < 0.8
    scene = Scene(
        name="corner", cameras=cameras, images=(torch.where(hole[..., None], 0.5, image) * 255).round().byte()[None],
        names=("0.png",), train=torch.arange(1), test=torch.arange(0),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    surface = continue_surface(cameras, 0, torch.where(hole, 0.5, depth), hole, generator)
    filled = fill_surface(scene, 0, hole[None], depth[None], surface, ExemplarInpainter(), generator)
    smear = TeleaInpainter().inpaint(scene.image(0)[None], hole[None], generator=torch.Generator())[0]
    assert (filled - image)[hole].abs().mean() < 0.35 * (smear - image)[hole].abs().mean()


def filled_and_truth(floor: tuple[Scene, Tensor, Tensor], view: int, holes: Tensor) -> tuple[Tensor, Tensor]:
    scene, depths, _ = floor
    generator = torch.Generator().manual_seed(0)
    surface = continue_surface(scene.cameras, view, depths[view], holes[view], generator)
    assert len(surface.planes) == 1 and surface.on_plane[holes[view]].float().mean() > 0.99
    grey = torch.where(holes[..., None], torch.tensor(128, dtype=torch.uint8), scene.images)
    hidden = scene.with_images(scene.train, grey.float() / 255)
    return fill_surface(hidden, view, holes, depths, surface, ExemplarInpainter(), generator), scene.image(view)


def test_tiles_seen_at_a_slant_run_on(floor):
    holes = floor[2]
    filled, truth = filled_and_truth(floor, 3, holes)
    assert torch.equal(filled[~holes[3]], torch.where(holes[3][..., None], 0.0, truth)[~holes[3]])
    smear = TeleaInpainter().inpaint(truth[None], holes[3:4], generator=torch.Generator())[0]
    assert (filled - truth)[holes[3]].abs().mean() < 0.4 * (smear - truth)[holes[3]].abs().mean()


def test_what_other_views_show_is_taken_from_them(floor):
    """The hole is in one view only; all of it can be copied, even where nothing repeats."""
    scene, depths, holes = floor
    noise = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))

    def unique(points: Tensor) -> Tensor:
        grid = points[None, None, :, :2] / 1.5
        return torch.nn.functional.grid_sample(noise, grid, mode="bicubic", align_corners=False)[0, :, 0].T.clamp(0, 1)

    images = []
    for view in range(7):
        rays = scene.cameras.image_rays(view)
        points = rays.origins + rays.directions * (-rays.origins[:, 2] / rays.directions[:, 2])[:, None]
        images.append(unique(points).view(HEIGHT, WIDTH, 3))
    painted = scene.with_images(scene.train, torch.stack(images))
    only = torch.zeros_like(holes)
    only[3] = holes[3]
    filled, truth = filled_and_truth((painted, depths, only), 3, only)
    assert (filled - truth)[only[3]].abs().mean() < 0.03


def test_what_is_expected_chooses_between_tiles(floor):
    """The floor's light and dark tiles recur alike; told of a dark floor, darker pieces are laid."""
    scene, depths, holes = floor
    means = []
    for level in (0.1, 0.9):
        generator = torch.Generator().manual_seed(0)
        surface = continue_surface(scene.cameras, 3, depths[3], holes[3], generator)
        expected = torch.full((HEIGHT, WIDTH, 3), torch.nan)
        expected[holes[3]] = torch.tensor([level, 0.8 * level, 1 - level])
        filled = fill_surface(
            scene, 3, holes, depths, surface, ExemplarInpainter(), generator, expected=expected
        )  # fmt: skip
        assert filled.isfinite().all()
        means.append(filled[holes[3]][:, 0].mean())
    assert means[1] > means[0] + 0.03
