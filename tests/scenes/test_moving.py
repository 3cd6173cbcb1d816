"""A scene on another device, with and without room for its photos."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.accelerator.fake_accelerator import DEVICE
from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from unscene.fields.nerf import Nerf
from unscene.scenes.scene import BYTES_PER_PIXEL, Scene
from unscene.stages.patches import PatchConfig, PatchGame
from unscene.stages.reconstruction import UnmaskedReconstruction
from unscene.training.pixels import PixelSampler, RegularizerConfig, training_pixels, unmasked_training_pixels

CPU = torch.device("cpu")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """No device has room; how many bytes it was asked for."""
    sizes: list[int] = []
    monkeypatch.setattr("unscene.scenes.scene.has_room", lambda device, size: sizes.append(size))
    return sizes


def test_a_scene_moves_as_a_whole_where_there_is_room(room: BoxScene) -> None:
    there = room.scene.to(DEVICE)
    assert there.masks is not None
    assert there.device == there.images.device == there.masks.device == there.cameras.focal.device == DEVICE
    assert there.train.device == there.test.device == CPU  # loop counters
    assert there.image(3).device == DEVICE and there.image(3).is_floating_point()


def test_photos_stay_where_there_is_no_room(room: BoxScene, asked: list[int]) -> None:
    there = room.scene.to(DEVICE)
    assert asked == [8 * 36 * 48 * BYTES_PER_PIXEL]
    assert there.masks is not None
    assert there.images.device == CPU and there.device == there.masks.device == DEVICE
    assert there.image(3).device == DEVICE


def test_masks_are_looked_up_where_the_photos_are(room: BoxScene, asked: list[int]) -> None:
    """Which pixels may be drawn is asked of masks that are elsewhere."""
    scene = room.scene.to(DEVICE)
    assert training_pixels(scene).device == CPU
    with pytest.raises(NotImplementedError, match="meta"):  # a stand-in's numbers are asked for: nothing else is wrong
        unmasked_training_pixels(scene)


@pytest.fixture
def both(room: BoxScene, asked: list[int]) -> tuple[Scene, Scene]:
    """The same scene, without and with room."""
    without = room.scene.to(CPU)
    assert asked
    return without, room.scene


def test_values_are_the_same_without_room(both: tuple[Scene, Scene]) -> None:
    for view in (0, 5):
        assert torch.equal(both[0].image(view), both[1].image(view))
    drawn = [
        PixelSampler(scene, unmasked_training_pixels(scene)).sample(200, torch.Generator().manual_seed(1))
        for scene in both
    ]
    for name in ("view", "xy", "color"):
        assert torch.equal(getattr(drawn[0], name), getattr(drawn[1], name))
    view, (column, row) = drawn[0].view, drawn[0].xy.long().unbind(-1)
    assert torch.equal(drawn[0].color, both[1].images[view, row, column].float() / 255)


def test_objectives_are_the_same_without_room(both: tuple[Scene, Scene]) -> None:
    terms = []
    for scene in both:
        nerf = Nerf.around(scene.cameras, TINY_NERF, torch.Generator().manual_seed(0))
        known = UnmaskedReconstruction(nerf, scene, RegularizerConfig(), rays=64)
        assert scene.masks is not None
        game = PatchGame(
            nerf, scene, torch.arange(4), scene.masks, lambda images: [images], PatchConfig(size=16),
            torch.Generator().manual_seed(1),
        )  # fmt: skip
        generator = torch.Generator().manual_seed(2)
        terms.append(known(0, 0.0, generator) | game.losses(generator))
    assert terms[0].keys() == terms[1].keys()
    for name, value in terms[0].items():
        assert value.item() == pytest.approx(terms[1][name].item(), rel=1e-5), name


@pytest.mark.parametrize("roomy", [False, True])
def test_photos_are_replaced_one_by_one_as_they_come(room: BoxScene, asked: list[int], roomy: bool) -> None:
    """From a generator, floats or bytes; the scene they came from stays as it was."""
    scene = room.scene if roomy else room.scene.to(CPU)
    before, taken = scene.images.clone(), []

    def images() -> Iterator[Tensor]:
        for value in (0.2, 51):
            taken.append(value)
            yield torch.full((36, 48, 3), value) if value < 1 else torch.full((36, 48, 3), value, dtype=torch.uint8)

    replaced = scene.with_images(torch.tensor([5, 1]), images())
    assert len(taken) == 2 and torch.equal(scene.images, before)
    assert (replaced.images[[5, 1]] == 51).all() and replaced.images.dtype == torch.uint8
    rest = [0, 2, 3, 4, 6, 7]
    assert torch.equal(replaced.images[rest], before[rest])
    with pytest.raises(ValueError, match="zip"):
        scene.with_images(torch.tensor([5, 1, 2]), images())
