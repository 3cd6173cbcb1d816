"""Each term of what inpainted views teach, against a slow reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from unscene.fields.nerf import Nerf
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import bounding_box
from unscene.stages.inpainted_views import InpaintedViewsConfig, InpaintedViewsLoss, with_fills
from unscene.stages.masked_rendering import masks_only
from unscene.stages.patches import Patch
from unscene.stages.reconstruction import UnmaskedReconstruction
from unscene.training.pixels import RegularizerConfig

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = InpaintedViewsConfig(
    rays=20, masked_rays=15, disparity_weight=0.7, perceptual_weight=0.3, patches=2, patch=8, perceptual_from=0.4
)  # fmt: skip
VIEWS = torch.tensor([1, 2, 3, 5, 6, 7])


def pixels_as_features(images: Tensor) -> list[Tensor]:
    return [images]


class Recorded:
    """What a loss drew: pixels in the order in which rays were made of them, and patches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, loss: InpaintedViewsLoss):
        self.pixels: list[tuple[Tensor, Tensor]] = []
        self.patches: list[Patch] = []
        rays, draw = Cameras.rays, loss.patches.draw

        def recording(cameras: Cameras, view: Tensor, xy: Tensor):
            self.pixels.append((view, xy))
            return rays(cameras, view, xy)

        def drawing(generator: torch.Generator) -> Patch:
            self.patches.append(draw(generator))
            return self.patches[-1]

        monkeypatch.setattr(Cameras, "rays", recording)
        monkeypatch.setattr(loss.patches, "draw", drawing)


def lost(room: BoxScene, config: InpaintedViewsConfig) -> tuple[InpaintedViewsLoss, Tensor, Tensor, Tensor]:
    """A loss, its inpainted images N H W 3 and disparities N H W, and the region. The truth is the inpainting."""
    assert room.scene.masks is not None
    region = masks_only(VIEWS, room.scene.masks)
    nerf = Nerf.around(room.scene.cameras, TINY_NERF, torch.Generator().manual_seed(3))
    images, disparity = room.truth, 1 / room.depth
    filled = with_fills(room.scene, region, images[region])
    known = UnmaskedReconstruction(
        nerf, room.scene, RegularizerConfig(), rays=config.rays, error=config.pixel_error
    )  # fmt: skip
    loss = InpaintedViewsLoss(known, filled, VIEWS, region, disparity[region], pixels_as_features, config)
    return loss, torch.where(region[..., None], images, room.scene.images).float() / 255, disparity, region


@pytest.mark.parametrize("error", ["squared", "charbonnier"])
def test_every_term_is_the_papers(room: BoxScene, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each term again, ray by ray and patch by patch, without jitter."""
    monkeypatch.setattr("unscene.stages.reconstruction.uniform", lambda n, *_: torch.full((n,), 0.5))
    monkeypatch.setattr("unscene.stages.patches.uniform", lambda n, *_: torch.full((n,), 0.5))
    loss, images, disparity, region = lost(room, replace(CONFIG, pixel_error=error))
    seen = Recorded(monkeypatch, loss)
    terms = loss(7, 0.5, torch.Generator().manual_seed(0))
    monkeypatch.undo()
    behind, known, _ = seen.pixels
    masks, cameras, nerf = room.scene.masks, room.scene.cameras, loss.known.field
    assert masks is not None

    def size(difference: Tensor) -> Tensor:
        return difference**2 if error == "squared" else (difference**2 + 1e-6) ** 0.5

    def at(pixels: tuple[Tensor, Tensor]) -> tuple[list[tuple[int, int, int]], Tensor, Tensor]:
        view, xy = pixels
        places = [(int(v), int(y), int(x)) for v, (x, y) in zip(view, xy, strict=True)]
        rays = cameras.rays(view, xy)
        render = nerf.render(rays)
        return places, render.color, render.distance * rays.depth_per_distance

    places, colors, _ = at(known)
    assert all(not masks[p] for p in places) and len(places) == 20
    expected = sum(size(c - images[p]).sum() / 3 for p, c in zip(places, colors, strict=True)) / 20
    assert torch.allclose(terms["reconstruction"], expected, rtol=1e-4)
    places, _, depth = at(behind)
    assert all(region[p] for p in places) and len({p[0] for p in places}) > 2
    expected = sum(size(nerf.radius / d - nerf.radius * disparity[p]) for p, d in zip(places, depth, strict=True))
    assert torch.allclose(terms["disparity"], 0.7 * expected / 15, rtol=1e-4)

    distances = []
    for patch in seen.patches:
        top, left, bottom, right = bounding_box(region[patch.view])
        assert top <= patch.top + 4 < bottom and left <= patch.left + 4 < right
        for row in range(patch.top, patch.top + 8):
            for column in range(patch.left, patch.left + 8):
                xy = torch.tensor([[column + 0.5, row + 0.5]])
                ours = nerf.render(cameras.rays(torch.tensor([patch.view]), xy)).color[0]
                theirs = images[patch.view, row, column]
                distances.append((ours / ours.norm() - theirs / theirs.norm()).square().sum())
    assert len(seen.patches) == 2 and len(distances) == 128
    assert torch.allclose(terms["patch perceptual"], 0.3 * torch.stack(distances).mean(), rtol=1e-3)


@pytest.mark.parametrize("move", [True, False])
def test_patches_move_surfaces_only_if_they_may(room: BoxScene, move: bool) -> None:
    """They reach the outputs that are colours, and perhaps the one that is density; the others reach it anyway."""
    loss, *_ = lost(room, replace(CONFIG, patches_move_surfaces=move))
    terms = loss(7, 0.5, torch.Generator().manual_seed(0))

    def reaches(name: str) -> tuple[bool, bool]:
        (gradient,) = torch.autograd.grad(terms[name], loss.known.field.network.weight_output, retain_graph=True)
        return bool(gradient[0].any()), bool(gradient[1:4].any())

    assert reaches("patch perceptual") == (move, True)
    assert reaches("disparity") == (True, False) and reaches("reconstruction") == (True, True)


def test_patches_give_way_to_colours_of_all_masked_rays(room: BoxScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unscene.stages.reconstruction.uniform", lambda n, *_: torch.full((n,), 0.5))
    loss, images, *_ = lost(room, replace(CONFIG, perceptual=False, pixel_error="squared"))
    seen = Recorded(monkeypatch, loss)
    terms = loss(7, 0.5, torch.Generator().manual_seed(0))
    monkeypatch.undo()
    view, xy = seen.pixels[0]
    color = loss.known.field.render(room.scene.cameras.rays(view, xy)).color
    theirs = images[view, xy[:, 1].long(), xy[:, 0].long()]
    assert not seen.patches and "patch perceptual" not in terms
    torch.testing.assert_close(terms["masked colour"], (color - theirs).square().mean())
