"""Gaussians that learn a hole: what teaches them, what does not, and which of them stay as they are."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import torch
from torch import Tensor

from tests.box_scene import BoxScene
from tests.splat_room import room_gaussians, wall_gaussians
from unscene.fields.splats import Splats, TracedGaussians
from unscene.stages.independent_inpainting import InpaintedView
from unscene.stages.splat_filling import SplatFilling, SplatFillingConfig, learn, learnt_among, slices, window_around
from unscene.stages.splat_selection import rendered_weights
from unscene.stages.splat_surroundings import settle
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event
from unscene.training.fit import FitConfig
from unscene.training.splats import where_known

pytestmark = pytest.mark.usefixtures("one_thread")


def filling(room: BoxScene, splats: Splats, bases: list[InpaintedView]) -> SplatFilling:
    scene = room.scene
    assert scene.masks is not None
    return SplatFilling(splats, scene, ~scene.masks, scene.masks, scene.masks, bases, SplatFillingConfig())


def base_view(room: BoxScene, view: int, image: Tensor) -> InpaintedView:
    assert room.scene.masks is not None
    return InpaintedView(view, image, image, torch.zeros(0), room.depth[view], room.scene.masks[view])


def test_nothing_is_learnt_where_nothing_is_known() -> None:
    image, truth = torch.rand(5, 4, 3, requires_grad=True), torch.rand(5, 4, 3)
    known = torch.rand(5, 4) > 0.5
    shown, wanted = where_known(image, truth, known)
    (shown * torch.rand(5, 4, 3)).sum().backward()
    assert image.grad is not None and not image.grad[~known].any() and image.grad[known].all()
    assert torch.equal(shown[~known], wanted[~known]) and torch.equal(wanted[known], truth[known])


def test_the_photos_object_teaches_nothing(room: BoxScene) -> None:
    """Photos with other things inside the masks give the same losses."""
    splats = Splats.around(room.scene.cameras, wall_gaussians(room))
    first = filling(room, splats, [])
    second = filling(room, splats, [])
    assert room.scene.masks is not None
    other = room.scene.images.clone()
    other[room.scene.masks] = 17
    second.scene = room.scene.with_images(torch.arange(8), list(other))
    for step in range(4):
        ours, theirs = (each(step, 0, torch.Generator().manual_seed(step)) for each in (first, second))
        assert ours.keys() == {"reconstruction", "opacity"} and ours["reconstruction"] > 0
        assert torch.equal(ours["reconstruction"], theirs["reconstruction"])


def test_holes_have_to_be_opaque_and_base_views_tell_colour_and_depth(room: BoxScene) -> None:
    walls, cameras = wall_gaussians(room), room.scene.cameras
    right = base_view(room, 4, room.truth[4].float() / 255)
    whole = filling(room, Splats.around(cameras, walls), [right])(0, 0, torch.Generator().manual_seed(0))
    thinner = walls.to("cpu")
    thinner.opacity_logits.sub_(4)
    thin = filling(room, Splats.around(cameras, thinner), [right])(0, 0, torch.Generator().manual_seed(0))
    assert thin["opacity"] > 5 * whole["opacity"]
    grey = filling(room, Splats.around(cameras, walls), [base_view(room, 4, torch.full((36, 48, 3), 0.5))])
    assert grey(0, 0, torch.Generator().manual_seed(0))["prior colour"] > 2 * whole["prior colour"]
    nearer = base_view(room, 4, room.truth[4].float() / 255)
    nearer = InpaintedView(4, nearer.image, nearer.start, nearer.noise, 0.7 * nearer.depth, nearer.hole)
    near = filling(room, Splats.around(cameras, walls), [nearer])(0, 0, torch.Generator().manual_seed(0))
    assert near["prior depth"] > 3 * whole["prior depth"]


def test_where_a_splat_has_to_show_what_it_showed_squared_differences_count_too(room: BoxScene) -> None:
    scene, splats = room.scene, Splats.around(room.scene.cameras, wall_gaussians(room))
    assert scene.masks is not None
    nothing, config = torch.zeros_like(scene.masks), SplatFillingConfig(exact_weight=10.0)
    exact = SplatFilling(splats, scene, ~nothing, scene.masks, nothing, [], config, exact=~scene.masks)
    plain = SplatFilling(splats, scene, ~nothing, scene.masks, nothing, [], config)
    ours, theirs = (each(0, 0, torch.Generator().manual_seed(0)) for each in (exact, plain))
    assert ours.keys() - theirs.keys() == {"exact"} and torch.equal(ours["reconstruction"], theirs["reconstruction"])
    view = int(exact.views[int(torch.randint(len(exact.views), (), generator=torch.Generator().manual_seed(0)))])
    part = slices(exact.windows[view])
    off = (splats.draw(scene.cameras, view).color - scene.image(view)).square()[part]
    expected = 10 * (off * ~scene.masks[view][part][..., None]).mean()
    torch.testing.assert_close(ours["exact"].detach(), expected, rtol=1e-3, atol=1e-6)


def test_a_splat_settles_on_what_it_showed_outside_the_masks_and_keeps_the_hole(room: BoxScene) -> None:
    """The box, whose masks these are, has got other colours, as if that were what fills its hole."""
    filled, is_box = room_gaussians(room)
    showed = Splats.around(room.scene.cameras, filled.to("cpu"))
    scene = room.scene.with_images(torch.arange(8), [showed.draw(room.scene.cameras, v).color for v in range(8)])
    assert scene.masks is not None
    learns = rendered_weights(filled, scene.cameras, scene.train, scene.masks).share > 0.02
    filled.harmonics[is_box] += 0.8
    filled.harmonics[learns & ~is_box] += 0.2  # as filling leaves what is beside the hole
    fitting = FitConfig(steps=100, learning_rate=2e-2, warmup_steps=1)
    events = settle(
        TracedGaussians.of_file(filled), learns, scene, SplatFillingConfig(), fitting, Checkpoints(None, 0)
    )  # fmt: skip
    settled = drained(events)
    back = settled[settled.rows.argsort()].gaussians
    for ours, theirs in zip(back.tensors, filled.tensors, strict=True):
        assert torch.equal(ours[~learns], theirs[~learns])
    outside, inside = [], []
    for view in scene.train.tolist():
        before, after = (Splats.around(scene.cameras, each).draw(scene.cameras, view).color for each in (filled, back))
        window = torch.zeros_like(scene.masks[view])
        window[slices(window_around(scene.masks[view], scene.cameras))] = True
        known, hole = window & ~scene.masks[view], scene.masks[view]
        outside += [float((image - scene.image(view)).square()[known].mean()) for image in (before, after)]
        inside += [float((after - image).square()[hole].mean()) for image in (before, scene.image(view))]
    assert sum(outside[1::2]) < 0.25 * sum(outside[::2])  # back at what it was
    assert sum(inside[::2]) < 0.5 * sum(inside[1::2])  # as it has become


def drained(events: Generator[Event, None, TracedGaussians]) -> TracedGaussians:
    """What a stage returns."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value


def test_kept_gaussians_stay_to_the_last_bit_and_are_traced(room: BoxScene) -> None:
    walls, scene = wall_gaussians(room), room.scene
    learns = torch.arange(len(walls)) % 3 == 0
    traced = TracedGaussians.of_file(walls)
    splats = Splats.around(scene.cameras, walls, learns)
    objective = filling(room, splats, [base_view(room, 4, torch.full((36, 48, 3), 0.5))])
    config = FitConfig(steps=5, learning_rate=0.1, warmup_steps=1)
    list(learn("s", splats, objective, config, Checkpoints(None, 0), pixels=objective.pixels))
    done = learnt_among(traced, learns, splats)
    assert sorted(done.rows.tolist()) == list(range(len(walls)))
    back = done[done.rows.argsort()].gaussians
    for ours, theirs in zip(back.tensors, walls.tensors, strict=True):
        assert torch.equal(ours[~learns], theirs[~learns])
    assert (back.harmonics[learns] != walls.harmonics[learns]).any(-1).any(-1).float().mean() > 0.5
    assert set(splats.state_dict()) == set(Splats.around(scene.cameras, walls).state_dict())


def test_a_window_shows_the_mask_and_what_is_around_it(room: BoxScene) -> None:
    mask = torch.zeros(36, 48, dtype=torch.bool)
    mask[10:12, 1:20] = True
    window = window_around(mask, room.scene.cameras)
    assert window == (0, 6, 24, 10)  # 4 pixels on each side, as far as there are any
