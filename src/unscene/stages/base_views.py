"""As many base views as the hole needs: each further one inpaints only what those before it leave open (ours).

In-N-Out has one base view, which serves captures that look one way. Of a capture all around an object one side's
picture says nothing about the others.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.fields.field import Field, render_view
from unscene.geometry.masks import sees, surface_points, tidy
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.hidden_surfaces import SAME, who_looks_well
from unscene.stages.independent_inpainting import (
    InpaintedView,
    inpaint_along,
    inpaintable_views,
)
from unscene.stages.surface_fill import continue_surface, sample_image
from unscene.stages.view_choice import spread, views_with_holes
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Picture, StageDone, StageStarted, ViewInpainted

STAGE = "further base views"
ASKED = 24  # views at most whose hidden points are counted and that may become base views
LEAST_GAIN = 0.05  # share of all hidden points that a further base view must settle


@dataclass(frozen=True)
class BaseViews:
    """The base views, the paper's first. leaders: N, for each view the index of the one that looks well at most of what
    it hides, the first where none does."""

    views: tuple[InpaintedView, ...]
    leaders: Tensor


def add_base_views(
    field: Field, scene: Scene, region: Tensor, depths: Tensor, surfaces: Tensor, first: InpaintedView,
    prior: Inpainter, checkpoints: Checkpoints, *, most: int, strength: float | None = None,
) -> Generator[Event, None, BaseViews]:  # fmt: skip
    """Choose and inpaint base views beside the ``first``, ``most`` in all, until hardly anything hidden is left that
    none looks at well.

    region: N H W bool, what to inpaint; depths: T h w, of the training views; surfaces: N h w, see
    `complete_surfaces`. Each is inpainted where those before it, carried along the surfaces, show nothing.
    """
    views = inpaintable_views(prior, scene, spread(views_with_holes(region, scene.train), ASKED))
    views = torch.cat([torch.tensor([first.view]), views[views != first.view]])
    looks = who_looks_well(scene.cameras, views, views, region, surfaces)
    chosen, shares = choose_views(looks, most)
    settled, saved = [first], checkpoints.product(STAGE, scene.device)
    if saved is not None:
        settled += _unpacked(saved)
    elif len(chosen) > 1:
        yield StageStarted(STAGE)
        started, generator = time.monotonic(), checkpoints.generator(STAGE)
        for index, view in enumerate(views[chosen[1:]].tolist()):
            further = _inpaint_open(field, scene, view, region, depths, settled, prior, generator, strength)
            yield ItemDone(STAGE, index + 1, len(chosen) - 1)
            if further is None:
                continue
            settled.append(further)
            yield ViewInpainted(scene.names[view], further.image)
            yield Picture("base-view", further.image, scene.names[view])
            left = float(further.hole.sum() / region[view].sum())
            yield Note(
                f"base view {len(settled)}: {scene.names[view]}, looks at {shares[index + 1]:.0%} of what is hidden "
                f"that none before it looks at well; {left:.0%} of its hole is its own, the rest theirs"
            )
        checkpoints.save(STAGE, _packed(settled[1:]), finished=True)
        yield StageDone(STAGE, time.monotonic() - started)
    for index, base in enumerate(settled, 1):
        mask = region[base.view] if scene.masks is None else scene.masks[base.view]
        yield Picture("origin", origin_map(base, mask, region[base.view]), scene.names[base.view])
        yield Note(f"base view {index} ({scene.names[base.view]}): {origin_shares(base, mask, region[base.view])}")
    if len(settled) == 1:
        yield Note(f"one base view: it looks well at {shares[0]:.0%} of what is hidden")
    return BaseViews(tuple(settled), _leaders(scene, region, surfaces, settled))


def choose_views(looks: Tensor, most: int) -> tuple[list[int], list[float]]:
    """Greedy cover of P points by V views (P V bool), the first view first: the views chosen, ``most`` at most, and
    what share of the points each adds."""
    chosen, shares = [0], [float(looks[:, 0].float().mean())]
    open_ = ~looks[:, 0]
    while len(chosen) < min(most, looks.shape[1]):
        gains = (looks & open_[:, None]).float().mean(0)
        best = int(gains.argmax())
        if gains[best] < LEAST_GAIN:
            break
        chosen.append(best)
        shares.append(float(gains[best]))
        open_ &= ~looks[:, best]
    return chosen, shares


def carry_over(
    scene: Scene, view: int, depth: Tensor, hole: Tensor, settled: list[InpaintedView]
) -> tuple[Tensor, Tensor]:
    """A view's image with what settled views invented of the surface (z-depth H W) behind its hole (H W bool), the
    nearest one's first; and where none did, H W bool."""
    cameras, image = scene.cameras, scene.image(view)
    points = surface_points(cameras, view, depth)[hole]
    colors, known = image[hole], torch.zeros(len(points), dtype=torch.bool, device=points.device)
    here = cameras.positions[view]
    for base in sorted(settled, key=lambda base: float((cameras.positions[base.view] - here).norm())):
        shown = sees(cameras, base.view, points, ~base.hole, base.depth, SAME) & ~known
        pixels, _ = cameras.project(torch.full((len(points),), base.view, device=points.device), points)
        colors = torch.where(shown[:, None], sample_image(base.image, pixels[None])[0], colors)
        known |= shown
    left = hole.clone()
    left[hole] = ~known
    image[hole] = colors
    return image, left


def origin_map(base: InpaintedView, mask: Tensor, region: Tensor) -> Tensor:
    """A base view with what other photos show inside its mask (H W bool) tinted green, what other base views told it
    blue, and what it invented orange, H W 3; region: H W bool, what no photo shows."""
    tint = torch.zeros_like(base.image)
    for part, color in ((mask, (0.2, 0.75, 0.3)), (region, (0.2, 0.45, 0.9)), (base.hole, (1.0, 0.55, 0.1))):
        tint[part] = torch.tensor(color, device=tint.device)
    return torch.where((mask | region)[..., None], 0.5 * base.image + 0.5 * tint, base.image)


def origin_shares(base: InpaintedView, mask: Tensor, region: Tensor) -> str:
    """In words, how much of a base view's mask (H W bool) is what in its `origin_map`."""
    parts = (mask & ~region, region & ~base.hole, base.hole)
    known, told, invented = (float(part.sum() / (mask | region).sum().clamp_min(1)) for part in parts)
    return (
        f"of what the object hides there photos show {known:.0%}, other base views told it {told:.0%}, it invented "
        f"{invented:.0%}"
    )


def _inpaint_open(
    field: Field, scene: Scene, view: int, region: Tensor, depths: Tensor, settled: list[InpaintedView],
    prior: Inpainter, generator: torch.Generator, strength: float | None,
) -> InpaintedView | None:  # fmt: skip
    """A view inpainted where settled ones leave it open; None if they leave nothing."""
    hole, depth = region[view], render_view(field, scene.cameras, view).depth
    surface = continue_surface(scene.cameras, view, depth, hole, generator)
    image, left = carry_over(scene, view, surface.depth, hole, settled)
    left = tidy(left, hole, max(1, round(scene.cameras.width / 300)))
    if not left.any():
        return None
    image = torch.where(left[..., None], scene.image(view), image)
    told = scene.with_images(torch.tensor([view]), image[None])
    open_, maps = region.clone(), depths.clone()
    open_[view] = left
    train = scene.train.tolist()
    for base in settled:
        told = told.with_images(torch.tensor([base.view]), base.image[None])
        open_[base.view] = False
        maps[train.index(base.view)] = F.interpolate(base.depth[None, None], depths.shape[1:])[0, 0]
    known = torch.where(hole & ~left, surface.depth, depth)
    behind = continue_surface(scene.cameras, view, known, left, generator)
    return inpaint_along(told, view, open_, maps, behind, prior, generator, strength=strength)


def _leaders(scene: Scene, region: Tensor, surfaces: Tensor, settled: list[InpaintedView]) -> Tensor:
    bases, leaders = torch.tensor([base.view for base in settled]), torch.zeros(len(scene), dtype=torch.long)
    for view in views_with_holes(region, scene.train):
        looks = who_looks_well(scene.cameras, view[None], bases, region, surfaces)
        leaders[view] = looks.sum(0).argmax().cpu()
    return leaders


def _packed(views: list[InpaintedView]) -> dict[str, Tensor]:
    return {f"{index} {part}": tensor for index, base in enumerate(views) for part, tensor in base.tensors().items()}


def _unpacked(saved: dict[str, Tensor]) -> list[InpaintedView]:
    parts: dict[int, dict[str, Tensor]] = {}
    for name, tensor in saved.items():
        index, part = name.split()
        parts.setdefault(int(index), {})[part] = tensor
    return [InpaintedView.of_tensors(parts[index]) for index in sorted(parts)]
