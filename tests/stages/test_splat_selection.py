"""Which Gaussians are the object: their weights inside masks against weights drawn one by one, and what is refused."""

from __future__ import annotations

import pytest
import torch

from tests.box_scene import BoxScene
from tests.splat_files.random_gaussians import random_gaussians
from tests.splat_room import room_gaussians
from unscene.fields.splat_raster import SplatCamera, composite
from unscene.geometry.masks import dilate
from unscene.stages.method_error import MethodError
from unscene.stages.splat_selection import RenderedWeights, rendered_weights, select_object

pytestmark = pytest.mark.usefixtures("one_thread")


def test_weights_are_those_of_the_picture(room: BoxScene) -> None:
    """Each Gaussian's own channel, drawn and summed inside the masks and everywhere."""
    scene, gaussians = room.scene, random_gaussians(12, 1)
    assert scene.masks is not None
    found = rendered_weights(gaussians, scene.cameras, torch.tensor([1, 4]), scene.masks)
    inside, total = torch.zeros(12), torch.zeros(12)
    for view in (1, 4):
        camera = SplatCamera.of(scene.cameras, view)
        for pair in torch.arange(12).split(2):
            drawn = composite(gaussians, camera, torch.eye(12)[:, pair]).image
            inside[pair] += drawn[scene.masks[view]].sum(0)
            total[pair] += drawn.sum((0, 1))
    assert total.max() > 5
    torch.testing.assert_close(found.inside, inside, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found.total, total, atol=1e-3, rtol=1e-4)
    assert not any(tensor.requires_grad for tensor in gaussians.tensors)


def test_the_box_is_selected_whole_and_the_walls_are_not(room: BoxScene) -> None:
    gaussians, is_box = room_gaussians(room)
    scene = room.scene
    assert scene.masks is not None
    masks = torch.cat([dilate(mask[None], 1) for mask in scene.masks])  # Gaussians are wider than the box
    weights = rendered_weights(gaussians, scene.cameras, scene.train, masks)
    selected = select_object(weights, masks)
    assert (weights.total[is_box] < 0.5).float().mean() > 0.3  # the far sides, which are hardly drawn
    assert selected[is_box].float().mean() > 0.97
    assert selected[~is_box].float().mean() < 0.15  # those that are seen beside it in no view


def test_masks_that_select_nothing_or_everything_are_refused(room: BoxScene) -> None:
    gaussians, _ = room_gaussians(room)
    scene = room.scene
    assert scene.masks is not None
    for masks, what in ((torch.zeros_like(scene.masks), "cover Gaussians"), (scene.masks | True, "leave something")):
        weights = rendered_weights(gaussians, scene.cameras, scene.train, masks)
        with pytest.raises(MethodError, match=what) as caught:
            select_object(weights, masks)
        assert f"{len(gaussians):,}" in str(caught.value)


def test_what_is_hardly_drawn_is_judged_by_where_it_is() -> None:
    weights = RenderedWeights(
        inside=torch.tensor([9.0, 2.0, 0.01, 0.2, 0.0]), total=torch.tensor([10.0, 10.0, 0.1, 0.2, 0.0]),
        centred=torch.tensor([0.0, 1.0, 0.9, 0.2, 0.8]),
    )  # fmt: skip
    assert select_object(weights, torch.ones(1, 1, 1)).tolist() == [True, False, True, False, True]
