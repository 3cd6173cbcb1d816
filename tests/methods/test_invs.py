"""iNVS's geometry around the model: placing a photo, seeing it from elsewhere, trusting its pixels."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from tests.sphere_views import RADIUS, cameras, no_symmetry, painted, sphere_view
from unscene.geometry.masks import dilate, erode
from unscene.geometry.partial_view import PartialView, partial_view
from unscene.geometry.splatting import lifted, unproject
from unscene.geometry.turntable import RelativePose, object_poses, rotation_angle, turntable
from unscene.methods.invs import InvsConfig, invs_turn, invs_view, outwards, trust, trust_in_symmetry
from unscene.objects.photo import ObjectPhoto
from unscene.priors.depth.completion import Estimate
from unscene.stages.method_error import MethodError
from unscene.stages.object_source import SourceView, place_object

SIZE = 64


def photo_of_the_sphere(size: int = SIZE) -> tuple[ObjectPhoto, torch.Tensor]:
    """The sphere from the front as `read_object_photo` gives it, and its true depth."""
    camera = cameras(0.0, size=size)
    color, depth = sphere_view(camera)
    photo = ObjectPhoto(color, (depth > 0).float(), None, float(camera.focal[0, 0]), (size / 2, size / 2))
    return photo, depth


def placed(values: torch.Tensor, *, relative_disparity: bool = False, elevation: float = 0.0):
    photo, _ = photo_of_the_sphere()
    estimate = Estimate(values, relative_disparity, "a test")
    return place_object(photo, estimate, elevation=elevation, contamination=0.0)


@pytest.mark.parametrize("unit", [1.0, 250.0])
def test_a_sphere_s_centre_comes_to_the_origin_whatever_the_unit_of_its_depth(unit: float) -> None:
    _, depth = photo_of_the_sphere()
    source = placed(depth * unit)
    points = unproject(source.depth, source.camera)[source.depth > 0]
    assert points.norm(dim=-1).max() == pytest.approx(1.0, abs=0.1)
    # true centre: 3 in front of the camera, for a sphere of radius 0.8 that became about 1
    assert source.camera.positions[0].norm() == pytest.approx(3 / RADIUS, rel=0.12)
    assert points.norm(dim=-1).std() < 0.08  # all of the surface is about as far from the origin


def test_disparity_up_to_scale_and_offset_makes_something_about_as_deep_as_wide() -> None:
    _, depth = photo_of_the_sphere()
    disparity = torch.where(depth > 0, 1 / depth.clamp_min(1e-3), 0)
    source = placed(5 * disparity + 40, relative_disparity=True)
    points = unproject(source.depth, source.camera)[source.depth > 0]
    exact = placed(depth)
    expected = unproject(exact.depth, exact.camera)[exact.depth > 0]
    assert (points - expected).abs().mean() < 0.12


def test_the_photo_s_elevation_is_that_of_its_camera() -> None:
    _, depth = photo_of_the_sphere()
    source = placed(depth, elevation=35.0)
    _, elevation, _ = object_poses(source.camera)
    assert elevation.item() == pytest.approx(35, abs=1)
    same = source.target(RelativePose(0.0))
    assert rotation_angle(source.camera, same) < 0.2
    turned = source.target(RelativePose(90.0, -35.0, 2.0))
    azimuth, elevation, distance = object_poses(turned)
    assert (azimuth.item(), elevation.item()) == (pytest.approx(90, abs=1), pytest.approx(0, abs=1))
    assert distance.item() == pytest.approx(2 * source.camera.positions[0].norm().item(), rel=1e-3)
    assert torch.equal(turned.focal, source.camera.focal)


def test_an_object_off_the_photo_s_centre_keeps_its_pinhole() -> None:
    """The crop's principal point moves; every pixel must stay on its own ray."""
    photo, depth = photo_of_the_sphere()
    shifted = dataclasses.replace(photo, principal=(20.0, 40.0))
    source = place_object(shifted, Estimate(depth, False, ""), elevation=0.0, contamination=0.0)
    assert torch.equal(source.camera.principal, torch.tensor([[20.0, 40.0]]))
    assert source.target(RelativePose(0.0)).principal.tolist() == [[SIZE / 2, SIZE / 2]]


def test_unknown_depth_gets_its_neighbours_and_leaves_no_hole() -> None:
    _, depth = photo_of_the_sphere()
    holed = depth.clone()
    holed[28:34, 28:34] = 0
    holed[40, 20:30] = float("nan")
    source, exact = placed(holed), placed(depth)
    assert torch.equal(source.depth > 0, depth > 0)
    torch.testing.assert_close(source.depth, exact.depth, atol=0.1, rtol=0)


def test_a_background_inside_the_outline_does_not_move_the_object() -> None:
    """An outline two pixels too wide takes in a tenth and more of depth far behind."""
    photo, depth = photo_of_the_sphere()
    wide = dilate((depth > 0)[None], 2)[0]
    behind = torch.where(depth > 0, depth, 15.0)
    source = place_object(
        dataclasses.replace(photo, alpha=wide.float()), Estimate(behind, False, ""), elevation=0.0, contamination=0.0
    )
    assert source.replaced > 0.1
    exact = placed(depth)
    assert source.camera.positions[0].norm() == pytest.approx(float(exact.camera.positions[0].norm()), rel=0.1)


def test_depth_without_any_use_is_an_error() -> None:
    for values in (torch.zeros(SIZE, SIZE), torch.full((SIZE, SIZE), float("nan"))):
        with pytest.raises(MethodError, match="expected a depth for the object's pixels, got next to none"):
            placed(values)
    with pytest.raises(MethodError, match="expected it to vary over the object, got one value"):
        placed(torch.ones(SIZE, SIZE), relative_disparity=True)


class RecordingInpainter:
    """Gives back the negative of the partial view, and remembers what it was shown."""

    size = SIZE

    def __init__(self, told_symmetry: bool = False):
        self.shown, self.told_symmetry = SimpleNamespace(), told_symmetry

    def complete(self, partial, soft_masks, epipolar_masks, source, poses, *, noise, steps, start=None, strength=1.0):
        self.shown = SimpleNamespace(**locals())
        return 1 - partial


def test_the_sampler_begins_at_what_the_photo_and_symmetry_show_or_at_noise_as_in_the_paper() -> None:
    _, depth = photo_of_the_sphere()
    source, model = placed(depth), RecordingInpainter()
    target = source.target(RelativePose(80.0))
    view = invs_view(source, target, model, InvsConfig(strength=0.4), noise=torch.zeros(4, 8, 8))
    start = model.shown.start[0]
    assert model.shown.strength == 0.4 and torch.equal(start, view.partial.symmetric_image(hole=1.0))
    assert torch.equal(start[view.partial.covered], view.partial.color[view.partial.covered])
    new = view.partial.guessed
    assert new.sum() > 300 and torch.equal(start[new], view.partial.symmetric.color[new])
    invs_view(source, target, model, InvsConfig.paper(), noise=torch.zeros(4, 8, 8))
    assert model.shown.start is None and model.shown.strength == 1


@pytest.mark.parametrize("told_symmetry", [False, True])
def test_the_model_is_shown_partial_view_masks_photo_and_pose(told_symmetry: bool) -> None:
    _, depth = photo_of_the_sphere()
    source, model = placed(depth), RecordingInpainter(told_symmetry)
    noise = torch.zeros(4, 8, 8)
    config = InvsConfig(reuse_angle=0, steps=7)
    view = invs_view(source, source.target(RelativePose(30.0, 10.0)), model, config, noise=noise)
    shown = model.shown
    told = view.partial.told(symmetry=told_symmetry)
    assert torch.equal(shown.partial[0], told[0])
    made = view.partial.covered | view.partial.epipolar_mask
    assert torch.equal(view.image[made], (1 - shown.partial[0])[made])
    assert torch.equal(shown.soft_masks[0], told[1])
    assert torch.equal(shown.epipolar_masks[0], told[2])
    assert torch.equal(shown.source[0], source.on_background) and shown.steps == 7
    expected = torch.tensor([-10.0, 30.0, 30.0]).deg2rad()
    numbers = torch.stack([expected[0], expected[1].sin(), expected[2].cos(), torch.tensor(0.0)])
    torch.testing.assert_close(shown.poses[0], numbers, atol=2e-3, rtol=0)


def test_the_photo_s_own_pixels_stay_where_they_speak_for_themselves() -> None:
    _, depth = photo_of_the_sphere()
    source, model = placed(depth), RecordingInpainter()
    target = source.target(RelativePose(20.0))
    view = invs_view(source, target, model, InvsConfig(), noise=torch.zeros(4, 8, 8))
    trusted = trust(view.partial, 90.0)
    assert trusted.max() > 0.6
    expected = (1 - view.partial.image()) * (1 - trusted[..., None]) + view.partial.color * trusted[..., None]
    torch.testing.assert_close(view.image[view.partial.covered], expected[view.partial.covered])


def test_a_symmetric_object_s_pixels_stay_where_its_twin_is_seen_squarely() -> None:
    """From behind, the photo shows nothing: what is not the model's is the front turned round."""
    _, depth = photo_of_the_sphere()
    source, noise = placed(depth), torch.zeros(4, 8, 8)
    target, model = source.target(RelativePose(170.0)), RecordingInpainter()
    view = invs_view(source, target, model, InvsConfig(), noise=noise)
    trusted = trust_in_symmetry(view.partial, 90.0)
    assert trusted.max() > 0.85 and (trusted > 0).sum() > 600 and not trusted[~view.partial.guessed].any()
    beside_nothing = dilate(~(view.partial.guessed | view.partial.covered)[None], 1)[0]
    assert (view.partial.guessed & beside_nothing).sum() > 50 and not trusted[beside_nothing].any()
    told = view.partial.told(symmetry=False)[0]
    expected = (1 - told) + trusted[..., None] * (view.partial.symmetric.color - (1 - told))
    made = view.partial.covered | view.partial.epipolar_mask
    torch.testing.assert_close(view.image[made], expected[made])
    # as near the pixel of the photo half a turn away as its twin is seen squarely
    turned = partial_view(source.color, source.depth, source.camera, source.target(RelativePose(-10.0))).color
    middle = trusted > 0.85
    assert (view.partial.symmetric.color - turned)[middle].abs().mean() < 0.1
    for config in (InvsConfig(strength=1.0), InvsConfig(reuse_angle=0.0), InvsConfig.paper()):
        alone = invs_view(source, target, model, config, noise=noise)
        assert torch.equal(alone.image[made], (1 - told)[made])


def test_symmetry_counts_for_more_than_what_other_views_have_invented() -> None:
    source, noise = exact_source(), torch.zeros(4, 8, 8)
    target, model = source.target(RelativePose(170.0)), RecordingInpainter()
    behind = lifted(torch.zeros(SIZE, SIZE, 3), sphere_view(target)[1], target)
    view = invs_view(source, target, model, InvsConfig(), noise=noise, also=behind)
    seen = view.partial
    alone = partial_view(source.color, source.depth, source.camera, target)
    assert torch.equal(seen.photo_coverage, alone.coverage) and torch.equal(alone.photo_coverage, alone.coverage)
    assert torch.equal(seen.told_by_symmetry, alone.guessed) and (seen.covered & seen.told_by_symmetry).sum() > 300
    squarely = trust_in_symmetry(seen, 90.0) > 0.85
    assert squarely.sum() > 100
    # black, as the points are, would be 0.3 and more away
    assert (view.image - seen.symmetric.color)[squarely].abs().max() < 0.15


def test_the_background_stays_where_nothing_can_hide() -> None:
    _, depth = photo_of_the_sphere()
    source, model = placed(depth), RecordingInpainter()  # whose negative of the white background is black
    view = invs_view(source, source.target(RelativePose(40.0)), model, InvsConfig(), noise=torch.zeros(4, 8, 8))
    empty = ~(view.partial.covered | view.partial.epipolar_mask)
    assert empty.sum() > 500 and (view.image[empty] == 1).all()


def test_trust_falls_with_the_angle_and_ends_at_holes() -> None:
    angle = torch.linspace(0, 90, 9)[None].expand(9, 9)
    reach = torch.full((9, 9), torch.inf)
    reach[4, 4] = 0.5
    coverage = torch.ones(9, 9)
    coverage[4, 4] = 0
    nothing = torch.zeros(9, 9)
    seen = PartialView(torch.zeros(9, 9, 3), coverage, angle, nothing, reach, no_symmetry(9), coverage)
    trusted = trust(seen, 60.0)
    assert trusted[0, 0] == 1 and (trusted[0].diff() <= 0).all() and not trusted[:, 6:].any()
    assert not trusted[3:6, 3:6].any() and trusted[3, 2] > 0


# Views of a turn that know of each other


class TrueInpainter:
    """Completes each view with the truth, as views are asked for."""

    size, told_symmetry = SIZE, False

    def __init__(self, source: SourceView, order: list[RelativePose]):
        self.truths = [sphere_view(source.target(pose)) for pose in order]

    def complete(self, partial, soft_masks, epipolar_masks, source, poses, *, noise, steps, start=None, strength=1.0):
        color, depth = self.truths.pop(0)
        return torch.where((depth > 0)[..., None], color, 1.0)[None]


def exact_source() -> SourceView:
    camera = cameras(0.0, size=SIZE)
    color, depth = sphere_view(camera)
    return SourceView(color, (depth > 0).float(), depth, camera)


def test_a_turn_is_made_outwards_from_the_photo_and_its_ends_meet_at_the_back() -> None:
    poses = turntable(8)
    assert [poses[index].azimuth for index in outwards(poses)] == [0, 45, 315, 90, 270, 135, 225, 180]
    assert outwards([RelativePose(30), RelativePose(0, 20), RelativePose(-10)]) == [2, 1, 0]


def test_every_view_shows_those_after_it_what_it_has_invented() -> None:
    source, poses = exact_source(), turntable(8)
    order = outwards(poses)
    model = TrueInpainter(source, [poses[index] for index in order] * 2)
    config = InvsConfig(reuse_angle=0, rounds=2)
    made = dict(invs_turn(source, poses, model, config, noise=torch.zeros(4, 8, 8)))
    assert list(made) == order and not model.truths
    back = made[4].partial
    _, depth = sphere_view(source.target(poses[4]))
    alone = partial_view(source.color, source.depth, source.camera, source.target(poses[4]))
    assert not alone.covered.any()  # from the photo nothing is seen of the back
    assert (back.covered & (depth > 0)).sum() > 0.8 * (depth > 0).sum()
    truth, inner = sphere_view(source.target(poses[4]))[0], erode((depth > 0)[None], 3)[0]
    assert (back.color - truth)[back.covered & inner].abs().mean() < 0.06


def test_what_is_invented_lies_where_the_object_is() -> None:
    """With the truth painted into the views: on the sphere, in its colours, seen squarely, and only what was new."""
    source = exact_source()
    order = [RelativePose(60.0)]
    model = TrueInpainter(source, order)
    ((_, view),) = invs_turn(source, order, model, InvsConfig(rounds=1), noise=torch.zeros(4, 8, 8))
    points = view.invented
    assert len(points) > 200
    assert (points.positions.norm(dim=-1) - RADIUS).abs().mean() < 0.05
    assert (points.colors - painted(points.positions)).abs().mean() < 0.08
    towards = torch.nn.functional.normalize(points.seen_from - points.positions, dim=-1)
    assert (points.normals * towards).sum(-1).min() > 0.3
    hidden = ((source.camera.positions[0] - points.positions) * points.positions).sum(-1) < 0.1
    assert hidden.float().mean() > 0.6  # the rest lay between splats that were seen at a slant
