from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.scenes.tiny_scenes import FOCAL, PRINCIPAL, TinyScene
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


LATER = [f"{name[:-4]}_mask.png" for name in (f"{view:03}.png" for view in range(6))]  # names of masks beside photos


@pytest.mark.parametrize("folder", ["mask", "labels", "object_mask", "masks_2", "images/masks", "masks/object"])
def test_more_folders_that_are_searched(tiny: TinyScene, folder: str) -> None:
    tiny.nerfstudio()
    tiny.masks(folder)
    assert (load_masks(tiny) == OBJECT).all()


@pytest.mark.parametrize("folder", ["Masks", "SEG", "Images/Label"])
def test_folders_in_capitals(tiny: TinyScene, folder: str) -> None:
    """Where captures come from a system that makes no difference."""
    tiny.photos()
    tiny.colmap("PINHOLE", [*FOCAL, *PRINCIPAL])
    (tiny.root / "images").rename(tiny.root / "Images")
    tiny.masks(folder)
    scene = load_scene(tiny.root)
    assert scene.masks is not None and scene.masks.any((1, 2)).all()
    assert scene.notes == ()


def test_masks_that_are_no_images_are_named(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    (tiny.root / "masks").mkdir()
    assert load_scene(tiny.root).notes == ()
    (tiny.root / "masks" / "000.npy").write_bytes(b"")
    scene = load_scene(tiny.root)
    assert scene.masks is None
    assert scene.notes == ("masks/: no masks, as none of its files is an image: 000.npy; save masks as PNG",)


def test_the_first_folder_whose_names_fit(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks("masks", names=[f"{name}.png" for name in "abcdef"])
    tiny.masks("seg")
    scene = load_scene(tiny.root)
    assert scene.masks is not None and (scene.masks == OBJECT).all()
    assert scene.notes == ("masks are read from seg/, not from masks/",)


@pytest.mark.parametrize("format", ["nerfstudio", "llff"])
@pytest.mark.parametrize(
    "pattern", ["dynamic_mask_{}.png", "{}_mask.png", "{}.mask.png", "{}.png.mask.png", "mask-{}.png"]
)
def test_masks_beside_the_photos(tiny: TinyScene, pattern: str, format: str) -> None:
    tiny.nerfstudio()
    if format == "llff":
        (tiny.root / "transforms.json").unlink()
        tiny.llff()
    tiny.masks("images", names=[pattern.format(name[:-4]) for name in tiny.names])
    scene = load_scene(tiny.root)
    assert len(scene) == 6 and scene.masks is not None and (scene.masks == OBJECT).all()


def test_masks_in_the_scene_folder_beside_the_photos(tiny: TinyScene) -> None:
    tiny.photos(".")
    content = tiny.transforms()
    for frame in content["frames"]:
        frame["file_path"] = frame["file_path"].removeprefix("images/")
    tiny.json(content)
    assert load_scene(tiny.root).masks is None, "a photo is not its own mask"
    tiny.masks(".", names=LATER)
    assert (load_masks(tiny) == OBJECT).all()


def test_other_files_beside_the_photos_are_no_masks(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks("images", names=[f"{name[:-4]}_depth.png" for name in tiny.names])
    tiny.photos("images", names=["mask_of_a_king.png", "000.jpg", "more.png"])
    assert load_scene(tiny.root).masks is None


@pytest.mark.parametrize("folder", [".", "images", "images_4"])
def test_the_callers_folder_may_hold_photos(tiny: TinyScene, folder: str) -> None:
    """Photos and their smaller copies are left out, whatever they are called."""
    tiny.nerfstudio()
    tiny.photos("images_4", size=(8, 6))
    with pytest.raises(ValueError, match="expected a folder with one mask per photo, found none; check the path"):
        load_scene(tiny.root, masks=tiny.root / folder)
    tiny.masks(folder, names=LATER)
    assert (load_masks(tiny, masks=tiny.root / folder) == OBJECT).all()


def test_the_callers_folder_is_the_photos_with_other_extensions(tiny: TinyScene) -> None:
    tiny.names = [name.replace(".png", ".jpg") for name in tiny.names]
    tiny.nerfstudio()
    tiny.masks("images", names=[name.replace(".jpg", ".png") for name in tiny.names])
    assert load_scene(tiny.root).masks is None
    scene = load_scene(tiny.root, masks=tiny.root / "images")
    assert scene.masks is not None and (scene.masks == OBJECT).all() and scene.notes == ()


def test_copies_of_photos_beside_the_masks(tiny: TinyScene) -> None:
    """As annotation tools export them: a photo and its mask, a photo and its mask."""
    tiny.nerfstudio()
    tiny.photos("masks")
    tiny.masks("masks", names=LATER)
    scene = load_scene(tiny.root)
    assert scene.masks is not None and (scene.masks == OBJECT).all() and scene.notes == ()


def test_photos_in_a_subfolder_and_frames_in_any_order(tiny: TinyScene) -> None:
    tiny.photos("images/left")
    content = tiny.transforms()
    for frame in content["frames"]:
        frame["file_path"] = frame["file_path"].replace("images/", "images/left/")
    content["frames"] = [content["frames"][view] for view in (3, 0, 5, 1, 4, 2)]
    tiny.json(content)
    tiny.masks("masks/left")
    tiny.masks("masks/left", names=tiny.names[:1], white=0)
    assert load_masks(tiny).flatten(1).any(1).tolist() == [True, False, True, True, True, True]


def test_frames_in_another_order_than_their_names_are_not_paired_by_order(tiny: TinyScene) -> None:
    tiny.photos()
    content = tiny.transforms()
    content["frames"].reverse()
    tiny.json(content)
    tiny.masks(names=[f"{i}.png" for i in range(7, 13)])
    with pytest.raises(ValueError, match="so that pairing by order would be a guess"):
        load_scene(tiny.root)


@pytest.mark.parametrize("holdout", [0, 5, 8])
def test_a_shifted_count_is_refused_whatever_is_held_out(tiny: TinyScene, holdout: int) -> None:
    tiny.names = [f"{view + 1:03}.png" for view in range(6)]
    tiny.nerfstudio()
    tiny.masks(names=[f"{view:03}.png" for view in range(6)])
    with pytest.raises(ValueError) as caught:
        load_scene(tiny.root, holdout=holdout)
    assert str(caught.value) == (
        "masks/: expected masks numbered like the photos, but 000.png belongs to no photo and 006.png has no mask, "
        "as if one counted from 0 and the other from 1; rename the masks like the photos."
    )


def test_object_folders_are_united(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks("masks/obj_1")
    other = np.zeros((24, 32), np.uint8)
    other[20:, 20:] = 255
    for name in tiny.names:
        tiny.array(f"masks/obj_2/{name}", other)
    scene = load_scene(tiny.root)
    assert scene.masks is not None and (scene.masks == OBJECT | torch.from_numpy(other > 0)).all()
    assert scene.notes == (
        "masks/: the masks of 2 folders are put together: obj_1/, obj_2/; --masks takes one of them",
    )
    assert (load_masks(tiny, masks=tiny.root / "masks" / "obj_1") == OBJECT).all()


def test_one_label_of_several(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    labels = OBJECT.numpy().astype(np.uint8)
    labels[20:, 20:] = 2
    for name in tiny.names:
        tiny.array(f"masks/{name}", labels)
    assert (load_masks(tiny) == torch.from_numpy(labels > 0)).all()
    assert (load_masks(tiny, mask_label=1) == OBJECT).all()
    assert (load_masks(tiny, mask_label=2) == torch.from_numpy(labels == 2)).all()


def test_one_label_of_nerfstudio_masks_is_removed_not_kept(tiny: TinyScene) -> None:
    tiny.photos()
    content = tiny.transforms()
    for frame, name in zip(content["frames"], tiny.names, strict=True):
        frame["mask_path"] = f"labels_of/{name}"
        tiny.array(f"labels_of/{name}", np.where(OBJECT.numpy(), 3, 1).astype(np.uint8))
    tiny.json(content)
    assert (load_masks(tiny, mask_label=3) == OBJECT).all()


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
