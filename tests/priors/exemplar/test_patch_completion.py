"""Completing images with their own patches."""

import numpy as np
import pytest
import torch
from torch import Tensor

from unscene.priors.exemplar.patch_completion import CompletionConfig, complete
from unscene.priors.exemplar.patch_matching import NothingToCopyError, PatchMatcher, least, patches_at


def tiles(height: int, width: int, period: int = 10) -> Tensor:
    """A pattern of dots and bars that repeats every ``period`` pixels, H W 3."""
    v, u = np.mgrid[0:height, 0:width] % period / period
    pattern = np.stack([(u > 0.6), np.hypot(u - 0.3, v - 0.5) < 0.25, (v > 0.8)], -1)
    return torch.from_numpy(0.15 + 0.7 * pattern).float()


def box(height: int, width: int, rows: slice, columns: slice) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


def test_a_repeating_pattern_runs_on():
    image, hole = tiles(80, 96), box(80, 96, slice(28, 56), slice(36, 66))
    filled = complete(torch.where(hole[..., None], 0.5, image), hole, ~hole)
    assert torch.equal(filled[~hole], image[~hole])
    assert (filled - image)[hole].abs().mean() < 0.01


def test_an_edge_runs_straight_through():
    """Above it one texture, below it another: no smear between them, and the edge stays where it is."""
    image = torch.rand(80, 100, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    image[40:] += 0.8
    hole = box(80, 100, slice(24, 56), slice(36, 66))
    filled = complete(image, hole, ~hole)
    assert (filled[25:38, 36:66] < 0.2).all() and (filled[42:55, 36:66] > 0.7).all()


def test_what_lies_under_the_hole_and_under_ignored_pixels_has_no_influence():
    image, hole = tiles(64, 72), box(64, 72, slice(24, 40), slice(28, 46))
    ignored = box(64, 72, slice(10, 20), slice(10, 20))
    source = ~hole & ~ignored
    filled = complete(image, hole, source)
    refilled = complete(torch.where(source[..., None], image, torch.tensor([9.0, -9.0, 9.0])), hole, source)
    assert torch.equal(filled[hole], refilled[hole])
    assert torch.equal(filled[ignored], image[ignored])


def test_only_the_source_is_copied():
    """Half of the surroundings are red; told not to use them, the fill has no red."""
    image = torch.full((60, 60, 3), 0.3)
    image[:, :20] = torch.tensor([1.0, 0.0, 0.0])
    hole, red = box(60, 60, slice(20, 40), slice(22, 40)), box(60, 60, slice(0, 60), slice(0, 20))
    filled = complete(image, hole, ~hole & ~red)
    torch.testing.assert_close(filled[hole], torch.full_like(filled[hole], 0.3))


def test_small_surroundings_are_matched_by_smallerpatches_at():
    image, hole = tiles(40, 40), box(40, 40, slice(0, 40), slice(5, 40))
    assert complete(image, hole, ~hole).isfinite().all()


def test_nothing_to_copy_is_said():
    image, hole = tiles(40, 40), box(40, 40, slice(0, 40), slice(2, 40))
    with pytest.raises(NothingToCopyError, match="3 x 3"):
        complete(image, hole, ~hole)


def test_an_island_among_ignored_pixels_is_filled():
    image, hole = tiles(60, 60), box(60, 60, slice(40, 46), slice(40, 46))
    ignored = box(60, 60, slice(30, 56), slice(30, 56)) & ~hole
    filled = complete(image, hole, ~hole & ~ignored)
    assert filled.isfinite().all() and (filled[hole] >= 0).all() and (filled[hole] <= 1).all()


@pytest.mark.parametrize("guided", [False, True])
def test_nearest_patches_against_a_slow_search(guided):
    """With all components the matrix product finds what comparing every pair finds, distances included."""
    generator = torch.Generator().manual_seed(3)
    image, queries = torch.rand(3, 20, 24, generator=generator), torch.rand(17, 27, generator=generator)
    at_large, weight = torch.rand(3, 20, 24, generator=generator), 3.0 if guided else 0.0
    everywhere = torch.ones(20, 24, dtype=torch.bool)
    matcher = PatchMatcher(image, everywhere, 3, beside=at_large * (9 * weight) ** 0.5 if guided else None)
    at, sources = torch.arange(40, 57), patches_at(image, 3, matcher.centers)
    guides = at_large.flatten(1).T
    apart = weight * (guides[at][:, None] - guides[matcher.centers][None]).square().mean(-1)
    slow = (queries[:, None] - sources[None]).square().mean(-1) + apart
    centers, distance = matcher.nearest(queries, at)
    assert matcher.basis.shape == (27, 27)
    assert torch.equal(centers, matcher.centers[slow.argmin(1)])
    torch.testing.assert_close(distance, slow.amin(1), rtol=1e-4, atol=1e-5)
    known = (torch.rand(17, 27, generator=generator) > 0.4).float()
    partly = ((queries[:, None] - sources[None]).square() * known[:, None]).sum(-1)
    partly = partly + apart * known.sum(1, keepdim=True)
    assert torch.equal(matcher.nearest_by_known(queries, known, at), matcher.centers[partly.argmin(1)])


def test_a_guide_says_where_things_belong_and_copies_say_what_they_look_like():
    """An edge that runs aside inside the hole: only the guide, smooth as it is, can know."""
    texture = torch.rand(96, 100, 3, generator=torch.Generator().manual_seed(0)) * 0.2
    image = texture.clone()
    image[:, 50:] += 0.7
    hole = box(96, 100, slice(24, 96), slice(26, 74))
    guide = torch.full_like(image, 0.1)
    guide[:, 50:] = 0.8
    guide[40:, 50:64] = 0.1  # further down the dark side reaches further
    alone, guided = complete(image, hole, ~hole), complete(image, hole, ~hole, guide=guide)
    moved = (slice(66, 94), slice(52, 59))
    assert (alone[moved] > 0.6).all() and (guided[moved] < 0.3).all()
    assert (guided[66:94, 69:73] > 0.6).all()
    assert 0.7 < guided[moved].std() / texture[moved].std() < 1.3  # as rough as what it was copied from
    elsewhere = torch.where(hole[..., None], guide, torch.rand_like(guide))
    assert torch.equal(complete(image, hole, ~hole, guide=elsewhere), guided)


def test_a_patch_is_what_slicing_gives():
    image = torch.rand(3, 9, 11, generator=torch.Generator().manual_seed(1))
    (patch,) = patches_at(image, 5, torch.tensor([4 * 11 + 6]))
    assert torch.equal(patch.view(3, 5, 5), image[:, 2:7, 4:9])


def test_sources_are_bounded():
    image = tiles(60, 60)
    matcher = PatchMatcher(image.permute(2, 0, 1), torch.ones(60, 60, dtype=torch.bool), 9, most_sources=100)
    assert len(matcher.centers) == 100
    hole = box(60, 60, slice(20, 40), slice(20, 40))
    assert complete(image, hole, ~hole, CompletionConfig(most_sources=100)).isfinite().all()


@pytest.mark.parametrize("columns", [1, 255, 256, 512, 700])
def test_the_least_of_rows_is_what_a_search_of_whole_rows_finds(columns):
    generator = torch.Generator().manual_seed(columns)
    cost = torch.randint(0, 40, (50, columns), generator=generator).float()  # with ties, of which the first counts
    cost[7] = torch.inf
    cost[8, columns - 1] = -1
    lowest, place = least(cost)
    assert torch.equal(lowest, cost.min(1).values)
    assert place.tolist() == [row.index(min(row)) for row in cost.tolist()]
