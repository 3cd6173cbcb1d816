"""Names of photos as other systems, tools and computers spell them, and what is refused."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from tests.scenes.tiny_scenes import FOCAL, PRINCIPAL, TinyScene
from unscene.scenes.load import load_scene
from unscene.scenes.photo_names import PhotoNames
from unscene.scenes.scene import SceneError

ACCENT = {form: unicodedata.normalize(form, "Café Übung") for form in ("NFC", "NFD")}
SPELLINGS = {  # listed -> the file, {} is the view
    "backslashes": ("images\\00{}.png", "images/00{}.png"),
    "dot and backslashes": (".\\images\\left\\00{}.png", "images/left/00{}.png"),
    "lower case": ("images/img_{}.jpg", "images/IMG_{}.JPG"),
    "upper case": ("IMAGES/IMG_{}.JPG", "images/img_{}.jpg"),
    "mixed extension": ("images/a{}.jpg", "images/a{}.Jpg"),
    "no extension, other case": ("images/img_{}", "images/IMG_{}.JPEG"),
    "no extension, dots": ("images/frame.{}", "images/Frame.{}.png"),
    "converted": ("images/IMG_{}.HEIC", "images/img_{}.jpg"),
    "composed": (f"images/{ACCENT['NFC']} {{}}.png", f"images/{ACCENT['NFD']} {{}}.png"),
    "decomposed": (f"images/{ACCENT['NFD']} {{}}.png", f"images/{ACCENT['NFC']} {{}}.png"),
    "composed folder": (f"{ACCENT['NFC']}/{{}}.png", f"{ACCENT['NFD']}/{{}}.png"),
    "escaped": ("images/my%20photo%20{}.png", "images/my photo {}.png"),
    "URL": ("file:///home/ann/scene/images/my%20photo%20{}.png", "images/my photo {}.png"),
    "absolute": ("/home/ann/captures/fox/images/{}.png", "images/{}.png"),
    "absolute, other folder": ("/home/ann/captures/fox/{}.png", "photos/{}.png"),
    "absolute, into subfolders": ("/mnt/c/left/{}.png", "images/left/{}.png"),
    "Windows": ("C:\\Users\\Ann\\fox\\images\\{}.png", "images/{}.png"),
    "Windows, other folder": ("D:\\DCIM\\100CANON\\IMG_{}.JPG", "images/IMG_{}.jpg"),
    "network": ("\\\\server\\share\\fox\\images\\{}.png", "images/{}.png"),
    "above": ("../fox/images/{}.png", "images/{}.png"),
    "renamed folder": ("rgb/{}.png", "images/{}.png"),
    "one deeper": ("images/{}.png", "fox/images/{}.png"),
    "quoted": ('"images/{}.png"', "images/{}.png"),
}


def capture(tiny: TinyScene, listed: str, file: str) -> None:
    for view in range(6):
        tiny.photo(file.format(view), seed=view)
    content = tiny.transforms()
    for view, frame in enumerate(content["frames"]):
        frame["file_path"] = listed.format(view)
    tiny.json(content)


def view_pixels(tiny: TinyScene, file: str, view: int) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(tiny.root / file.format(view)).convert("RGB"))


def refusal(tiny: TinyScene) -> str:
    with pytest.raises(SceneError) as caught:
        load_scene(tiny.root)
    return str(caught.value).replace(str(tiny.root.resolve()), "SCENE")


@pytest.mark.parametrize(("listed", "file"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_each_photo_is_found(tiny: TinyScene, listed: str, file: str) -> None:
    capture(tiny, listed, file)
    scene = load_scene(tiny.root)
    for view in range(6):
        np.testing.assert_array_equal(scene.images[view].numpy(), view_pixels(tiny, file, view))
    assert scene.notes == (
        f"6 files are listed under names of another spelling or folder: {listed.format(0)} is {file.format(0)}",
    )


def test_names_that_stand_need_no_listing(tiny: TinyScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PhotoNames, "_files", property(lambda self: pytest.fail("listed the folder")))
    assert load_scene(tiny.nerfstudio()).notes == ()


def test_a_name_as_it_stands_comes_first(tiny: TinyScene) -> None:
    """Backslashes, %20 and the like are parts of names where a file is called like that."""
    capture(tiny, "images/a%20{}.png", "images/a%20{}.png")
    tiny.photos("images", names=[f"a {view}.png" for view in range(6)])
    scene = load_scene(tiny.root)
    assert scene.names[0] == "a%200.png" and scene.notes == ()


def test_the_folder_is_listed_once(tiny: TinyScene, monkeypatch: pytest.MonkeyPatch) -> None:
    capture(tiny, "images/IMG_{}.png", "images/img_{}.png")
    walks = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *a, **k: walks.append(a) or walk(*a, **k))
    load_scene(tiny.root)
    assert len(walks) == 1


def test_one_of_many_may_be_spelled_otherwise(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    (tiny.root / "images" / "003.png").rename(tiny.root / "images" / "003.PNG")
    (tiny.root / "images" / "004.png").rename(tiny.root / "images" / "004.Png")
    assert load_scene(tiny.root).names[3:5] == ("003.PNG", "004.Png")


@pytest.mark.parametrize("names", [("Img.png", "IMG.PNG"), (f"{ACCENT['NFC']}.png", f"{ACCENT['NFD']}.png")])
def test_two_files_that_fit_equally(tiny: TinyScene, names: tuple[str, str]) -> None:
    tiny.nerfstudio()
    for name in names:
        tiny.photo(f"images/{name}")
    content = tiny.transforms()
    content["frames"][2]["file_path"] = listed = f"IMAGES/{names[0].lower()}"
    tiny.json(content)
    error = refusal(tiny)
    assert error.startswith(f"{listed}: expected one photo of that name, found images/")
    assert all(name in error for name in names) and error.endswith("; remove or rename all but one.")


def test_two_folders_that_fit_equally(tiny: TinyScene) -> None:
    capture(tiny, "/home/ann/{}.png", "rgb/{}.png")
    shutil.copytree(tiny.root / "rgb", tiny.root / "frames")
    assert refusal(tiny) == (
        "photos: expected them in one folder, found files of their names in frames, rgb; correct the listed paths, or "
        "rename the folder that is meant to images."
    )


def test_copies_and_masks_are_not_taken_for_photos(tiny: TinyScene) -> None:
    capture(tiny, "/home/ann/fox/input/{}.png", "images/{}.png")
    for folder in ("images_2", "depth"):
        shutil.copytree(tiny.root / "images", tiny.root / folder)
    tiny.masks(names=[f"{view}.png" for view in range(6)])
    assert load_scene(tiny.root).notes[0].endswith("is images/0.png")


def test_a_mask_alone_is_not_taken_for_its_photo(tiny: TinyScene) -> None:
    capture(tiny, "images/{}.png", "masks/{}.png")
    assert refusal(tiny).startswith("transforms.json: expected the photos of 6 frames in SCENE, found none of them")


def test_a_lost_photo_is_not_taken_from_another_camera(tiny: TinyScene) -> None:
    tiny.photos("images/left")
    tiny.photos("images/right")
    content = tiny.transforms()
    for frame in content["frames"]:
        frame["file_path"] = "/home/ann/fox/" + frame["file_path"].replace("images", "images/left")
    tiny.json(content)
    (tiny.root / "images" / "left" / "003.png").unlink()
    scene = load_scene(tiny.root)
    assert scene.names == ("000.png", "001.png", "002.png", "004.png", "005.png")
    assert "images/left/000.png" in scene.notes[0] and "1 of 6 frames have no image file" in scene.notes[1]


def test_a_lost_photo_is_not_taken_from_another_scene(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.photos("other/images")
    (tiny.root / "images" / "003.png").unlink()
    scene = load_scene(tiny.root)
    assert len(scene) == 5 and scene.notes == ("1 of 6 frames have no image file and are skipped: images/003.png",)


def test_if_nothing_fits_the_error_lists_what_is_there(tiny: TinyScene) -> None:
    capture(tiny, "images/{}.png", "images/photo_{}.png")
    tiny.photo("masks/a.png")
    assert refusal(tiny) == (
        "transforms.json: expected the photos of 6 frames in SCENE, found none of them (the first is images/0.png); "
        "the images there are 6 in images/ (photo_0.png, photo_1.png, photo_2.png, ...), 1 in masks/ (a.png); "
        "put the photos there under the listed names."
    )


def test_raw_photos_are_found_and_named(tiny: TinyScene) -> None:
    capture(tiny, "images/img_{}.jpg", "images/IMG_{}.png")
    for file in (tiny.root / "images").iterdir():
        file.rename(file.with_suffix(".CR2"))
    assert refusal(tiny) == (
        "images/IMG_0.CR2: expected a photo as JPEG, PNG or TIFF, got a camera's raw data; convert the photos to JPEG."
    )


@pytest.mark.parametrize("listed", ["../secret.png", "/etc/secret.png", "..\\secret.png", "IMAGES/LINK.png"])
def test_no_spelling_leads_out(tiny: TinyScene, listed: str) -> None:
    tiny.nerfstudio()
    tiny.photo("../secret.png")
    (tiny.root / "images" / "link.png").symlink_to(tiny.root.parent / "secret.png")
    content = tiny.transforms()
    content["frames"][1]["file_path"] = listed
    tiny.json(content)
    if "\\" in listed:  # no separator here: a name that nothing has
        assert "1 of 6 frames have no image file" in load_scene(tiny.root).notes[0]
    else:
        assert "expected a path inside the scene folder" in refusal(tiny)


def test_all_lead_out_and_nothing_fits(tiny: TinyScene) -> None:
    capture(tiny, "../elsewhere/{}.png", "images/photo_{}.png")
    tiny.photos("../elsewhere", names=[f"{view}.png" for view in range(6)])
    assert refusal(tiny).startswith("../elsewhere/0.png: expected a path inside the scene folder")


def test_a_very_long_name_is_a_missing_one(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    content = tiny.transforms()
    content["frames"][1]["file_path"] = f"images/{'a' * 5000}.png"
    tiny.json(content)
    assert "1 of 6 frames have no image file" in load_scene(tiny.root).notes[0]


# Where names come from


def test_lists_of_a_split(tiny: TinyScene) -> None:
    capture(tiny, "images\\{}.png", "images/{}.png")
    content = tiny.transforms()
    for view, frame in enumerate(content["frames"]):
        frame["file_path"] = f"images\\{view}.png"
    content["train_filenames"] = [f"images\\{view}.png" for view in range(4)]
    content["test_filenames"] = [f"C:\\fox\\images\\{view}.png" for view in (4, 5)]
    tiny.json(content)
    scene = load_scene(tiny.root)
    assert scene.train.tolist() == [0, 1, 2, 3] and scene.test.tolist() == [4, 5]


def test_masks_of_frames(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    tiny.masks("dynamic")
    content = tiny.transforms()
    for view, frame in enumerate(content["frames"]):
        frame["mask_path"] = f"D:\\fox\\dynamic\\{view:03}.PNG"
    tiny.json(content)
    masks = load_scene(tiny.root).masks
    assert masks is not None and not masks[:, :12, :8].any() and masks[:, 12:].all()


def test_a_photo_is_not_taken_for_a_mask_of_its_name(tiny: TinyScene) -> None:
    tiny.nerfstudio()
    content = tiny.transforms()
    for frame in content["frames"]:
        frame["mask_path"] = f"masks/{Path(frame['file_path']).name}"
    tiny.json(content)
    assert refusal(tiny).startswith("mask_path: expected a mask for each of 5 training photos, found none for 5")


@pytest.mark.parametrize("listed", ["LEFT\\{}.png", "images/left/{}.png", "/home/ann/fox/left/{}.png", "left/{}.heic"])
def test_colmap(tiny: TinyScene, listed: str) -> None:
    tiny.photos("images/left")
    tiny.masks("images/label/left")
    tiny.names = [listed.format(name[:3]) for name in tiny.names]
    tiny.colmap("PINHOLE", [*FOCAL, *PRINCIPAL])
    scene = load_scene(tiny.root)
    assert scene.names == tuple(f"{view:03}.png" for view in range(6))
    assert scene.masks is not None
