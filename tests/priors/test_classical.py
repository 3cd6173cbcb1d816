"""Inpainting without learnt weights."""

import numpy as np
import pytest
import torch

from unscene.priors.classical import (
    BiharmonicInpainter,
    ExemplarInpainter,
    NavierStokesInpainter,
    ShiftMapInpainter,
    TeleaInpainter,
)
from unscene.priors.inpainter import Inpainter

COPYING = [ExemplarInpainter(), ShiftMapInpainter()]
SMOOTH = [TeleaInpainter(), NavierStokesInpainter(), BiharmonicInpainter()]
ALL = [*COPYING, *SMOOTH]


def inpaint(inpainter: Inpainter, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    return inpainter.inpaint(images, masks, generator=torch.Generator().manual_seed(0))


def box_mask(height: int, width: int, rows: slice, columns: slice) -> torch.Tensor:
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    mask[:, rows, columns] = True
    return mask


@pytest.fixture
def checks() -> torch.Tensor:
    """A checkerboard of 8-pixel squares, lit from one side: 1 80 96 3."""
    v, u = np.mgrid[0:80, 0:96]
    board = np.where((u // 8 + v // 8) % 2, 0.75, 0.25)
    return torch.from_numpy(np.stack([board, 0.8 * board, 0.5 * board], -1)).float()[None]


@pytest.mark.parametrize("inpainter", ALL, ids=lambda i: i.name)
def test_unmasked_pixels_stay_and_what_is_masked_is_ignored(inpainter, checks):
    mask = box_mask(80, 96, slice(30, 50), slice(40, 62))
    filled = inpaint(inpainter, checks, mask)
    assert isinstance(inpainter, Inpainter)
    assert torch.equal(filled[~mask], checks[~mask])
    magenta = torch.tensor([1.0, 0.0, 1.0])
    refilled = inpaint(inpainter, torch.where(mask[..., None], magenta, checks), mask)
    # shift maps of equal cost are chosen between by what OpenCV finds in memory, so equality is for the others
    assert inpainter.name == "shift-map" or torch.equal(refilled, filled)
    assert (refilled - magenta).abs().amax(-1).min() > 0.2


def test_copies_continue_a_periodic_texture_that_smooth_fills_blur(checks):
    mask = box_mask(80, 96, slice(28, 52), slice(36, 66))
    errors = {i.name: (inpaint(i, checks, mask) - checks)[mask].abs().mean().item() for i in ALL}
    assert errors["exemplar"] < 0.02 and errors["shift-map"] < 0.02
    assert errors["telea"] > 0.1 and errors["navier-stokes"] > 0.1


@pytest.mark.parametrize("inpainter", SMOOTH, ids=lambda i: i.name)
def test_smooth_fills_continue_a_gradient(inpainter):
    ramp = torch.linspace(0.2, 0.8, 64).expand(1, 48, 64)[..., None].expand(-1, -1, -1, 3).contiguous()
    mask = box_mask(48, 64, slice(20, 28), slice(28, 36))
    assert (inpaint(inpainter, ramp, mask) - ramp).abs().max() < 0.06


@pytest.mark.parametrize("inpainter", [ExemplarInpainter(), ShiftMapInpainter(rounds=1)], ids=lambda i: i.name)
def test_a_hole_without_enough_surroundings_is_filled_with_a_warning(inpainter):
    images = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.7
    mask = box_mask(64, 64, slice(0, 64), slice(1, 64))
    with pytest.warns(UserWarning, match="Telea filled them"):
        filled = inpaint(inpainter, images, mask)
    assert filled.min() > 0.5  # OpenCV marks what it could not fill with a dark blue


def test_long_crops_are_filled_at_reduced_size(checks):
    mask = box_mask(80, 96, slice(28, 52), slice(36, 66))
    filled = inpaint(ExemplarInpainter(largest_side=48), checks, mask)
    assert torch.equal(filled[~mask], checks[~mask])
    assert (filled - checks)[mask].abs().mean() < 0.2


@pytest.mark.parametrize("inpainter", ALL, ids=lambda i: i.name)
def test_no_hole_and_no_surroundings(inpainter, checks):
    assert torch.equal(inpaint(inpainter, checks, torch.zeros(1, 80, 96, dtype=torch.bool)), checks)
    with pytest.raises(ValueError, match="masked completely"):
        inpaint(inpainter, checks, torch.ones(1, 80, 96, dtype=torch.bool))


class Knowing:
    """A guide that knows the truth, blurred."""

    name = "knowing"

    def __init__(self, truth):
        self.truth = truth

    def expected_fill(self, images, masks, *, generator):
        assert masks.any() and len(images) == 1
        return torch.where(masks[..., None], self.truth.mean((1, 2), keepdim=True), images)


def test_an_exemplar_fill_asks_its_guide(checks):
    mask = box_mask(80, 96, slice(28, 52), slice(36, 66))
    guided = ExemplarInpainter(guide=Knowing(checks))
    assert guided.name == "exemplar guided by knowing"
    assert (inpaint(guided, checks, mask) - checks)[mask].abs().mean() < 0.02
