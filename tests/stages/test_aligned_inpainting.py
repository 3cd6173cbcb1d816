"""ELA on exact geometry: the noise stays white, and follows what the base view sees. `-s` prints the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.box_scene import box_scene
from unscene.fields.field import Histogram, Render
from unscene.fields.splats import Splats
from unscene.geometry.cameras import Cameras, Rays, look_at
from unscene.scenes.still_life import still_life, true_depth
from unscene.stages.aligned_inpainting import aligned_noise, batch_views
from unscene.stages.splat_start import round_gaussians

pytestmark = pytest.mark.usefixtures("one_thread")

DOWNSCALE = 4
CHANNELS = 64  # independent draws of one-channel noise: every statistic below is over all of them


@dataclass(frozen=True)
class ExactField:
    """All weight of a ray lies in one sample, where ``distance_along`` (rays -> R) says its surface is."""

    distance_along: Callable[[Rays], Tensor]

    is_native = False

    def render(self, rays: Rays, *, jitter: Tensor | None = None) -> Render:
        distance = self.distance_along(rays)
        distances = torch.stack([0.5 * distance, distance, 2 * distance], -1)
        weights = torch.tensor([0.0, 1.0, 0.0]).expand_as(distances)
        histogram = Histogram(torch.linspace(0, 1, 4).expand(len(rays), 4), weights)
        return Render(torch.zeros(len(rays), 3), distance, distances, weights, histogram, (histogram,))


@dataclass(frozen=True)
class Pair:
    """A base view's noise and another's, C h w each, with the geometry between them.

    region: h w, where to look. cell: h w, the base cell each cell sees; visible: h w, whether the base sees it too.
    """

    base: Tensor
    noise: Tensor
    region: Tensor
    cell: Tensor
    visible: Tensor

    def correspondence(self) -> Tensor:
        """Products of noise and base noise at true correspondences in the region, C P."""
        chosen = self.region & self.visible
        return self.noise[:, chosen] * self.base.flatten(1)[:, self.cell[chosen]]

    def elsewhere(self) -> Tensor:
        """The same with base cells a few rows off, C P."""
        chosen = self.region & self.visible
        other = (self.cell[chosen] + 5 * self.base.shape[2] + 3) % self.base[0].numel()
        return self.noise[:, chosen] * self.base.flatten(1)[:, other]

    def neighbours(self, down: int, right: int) -> Tensor:
        """Products of cells of the region and their neighbours in it, C P."""
        height, width = self.region.shape
        first, second = (slice(0, height - down), slice(0, width - right)), (slice(down, None), slice(right, None))
        both = self.region[first] & self.region[second]
        return self.noise[:, *first][:, both] * self.noise[:, *second][:, both]


def white_noise(seed: int, height: int, width: int) -> Tensor:
    return torch.randn(CHANNELS, height, width, generator=torch.Generator().manual_seed(seed))


def plane_pairs() -> Iterator[Pair]:
    """50 views of a wall 3 units away, through lenses and from positions that differ a little."""
    generator = torch.Generator().manual_seed(0)
    shift = (torch.rand(51, 3, generator=generator) - 0.5) * torch.tensor([1.0, 0.6, 0.3])
    shift[0] = 0
    target = torch.tensor([0.0, 0.0, 3.0]) + 0.2 * torch.randn(51, 3, generator=generator)
    poses = look_at(shift, target, torch.tensor([0.0, -1.0, 0.0]))
    cameras = Cameras(
        poses, torch.full((51, 2), 100.0), torch.tensor([[64.0, 48.0]]).repeat(51, 1), torch.zeros(51, 5), 128, 96
    )
    field = ExactField(lambda rays: (3 - rays.origins[:, 2]) / rays.directions[:, 2])
    latent = cameras.resized(32, 24)
    for view in range(1, 51):
        base = white_noise(view, 24, 32)
        noise = aligned_noise(field, cameras, view, 0, base, DOWNSCALE, torch.Generator().manual_seed(100 + view))
        rays = latent.image_rays(view)
        points = rays.origins + rays.directions * field.distance_along(rays)[:, None]
        xy, _ = latent.project(torch.zeros(len(points), dtype=torch.long), points)
        visible = (xy >= 0).all(-1) & (xy < torch.tensor([32, 24])).all(-1)
        cell = xy[:, 1].clamp(0, 23).long() * 32 + xy[:, 0].clamp(0, 31).long()
        everywhere = torch.ones(24, 32, dtype=torch.bool)
        yield Pair(base, noise, everywhere, cell.view(24, 32), visible.view(24, 32))


def still_life_pairs() -> Iterator[Pair]:
    """50 pairs of the bundled scene's training views, at half its resolution, within the masks.

    The latents are 32 cells high, for 120 rows of pixels: the last two rows of cells are padding.
    """
    scene = still_life()
    assert scene.masks is not None
    cameras = scene.cameras.resized(scene.cameras.width // 2, scene.cameras.height // 2)
    masks = F.max_pool2d(scene.masks[:, None].float(), 2 * DOWNSCALE)[:, 0] > 0
    height, width = masks.shape[1:]
    train = scene.train.tolist()
    depths = {view: true_depth(view) for view in train}

    def distance(rays: Rays) -> Tensor:
        """How far rays of any view go: rays tell by their origins which view they are of."""
        gap = (rays.origins[0] - cameras.positions[scene.train]).norm(dim=-1)
        origin = train[int(gap.argmin())]
        return _distance_in_view(rays, cameras, origin, depths[origin])

    for number in range(50):
        view, base_view = train[number % len(train)], train[(number * 7 + 13) % len(train)]
        if view == base_view:
            base_view = train[(number * 7 + 14) % len(train)]
        field = ExactField(distance)
        base = white_noise(number, height + 2, width)
        noise = aligned_noise(
            field, cameras, view, base_view, base, DOWNSCALE, torch.Generator().manual_seed(1000 + number)
        )
        cell, visible = _true_cells(cameras, view, base_view, depths, width)
        # padding is no part of the picture
        yield Pair(base[:, :height], noise[:, :height], masks[view], cell, visible)


def _distance_in_view(rays: Rays, cameras: Cameras, view: int, depth: Tensor) -> Tensor:
    """How far rays of one view go, by that view's depth map; rays through the padding by the pixels next to it."""
    xy, _ = cameras.project(torch.full((len(rays),), view), rays.origins + rays.directions)
    column, row = xy[:, 0].clamp(0, cameras.width - 1).long(), xy[:, 1].clamp(0, cameras.height - 1).long()
    return depth[row, column] / rays.depth_per_distance


def _true_cells(
    cameras: Cameras, view: int, base_view: int, depths: dict[int, Tensor], width: int
) -> tuple[Tensor, Tensor]:
    """For the middle of every cell of a view: the base view's cell, and whether both views see that point."""
    rays = cameras.resized(cameras.width // DOWNSCALE, cameras.height // DOWNSCALE).image_rays(view)
    points = rays.origins + rays.directions * _distance_in_view(rays, cameras, view, depths[view])[:, None]
    xy, z = cameras.project(torch.full((len(points),), base_view), points)
    inside = (xy >= 0).all(-1) & (xy < torch.tensor([cameras.width, cameras.height])).all(-1) & (z > 0)
    column, row = xy[:, 0].clamp(0, cameras.width - 1).long(), xy[:, 1].clamp(0, cameras.height - 1).long()
    seen = inside & ((depths[base_view][row, column] - z).abs() < 0.01 * z)
    return ((row // DOWNSCALE) * width + column // DOWNSCALE).view(-1, width), seen.view(-1, width)


@pytest.mark.parametrize("pairs", [plane_pairs, still_life_pairs], ids=["plane", "still life"])
def test_ela_noise_is_white_and_tied_to_the_base_view_over_50_pairs(pairs: Callable[[], Iterator[Pair]]) -> None:
    collected = list(pairs())
    assert len(collected) == 50
    values = torch.cat([pair.noise[:, pair.region] for pair in collected], 1)
    # four channels of a latent, each made of a quarter of the draws
    channels = values.view(4, -1)
    mean, std = channels.mean(1), channels.std(1)
    tied = torch.cat([pair.correspondence() for pair in collected], 1).mean().item()
    untied = torch.cat([pair.elsewhere() for pair in collected], 1).mean().item()
    neighbours = {
        (down, right): torch.cat([pair.neighbours(down, right) for pair in collected], 1).mean().item()
        for down, right in ((0, 1), (1, 0), (1, 1))
    }
    share = torch.cat([pair.visible[pair.region] for pair in collected]).float().mean().item()
    print(
        f"\nmean {mean.abs().max():.4f}, std {std.min():.4f} to {std.max():.4f}, correlation {tied:.3f} at true "
        f"correspondences ({share:.0%} of the cells), {untied:.4f} elsewhere; neighbours "
        + ", ".join(f"{offset}: {r:+.4f}" for offset, r in neighbours.items())
    )
    assert mean.abs().max() <= 0.02
    assert (std - 1).abs().max() <= 0.02
    assert share > 0.2  # or the next line says little
    assert tied >= 0.8
    assert abs(untied) < 0.02
    assert max(abs(r) for r in neighbours.values()) < 0.05


def test_the_base_view_itself_keeps_its_noise() -> None:
    pose = look_at(torch.zeros(1, 3), torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, -1.0, 0.0]))
    cameras = Cameras(pose, torch.full((1, 2), 60.0), torch.tensor([[31.0, 23.0]]), torch.zeros(1, 5), 62, 46)
    field = ExactField(lambda rays: 3 + rays.directions[:, 0])
    noise = white_noise(0, 12, 16)  # 64 x 48 pixels: the photo padded by two
    carried = aligned_noise(field, cameras, 0, 0, noise, DOWNSCALE, torch.Generator().manual_seed(1))
    torch.testing.assert_close(carried, noise, atol=1e-5, rtol=0)


def test_noise_is_fresh_where_the_base_view_does_not_look() -> None:
    poses = look_at(
        torch.zeros(2, 3), torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]), torch.tensor([0.0, -1.0, 0.0])
    )
    cameras = Cameras(poses, torch.full((2, 2), 60.0), torch.full((2, 2), 32.0), torch.zeros(2, 5), 64, 64)
    field = ExactField(lambda rays: torch.full((len(rays),), 2.0))
    noise = white_noise(0, 16, 16)
    carried = aligned_noise(field, cameras, 1, 0, noise, DOWNSCALE, torch.Generator().manual_seed(1)).flatten(1)
    correlation = (F.normalize(carried, dim=0).T @ F.normalize(noise.flatten(1), dim=0)).abs().max()
    assert correlation < 0.75  # 65,536 pairs of independent draws of 64


def plate_before_a_wall(rays: Rays) -> Tensor:
    """A square plate of a metre, a metre and a half before the origin, and a wall at three."""
    to_plate = (1.5 - rays.origins[:, 2]) / rays.directions[:, 2]
    x, y, _ = (rays.origins + rays.directions * to_plate[:, None]).unbind(-1)
    on_plate = (x.abs() < 0.5) & (y.abs() < 0.5)
    return torch.where(on_plate, to_plate, (3 - rays.origins[:, 2]) / rays.directions[:, 2])


def test_noise_is_fresh_where_something_hides_the_surface_from_the_base_view() -> None:
    positions = torch.tensor([[0.0, 0, 0], [1.2, 0, 0]])
    poses = look_at(positions, torch.tensor([0.3, 0.0, 3.0]), torch.tensor([0.0, -1.0, 0.0]))
    cameras = Cameras(poses, torch.full((2, 2), 60.0), torch.full((2, 2), 48.0), torch.zeros(2, 5), 96, 96)
    latent, field = cameras.resized(24, 24), ExactField(plate_before_a_wall)
    rays = latent.image_rays(1)
    points = rays.origins + rays.directions * plate_before_a_wall(rays)[:, None]
    xy, _ = latent.project(torch.zeros(len(points), dtype=torch.long), points)
    inside = (xy >= 0).all(-1) & (xy < 24).all(-1)
    behind = (points[:, 2] > 2) & (points[:, :2].abs() / 2 < 0.5 - 0.1).all(-1)  # well within the plate's shadow
    beside = inside & ((points[:, 2] < 2) | (points[:, :2].abs() / 2 > 0.5 + 0.1).any(-1))
    assert behind.sum() > 20 and beside.sum() > 100
    ties, values = [], []
    for seed in range(10):
        base = white_noise(seed, 24, 24)
        noise = aligned_noise(field, cameras, 1, 0, base, DOWNSCALE, torch.Generator().manual_seed(100 + seed))
        cell = xy[:, 1].clamp(0, 23).long() * 24 + xy[:, 0].clamp(0, 23).long()
        ties.append((noise.flatten(1) * base.flatten(1)[:, cell]).mean(0))
        values.append(noise.flatten(1))
    tie = torch.stack(ties).mean(0)
    assert tie[behind].abs().max() < 0.2 and tie[behind].mean().abs() < 0.02
    assert tie[beside].mean() > 0.7
    assert abs(torch.stack(values)[:, :, behind].std() - 1) < 0.02


def plate_and_wall() -> Splats:
    """The same plate and wall made of Gaussians, as opaque as Gaussians are."""
    cells = torch.arange(-3.0, 3.0, 0.05) + 0.025
    grid = torch.stack(torch.meshgrid(cells, cells, indexing="ij"), -1).view(-1, 2)
    wall = torch.cat([grid, torch.full((len(grid), 1), 3.0)], 1)
    plate = wall[(grid.abs() < 0.5).all(1)] * torch.tensor([1.0, 1.0, 0.5])
    points = torch.cat([wall, plate])
    gaussians = round_gaussians(points, torch.full_like(points, 0.5), torch.full((len(points),), 0.04), 0)
    gaussians.opacity_logits.fill_(4.0)
    return Splats(gaussians, center=torch.zeros(3), radius=torch.tensor(1.0))


def test_splats_carry_noise_that_is_white_and_tied_to_what_the_base_view_sees() -> None:
    """As a radiance field does: fresh where the plate hides the wall from the base view, tied beside it."""
    positions = torch.tensor([[0.0, 0, 0], [1.2, 0, 0]])
    poses = look_at(positions, torch.tensor([0.3, 0.0, 3.0]), torch.tensor([0.0, -1.0, 0.0]))
    cameras = Cameras(poses, torch.full((2, 2), 60.0), torch.full((2, 2), 48.0), torch.zeros(2, 5), 96, 96)
    latent, field = cameras.resized(24, 24), plate_and_wall()
    rays = latent.image_rays(1)
    points = rays.origins + rays.directions * plate_before_a_wall(rays)[:, None]
    xy, _ = latent.project(torch.zeros(len(points), dtype=torch.long), points)
    inside = (xy >= 0).all(-1) & (xy < 24).all(-1)
    behind = (points[:, 2] > 2) & (points[:, :2].abs() / 2 < 0.5 - 0.15).all(-1)
    beside = inside & (
        (points[:, 2] < 2) & (points[:, :2].abs() < 0.4).all(-1) | (points[:, :2].abs() / 2 > 0.65).any(-1)
    )
    assert behind.sum() > 15 and beside.sum() > 80
    ties, values = [], []
    for seed in range(20):
        base = white_noise(seed, 24, 24)
        noise = aligned_noise(field, cameras, 1, 0, base, DOWNSCALE, torch.Generator().manual_seed(100 + seed))
        cell = xy[:, 1].clamp(0, 23).long() * 24 + xy[:, 0].clamp(0, 23).long()
        ties.append((noise.flatten(1) * base.flatten(1)[:, cell]).mean(0))
        values.append(noise)
    tie, made = torch.stack(ties).mean(0), torch.stack(values)
    assert tie[behind].mean().abs() < 0.1 and tie[beside].mean() > 0.7
    assert made.mean().abs() < 0.02 and (made.std() - 1).abs() < 0.02
    assert (made.flatten(2).std((0, 1)) - 1).abs().max() < 0.15  # everywhere, also where some light passes
    for first, second in ((made[..., 1:], made[..., :-1]), (made[..., 1:, :], made[..., :-1, :])):
        assert (first * second).mean().abs() < 0.05


def test_large_photos_go_in_smaller_batches_on_a_processor() -> None:
    small, large = (box_scene(views=2, width=side, height=side).scene for side in (64, 800))
    assert (batch_views(small, 4), batch_views(large, 4), batch_views(small, 1)) == (4, 1, 1)
    assert batch_views(large.to(torch.device("meta")), 4) == 4
