"""The base view: a few views are inpainted, votes choose one (In-N-Out, section 3.1); or the user does."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor

from unscene.fields.field import Field
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import surface_points
from unscene.memory import release_freed_memory
from unscene.priors.classical import ExemplarInpainter
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.exemplar.offset_completion import OffsetConfig
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.base_view_by_hand import ByHand, inpaint_by_hand
from unscene.stages.independent_inpainting import (
    InpaintedView,
    estimated_depth,
    inpaint_alone,
    inpaintable_views,
    who_filled,
)
from unscene.stages.surface_fill import Surface, sample_image
from unscene.stages.view_choice import most_central, views_nearest_center, views_with_holes
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Picture, Provenance, StageDone, StageStarted, ViewInpainted

STAGE = "base view"
SKETCH = OffsetConfig(offsets=60, sweeps=1)  # of candidates: for votes, and for the mean that the elected heeds


def choose_base_view(
    field: Field,
    scene: Scene,
    region: Tensor,
    depths: Tensor,
    prior: Inpainter,
    checkpoints: Checkpoints,
    estimate_depth: DepthEstimator | None = None,
    *,
    candidates: int,
    spacing: int = 1,
    strength: float | None = None,
    by_hand: ByHand | None = None,
    seed: int = 0,
) -> Generator[Event, None, InpaintedView]:
    """The base view, inpainted: the winner of the candidates' votes, or the one that the user chose.

    region: N H W bool, what to inpaint; depths: T h w, depth maps of the training views. Views whose region is empty
    cannot be candidates. estimate_depth: a depth network that looks at the base view's inpainting. candidates, spacing:
    see `views_nearest_center`. strength: share of a latent prior's noise schedule, if not its own. seed: other than 0,
    other random numbers. Raises MethodError for a view by hand with nothing to inpaint.
    """
    if product := checkpoints.product(STAGE, scene.device):
        return InpaintedView.of_tensors(product)
    yield StageStarted(STAGE)
    started, generator = time.monotonic(), checkpoints.generator(STAGE if seed == 0 else f"{STAGE}, seed {seed}")
    if by_hand is None:
        winner, surface, picture, how = yield from _elect(
            field, scene, region, depths, prior, generator, candidates, spacing, strength
        )
    else:
        winner, surface, picture = inpaint_by_hand(
            field, scene, region, depths, by_hand, prior, generator, strength
        )  # fmt: skip
        how = "chosen by hand"
        yield Picture("base-view", winner.image, scene.names[winner.view])
    remark = surface.describe()
    if estimate_depth is not None:
        completed, remark = estimated_depth(
            field, scene, winner.view, region[winner.view], winner.image, estimate_depth
        )
        winner = replace(winner, depth=completed)
    checkpoints.save(STAGE, winner.tensors(), finished=True)
    yield ViewInpainted(scene.names[winner.view], winner.image)
    yield Note(remark)
    yield Provenance(f"the base view's picture: {picture}")
    yield Note(f"base view: {scene.names[winner.view]}, {how}")
    yield StageDone(STAGE, time.monotonic() - started)
    return winner


def _elect(
    field: Field, scene: Scene, region: Tensor, depths: Tensor, prior: Inpainter, generator: torch.Generator,
    candidates: int, spacing: int, strength: float | None,
) -> Generator[Event, None, tuple[InpaintedView, Surface, str, str]]:  # fmt: skip
    """Inpaint the most central views independently; the one most like the others becomes the base view.

    Copies of surfaces are sketches, and made once more for the elected view, nearer to the mean of all candidates
    (ours); an image that a model made stays the one that was voted for. Returns the view, what is behind it, who made
    its picture and how it was chosen.
    """
    with_hole = inpaintable_views(prior, scene, views_with_holes(region, scene.train))
    inpainted, surfaces = [], []
    copies = isinstance(prior, ExemplarInpainter)
    sketcher = replace(prior, along_surfaces=SKETCH) if copies else prior
    for view in views_nearest_center(scene.cameras, with_hole, candidates, spacing).tolist():
        candidate, surface = inpaint_alone(
            field, scene, view, region, depths, sketcher, generator, strength=strength
        )  # fmt: skip
        inpainted.append(candidate)
        surfaces.append(surface)
        release_freed_memory()
        yield ItemDone(STAGE, len(inpainted), min(candidates, len(with_hole)))
        yield Picture("candidate", candidate.image, scene.names[view])
    masks = region if scene.masks is None else scene.masks  # steadier than what is left to inpaint of them
    elected = most_central([c.image for c in inpainted], [masks[c.view] for c in inpainted])
    winner, surface = inpainted[elected], surfaces[elected]
    picture = who_filled(prior, surface, region[winner.view], strength)
    if copies and surface.is_filled_squarely:
        agreed = mean_fill(scene.cameras, winner, inpainted, region) if len(inpainted) > 1 else None
        winner, _ = inpaint_alone(field, scene, winner.view, region, depths, prior, generator, expected=agreed)
        if agreed is not None:
            picture = f"{picture}, filled again towards the mean of {len(inpainted)} candidates (ours)"
        yield Picture("base-view", winner.image, scene.names[winner.view])
    return winner, surface, picture, f"chosen among {len(inpainted)} by perceptual-hash votes"


def mean_fill(cameras: Cameras, view: InpaintedView, candidates: list[InpaintedView], region: Tensor) -> Tensor:
    """What the candidates on average invented for the surface behind a view's hole, H W 3; NaN where none did."""
    points = surface_points(cameras, view.view, view.depth)
    total, count = torch.zeros_like(view.image), torch.zeros_like(view.depth)[..., None]
    for candidate in candidates:
        pixels, depth = cameras.project(
            torch.full((points[..., 0].numel(),), candidate.view, device=points.device), points.view(-1, 3)
        )
        pixels = pixels.view(*points.shape[:2], 2)
        inside = cameras.frames(pixels, depth.view(points.shape[:2]))
        invented = (sample_image(region[candidate.view][..., None].float(), pixels) > 0.5) & inside[..., None]
        total += invented * sample_image(candidate.image, pixels)
        count += invented
    return total / count
