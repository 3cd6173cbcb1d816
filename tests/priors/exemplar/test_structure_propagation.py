"""Straight edges that run on behind a hole until they meet."""

import numpy as np
import pytest
import torch
from torch import Tensor

from unscene.priors.exemplar.offset_completion import OffsetConfig, complete_by_offsets
from unscene.priors.exemplar.structure_propagation import (
    COLORS,
    Wedge,
    _best_at,
    _counted_colors,
    best_wedge,
    propagate_structure,
)

HEIGHT, WIDTH = 110, 130
ROW, COLUMN = torch.meshgrid(torch.arange(float(HEIGHT)), torch.arange(float(WIDTH)), indexing="ij")
HOLE = ((ROW - 52) / 19) ** 2 + ((COLUMN - 64) / 23) ** 2 < 1


def checks(period: float, bent: Tensor | float = 0.0) -> Tensor:
    """Red, pink and white, H W 3."""
    crossings = ((ROW + bent) / period % 1 < 0.5).float() + ((COLUMN + bent) / period % 1 < 0.5).float()
    return torch.stack([0.9 - 0.05 * crossings, 0.9 - 0.35 * crossings, 0.9 - 0.35 * crossings], -1)


def wood(seed: int = 0) -> Tensor:
    """Streaks of brown, H W 3."""
    generator = torch.Generator().manual_seed(seed)
    streaks = 0.15 * torch.rand(HEIGHT, 1, generator=generator) + 0.03 * torch.rand(HEIGHT, WIDTH, generator=generator)
    return torch.stack([0.5 + streaks, 0.33 + streaks, 0.18 + streaks], -1)


def parted(image: Tensor, hole: Tensor = HOLE):
    return propagate_structure(image.permute(2, 0, 1), hole, ~hole)


@pytest.mark.parametrize(
    ("corner", "start", "extent"), [((48, 60), 0.03, 0.25), ((56, 70), 0.6, 0.15), ((52, 64), 0.4, 0.5)]
)
def test_the_hidden_corner_of_a_checked_cloth_is_found(corner: tuple[int, int], start: float, extent: float):
    at = torch.stack([ROW, COLUMN], -1).view(-1, 2).numpy()
    inside = torch.from_numpy(Wedge(corner, start, extent).holds(at)).view(HEIGHT, WIDTH)
    structure = parted(torch.where(inside[..., None], checks(7), wood()))
    assert structure is not None and structure.parts.max() == 1
    same = (structure.parts == structure.parts[-1]) == (inside[HOLE] == inside[HOLE][-1]).numpy()
    assert same.mean() > 0.96


@pytest.mark.parametrize(
    "image", [checks(7), wood(), torch.full((HEIGHT, WIDTH, 3), 0.4)], ids=["pattern", "grain", "plain"]
)  # fmt: skip
def test_one_thing_alone_is_not_parted(image: Tensor):
    assert parted(image) is None


def test_three_things_are_three_parts():
    """A floor, a rug to the right of column 60, and a plain thing above row 40 there."""
    thing = torch.tensor([0.1, 0.35, 0.3]).expand(HEIGHT, WIDTH, 3)
    truth = torch.where(COLUMN < 60, 0, torch.where(ROW < 44, 1, 2))
    image = torch.where((truth == 0)[..., None], wood(), torch.where((truth == 1)[..., None], thing, checks(7)))
    structure = parted(image)
    assert structure is not None and structure.parts.max() == 2
    for thing in range(3):
        there = structure.parts[truth[HOLE].numpy() == thing]
        assert (there == np.bincount(there).argmax()).mean() > 0.94


def test_what_a_wedge_tells_is_the_entropy_that_it_takes_away():
    random = np.random.default_rng(0)
    at = random.integers(0, 60, (500, 2))
    colors = (at[:, 1] > 30) * 3 + random.integers(0, 4, 500)
    gain, (corner, start, extent) = _best_at([30.0, 30.0], colors, at, 64)
    inside = Wedge(corner, start, extent).holds(at)

    def nats(colors: np.ndarray) -> float:
        share = np.bincount(colors, minlength=COLORS) / len(colors)
        return -len(colors) * sum(p * np.log(p) for p in share if p > 0)

    assert gain == pytest.approx(nats(colors) - nats(colors[inside]) - nats(colors[~inside]))
    for other in (Wedge(corner, start + 0.1, extent), Wedge(corner, start, extent - 0.1)):
        assert nats(colors[other.holds(at)]) + nats(colors[~other.holds(at)]) > nats(colors) - gain


def test_too_little_around_tells_nothing():
    at = np.argwhere(np.ones((10, 10), bool))
    assert best_wedge(np.repeat([0, 1], 50), at, at) is None
    assert propagate_structure(checks(7).permute(2, 0, 1), HOLE, torch.zeros_like(HOLE)) is None


def test_shade_weighs_less_than_colour():
    around = torch.ones(HEIGHT, WIDTH, dtype=torch.bool).numpy()
    tones = torch.rand(HEIGHT, WIDTH, 1, generator=torch.Generator().manual_seed(0))
    shaded = torch.where((COLUMN < 60)[..., None], torch.tensor([0.9, 0.3, 0.2]), torch.tensor([0.2, 0.6, 0.9]))
    colors = _counted_colors((shaded * (0.4 + 0.6 * tones)).permute(2, 0, 1), around)
    assert not set(colors[:, :60].ravel()) & set(colors[:, 60:].ravel())


def test_pieces_come_from_the_right_side_of_an_edge():
    """A crumpled cloth, no two pieces of which fit, would be cut off at its hidden corner."""
    generator = torch.Generator().manual_seed(1)
    bent = torch.randn(1, 1, 8, 9, generator=generator)
    bent = 3 * torch.nn.functional.interpolate(bent, (HEIGHT, WIDTH), mode="bicubic")[0, 0]
    inside = (ROW > 40) & (COLUMN > 50)
    image = torch.where(inside[..., None], checks(9, bent), wood())
    wrong = []
    for weight in (0.0, OffsetConfig().structure_weight):
        config = OffsetConfig(structure_weight=weight)
        filled = complete_by_offsets(torch.where(HOLE[..., None], 0.0, image), HOLE, ~HOLE, config)
        is_wood = (filled[..., 0] < 0.75) & (filled[..., 2] < 0.4)
        wrong.append(float((is_wood == inside)[HOLE].float().mean()))
    assert wrong[0] > 0.15 and wrong[1] < 0.4 * wrong[0]


def test_what_is_like_a_part_is_told_far_from_the_hole_too():
    inside = (ROW > 40) & (COLUMN > 50)
    structure = parted(torch.where(inside[..., None], checks(7), wood()))
    assert structure is not None
    cloth = int(np.bincount(structure.parts[inside[HOLE].numpy()]).argmax())
    assert structure.likeness[cloth, 100:108, 110:128].min() > 0.9 and structure.likeness[cloth, :12, :20].max() < 0.1
    at, offsets = HOLE.nonzero().numpy(), np.array([[60, 40], [-20, -50]])
    expected = [
        1 - structure.likeness[structure.parts[0], at[0, 0] + row, at[0, 1] + column] for row, column in offsets
    ]
    assert structure.mismatch(at[None] + offsets[:, None])[:, 0].tolist() == expected
