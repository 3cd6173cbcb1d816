"""Completing images with shifted pieces of themselves."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from unscene.priors.exemplar.offset_completion import (
    OffsetConfig,
    Pieces,
    _expanded,
    choose_pieces,
    complete_by_offsets,
    frequent_pieces,
)
from unscene.priors.exemplar.patch_matching import NothingToCopyError


def tiles(height: int, width: int, period: int = 10) -> Tensor:
    """A pattern of dots and bars that repeats every ``period`` pixels, H W 3."""
    v, u = np.mgrid[0:height, 0:width] % period / period
    pattern = np.stack([(u > 0.6), np.hypot(u - 0.3, v - 0.5) < 0.25, (v > 0.8)], -1)
    return torch.from_numpy(0.15 + 0.7 * pattern).float()


def cloth_on_wood(height: int = 96, width: int = 120) -> tuple[Tensor, Tensor]:
    """A checked cloth with a dark hem on streaky wood, H W 3, and where the cloth lies, H W bool."""
    generator = torch.Generator().manual_seed(0)
    streaks = torch.rand(height, 1, generator=generator) * 0.15 + torch.rand(height, width, generator=generator) * 0.02
    wood = torch.stack([0.55 + streaks, 0.35 + streaks, 0.2 + streaks], -1)
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    checks = 0.5 * (row // 4 % 2).float() + 0.5 * (column // 4 % 2).float()
    cloth = torch.stack([0.9 - 0.1 * checks, 0.9 - 0.7 * checks, 0.9 - 0.7 * checks], -1)
    inside = (row >= 32) & (column >= 48)
    hem = inside & ~((row >= 34) & (column >= 50))
    image = torch.where(inside[..., None], cloth, wood)
    return torch.where(hem[..., None], torch.tensor([0.1, 0.1, 0.4]), image), inside


def box(height: int, width: int, rows: slice, columns: slice) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


def test_a_repeating_pattern_runs_on_at_its_period():
    image, hole = tiles(80, 96), box(80, 96, slice(28, 56), slice(36, 66))
    filled = complete_by_offsets(torch.where(hole[..., None], 0.5, image), hole, ~hole)
    assert torch.equal(filled[~hole], image[~hole])
    assert (filled - image)[hole].abs().mean() < 0.01
    pieces = frequent_pieces(image.permute(2, 0, 1), ~hole, OffsetConfig())
    assert (pieces.turns[:8] == 1).all() and (pieces.shifts[:8] % 10 == 0).all()


def test_what_looks_the_same_upside_down_tells_its_own_hidden_part():
    """A medallion that is there once: nothing of it recurs but by half a turn about its middle."""
    row, column = torch.meshgrid(torch.arange(90.0) - 44.5, torch.arange(110.0) - 54.5, indexing="ij")
    angle, far = torch.atan2(row, column), torch.hypot(row, column)
    petals = [torch.sin(far / (3 + part) + 2 * angle + part) for part in range(3)]  # two arms: half a turn, and no less
    medallion = 0.5 + 0.4 * torch.stack(petals, -1)
    image = torch.where((far < 38)[..., None], medallion, torch.tensor([0.6, 0.4, 0.25]))
    hole = box(90, 110, slice(50, 74), slice(60, 84))
    wrong = []
    for turned in (0, OffsetConfig().turned):
        config = OffsetConfig(turned=turned)
        filled = complete_by_offsets(torch.where(hole[..., None], 0.0, image), hole, ~hole, config)
        wrong.append(float((filled - image)[hole].abs().mean()))
    assert wrong[0] > 0.1 and wrong[1] < 0.1 * wrong[0]


def test_half_turns_count_only_where_they_are_as_frequent_as_offsets():
    """Of what recurs at one offset patches are alike upside down, too, but each about another middle."""
    half = torch.rand(3, 60, 35, generator=torch.Generator().manual_seed(0))
    image, known = torch.cat([half, half], 2), ~box(60, 70, slice(20, 30), slice(24, 36))
    pieces = frequent_pieces(image, known, OffsetConfig())
    assert (abs(pieces.shifts[0]) == (0, 35)).all() and (pieces.turns > 0).all()
    assert (frequent_pieces(image, known, OffsetConfig(turned_share=0)).turns < 0).sum() == OffsetConfig().turned


def test_half_turns_lead_to_the_same_places_at_twice_the_size():
    """Of each pixel that was one of four all four come from the four that its source was, turned."""
    pieces = Pieces(np.array([1, -1]), np.array([[3, -2], [11, 9]]))
    at = np.array([[4, 5]])
    (shifted,), (turned,) = pieces.sources(at)
    fine = np.array([[8, 10], [8, 11], [9, 10], [9, 11]])
    first, second = pieces.doubled().sources(fine)
    assert (first == fine + 2 * (shifted - at)).all()
    assert (second == 2 * turned + 1 - (fine - 2 * at)).all()
    chosen = np.array([0, 1, 1, 0])
    assert (pieces.source_of(fine, chosen) == pieces.sources(fine)[chosen, np.arange(4)]).all()


def test_a_hidden_corner_is_where_its_two_edges_meet():
    """What completing patch by patch does not find: both hems run on straight until they meet."""
    image, inside = cloth_on_wood()
    hole = box(96, 120, slice(20, 56), slice(36, 74))
    filled = complete_by_offsets(torch.where(hole[..., None], 0.5, image), hole, ~hole)
    is_wood = (filled[..., 0] - filled[..., 2] > 0.25) & (filled[..., 0] - filled[..., 1] < 0.3)
    assert (is_wood == ~inside)[hole].float().mean() > 0.95
    assert (filled - image)[hole].abs().mean() < 0.08


def test_a_rug_runs_on_where_a_floor_would_show_fewer_seams():
    """Knotted by hand, no two pieces of it fit: a plain floor has one seam, and matches nothing around."""
    row, column = torch.meshgrid(torch.arange(100.0), torch.arange(130.0), indexing="ij")
    generator = torch.Generator().manual_seed(0)
    bent = 2.5 * torch.nn.functional.interpolate(
        torch.randn(1, 2, 6, 8, generator=generator), (100, 130), mode="bicubic"
    )  # fmt: skip
    knots = torch.sin((row + bent[0, 0]) * 0.85).sign() * torch.sin((column + bent[0, 1]) * 0.85).sign()
    rug = (0.5 + 0.35 * knots)[..., None] * torch.tensor([1.0, 0.4, 0.3])
    floor = torch.tensor([0.6, 0.4, 0.25]) + 0.02 * torch.rand(100, 130, 1, generator=generator)
    inside = (row >= 20) & (column >= 20)
    image = torch.where(inside[..., None], rug, floor)
    hole = box(100, 130, slice(40, 76), slice(50, 90))
    laid = []
    for weight in (0.0, OffsetConfig().context_weight):
        config = OffsetConfig(context_weight=weight)
        filled = complete_by_offsets(torch.where(hole[..., None], 0.0, image), hole, ~hole, config)
        laid.append(((filled - floor).abs().amax(-1) < 0.1)[hole].float().mean())
    assert laid[0] > 0.3 and laid[1] < 0.6 * laid[0]


def test_large_holes_are_cut_at_a_smaller_size_and_copied_at_full_size():
    image, hole = tiles(160, 192, 20), box(160, 192, slice(50, 110), slice(60, 126))
    config = OffsetConfig(most_pixels=1200)  # twice halved
    filled = complete_by_offsets(torch.where(hole[..., None], 0.5, image), hole, ~hole, config)
    assert (filled - image)[hole].abs().mean() < 0.02
    colors = {tuple(color) for color in image[~hole].tolist()}
    assert all(tuple(color) in colors for color in filled[hole].tolist())  # copied, nothing blended


def test_what_is_expected_decides_between_equal_seams():
    """Red beside the hole on one side, blue on the other: the border falls where it is expected."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(60, 80, 3, generator=generator) * 0.05
    image[:, :40, 0] += 0.8
    image[:, 40:, 2] += 0.8
    hole = box(60, 80, slice(15, 45), slice(25, 55))
    for border in (30, 50):
        expected = torch.zeros_like(image)
        expected[:, :border, 0], expected[:, border:, 2] = 0.8, 0.8
        expected[:20] = torch.nan  # nothing is expected there
        config = OffsetConfig(structure_weight=0.0)  # an edge that runs on would decide, too
        filled = complete_by_offsets(image, hole, ~hole, config, expected=expected)
        rows = filled[25:40, 25:55]
        assert ((rows[..., 0] > 0.5) == (torch.arange(25, 55) < border)).float().mean() > 0.9
        assert filled.isfinite().all()


def test_only_the_source_is_copied_and_nothing_else_matters():
    image, hole = tiles(64, 72), box(64, 72, slice(24, 40), slice(28, 46))
    ignored = box(64, 72, slice(4, 20), slice(4, 20))
    source = ~hole & ~ignored
    filled = complete_by_offsets(image, hole, source)
    refilled = complete_by_offsets(torch.where(source[..., None], image, torch.tensor([9.0, -9.0, 9.0])), hole, source)
    assert torch.equal(filled[hole], refilled[hole])
    assert torch.equal(filled[ignored], image[ignored])


def test_moves_are_the_best_of_all():
    """Against trying every subset of eight nodes."""
    random = np.random.default_rng(0)
    first, second = np.array([(a, b) for a in range(8) for b in range(a + 1, 8) if random.random() < 0.5]).T
    for _ in range(60):
        keep, move = random.random(8), 2 * random.random(8)
        first_moves, second_moves = random.random((2, len(first)))
        stay = random.random(len(first)) * (first_moves + second_moves)

        def cost(moved, keep=keep, move=move, stay=stay, first_moves=first_moves, second_moves=second_moves):
            a, b = moved[first], moved[second]
            pairs = stay * (~a & ~b) + first_moves * (a & ~b) + second_moves * (~a & b)
            return np.where(moved, move, keep).sum() + pairs.sum()

        best = min(cost(np.array(choice)) for choice in itertools.product([False, True], repeat=8))
        moved = _expanded(
            keep - move, first, second, stay=stay, first_moves=first_moves, second_moves=second_moves
        )  # fmt: skip
        assert cost(moved) == pytest.approx(best, abs=0.02)  # capacities are whole thousandths


def test_every_choice_leads_to_something_visible():
    image, hole = tiles(40, 48), box(40, 48, slice(10, 30), slice(14, 34))
    pixels = image.permute(2, 0, 1)
    pieces = frequent_pieces(pixels, ~hole, OffsetConfig())
    assert (pieces.turns < 0).any()
    chosen = choose_pieces(pixels, hole, ~hole, pieces, OffsetConfig(), None)
    assert torch.equal(chosen >= 0, hole)
    there = pieces.source_of(hole.nonzero().numpy(), chosen[hole].numpy())
    assert not hole[there[:, 0], there[:, 1]].any()


def test_without_a_hole_nothing_changes_and_without_a_source_it_says_so():
    image = tiles(30, 30)
    nothing, everything = torch.zeros(30, 30, dtype=torch.bool), torch.ones(30, 30, dtype=torch.bool)
    assert torch.equal(complete_by_offsets(image, nothing, ~nothing), image)
    with pytest.raises(NothingToCopyError, match="none"):
        complete_by_offsets(image, everything, nothing)
    narrow = box(30, 30, slice(0, 30), slice(0, 4))  # patches there, none of them far enough apart to recur
    with pytest.raises(NothingToCopyError, match="recur"):
        complete_by_offsets(
            image, ~narrow & box(30, 30, slice(0, 8), slice(0, 30)), narrow & box(30, 30, slice(0, 4), slice(0, 30))
        )


def test_low_contrast_moves_are_exact_too() -> None:
    """One node gains a hundredth, a hundred lose less than a thousandth: only the one moves."""
    keep, move = np.zeros(101), np.full(101, 4e-4)
    move[0] = -0.01
    nothing = np.zeros(0, int)
    moved = _expanded(
        keep - move, nothing, nothing, stay=np.zeros(0), first_moves=np.zeros(0), second_moves=np.zeros(0)
    )  # fmt: skip
    assert moved.sum() == 1 and moved[0]


def test_a_narrow_frame_is_not_halved_away() -> None:
    """What is visible is five pixels wide: at half the size no patch of it would be left."""
    image, hole = tiles(100, 100), box(100, 100, slice(5, 95), slice(5, 95))
    filled = complete_by_offsets(torch.where(hole[..., None], 0.5, image), hole, ~hole, OffsetConfig(most_pixels=2500))
    colors = {tuple(color) for color in image[~hole].tolist()}
    assert all(tuple(color) in colors for color in filled[hole].tolist())
