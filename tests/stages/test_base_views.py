"""Several base views: which, and what of each is its own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.box_scene import BoxScene, box_scene
from unscene.stages.base_views import (
    _leaders,
    _packed,
    _unpacked,
    carry_over,
    choose_views,
    origin_map,
    origin_shares,
)
from unscene.stages.hidden_surfaces import small_size, who_looks_well
from unscene.stages.independent_inpainting import InpaintedView


@pytest.fixture(scope="module")
def room() -> BoxScene:
    return box_scene()


def settled(room: BoxScene, view: int) -> InpaintedView:
    """A view inpainted as it really is behind the object."""
    assert room.scene.masks is not None
    truth = room.truth[view].float() / 255
    return InpaintedView(view, truth, truth, torch.zeros(0), room.depth[view], room.scene.masks[view])


def test_views_are_added_until_little_is_gained() -> None:
    looks = torch.zeros(100, 4, dtype=torch.bool)
    looks[:40, 0] = True
    looks[30:70, 1] = True  # thirty more
    looks[40:98, 2] = True  # fifty-eight more
    looks[97:, 3] = True  # two more beside those
    chosen, shares = choose_views(looks, most=4)
    assert chosen == [0, 2] and shares == pytest.approx([0.4, 0.58])
    assert choose_views(looks, most=1)[0] == [0]
    looks[70:100, 2] = False
    assert choose_views(looks, most=4)[0] == [0, 1]
    assert choose_views(looks, most=2) == choose_views(looks, most=4)


def test_what_a_settled_view_invented_is_carried_where_it_is_the_same_surface(room: BoxScene) -> None:
    scene, masks = room.scene, room.scene.masks
    assert masks is not None
    image, left = carry_over(scene, 4, room.depth[4], masks[4], [settled(room, 3)])
    carried = masks[4] & ~left
    assert carried.float().sum() > 0.4 * masks[4].sum()
    truth = room.truth[4].float() / 255
    assert (image - truth)[carried].abs().median() < 0.06
    assert torch.equal(image[~masks[4]], scene.image(4)[~masks[4]])
    assert torch.equal(image[left], scene.image(4)[left])


def test_the_nearest_settled_view_has_the_first_say(room: BoxScene) -> None:
    masks = room.scene.masks
    assert masks is not None
    near, far = settled(room, 3), settled(room, 7)
    black = InpaintedView(7, torch.zeros_like(far.image), far.start, far.noise, far.depth, far.hole)
    alone, left_alone = carry_over(room.scene, 4, room.depth[4], masks[4], [near])
    both, left = carry_over(room.scene, 4, room.depth[4], masks[4], [black, near])
    carried = masks[4] & ~left_alone
    assert torch.equal(both[carried], alone[carried])
    assert left.sum() <= left_alone.sum()


def test_a_surface_at_another_depth_is_not_carried(room: BoxScene) -> None:
    masks = room.scene.masks
    assert masks is not None
    base = settled(room, 3)
    moved = InpaintedView(3, base.image, base.start, base.noise, 1.3 * base.depth, base.hole)
    _, left = carry_over(room.scene, 4, room.depth[4], masks[4], [moved])
    assert left.sum() > 0.9 * masks[4].sum()


def test_views_look_well_at_their_own_points_and_not_from_far_away(room: BoxScene) -> None:
    scene, masks = room.scene, room.scene.masks
    assert masks is not None
    views, (width, height) = torch.arange(len(scene)), small_size(scene.cameras)
    surfaces = F.interpolate(room.depth[:, None], (height, width))[:, 0]
    looks = who_looks_well(scene.cameras, views, views, masks, surfaces)
    holes = F.adaptive_max_pool2d(masks[:, None].float(), (height, width))[:, 0] > 0
    assert looks.shape == (int(holes.sum()), len(scene))
    owner = torch.repeat_interleave(views, holes.flatten(1).sum(1))
    assert looks[torch.arange(len(owner)), owner].float().mean() > 0.9
    assert looks.any(1).all()
    assert looks.float().mean() < 0.9  # what one hides another sees, or hides another surface
    nowhere = torch.full_like(surfaces, torch.inf)
    nowhere[3] = surfaces[3]
    alone = who_looks_well(scene.cameras, views[3:4], views[3:4], masks, nowhere)
    assert alone.shape[1] == 1 and alone.float().mean() > 0.9


def test_the_map_shows_what_was_known_told_and_invented(room: BoxScene) -> None:
    masks = room.scene.masks
    assert masks is not None
    base, rows = settled(room, 3), torch.arange(room.scene.cameras.height)[:, None]
    top, bottom = int(masks[3].nonzero()[:, 0].min()), int(masks[3].nonzero()[:, 0].max())
    region = masks[3] & (rows > top + (bottom - top) // 3)
    hole = masks[3] & (rows > top + 2 * (bottom - top) // 3)
    shown = origin_map(InpaintedView(3, base.image, base.start, base.noise, base.depth, hole), masks[3], region)
    for part, channel in ((masks[3] & ~region, 1), (region & ~hole, 2), (hole, 0)):
        assert part.any() and ((shown - 0.5 * base.image)[part].argmax(-1) == channel).all()
    assert torch.equal(shown[~masks[3]], base.image[~masks[3]])
    known, told, invented = (
        f"{part.sum() / masks[3].sum():.0%}" for part in (masks[3] & ~region, region & ~hole, hole)
    )
    of_hole = InpaintedView(3, base.image, base.start, base.noise, base.depth, hole)
    words = f"photos show {known}, other base views told it {told}, it invented {invented}"
    assert words in origin_shares(of_hole, masks[3], region)


def test_a_view_is_led_by_the_base_view_that_sees_most_of_what_it_hides(room: BoxScene) -> None:
    scene, masks = room.scene, room.scene.masks
    assert masks is not None
    width, height = small_size(scene.cameras)
    surfaces = F.interpolate(room.depth[:, None], (height, width))[:, 0]
    leaders = _leaders(scene, masks, surfaces, [settled(room, 0), settled(room, 7)])
    assert leaders[0] == 0 and leaders[7] == 1 and leaders[1] == 0 and leaders[6] == 1
    beyond = surfaces.clone()
    beyond[0] = 3 * surfaces[0]  # the first hides another surface than all the rest
    assert (_leaders(scene, masks, surfaces, [settled(room, 0), settled(room, 7)])[3:5] == torch.tensor([0, 1])).all()
    assert (_leaders(scene, masks, beyond, [settled(room, 0), settled(room, 7)])[3:5] == 1).all()


def test_base_views_come_back_from_a_checkpoint(room: BoxScene) -> None:
    views = [settled(room, 3), settled(room, 5)]
    back = _unpacked(_packed(views))
    assert [base.view for base in back] == [3, 5]
    assert all(torch.equal(a.image, b.image) and torch.equal(a.hole, b.hole) for a, b in zip(views, back, strict=True))
