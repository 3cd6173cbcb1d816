"""What stages hold at once: floats of a few photos, never of all; checkpoints without photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.box_scene import BoxScene, box_scene
from tests.conftest import TINY_NERF
from unscene.fields.field import Histogram, Render
from unscene.fields.nerf import Nerf
from unscene.geometry.cameras import Rays
from unscene.geometry.masks import dilate
from unscene.jobs.running import with_grown_masks
from unscene.methods.mald_nerf import STAGE, MaldNerfConfig, MaskedAdversarialTraining
from unscene.stages.aligned_inpainting import inpaint_aligned
from unscene.stages.dataset_update import UpdatedDataset
from unscene.stages.independent_inpainting import InpaintedView
from unscene.stages.masked_rendering import paste_renders, render_masked
from unscene.stages.reconstruction import UnmaskedReconstruction
from unscene.training.checkpoints import Checkpoints
from unscene.training.fit import FitConfig, fit
from unscene.training.pixels import RegularizerConfig

pytestmark = pytest.mark.usefixtures("one_thread")
VIEWS, WIDTH, HEIGHT = 40, 48, 36
PHOTO = WIDTH * HEIGHT * 3 * 4  # bytes as floats


class LiveFloats(TorchDispatchMode):
    """Counts the bytes of floating-point tensors that operations have made and that still exist."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None):
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        outcome = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(outcome):
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                storage = leaf.untyped_storage()
                if storage._cdata not in given:
                    self.live[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.live = {key: value for key, value in self.live.items() if not value[0].expired()}
        self.most = max(self.most, sum(size for _, size in self.live.values()))
        return outcome


def most_floats(work: Callable[[], object]) -> tuple[int, Any]:
    """The most bytes of floats that there were at once, and what came out."""
    with LiveFloats() as counter:
        outcome = work()
    return counter.most, outcome


def finished(events: Any) -> Any:
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


class Grey:
    """A field that is grey everywhere, for next to nothing."""

    is_native = False

    def render(self, rays: Rays, *, jitter: Tensor | None = None) -> Render:
        one = torch.ones(len(rays))
        histogram = Histogram(one[:, None], one[:, None])
        return Render(0.5 * torch.ones(len(rays), 3), one, one[:, None], one[:, None], histogram, ())


class Echo:
    """A latent prior that returns the images it was given."""

    name, guide, latent_channels, downscale, strength, steps = "echo", None, 1, 12, 0.5, 2

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        return height // 12, width // 12

    def inpaint_latent(self, images: Tensor, masks: Tensor, **_: Any) -> Tensor:
        return torch.where(masks[..., None], 0.25, images)


@pytest.fixture(scope="module")
def room() -> BoxScene:
    return box_scene(views=VIEWS, width=WIDTH, height=HEIGHT)


def test_the_counter_sees_floats_while_they_live() -> None:
    def work() -> Tensor:
        first = torch.ones(1000)
        del first
        second = torch.zeros(500)[:10]
        return second + 1

    assert most_floats(work)[0] == 4000
    assert most_floats(lambda: [torch.ones(1000) * 2 for _ in range(3)])[0] == 16000
    assert most_floats(lambda: torch.ones(1000, dtype=torch.uint8))[0] == 0


def test_masks_grow_one_by_one(room: BoxScene) -> None:
    masks = room.scene.masks
    assert masks is not None
    most, grown = most_floats(lambda: with_grown_masks(room.scene, 2))
    assert torch.equal(grown.masks, dilate(masks, 2)) and most < 2 * PHOTO


def test_renders_are_of_masked_pixels_only(room: BoxScene) -> None:
    masks = room.scene.masks
    assert masks is not None
    most, renders = most_floats(lambda: finished(render_masked("a", Grey(), room.scene, room.scene.train, masks)))
    kept = sum(color.nbytes + depth.nbytes for color, depth in zip(renders.color, renders.depth, strict=True))
    assert sum(len(color) for color in renders.color) == int(masks.sum())
    assert most < kept + 4 * PHOTO < VIEWS * PHOTO


def test_pasting_takes_photos_one_by_one(room: BoxScene) -> None:
    masks = room.scene.masks
    assert masks is not None
    colors = [torch.full((int(mask.sum()), 3), 0.5) for mask in masks]
    most, pasted = most_floats(lambda: paste_renders(room.scene, room.scene.train, colors, masks))
    assert (pasted.images != room.scene.images).any()
    assert PHOTO < most < 10 * PHOTO


def test_aligned_inpainting_takes_a_batch_at_a_time(room: BoxScene) -> None:
    scene, masks = room.scene, room.scene.masks
    assert masks is not None
    base = InpaintedView(0, scene.image(0), scene.image(0), torch.zeros(1, 3, 4), room.depth[0], masks[0])

    def work() -> Any:
        return finished(
            inpaint_aligned(
                Grey(), scene, scene.train[1:], masks, base, Echo(), Checkpoints(None, 0),
                ela=False, ila=True, own_weight=0.2, views_at_once=2,
            )
        )  # fmt: skip

    most, filled = most_floats(work)
    assert (filled.images[5][masks[5]] == 64).all() and torch.equal(filled.images[~masks], scene.images[~masks])
    assert 3 * PHOTO < most < VIEWS * PHOTO / 2


class Killed(Exception):
    """Stands for a kill in mid-run."""


def test_an_unfinished_checkpoint_of_mald_nerf_holds_no_photos(tmp_path: Path) -> None:
    large = box_scene(views=8, width=480, height=360)
    scene, nerf = large.scene, Nerf.around(large.scene.cameras, TINY_NERF, torch.Generator().manual_seed(0))
    assert scene.masks is not None
    region = torch.zeros_like(scene.masks)
    region[:, 150:190, 200:260] = True
    known = UnmaskedReconstruction(nerf, scene, RegularizerConfig(), rays=64)
    config = MaldNerfConfig(patch=16)
    dataset = UpdatedDataset(
        nerf, scene, scene.train, region, scene.images[region], large.depth[region],
        SimpleNamespace(name="none", strength=0.5, steps=2), None, config.update, stage=STAGE,  # pyright: ignore
    )  # fmt: skip
    kept = sum(tensor.nbytes for tensor in dataset.state_dict().values())
    assert kept == int(region.sum()) * (3 + 4) + 8 * 8  # colours, depths, and how often each view was replaced
    training = MaskedAdversarialTraining(known, dataset, lambda images: [images], config, torch.Generator())

    def objective(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        if step == 2:
            raise Killed
        return training(step, progress, generator)

    schedule = FitConfig(steps=5, checkpoint_seconds=0)
    with pytest.raises(Killed):
        list(fit(STAGE, nerf, objective, schedule, Checkpoints(tmp_path, 0), rays_per_step=64, companion=training))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < scene.images.nbytes
