from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.scenes.tiny_scenes import TinyScene
from unscene.scenes.load import load_scene

OBJECT = torch.zeros(24, 32, dtype=torch.bool)
OBJECT[:12, :8] = True


def load_masks(tiny: TinyScene, **options) -> torch.Tensor:
    scene = load_scene(tiny.root, **options)
    assert scene.masks is not None
    return scene.masks


@pytest.mark.parametrize("folder", ["masks", "seg", "label", "images_4/label", "images/label"])
def test_folders_that_are_searched(tiny: TinyScene, folder: str) -> None:
    tiny.nerfstudio()
    tiny.masks(folder)
    assert (load_masks(tiny) == OBJECT).all()


def test_a_folder_of_the_callers(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks("masks", white=0)
    tiny.masks("../elsewhere")
    assert (load_masks(tiny, masks=tiny.root.parent / "elsewhere") == OBJECT).all()


def test_the_labels_beside_down_scaled_photos_come_first(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.photos("images_4", size=(8, 6))
    tiny.masks("images_4/label", size=(8, 6))
    tiny.masks("masks", white=0)
    scene = load_scene(tiny.root, scale=4)
    assert scene.masks is not None and scene.masks[3].nonzero().tolist() == [[y, x] for y in range(3) for x in range(2)]
    assert scene.notes == ("masks are read from images_4/label/, not from masks/",)


@pytest.mark.parametrize("pattern", ["{stem}.jpg", "{name}.png"], ids=["stem", "colmap"])
def test_names_that_match(tiny: TinyScene, pattern: str) -> None:
    tiny.nerfstudio()
    tiny.masks(names=[pattern.format(stem=name[:-4], name=name) for name in tiny.names])
    scene = load_scene(tiny.root)
    assert scene.masks is not None and (scene.masks == OBJECT).all() and scene.notes == ()


def test_other_names_pair_by_order(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    names = [f"{i}.png" for i in range(7, 13)]
    tiny.masks(names=names[:5])
    tiny.masks(names=names[5:], white=0)
    scene = load_scene(tiny.root)
    assert scene.masks is not None and scene.masks.flatten(1).any(1).tolist() == [True] * 5 + [False]
    assert scene.notes == ("masks/: masks are named differently from the photos (7.png, 000.png); paired by order",)


def test_masks_of_0_and_1(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks(white=1)
    scene = load_scene(tiny.root)
    assert scene.masks is not None and (scene.masks == OBJECT).all()
    assert scene.notes == ("masks/: masks hold 0 and 1, not 0 and 255; 1 is read as white",)


def test_the_threshold_is_128(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks(white=127, names=tiny.names[:3])
    tiny.masks(white=128, names=tiny.names[3:])
    assert load_masks(tiny).flatten(1).any(1).tolist() == [False] * 3 + [True] * 3


@pytest.mark.parametrize("size", [(64, 48), (16, 12), (32, 25), (64, 49)])
def test_other_resolutions_are_resized(tiny: TinyScene, size: tuple[int, int]) -> None:
    tiny.nerfstudio()
    tiny.masks(size=size)
    assert (load_masks(tiny) != OBJECT).sum((1, 2)).max() <= 8  # at most one row of the object


def test_masks_follow_the_scale(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks()
    assert (load_masks(tiny, scale=4) == OBJECT[::4, ::4]).all()


def test_coloured_labels_count_as_white(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    colour = np.zeros((24, 32, 3), np.uint8)
    colour[:12, :8] = (0, 0, 200)
    for name in tiny.names:
        tiny.array(f"masks/{name}", colour)
    assert (load_masks(tiny) == OBJECT).all()


def test_held_out_views_may_lack_a_mask(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks(names=tiny.names[1:])
    masks = load_masks(tiny, holdout=8)
    assert not masks[0].any() and (masks[1:] == OBJECT).all()


def test_a_view_without_the_object(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks()
    tiny.masks(names=tiny.names[2:3], white=0)
    assert load_masks(tiny).flatten(1).any(1).tolist() == [True, True, False, True, True, True]


def test_nerfstudio_mask_paths_mean_the_opposite(tiny: TinyScene) -> None:
    tiny.photos()
    content = tiny.transforms()
    for frame, name in zip(content["frames"], tiny.names, strict=True):
        frame["mask_path"] = f"ignored/{name}"
        tiny.array(f"ignored/{name}", np.where(OBJECT.numpy(), 0, 255).astype(np.uint8))
    tiny.json(content)
    scene = load_scene(tiny.root)
    assert scene.masks is not None and (scene.masks == OBJECT).all()
    assert scene.notes == ("masks are the frames' mask_path, in which black means ignored: black is removed",)


def test_inverted_masks_are_noted(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    for name in tiny.names:
        tiny.array(f"masks/{name}", np.where(OBJECT.numpy(), 0, 255).astype(np.uint8))
    assert load_scene(tiny.root).notes == (
        "masks/: masks cover 88% of the photos; invert them if that is what to keep",
    )
