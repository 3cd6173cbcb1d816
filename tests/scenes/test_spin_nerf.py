"""SPIn-NeRF's folders as published: photos without the object come first by name and are listed in test_label/."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.scenes.tiny_scenes import FOCAL, PRINCIPAL, TinyScene
from unscene.results.truth import read_truth, scene_truth
from unscene.scenes.load import load_scene
from unscene.scenes.scene import SceneError

TRUTH = 2  # of six
NOTE = (
    "2 of 6 photos, listed in {}/test_label/, are without the object: they are held out as the truth, never trained "
    "on; unscene evaluate RUN --truth SCENE compares with them"
)
ZERO_AND_ONE = "images_4/label/: masks hold 0 and 1, not 0 and 255; 1 is read as white"


def publish(tiny: TinyScene, folder: str = "images_4") -> None:
    """Photos in images_4/ alone, poses as LLFF keeps them, masks of 0 and 1."""
    tiny.photos("images_4")
    tiny.llff(size=(128, 96), focal=160.0)
    tiny.masks("images_4/label", names=tiny.names[TRUTH:], white=1)
    tiny.masks(f"{folder}/test_label", names=tiny.names[:TRUTH], white=1)


def held_out(tiny: TinyScene, **options) -> tuple[list[int], list[int]]:
    scene = load_scene(tiny.root, **options)
    return scene.train.tolist(), scene.test.tolist()


@pytest.mark.parametrize("holdout", [0, 2, 8])
@pytest.mark.parametrize("folder", ["images_4", "images", "."])
def test_photos_without_the_object_are_for_testing_alone(tiny: TinyScene, folder: str, holdout: int) -> None:
    if folder == "images":
        tiny.photos("images", size=(128, 96))
    publish(tiny, folder)
    scene = load_scene(tiny.root, scale=4, holdout=holdout)
    assert (scene.train.tolist(), scene.test.tolist()) == ([2, 3, 4, 5], [0, 1])
    assert scene.notes == (NOTE.format(folder).replace("./", ""), ZERO_AND_ONE)
    assert scene.masks is not None and scene.masks[:, :12, :8].all() and scene.masks.sum() == 6 * 12 * 8


def test_the_folder_of_the_truth_in_capitals(tiny: TinyScene) -> None:
    publish(tiny)
    (tiny.root / "images_4" / "test_label").rename(tiny.root / "images_4" / "Test_Label")
    assert held_out(tiny, scale=4) == ([2, 3, 4, 5], [0, 1])


def test_at_another_scale_than_the_masks(tiny: TinyScene) -> None:
    publish(tiny)
    tiny.photos("images", size=(128, 96))
    assert held_out(tiny, scale=1) == held_out(tiny, scale=2) == ([2, 3, 4, 5], [0, 1])


def test_with_a_colmap_model(tiny: TinyScene) -> None:
    publish(tiny)
    tiny.photos("images")
    tiny.colmap("PINHOLE", [*FOCAL, *PRINCIPAL])
    assert held_out(tiny) == ([2, 3, 4, 5], [0, 1])


def test_a_split_of_the_files_never_trains_on_the_truth(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    files = [f"images/{name}" for name in tiny.names]
    tiny.json(tiny.transforms() | {"train_filenames": files[:5], "test_filenames": files[5:]})
    tiny.masks("test_label", names=tiny.names[:TRUTH])
    assert held_out(tiny) == ([2, 3, 4], [0, 1, 5])


def test_masks_of_the_callers(tiny: TinyScene) -> None:
    publish(tiny)
    tiny.masks("../mine", names=tiny.names[TRUTH:], white=255)
    scene = load_scene(tiny.root, scale=4, masks=tiny.root.parent / "mine")
    assert scene.test.tolist() == [0, 1] and scene.masks is not None and scene.masks.flatten(1).any(1).all()


def test_no_masks_but_those_of_the_truth(tiny: TinyScene) -> None:
    """Fitting needs none, and removing says that there are none."""
    tiny.nerfstudio()
    tiny.masks("test_label", names=tiny.names[:TRUTH])
    assert held_out(tiny) == ([2, 3, 4, 5], [0, 1]) and load_scene(tiny.root).masks is None


def test_photos_of_the_truth_without_pose(tiny: TinyScene) -> None:
    tiny.photos()
    tiny.masks()
    tiny.masks("test_label", names=tiny.names[:TRUTH])
    content = tiny.transforms()
    del content["frames"][0]
    tiny.json(content)
    assert held_out(tiny) == ([1, 2, 3, 4], [0])


def test_a_listed_view_that_is_not_there(tiny: TinyScene) -> None:
    """Else the photo that it means would be trained on."""
    publish(tiny)
    tiny.masks("images_4/test_label", names=["truth_a.png"])
    with pytest.raises(SceneError) as caught:
        load_scene(tiny.root, scale=4)
    assert str(caught.value) == (
        "images_4/test_label/: expected files named like the photos without the object, but 1 of 3 fit none: "
        "truth_a.png; rename them like those photos, which must be kept out of training, or take them out if those "
        "photos are not there."
    )


def test_too_few_photos_with_the_object(tiny: TinyScene) -> None:
    """No advice to hold out fewer."""
    tiny.nerfstudio()
    tiny.masks("test_label", names=tiny.names[:4])
    with pytest.raises(SceneError, match=r"got 2 of 6 usable photos \(4 are held out for testing\); add photos\."):
        load_scene(tiny.root)


def test_photos_without_masks_are_not_called_empty(tiny: TinyScene) -> None:
    """Where test_label/ is missing: who adds black masks for the first photos trains on the truth."""
    tiny.nerfstudio()
    tiny.masks(names=tiny.names[TRUTH:])
    with pytest.raises(SceneError, match="Photos taken after the object was gone must not be trained on"):
        load_scene(tiny.root, holdout=0)


@pytest.mark.parametrize("folder", [".", "images_4"])
def test_the_truth_is_read_without_the_other_photos(tiny: TinyScene, folder: str) -> None:
    publish(tiny)
    truth, scene = read_truth(tiny.root / folder, tiny.root / "run"), load_scene(tiny.root, scale=4)
    expected = scene_truth(scene)
    assert truth.images.keys() == truth.masks.keys() == expected.images.keys() == {"000", "001"}
    for stem, image in expected.images.items():
        torch.testing.assert_close(truth.images[stem], image)
        np.testing.assert_array_equal(truth.masks[stem].numpy(), expected.masks[stem].numpy())


def test_masks_of_0_and_1_beside_the_truth(tiny: TinyScene) -> None:
    tiny.photos("images")
    tiny.masks("masks", white=1)
    assert all(mask.sum() == 12 * 8 for mask in read_truth(tiny.root, tiny.root / "run").masks.values())
