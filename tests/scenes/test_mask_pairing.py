"""Which mask belongs to which photo: tables of names as tools write them, rules that hold for any names, and cost."""

from __future__ import annotations

import time

import numpy as np
import pytest

from unscene.scenes.mask_pairing import masks_beside, pair_by_name, pair_by_order
from unscene.scenes.path_names import natural_order, running_numbers
from unscene.scenes.scene import SceneError

PHOTOS = [f"images/frame_{i:05}.png" for i in range(1, 13)]
NUMBERED = [f"images/{i:05}.png" for i in range(1, 13)]
CAMERAS = [f"images/{camera}/{i:03}.jpg" for camera in ("left", "right") for i in range(3)]


def shuffled(names: list[str]) -> list[str]:
    return [names[i] for i in np.random.default_rng(0).permutation(len(names))]


def names(pattern: str, numbers: range | list[int]) -> list[str]:
    return [pattern.format(i) for i in numbers]


ONE_EACH = {  # masks in the order of their photos
    "same name": (names("frame_{:05}.png", range(1, 13)), PHOTOS),
    "other extension": (names("frame_{:05}.jpg", range(1, 13)), PHOTOS),
    "upper case": (names("FRAME_{:05}.PNG", range(1, 13)), PHOTOS),
    "another form of Unicode": (["cafe\u0301.png", "the\u0301.png"], ["images/caf\u00e9.png", "images/th\u00e9.png"]),
    "COLMAP": (names("frame_{:05}.png.png", range(1, 13)), PHOTOS),
    "COLMAP, photos that differ in the extension": (["a.jpg.png", "a.png.png"], ["images/a.jpg", "images/a.png"]),
    "suffix": (names("frame_{:05}_mask.png", range(1, 13)), PHOTOS),
    "prefix": (names("mask_frame_{:05}.png", range(1, 13)), PHOTOS),
    "dot": (names("frame_{:05}.mask.png", range(1, 13)), PHOTOS),
    "dot and the photo's extension": (names("frame_{:05}.png.mask.png", range(1, 13)), PHOTOS),
    "instant-ngp": (names("dynamic_mask_frame_{:05}.png", range(1, 13)), PHOTOS),
    "prefix and suffix of no known word": (names("x7-frame_{:05}~v2.png", range(1, 13)), PHOTOS),
    "letters": (["a_seg.png", "b_seg.png", "c_seg.png"], ["images/a.jpg", "images/b.jpg", "images/c.jpg"]),
    "numbers within numbers": (names("m{}.png", range(1, 121)), names("images/{}.png", range(1, 121))),
    "a single one": (["only_mask.png"], ["images/only.jpg"]),
    "number alone": (names("{}.png", range(1, 13)), PHOTOS),
    "number with other words": (names("mask-{:03}.png", range(1, 13)), PHOTOS),
    "padded, with words around": (names("frame_{:04}_mask.png", range(1, 13)), names("images/{}.png", range(1, 13))),
    "gaps": (names("m_{:04}.png", [1, 5, 6, 40]), names("images/IMG_{:04}.jpg", [1, 5, 6, 40])),
    "a subfolder beside the photos": (["7.png", "old/7.png"], ["images/7.jpg", "images/old/7.jpg"]),
    "subfolders of both": ([photo[7:-4] + ".png" for photo in CAMERAS], CAMERAS),
    "subfolders and a suffix": ([photo[7:-4] + "_mask.png" for photo in CAMERAS], CAMERAS),
    "folders joined to the name": ([photo[7:-4].replace("/", "-") + ".png" for photo in CAMERAS], CAMERAS),
    "folders joined, and a suffix": ([photo[7:-4].replace("/", "_") + "_mask.png" for photo in CAMERAS], CAMERAS),
    "deeper than the photos": (names("run_3/frame_{:05}.png", range(1, 13)), PHOTOS),
    "less deep than the photos": (names("{:03}.png", range(5)), names("images/left/{:03}.png", range(5))),
    "photos in the scene folder": (names("{}_mask.png", range(5)), names("{}.png", range(5))),
    "a photo called mask": (["mask.png", "vase.png"], ["images/mask.jpg", "images/vase.jpg"]),
}


@pytest.mark.parametrize(("masks", "photos"), ONE_EACH.values(), ids=ONE_EACH.keys())
def test_each_photo_finds_its_mask_in_any_order(masks: list[str], photos: list[str]) -> None:
    mixed = shuffled(masks)
    for views in (photos, shuffled(photos)):
        pairing = pair_by_name(mixed, views, "masks/")
        assert pairing is not None and pairing.notes == ()
        assert [[mixed[i] for i in of_photo] for of_photo in pairing.masks] == [
            [masks[photos.index(view)]] for view in views
        ]


NOT_BY_NAME = {
    "SAM 2: counted from 0, unpadded": (names("{}.png", range(12)), PHOTOS),
    "SAM 2, of photos that are numbers": (names("{}.png", range(12)), NUMBERED),
    "other words": (["one.png", "two.png", "three.png"], PHOTOS[:3]),
    "far-off numbers": (names("{:05}.png", range(100, 112)), PHOTOS),
    "a mask that either camera could have": (["000.png", "001.png", "002.png"], CAMERAS),
}


@pytest.mark.parametrize(("masks", "photos"), NOT_BY_NAME.values(), ids=NOT_BY_NAME.keys())
def test_names_that_tell_nothing(masks: list[str], photos: list[str]) -> None:
    assert pair_by_name(masks, photos, "masks/") is None


def test_namesakes_of_paired_masks_are_no_shifted_ones() -> None:
    """Masks of every other photo, with the same again in a folder of an object: moved by one they would all fit."""
    photos, some = names("images/{:03}.png", range(12)), names("{:03}.png", range(0, 12, 2))
    pairing = pair_by_name([*some, *(f"teapot/{name}" for name in some)], photos, "masks/")
    assert pairing is not None
    assert [len(of_photo) for of_photo in pairing.masks] == [1, 0] * 6


SHIFTED = {
    "from 0": (names("{:05}.png", range(12)), NUMBERED),
    "from 1": (names("{:05}.png", range(1, 13)), names("images/{:05}.png", range(12))),
    "unpadded": (names("{}.png", range(12)), names("images/{}.png", range(1, 13))),
    "with a suffix": (names("{:05}_mask.png", range(12)), NUMBERED),
    "photos with a prefix": (names("{:05}.png", range(12)), PHOTOS),
    "every fifth frame": (names("{:04}.png", range(0, 60, 5)), names("images/{:04}.png", range(1, 61, 5))),
    "the last missing as well": (names("{:05}.png", range(11)), NUMBERED),
    "something else among them": ([*names("{:05}.png", range(12)), "overview.png"], NUMBERED),
    "gaps": (names("{:03}.png", [0, 1, 2, 4, 5, 6]), names("images/{:03}.png", [1, 2, 3, 5, 6, 7])),
    "in object folders": ([f"obj_{k}/{i:05}.png" for k in (1, 2) for i in range(12)], NUMBERED),
}


@pytest.mark.parametrize(("masks", "photos"), SHIFTED.values(), ids=SHIFTED.keys())
def test_counts_from_0_and_from_1_are_refused(masks: list[str], photos: list[str]) -> None:
    with pytest.raises(SceneError, match=r"belongs to no photo and .* has no mask, as if one counted from 0"):
        pair_by_name(masks, photos, "masks/")


def test_masks_of_photos_without_pose_are_no_shift() -> None:
    """Photos 2 and 4 have no pose, the mask of 7 is missing."""
    photos = names("images/{:02}.jpg", [1, 3, 5, 6, 7])
    masks = names("{:02}.png", range(1, 7))
    pairing = pair_by_name(masks, photos, "masks/", names("images/{:02}.jpg", [2, 4]))
    assert pairing is not None and pairing.notes == ()
    assert pairing.masks == ((0,), (2,), (4,), (5,), ())


def test_masks_that_belong_to_no_photo_are_noted() -> None:
    pairing = pair_by_name([*names("{:02}.png", range(1, 6)), "palette.png"], names("{:02}.jpg", range(1, 6)), "seg/")
    assert pairing is not None and pairing.masks == ((0,), (1,), (2,), (3,), (4,))
    assert pairing.notes == (
        "seg/: 1 of 6 files are left out, as they belong to no photo or to one with a nearer mask: palette.png",
    )


@pytest.mark.parametrize("pattern", ["obj_{}/frame_{:05}.png", "obj_{}/frame_{:05}_mask.png", "{}/{:d}.png"])
def test_object_folders_are_united(pattern: str) -> None:
    masks = [pattern.format(k, i) for k in (1, 2) for i in range(1, 13)]
    pairing = pair_by_name(masks, PHOTOS, "masks/")
    assert pairing is not None and pairing.masks == tuple((i, 12 + i) for i in range(12))
    folders = sorted({mask.split("/")[0] for mask in masks})
    assert pairing.notes == (
        f"masks/: the masks of 2 folders are put together: {folders[0]}/, {folders[1]}/; --masks takes one of them",
    )


def test_an_object_may_be_in_few_photos() -> None:
    masks = [*names("a/{:05}.png", range(1, 13)), "b/00007.png"]
    pairing = pair_by_name(masks, NUMBERED, "masks/")
    assert pairing is not None and pairing.masks[6] == (6, 12) and pairing.masks[5] == (5,)


def test_the_nearest_mask_wins() -> None:
    """Of the same name, that in the same subfolder, else that in the fewest."""
    masks = ["left/000.png", "000.png", "old/000.png"]
    pairing = pair_by_name(masks, ["images/left/000.jpg"], "masks/")
    assert pairing is not None and pairing.masks == ((0,),)
    pairing = pair_by_name(masks[1:], ["images/left/000.jpg"], "masks/")
    assert pairing is not None and pairing.masks == ((0,),)


def test_two_masks_in_one_folder_are_refused() -> None:
    with pytest.raises(SceneError) as caught:
        pair_by_name(["a.jpg", "a.png", "b.png"], ["images/a.webp", "images/b.webp"], "masks/")
    assert str(caught.value) == "masks/: expected one mask per photo, got a.jpg, a.png for a.webp; remove all but one."


def test_two_kinds_of_files_are_refused() -> None:
    masks = [f"frame_{i:05}_obj{k}.png" for i in range(1, 13) for k in (1, 2)]
    with pytest.raises(SceneError) as caught:
        pair_by_name(masks, PHOTOS, "masks/")
    assert str(caught.value) == (
        "masks/: expected one mask per photo, got several kinds of files (frame_00001_obj1.png and "
        "frame_00001_obj2.png); keep one kind, or put the masks of each object into a folder of its own."
    )


@pytest.mark.parametrize("other", ["overlay", "vis"])
def test_what_is_called_mask_is_one(other: str) -> None:
    masks = [f"frame_{i:05}_{kind}.png" for i in range(1, 13) for kind in ("mask", other)]
    pairing = pair_by_name(masks, PHOTOS, "masks/")
    assert pairing is not None and pairing.masks == tuple((2 * i,) for i in range(12))


@pytest.mark.parametrize("pattern", ["{}.png", "obj/{}.png"])
def test_order_is_natural(pattern: str) -> None:
    masks = sorted(names(pattern, range(12)))
    pairing = pair_by_order(masks, PHOTOS, "masks/")
    assert [masks[mask] for (mask,) in pairing.masks] == names(pattern, range(12))
    assert pairing.notes == (
        "masks/: masks are named differently from the photos (0.png, frame_00001.png); paired by order",
    )


def test_order_counts_photos_without_pose() -> None:
    pairing = pair_by_order(names("{}.png", range(12)), PHOTOS[:3] + PHOTOS[5:], "masks/", PHOTOS[3:5])
    assert [mask for (mask,) in pairing.masks] == [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]


def test_order_of_object_folders() -> None:
    pairing = pair_by_order([f"obj_{k}/{i}.png" for k in (1, 2) for i in range(12)], PHOTOS, "masks/")
    assert pairing.masks == tuple((i, 12 + i) for i in range(12)) and len(pairing.notes) == 2


def test_order_needs_photos_in_order() -> None:
    with pytest.raises(SceneError, match="pairing by order would be a guess; rename the masks like the photos"):
        pair_by_order(names("{}.png", range(12)), shuffled(PHOTOS), "masks/")


def test_order_needs_equal_counts() -> None:
    with pytest.raises(SceneError, match="got 11 masks for 12 photos and no common name"):
        pair_by_order(names("{}.png", range(11)), PHOTOS, "masks/")


BESIDE = {
    "instant-ngp": (["0000.png", "0001.png"], ["dynamic_mask_0000.png", "dynamic_mask_0001.png"]),
    "suffix": (["a.jpg", "b.jpg"], ["a_mask.png", "b.mask.png"]),
    "COLMAP": (["a.jpg"], ["a.jpg.mask.png"]),
    "photos of a mask": (["mask_1.jpg", "mask_2.jpg", "mask_11.jpg", "mask.jpg"], []),
    "other companions": (["r_0.png", "r_0_depth_0001.png", "r_0_normal_0001.png", "r_0 (edited).png"], []),
    "a photo's number in another's": (["1.png", "2.png", "mask_12.png"], []),
}


@pytest.mark.parametrize(("photos", "masks"), BESIDE.values(), ids=BESIDE.keys())
def test_what_is_a_mask_beside_photos(photos: list[str], masks: list[str]) -> None:
    assert masks_beside([*photos, *masks]) == set(masks)


def test_natural_order() -> None:
    expected = ["a", "a1", "A1b", "a2", "a2_3", "a2_12", "a10", "b"]
    assert sorted(shuffled(expected), key=natural_order) == expected


def test_running_numbers_are_never_cut() -> None:
    """What names begin and end with ends before a number: 0100 to 0109 are 100 to 109, not 0 to 9."""
    assert running_numbers(names("f2_{:04}_v1.png", range(100, 110))) == list(range(100, 110))
    assert running_numbers(["a_x.png", "b_x.png"]) == [None, None]
    assert running_numbers(["shot7.png"]) == [7]


@pytest.mark.parametrize("seed", range(20))
def test_random_names_find_back(seed: int) -> None:
    """Whatever is put around names, and however they are mixed: each photo gets its own mask, or nothing is claimed."""
    random = np.random.default_rng(seed)
    letters = list("abcdef_-. 0123456789")

    def word(most: int) -> str:
        return "".join(random.choice(letters, random.integers(1, most + 1)))

    photos = sorted({f"images/{word(8)}z.jpg" for _ in range(40)})
    prefix, suffix = f"{word(4)}y", f"y{word(4)}"
    masks = shuffled([f"{prefix}{photo[7:-4]}{suffix}.png" for photo in photos])
    pairing = pair_by_name(masks, photos, "masks/")
    assert pairing is not None
    for photo, of_photo in zip(photos, pairing.masks, strict=True):
        assert [masks[mask] for mask in of_photo] == [f"{prefix}{photo[7:-4]}{suffix}.png"]


@pytest.mark.parametrize(
    "pattern", ["frame_{:05}.png", "frame_{:05}_mask.png", "left/{:05}.png", "{}.png", "x{:05}.png", "{:05}/rgb.png"]
)
def test_cost_grows_with_the_number_of_files(pattern: str) -> None:
    """Ten times as many may take some twenty times as long, never a hundred."""

    def seconds(count: int) -> float:
        photos, masks = names("images/frame_{:05}.png", range(1, count + 1)), names(pattern, range(1, count + 1))
        started = time.process_time()
        pair_by_name(masks, photos, "masks/")
        masks_beside([photo[7:] for photo in photos] + [f"mask_{mask}" for mask in masks])
        return time.process_time() - started

    few = min(seconds(300) for _ in range(3))
    assert min(seconds(3000) for _ in range(2)) < 30 * few
