"""Density that no photo supports goes, what photos show stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.box_scene import box_scene
from tests.conftest import TINY_NERF
from unscene.fields.field import Histogram, render_view
from unscene.fields.nerf import Nerf
from unscene.fields.occupancy import RESOLUTION, cells_of, pack_cells, unpack_cells
from unscene.geometry.cameras import Cameras, look_at
from unscene.scenes.scene import Scene
from unscene.stages.cleaning import _light, drop_unsupported
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note, Picture

HAZE = 0.02  # optical depth per radius


class WallAndFog(Nerf):
    """A grey wall at z = 1, seen from z = -1; haze before it, and red floaters, each a ball in the world.

    Points come contracted; where these tests look nothing is beyond the unit cube.
    """

    floaters = ((-0.9, 0.0, -0.4, 0.15),)

    @property
    def is_native(self) -> bool:
        return False

    def world(self, points: Tensor) -> Tensor:
        unit = (points - 0.5) * 4
        return unit * self.radius + self.center

    def thickness(self, points: Tensor) -> tuple[Tensor, Tensor]:
        at = self.world(points)
        floating = torch.zeros_like(at[:, 0], dtype=torch.bool)
        for *centre, size in self.floaters:
            floating |= (at - torch.tensor(centre)).norm(dim=-1) < size
        return torch.where(at[:, 2] > 1, 300.0, torch.where(floating, 100.0, HAZE)), floating

    def _proposal_density(self, points: Tensor) -> Tensor:
        return self.thickness(points)[0].view(-1, self.config.proposal_samples)

    def _evaluate(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        density, floating = self.thickness(points)
        color = torch.where(floating[:, None], torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.5, 0.5, 0.5]))
        shape = (-1, self.config.field_samples)
        return density.view(shape), color.view(*shape, 3), torch.zeros(len(points), 8).view(*shape, 8)


def field(kind: type[WallAndFog] = WallAndFog) -> WallAndFog:
    config = replace(TINY_NERF, view_dependence=False, proposal_samples=96, field_samples=48)
    return kind(config, center=torch.zeros(3), radius=torch.tensor(1.5), generator=torch.Generator())


def cameras(positions: list[tuple[float, float, float]], target: tuple[float, float, float]) -> Cameras:
    count, width, height = len(positions), 48, 36
    return Cameras(
        look_at(torch.tensor(positions), torch.tensor(target), torch.tensor([0.0, -1.0, 0.0])),
        torch.full((count, 2), 80.0), torch.tensor([[width / 2, height / 2]]).repeat(count, 1),
        torch.zeros(count, 5), width, height,
    )  # fmt: skip


AHEAD = cameras([(-0.1, 0.0, -1.0), (0.1, 0.0, -1.0), (0.0, 0.1, -1.0)], (0.0, 0.0, 1.0))
ASIDE = cameras([(0.0, 0.0, -0.5)], (-0.9, 0.0, -0.4))  # looks at the floater, which no photo shows


def scene(masks: Tensor | None = None) -> Scene:
    base = box_scene(views=3).scene
    images = torch.full((3, AHEAD.height, AHEAD.width, 3), 128, dtype=torch.uint8)
    return replace(base, cameras=AHEAD, images=images, masks=masks)


def cleaned(nerf: Nerf, masks: Tensor | None = None, folder: Path | None = None) -> list[Event]:
    return list(drop_unsupported(nerf, scene(masks), Checkpoints(folder, 0)))


def test_a_floater_that_no_photo_shows_goes_and_photos_stay() -> None:
    nerf = field()
    before = render_view(nerf, AHEAD, 0).color
    assert (
        render_view(nerf, ASIDE, 0).color[18, 24].argmax() == 0 and render_view(nerf, ASIDE, 0).color[18, 24, 1] < 0.1
    )
    events = cleaned(nerf)
    assert render_view(nerf, ASIDE, 0).color[18, 24, 1] > 0.4, "no red is left"
    assert (render_view(nerf, AHEAD, 0).color - before).abs().max() < 1e-3
    assert render_view(nerf, AHEAD, 0).depth.median() == pytest.approx(2.0, abs=0.1)
    assert any(isinstance(event, Picture) for event in events)
    assert any("cleaning: no photo supports" in event.text for event in events if isinstance(event, Note))


def allowed(nerf: Nerf, *point: float) -> bool:
    assert nerf.occupancy is not None
    unit = (torch.tensor(point) - nerf.center) / nerf.radius / 4 + 0.5
    return bool(unpack_cells(nerf.occupancy).flatten()[cells_of(unit)])


def test_haze_before_the_wall_goes_the_wall_and_what_hides_behind_it_stay() -> None:
    nerf = field()
    cleaned(nerf)
    assert not allowed(nerf, 0, 0, 0), "photos look through here"
    assert allowed(nerf, 0, 0, 1.02) and allowed(nerf, 0, 0, 1.3)
    assert allowed(nerf, 0, 0, 0.97), "a cell's margin"
    assert not allowed(nerf, 0, 1.2, -0.5), "no photo looks here"
    assert unpack_cells(nerf.occupancy).shape == (RESOLUTION,) * 3  # pyright: ignore[reportArgumentType]


def test_what_is_masked_in_all_photos_stays_open() -> None:
    nerf, masks = field(), torch.zeros(3, AHEAD.height, AHEAD.width, dtype=torch.bool)
    masks[:, 8:28, 16:32] = True
    cleaned(nerf, masks)
    assert allowed(nerf, 0, 0, 0.8)


def test_a_floater_that_a_photo_shows_stays() -> None:
    class Before(WallAndFog):
        floaters = ((0.0, 0.0, 0.0, 0.1),)

    nerf = field(Before)
    cleaned(nerf)
    assert allowed(nerf, 0, 0, -0.09)
    assert not allowed(nerf, 0, 0, -0.5)


def test_what_was_empty_before_stays_empty() -> None:
    nerf = field()
    cells = torch.ones((RESOLUTION,) * 3, dtype=torch.bool)
    cells[:, :, : RESOLUTION // 2] = False  # x < 0
    nerf.confine(pack_cells(cells))
    cleaned(nerf)
    assert allowed(nerf, 0.1, 0, 1.02) and not allowed(nerf, -0.1, 0, 1.02)


def test_light_from_between_two_places_is_some_places() -> None:
    """Intervals on a surface may be shorter than places are apart, those in the open longer."""
    places = (torch.arange(256) + 0.5) / 256
    short = Histogram(torch.tensor([[0.0, 0.5001, 0.5003, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]]))
    share, passing = _light(short, places)
    assert share.max() > 0.99 and share.argmax() == 128 and share[0, :128].max() < 0.01
    assert passing[0, 100] > 0.99 and passing[0, 128] < 0.01
    long = Histogram(torch.tensor([[0.0, 0.2, 0.6, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]]))
    share, _ = _light(long, places)
    assert (share[0, (places > 0.21) & (places < 0.59)] == 1).all()


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    first, second = field(), field()
    cleaned(first, folder=tmp_path)
    again = cleaned(second, folder=tmp_path)
    assert (first.occupancy == second.occupancy).all()  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    assert not any(type(event).__name__ == "StageStarted" for event in again)
