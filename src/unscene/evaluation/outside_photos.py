"""Which part of a render lies outside of what was photographed: there a field shows what nobody can vouch for."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence

import torch
from torch import Tensor

from unscene.fields.field import RadianceField, ViewField, render_view
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import Photos, surface_points
from unscene.scenes.scene import Scene
from unscene.training.events import Event, ItemDone, Note, Picture, StageDone, StageStarted

STAGE = "what was photographed"
WIDTH, SHOWN_WIDTH = 64, 320  # pixels of the maps that shares are counted on, and of those that are shown
WORTH_SHOWING = 0.01


def find_outside(
    field: RadianceField | ViewField, scene: Scene, renders: Mapping[str, tuple[Cameras, Sequence[str]]]
) -> Generator[Event, None, dict[str, float]]:
    """The share of each render whose surface is in no training photo's view, by the render's name.

    renders: what they are together (such as "the video") -> cameras and names. Of each kind the one with most is shown.
    """
    if not renders:
        return {}
    yield StageStarted(STAGE)
    started, train = time.monotonic(), scene.cameras[scene.train]
    total, done = len(train) + sum(len(cameras) for cameras, _ in renders.values()), 0
    small, depths, shares, words = _small(train), list[Tensor](), dict[str, float](), list[str]()
    for view in range(len(train)):
        depths.append(render_view(field, small, view).depth)
        yield ItemDone(STAGE, done := done + 1, total)
    photos = Photos(train, torch.stack(depths), None if scene.masks is None else scene.masks[scene.train])
    for kind, (cameras, names) in renders.items():
        small, found = _small(cameras), list[float]()
        for view in range(len(cameras)):
            depth = render_view(field, small, view).depth
            found.append(float(photos.place(surface_points(small, view, depth))[0].float().mean()))
            yield ItemDone(STAGE, done := done + 1, total)
        shares |= {name: round(share, 4) for name, share in zip(names, found, strict=True)}
        worst = max(range(len(found)), key=found.__getitem__)
        words.append(f"{sum(found) / len(found):.1%} of {kind} (at most {found[worst]:.0%}, of {names[worst]})")
        if found[worst] >= WORTH_SHOWING:
            yield Picture("outside-of-photos", _map(field, photos, cameras, worst), names[worst])
    yield Note("no photo shows " + ", ".join(words) + ": what is rendered there is a guess")
    yield StageDone(STAGE, time.monotonic() - started)
    return shares


def _map(field: RadianceField | ViewField, photos: Photos, cameras: Cameras, view: int) -> Tensor:
    """A render with what is in no photo's view tinted red, and what only the object's masks cover blue, H W 3."""
    shown = _small(cameras, SHOWN_WIDTH)
    render = render_view(field, shown, view)
    outside, hidden = photos.place(surface_points(shown, view, render.depth))
    picture = render.color
    for part, tint in ((outside, (0.9, 0.15, 0.1)), (hidden, (0.1, 0.35, 1.0))):
        picture = torch.where(part[..., None], 0.5 * picture + 0.5 * torch.tensor(tint, device=picture.device), picture)
    return picture


def _small(cameras: Cameras, width: int = WIDTH) -> Cameras:
    width = min(width, cameras.width)
    return cameras.resized(width, max(1, round(cameras.height * width / cameras.width)))
