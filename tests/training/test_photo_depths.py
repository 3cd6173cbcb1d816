"""Depths that photos agree on, and what they do for a field of few photos."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.box_scene import box_scene, moved
from tests.conftest import TINY_NERF
from unscene.fields.field import render_view
from unscene.fields.nerf import Nerf
from unscene.jobs.fit import FitOptions, fit
from unscene.jobs.running import drain
from unscene.losses.oriented_energies import OrientedEnergies
from unscene.methods.naive import NaiveConfig, naive
from unscene.priors.classical import TeleaInpainter
from unscene.scenes.scene import Scene
from unscene.segmentation.fitted_surfaces import fit_surfaces
from unscene.stages import reconstruction
from unscene.stages.reconstruction import UnmaskedReconstruction, reconstruct
from unscene.stages.splat_reconstruction import SplatConfig
from unscene.training import photo_depths as module
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, ignore
from unscene.training.fit import FitConfig
from unscene.training.photo_depths import DepthTerm, PhotoDepths, photo_depths
from unscene.training.pixels import PixelBatch, RegularizerConfig

SHORT = FitConfig(steps=4)
ROOM = box_scene(views=5, width=64, height=48)


@pytest.fixture(autouse=True)
def at_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "photo_depths", photo_depths)
    compare_at_full_size(monkeypatch)


def compare_at_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COARSE", 32), ("FINE", 64), ("FEWEST", 32), ("MOST", 80)):
        monkeypatch.setattr(module, name, value)


def told(scene: Scene, checkpoints: Checkpoints | None = None, events: list[Event] | None = None) -> PhotoDepths | None:
    watch = ignore if events is None else events.append
    return drain(photo_depths(scene, checkpoints or Checkpoints(None, 0)), watch)


@pytest.fixture(scope="module")
def found() -> PhotoDepths:
    with pytest.MonkeyPatch.context() as monkeypatch:
        compare_at_full_size(monkeypatch)
        result = told(ROOM.scene)
    assert result is not None
    return result


def true_depths(depths: Tensor) -> Tensor:
    return F.interpolate(ROOM.depth[:, None], depths.shape[1:], mode="bilinear")[:, 0]


def test_the_room_is_found_without_a_range_of_depths(found: PhotoDepths) -> None:
    error = (found.depths / true_depths(found.depths) - 1).abs()
    assert found.agreed.float().mean() > 0.5
    assert (error[found.agreed] < 0.04).float().mean() > 0.85
    masks = ROOM.scene.masks
    assert masks is not None
    assert not found.agreed[F.adaptive_max_pool2d(masks.float(), found.depths.shape[1:]) > 0].any()
    assert (error[~found.agreed] < 0.25).float().mean() > 0.8  # guessed around them


def test_the_world_may_be_turned_and_of_any_size(found: PhotoDepths) -> None:
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0))).Q
    turn = turn * torch.linalg.det(turn)
    other = told(moved(ROOM.scene, turn, torch.tensor([3.0, -2.0, 5.0]), 7.0))
    assert other is not None
    both = other.agreed & found.agreed
    assert both.sum() > 0.9 * found.agreed.sum()
    assert (other.depths[both] / 7 / found.depths[both] - 1).abs().quantile(0.95) < 0.02


def test_progress_runs_to_the_end_and_the_result_is_kept(found: PhotoDepths, tmp_path: Path) -> None:
    events, checkpoints = list[Event](), Checkpoints(tmp_path, 0)
    first = told(ROOM.scene, checkpoints, events)
    done = [event for event in events if isinstance(event, ItemDone)]
    assert [event.done for event in done] == list(range(1, 11)) and {event.total for event in done} == {10}
    assert [event.text for event in events if isinstance(event, Note)]
    again = list[Event]()
    second = told(ROOM.scene, checkpoints, again)
    assert first is not None and second is not None and not again
    assert torch.equal(first.depths, second.depths) and torch.equal(first.agreed, second.agreed)
    assert torch.equal(first.depths, found.depths)


def test_photos_that_tell_nothing_are_no_error() -> None:
    scene = ROOM.scene
    nowhere = scene.cameras.T_world_camera.clone()
    nowhere[:, :, 3] = nowhere[:1, :, 3]  # one place: nothing moves
    assert told(dataclasses.replace(scene, cameras=dataclasses.replace(scene.cameras, T_world_camera=nowhere))) is None
    grey = dataclasses.replace(scene, images=torch.full_like(scene.images, 128))
    assert told(grey) is None
    assert told(scene.subset(torch.tensor([0]))) is None


def test_two_photos_are_enough() -> None:
    result = told(ROOM.scene.subset(torch.tensor([2, 3])))
    assert result is not None
    depth = true_depths(torch.zeros(5, *result.depths.shape[1:]))[[2, 3]]
    assert ((result.depths / depth - 1).abs() < 0.04)[result.agreed].float().mean() > 0.8


def fitted(monkeypatch: pytest.MonkeyPatch, *, with_depths: bool) -> float:
    """Share of the rendered depths of a short fit that are right to 10 %."""
    if not with_depths:
        monkeypatch.setattr(reconstruction, "depth_term_of_few", nothing)
    scene = ROOM.scene
    nerf = Nerf.around(scene.cameras, TINY_NERF, torch.Generator().manual_seed(0))
    known = UnmaskedReconstruction(nerf, scene, RegularizerConfig(), rays=256)
    drain(reconstruct(known, FitConfig(steps=120, learning_rate=2e-2), Checkpoints(None, 0)), ignore)
    rendered = torch.stack([render_view(nerf, scene.cameras, view).depth for view in range(len(scene))])
    assert scene.masks is not None
    return float(((rendered / ROOM.depth - 1).abs() < 0.1)[~scene.masks].float().mean())


def nothing(scene: Scene, checkpoints: Checkpoints):
    yield from ()
    return None


def test_a_field_learns_them(monkeypatch: pytest.MonkeyPatch) -> None:
    taught = fitted(monkeypatch, with_depths=True)
    assert taught > fitted(monkeypatch, with_depths=False) + 0.1


def test_guesses_only_keep_surfaces_from_standing_nearer(found: PhotoDepths) -> None:
    batch = PixelBatch(torch.tensor([1, 4]), torch.tensor([[8.5, 8.5], [40.5, 20.5]]), torch.zeros(2, 3))
    lines, columns = torch.tensor([8, 20]), torch.tensor([8, 40])
    depth = found.depths[torch.tensor([1, 4]), lines, columns]

    def error(factor: float, *, sure: bool) -> float:
        certain = PhotoDepths(found.depths, torch.full_like(found.agreed, sure))
        return float(DepthTerm(certain, ROOM.scene)(batch, factor * depth))

    assert error(1.5, sure=False) == error(1.0, sure=False) == error(0.8, sure=False) == 0 < error(0.5, sure=False)
    assert error(1.0, sure=True) < 1e-3 < error(0.95, sure=True) and error(1.05, sure=True) > 1e-3
    place = torch.zeros(2, requires_grad=True)
    DepthTerm(found, ROOM.scene)(batch, place).backward()
    assert place.grad is not None and place.grad.isfinite().all()


def fit_a_field(folder: Path) -> None:
    fit(ROOM.scene, folder, FitOptions(nerf=TINY_NERF, fit=SHORT, rays=64))


def fit_splats_of_photos(folder: Path) -> None:
    few = SplatConfig(count=200, most=220)
    fit(ROOM.scene, folder, FitOptions(field="splats", nerf=TINY_NERF, fit=SHORT, splats=few))


def fit_surfaces_of_masks(folder: Path) -> None:
    drain(fit_surfaces(ROOM.scene, TINY_NERF, SHORT, 64, Checkpoints(folder, 0)), ignore)


def fill_photo_by_photo(folder: Path) -> None:
    config = NaiveConfig(nerf=TINY_NERF, fit=SHORT, rays=64)
    drain(naive(ROOM.scene, TeleaInpainter(), OrientedEnergies(), config, Checkpoints(folder, 0)), ignore)


@pytest.mark.parametrize("learn", [fit_a_field, fit_splats_of_photos, fit_surfaces_of_masks, fill_photo_by_photo])
def test_whatever_learns_few_photos_is_told_them(
    learn: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()

    def all_alike(scene: Scene, checkpoints: Checkpoints) -> Generator[Event, None, PhotoDepths]:
        yield from ()
        depths = torch.full((len(scene.train), 6, 8), 3.0)
        return PhotoDepths(depths, depths > 0)

    def counted(self: DepthTerm, batch: PixelBatch, found: Tensor) -> Tensor:
        asked.append(len(found))
        return found.mean()

    monkeypatch.setattr(module, "photo_depths", all_alike)
    monkeypatch.setattr(DepthTerm, "__call__", counted)
    learn(tmp_path / "few")
    assert asked
    asked.clear()
    monkeypatch.setattr(module, "FEW", 4)
    learn(tmp_path / "many")
    assert not asked
