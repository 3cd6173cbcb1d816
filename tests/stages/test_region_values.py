"""Values of a region's pixels: what is put in comes out where it belongs, and nothing else is kept."""

from __future__ import annotations

import torch

from unscene.stages.region_values import RegionValues


def test_values_lie_where_they_belong_and_are_replaced_view_by_view() -> None:
    region, images = torch.rand(3, 6, 7) < 0.4, torch.rand(3, 6, 7, 3)
    region[1] = False  # a view without any
    stored = RegionValues(region, images[region])
    for view in range(3):
        shown = stored.on(torch.zeros(6, 7, 3), view)
        assert torch.equal(shown, torch.where(region[view][..., None], images[view], 0))
    before = stored.replace(2, images[0][region[2]])
    assert torch.equal(before, images[2][region[2]])
    assert torch.equal(stored.on(images[2], 2), torch.where(region[2][..., None], images[0], images[2]))
    assert torch.equal(stored.on(images[0], 0), images[0])


def test_a_checkpoint_holds_the_values_and_nothing_else() -> None:
    region, depths = torch.rand(2, 6, 7) < 0.4, torch.rand(2, 6, 7)
    stored, other = RegionValues(region, depths[region]), RegionValues(region, torch.zeros(int(region.sum())))
    assert [tensor.numel() for tensor in stored.state_dict().values()] == [int(region.sum())]
    other.load_state_dict(stored.state_dict())
    assert torch.equal(other.on(torch.zeros(6, 7), 1), torch.where(region[1], depths[1], 0))
