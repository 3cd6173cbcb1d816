"""A given splat without its object: the object's Gaussians go, those around it are mended where they took part."""

from __future__ import annotations

import time
from collections.abc import Generator

import torch
from torch import Tensor

from unscene.fields.field import PixelRender
from unscene.fields.splat_raster import rasterise
from unscene.fields.splats import Shot, Splats, TracedGaussians
from unscene.files import to_uint8
from unscene.geometry.cameras import Cameras
from unscene.geometry.gaussians import Gaussians
from unscene.scenes.scene import Scene
from unscene.stages.splat_filling import (
    SplatFilling,
    SplatFillingConfig,
    learn,
    learnt_among,
    slices,
    window_around,
)
from unscene.stages.splat_planting import THIN, Wanted, plant
from unscene.stages.splat_selection import LITTLE, RenderedWeights, rendered_weights, select_object
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, StageDone, StageStarted
from unscene.training.fit import FitConfig

TOUCHED = 0.02  # share of its weight inside the masks from which on a Gaussian beside the object learns again
WITHIN = 0.98  # share of its weight in the windows around the masks, which it needs for that
UNSEEN, ELSEWHERE = 0.5, 1.0  # share of its weight where nobody has seen anything, and pixels elsewhere, of one to go


def take_out(
    gaussians: Gaussians, scene: Scene, masks: Tensor, config: SplatFillingConfig, fitting: FitConfig,
    checkpoints: Checkpoints,
) -> Generator[Event, None, TracedGaussians]:  # fmt: skip
    """The Gaussians of a splat that are not the object, and what mends their surroundings.

    scene: its images are the splat's own renders (`rendered_scene`), its masks those of the object with a margin;
    masks: N H W bool, without. What the object's Gaussians showed outside the masks is shown by others again, which are
    put there and, with those that lie across the masks' border, learn the splat's renders.
    """
    assert scene.masks is not None
    stage = "select the object's Gaussians"
    yield StageStarted(stage)
    started = time.monotonic()
    weights = rendered_weights(gaussians, scene.cameras, scene.train, masks)
    selected = select_object(weights, masks)
    yield StageDone(stage, time.monotonic() - started)
    yield Note(f"{int(selected.sum()):,} of {len(gaussians):,} Gaussians are the object")
    traced, known = TracedGaussians.of_file(gaussians)[~selected], ~scene.masks
    mended = plant(traced, scene.cameras, _shown(gaussians, scene, known))
    border = _touched(weights)[~selected] & _stay_in_windows(gaussians, scene)[~selected]
    learns = torch.cat([border, border.new_ones(len(mended) - len(traced))])
    yield Note(
        f"around it {int(border.sum()):,} Gaussians and {len(mended) - len(traced):,} new ones learn "
        "what the splat showed there"
    )
    splats = Splats.around(scene.cameras[scene.train], mended.gaussians, learns)
    objective = SplatFilling(splats, scene, known, scene.masks, torch.zeros_like(known), [], config)
    yield from learn("surroundings", splats, objective, fitting, checkpoints, pixels=objective.pixels)
    return learnt_among(mended, learns, splats)


def at_the_hole(traced: TracedGaussians, scene: Scene, region: Tensor) -> tuple[TracedGaussians, Tensor]:
    """The Gaussians without those that only the region (N H W bool) shows, where nobody has seen anything; and which of
    the rest lie across its border, N bool."""
    weights = rendered_weights(traced.gaussians, scene.cameras, scene.train, region)
    invented = (weights.share > UNSEEN) & (weights.total - weights.inside < ELSEWHERE)
    border = _touched(weights) & _stay_in_windows(traced.gaussians, scene)
    return traced[~invented], border[~invented]


def settle(
    traced: TracedGaussians, learns: Tensor, scene: Scene, config: SplatFillingConfig, fitting: FitConfig,
    checkpoints: Checkpoints,
) -> Generator[Event, None, TracedGaussians]:  # fmt: skip
    """A splat whose hole is filled shows outside the masks what it showed before, to the last: those that learn
    (N bool) learn that once more, and the hole as it has become.

    scene: as in `take_out`.
    """
    assert scene.masks is not None
    train, images = scene.train, []
    for view in train.tolist():
        hole = scene.masks[view][..., None]
        images.append(
            to_uint8(torch.where(hole, _draw(traced.gaussians, scene.cameras, view)[0].color, scene.image(view)))
        )
    splats, nothing = Splats.around(scene.cameras[train], traced.gaussians, learns), torch.zeros_like(scene.masks)
    objective = SplatFilling(
        splats, scene.with_images(train, images), ~nothing, scene.masks, nothing, [], config, exact=~scene.masks
    )  # fmt: skip
    yield from learn("outside the masks", splats, objective, fitting, checkpoints, pixels=objective.pixels)
    return learnt_among(traced, learns, splats)


def rendered_scene(gaussians: Gaussians, scene: Scene) -> Generator[Event, None, Scene]:
    """The scene with a splat's renders in place of its photos."""
    stage = "render the splat"
    yield StageStarted(stage)
    started, images = time.monotonic(), []
    for view in range(len(scene)):
        images.append(to_uint8(_draw(gaussians, scene.cameras, view)[0].color))
        yield ItemDone(stage, view + 1, len(scene))
    yield StageDone(stage, time.monotonic() - started)
    return scene.with_images(torch.arange(len(scene)), images)


def _touched(weights: RenderedWeights) -> Tensor:
    return (weights.share > TOUCHED) & (weights.inside > LITTLE)


def _stay_in_windows(gaussians: Gaussians, scene: Scene) -> Tensor:
    """Which Gaussians are drawn within the windows that `SplatFilling` looks at, N bool: the others would learn what
    happens to be there, and be wrong elsewhere."""
    assert scene.masks is not None
    windows = torch.zeros_like(scene.masks)
    for view in scene.train.tolist():
        if scene.masks[view].any():
            windows[view][slices(window_around(scene.masks[view], scene.cameras))] = True
    return rendered_weights(gaussians, scene.cameras, scene.train, windows).share > WITHIN


def _shown(gaussians: Gaussians, scene: Scene, known: Tensor) -> Generator[Wanted]:
    """What a splat shows of surfaces in each training view, where that has to stay."""
    for view in scene.train.tolist():
        if known[view].all():
            continue
        render, light = _draw(gaussians, scene.cameras, view)
        yield Wanted(view, known[view] & (light < THIN), render.color, render.depth)


@torch.no_grad()
def _draw(gaussians: Gaussians, cameras: Cameras, view: int) -> tuple[PixelRender, Tensor]:
    """A view, and the light that passes, H W."""
    shot = Shot.of(cameras, view)
    render = rasterise(gaussians, shot.camera)
    shown = PixelRender(shot.bent(render.image).clamp(0, 1), shot.bent_depth(render.median_depth()))
    return shown, shot.bent(render.transmittance[..., None])[..., 0]
