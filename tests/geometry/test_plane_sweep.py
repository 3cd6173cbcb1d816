"""Plane-sweep stereo, against a room whose surfaces are known."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.box_scene import box_scene
from unscene.geometry import plane_sweep
from unscene.geometry.cameras import Cameras, pixel_centers
from unscene.geometry.plane_sweep import agreed, plane_directions, settled, swept_depth

ROOM = box_scene(views=5, width=64, height=48)
CAMERAS, DEPTH = ROOM.scene.cameras, ROOM.depth
LEVELS = torch.linspace(1 / 1.5, 1 / 8, 80)
OTHERS = [0, 1, 3, 4]


def images(truth: Tensor) -> Tensor:
    return truth.permute(0, 3, 1, 2).float() / 255


EMPTY = images(ROOM.truth)
EVERYWHERE = torch.ones(5, 48, 64, dtype=torch.bool)


def exact(found: Tensor, depth: Tensor, where: Tensor) -> float:
    """Share of pixels right to 4 %."""
    return float(((found / depth - 1).abs() < 0.04)[where].float().mean())


@pytest.fixture(scope="module")
def swept() -> tuple[Tensor, Tensor]:
    return swept_depth(CAMERAS, EMPTY, EVERYWHERE, 2, OTHERS, LEVELS)


def test_depths_of_walls_floor_and_ceiling_are_found(swept: tuple[Tensor, Tensor]) -> None:
    depth, likeness = swept
    assert depth.shape == likeness.shape == (48, 64)
    alike = likeness > 0.6
    assert alike.float().mean() > 0.8 and likeness.max() <= 1
    assert exact(depth, DEPTH[2], alike) > 0.95


def test_a_slanted_floor_needs_planes_as_slanted(swept: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane_sweep, "plane_directions", lambda cameras, view: [cameras.forward[view]])
    facing, _ = swept_depth(CAMERAS, EMPTY, EVERYWHERE, 2, OTHERS, LEVELS)
    floor = torch.zeros(48, 64, dtype=torch.bool)
    floor[38:] = True
    assert exact(swept[0], DEPTH[2], floor) > exact(facing, DEPTH[2], floor) + 0.05


def test_masked_pixels_say_nothing() -> None:
    masks = ROOM.scene.masks
    assert masks is not None
    photos = images(ROOM.scene.images)
    garbled = photos.where(~masks[:, None], torch.rand(photos.shape, generator=torch.Generator().manual_seed(0)))
    found = [swept_depth(CAMERAS, image, ~masks, 2, OTHERS, LEVELS) for image in (photos, garbled)]
    outside = ~masks[2]
    for before, after in zip(*found, strict=True):
        assert torch.equal(before[outside], after[outside])


def test_lenses_are_taken_into_account() -> None:
    """Photos through another lens: what the room shows there lies where the lens bends it to."""
    bent = dataclasses.replace(CAMERAS, distortion=torch.tensor([[-0.15, 0.02, 0.0, 0.0, 0.0]]).repeat(5, 1))
    seen = torch.stack([through(bent, view, EMPTY[view]) for view in range(5)])
    depth = through(bent, 2, DEPTH[2][None])[0]
    right, like = swept_depth(bent, seen, EVERYWHERE, 2, OTHERS, LEVELS)
    wrong, unlike = swept_depth(CAMERAS, seen, EVERYWHERE, 2, OTHERS, LEVELS)
    assert exact(right, depth, like > 0.6) > 0.8 > exact(wrong, depth, unlike > 0.6) + 0.05


def through(bent: Cameras, view: int, image: Tensor) -> Tensor:
    """An image (C h w) of a camera without distortion as another lens shows it, C h w."""
    pixels = pixel_centers(64, 48).view(-1, 2)
    xy = bent.image_plane(torch.full((len(pixels),), view), pixels) * CAMERAS.focal[view] + CAMERAS.principal[view]
    grid = (xy / torch.tensor([64, 48]) * 2 - 1).view(1, 48, 64, 2)
    return F.grid_sample(image[None], grid, align_corners=False, padding_mode="border")[0]


def test_planes_face_the_view_and_stand_or_lie_as_the_cameras_do() -> None:
    forward, up, *upright = plane_directions(CAMERAS, 2)
    assert torch.equal(forward, CAMERAS.forward[2])
    assert up @ torch.tensor([0.0, -1.0, 0.0]) > 0.99
    assert all(abs(normal @ up) < 1e-5 and abs(normal.norm() - 1) < 1e-5 for normal in upright)
    assert abs(upright[0] @ upright[1]) < 1e-5


def test_scanlines_are_settled_as_the_recursion_says() -> None:
    cost = torch.rand(5, 4, 3, generator=torch.Generator().manual_seed(0))
    total = torch.zeros_like(cost)
    small, large = plane_sweep.SMALL_STEP, plane_sweep.LARGE_STEP
    for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        along = torch.zeros_like(cost)
        rows = range(4) if down >= 0 else range(3, -1, -1)
        columns = range(3) if across >= 0 else range(2, -1, -1)
        for row in rows:
            for column in columns:
                before = (row - down, column - across)
                for level in range(5):
                    along[level, row, column] = cost[level, row, column]
                    if not (0 <= before[0] < 4 and 0 <= before[1] < 3):
                        continue
                    last = along[:, before[0], before[1]]
                    ways = [last[level], last.min() + large]
                    ways += [last[level - 1] + small] if level else []
                    ways += [last[level + 1] + small] if level < 4 else []
                    along[level, row, column] += min(ways) - last.min()
        total += along
    assert torch.allclose(settled(cost), total / 4, atol=1e-6)


def test_window_means_are_those_of_a_pooling() -> None:
    values, radius = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0)), plane_sweep.RADIUS
    expected = F.avg_pool2d(values, 2 * radius + 1, 1, radius)
    assert torch.allclose(plane_sweep._window_means(values), expected, atol=1e-6)


def test_a_window_is_like_itself_in_any_light_but_for_its_colours() -> None:
    image, both = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0)), torch.ones(1, 1, 9, 9)
    likeness = plane_sweep._window_likeness
    inside = (0, slice(2, -2), slice(2, -2))
    assert (likeness(image, image, both)[inside] > 0.98).all()
    brighter = likeness(image, 0.5 * image + 0.3, both)[inside]
    assert ((brighter > 0.8) & (brighter < 1)).all()
    assert (likeness(image, 1 - image, both)[inside] < -0.9).all()
    seen = both.clone()
    seen[..., 4:] = 0
    hidden = likeness(image * seen, image * seen, seen)[0]
    assert (hidden[2:-2, 6:] == -1).all() and (hidden[2:-2, :4] > 0.98).all()


def test_true_depths_agree_and_wrong_ones_do_not() -> None:
    def told(depths: Tensor, cameras: Cameras, known: Tensor, witnesses: int = 1) -> Tensor:
        return agreed(cameras, depths, known, tolerance=0.02, witnesses=witnesses)

    assert told(DEPTH, CAMERAS, EVERYWHERE)[2].float().mean() > 0.95
    assert told(DEPTH[[2]], CAMERAS[[2]], EVERYWHERE[[2]]).all()  # nobody to ask
    wrong = DEPTH.clone()
    wrong[2] *= 0.8
    assert told(wrong, CAMERAS, EVERYWHERE)[2].float().mean() < 0.05
    unknown = EVERYWHERE.clone()
    unknown[[0, 1, 3, 4]] = False
    assert not told(DEPTH, CAMERAS, unknown).any()
