"""What symmetry tells of an object's back, against a slow reference and things of known shape."""

import math

import pytest
import torch
from torch import Tensor

from tests.sphere_views import cameras, painted, sphere_view
from unscene.geometry.cameras import Cameras
from unscene.geometry.epipolar import is_behind
from unscene.geometry.masks import dilate, erode
from unscene.geometry.partial_view import partial_view
from unscene.geometry.splatting import unproject
from unscene.geometry.symmetry import SLACK, STEPS, THIN, Symmetry, symmetric_object, symmetry_of

BOX = (0.7, 0.35, 0.5)  # half its sides
HALF_TURN = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
FACING = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))  # the mirror of a camera at azimuth 0


def box_view(
    camera: Cameras, half: tuple[float, float, float] = BOX, centre: tuple[float, float, float] = (0, 0, 0)
) -> tuple[Tensor, Tensor]:
    """Colour H W 3 and z-depth H W, 0 off it, of a box that half a turn brings onto itself, colours and all."""
    rays, low, high = (
        camera.image_rays(0),
        torch.tensor(centre) - torch.tensor(half),
        torch.tensor(centre) + torch.tensor(half),
    )
    ends = torch.stack([(low - rays.origins) / rays.directions, (high - rays.origins) / rays.directions])
    enter, leave = ends.amin(0).amax(-1), ends.amax(0).amin(-1)
    shape = (camera.height, camera.width)
    depth = torch.where(enter < leave, enter * rays.depth_per_distance, 0).view(shape)
    x, y, z = (rays.origins + rays.directions * enter[:, None]).unbind(-1)
    return painted(torch.stack([x * x, x * y, z], -1)).view(*shape, 3), depth


def overlap(first: Tensor, second: Tensor) -> float:
    """Intersection over union of two masks."""
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("turn", [70.0, 130.0, 180.0, 250.0])
def test_a_box_seen_at_its_corner_is_completed_by_half_a_turn(turn: float) -> None:
    source, target = cameras(35.0, elevation=20.0, size=96), cameras(35.0 + turn, elevation=20.0, size=96)
    image, depth = box_view(source)
    truth, true_depth = box_view(target)
    guess = symmetric_object(image, depth, source, target)
    # with the back mirroring the front it is no box: 0.75 to 0.85 of the outline
    assert overlap(guess.depth > 0, true_depth > 0) > 0.93
    # without the top's edge, from which on all is straight away from the photo, and the outline's
    inner = erode(((true_depth > 0) & (guess.depth > 0))[None], 3)[0]
    assert (guess.depth - true_depth)[inner].abs().median() < 0.03
    assert (guess.color - truth)[inner].abs().median() < 0.04
    assert not guess.color[guess.depth == 0].any()


def test_the_back_reads_the_same_way_round_as_the_front() -> None:
    source, behind = cameras(35.0, elevation=20.0, size=96), cameras(215.0, elevation=20.0, size=96)
    image, depth = box_view(source)
    guess = symmetric_object(image, depth, source, behind)
    inner = erode(((depth > 0) & (guess.depth > 0))[None], 3)[0]
    assert (guess.color - image)[inner].abs().mean() < 0.02 < (guess.color - image.flip(1))[inner].abs().mean()


def slow_solid(front: Tensor, symmetry: Symmetry, depth: Tensor, source: Cameras, target: Cameras) -> Tensor:
    """The definition: from every point of the front walk straight away from the source, as long as the point is hidden
    and so is its symmetric image, or a little if that never is, and note how near it is at the pixel where the target
    sees it. H W, infinite off."""
    away = -source.positions[0] * torch.tensor([1.0, 1.0, 0.0])
    away = away / away.norm()
    nearest = torch.full((target.height * target.width,), math.inf)
    walked, gone = front, 0.0
    thin = ~is_behind(symmetry.image(front), depth, source, SLACK)
    while len(walked):
        xy, z = target.project(torch.zeros(len(walked), dtype=torch.long), walked)
        column, row = xy.floor().long().unbind(-1)
        framed = (column >= 0) & (column < target.width) & (row >= 0) & (row < target.height)
        nearest.scatter_reduce_(0, (row * target.width + column)[framed], z[framed], "amin")
        walked, gone = walked + 0.01 * away, gone + 0.01
        further = is_behind(symmetry.image(walked), depth, source) & (walked.norm(dim=-1) <= 1)
        further |= thin & (gone <= THIN)
        walked, thin = walked[further], thin[further]
    return nearest.view(target.height, target.width)


@pytest.mark.parametrize(("turn", "elevation"), [(20, 0), (75, 40), (140, 10), (180, -20)])
@pytest.mark.parametrize("view", [box_view, sphere_view])
def test_the_solid_agrees_with_walking_from_every_point_of_the_front(view, turn, elevation) -> None:
    source = cameras(25.0, elevation=35.0, size=32)
    target = cameras(25.0 + turn, elevation=float(elevation), size=32)
    image, depth = view(source)
    front = unproject(depth, source)[depth > 0]
    slow = slow_solid(front, symmetry_of(front, depth, source), depth, source, target)
    guess = symmetric_object(image, depth, source, target)
    ours, theirs = guess.depth > 0, slow.isfinite()
    assert not (theirs & ~dilate(ours[None], 1)[0]).any() and not (ours & ~dilate(theirs[None], 1)[0]).any()
    assert (ours ^ theirs).float().mean() < 0.08
    # a pixel sees a piece of a line, whose end is found in steps
    assert (guess.depth - slow)[ours & theirs].abs().median() < 2 / STEPS


def of_photo(depth: Tensor, source: Cameras) -> Symmetry:
    return symmetry_of(unproject(depth, source)[depth > 0], depth, source)


def test_half_a_turn_about_the_centre_is_believed_if_the_photo_does_not_speak_against_it() -> None:
    source = cameras(0.0, elevation=20.0)
    for view in (box_view, sphere_view):
        found = of_photo(view(source)[1], source)
        assert torch.equal(found.linear, HALF_TURN) and not found.offset.any()
    # half of the ball, where nothing is on the other side
    _, depth = sphere_view(source)
    depth[:, :24] = 0
    depth[32:, :40] = 0
    found = of_photo(depth, source)
    torch.testing.assert_close(found.linear, FACING)
    assert not found.offset.any() and found.name == "a mirror that faces it"


def ball_depth(camera: Cameras, centre: tuple[float, float, float], radius: float) -> Tensor:
    """z-depth H W, 0 off it, of a ball."""
    rays = camera.image_rays(0)
    moved = rays.origins - torch.tensor(centre)
    along = -(moved * rays.directions).sum(-1)
    discriminant = along.square() - moved.square().sum(-1) + radius**2
    hit = (along - discriminant.clamp_min(0).sqrt()) * rays.depth_per_distance
    return torch.where(discriminant > 0, hit, 0).view(camera.height, camera.width)


def test_what_sticks_out_on_one_side_does_not_move_the_axis_of_the_rest_and_is_thin() -> None:
    """A mug: a ball, and a handle on the right of it."""
    source, centre = cameras(0.0, size=96), (0.0, -0.3, 0.0)
    depth = ball_depth(source, centre, 0.5)
    handle = torch.zeros(96, 96, dtype=torch.bool)
    handle[44:52, 54:66] = True
    handle &= depth == 0
    depth[handle] = 3.0
    found = of_photo(depth, source)
    assert torch.equal(found.linear, HALF_TURN)
    torch.testing.assert_close(found.offset / 2, torch.tensor(centre), atol=0.1, rtol=0)
    image = torch.zeros(96, 96, 3)
    image[handle] = torch.tensor([1.0, 0.0, 0.0])
    aside = symmetric_object(image, depth, source, cameras(90.0, size=96))
    red = (aside.color[..., 0] > 0.5) & (aside.depth > 0)
    wide = red.any(0).sum()
    assert 0 < wide <= 5  # as the front of the ball is 36 pixels wide, and the handle 12 long


def test_an_axis_is_as_far_behind_the_front_as_the_front_is_deep() -> None:
    """A loaf from above its end, deeper than wide, with a handle on one side."""
    source, centre = cameras(0.0, elevation=20.0, size=96), (0.0, -0.3, -0.2)
    _, depth = box_view(source, (0.6, 0.25, 0.2), centre)
    handle = torch.zeros(96, 96, dtype=torch.bool)
    handle[50:53, 50:66] = True
    handle &= depth == 0
    depth[handle] = 3.0
    found = of_photo(depth, source)
    torch.testing.assert_close(found.offset / 2, torch.tensor([0.0, -0.3, 0.0]), atol=0.06, rtol=0)


def test_a_part_before_the_centre_speaks_against_half_a_turn() -> None:
    """The backrest of a chair seen from the front would stand before its seat."""
    source = cameras(0.0)
    depth = torch.zeros(64, 64)
    depth[16:40, 20:44] = 3.4  # the backrest, behind the centre
    depth[40:50, 20:44] = 2.6
    torch.testing.assert_close(of_photo(depth, source).linear, FACING)


def test_from_straight_above_the_mirror_image_is_below() -> None:
    source, target = cameras(0.0, elevation=90.0), cameras(0.0, elevation=0.0)
    image, depth = sphere_view(source)
    _, true_depth = sphere_view(target)
    assert overlap(symmetric_object(image, depth, source, target).depth > 0, true_depth > 0) > 0.9


def test_no_object_has_no_back() -> None:
    source = cameras(0.0)
    guess = symmetric_object(torch.rand(64, 64, 3), torch.zeros(64, 64), source, cameras(120.0))
    assert not guess.depth.any() and not guess.color.any()


@pytest.mark.parametrize("elevation", [0.0, 30.0])
def test_models_are_told_what_a_symmetric_object_would_show(elevation: float) -> None:
    """A sphere seen from the side and from behind: outline and depth from one photo."""
    source = cameras(0.0, elevation=elevation, size=96)
    image, depth = sphere_view(source)
    for turn in (60.0, 120.0, 180.0):
        target = cameras(turn, elevation=elevation, size=96)
        _, true_depth = sphere_view(target)
        view = partial_view(image, depth, source, target)
        # from above, nothing says how the lower side bulges
        guessed = view.covered | (view.symmetric.depth > 0)
        assert overlap(guessed, true_depth > 0) > (0.94 if elevation == 0 else 0.86)
        middle = erode(((true_depth > 0) & (view.symmetric.depth > 0))[None], 3)[0] & ~view.covered
        assert (view.symmetric.depth - true_depth)[middle].abs().mean() < 0.07
        told, soft, closeness = view.told(symmetry=True)
        new = view.epipolar_mask & (view.symmetric.depth > 0)
        assert torch.equal(told[new], view.symmetric.color[new]) and closeness[new].mean() > 0.5
        assert torch.equal(closeness > 0, view.epipolar_mask) and (soft[new] == 0.5).all()
        assert torch.equal(soft[~new], view.soft_mask[~new])
        assert (told[view.epipolar_mask & ~new] == 0.5).all() and not closeness[view.covered].any()
