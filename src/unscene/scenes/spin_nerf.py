"""SPIn-NeRF's captures as published: some photos, listed in ``test_label/``, were taken after the object was gone.

They are what is really there, for testing, and must never be trained on. The folder holds a mask for each of them,
where the object was; it lies beside ``label/``, the masks of the other photos (``images_4/test_label/``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from unscene.scenes.capture import Frame, inside, listing, scene_path
from unscene.scenes.image_files import folder_called, list_images
from unscene.scenes.mask_pairing import pair_by_name
from unscene.scenes.scene import SceneError

TRUTH_FOLDER = "test_label"


def truth_masks(root: Path) -> list[Path]:
    """The masks of the photos without the object, one a photo; none if a scene folder has no such photos."""
    beside = [root, folder_called(root, "images"), *sorted(root.glob("images_*"))]
    folders = (folder_called(folder, TRUTH_FOLDER) for folder in beside)
    return next((files for folder in folders if (files := list_images(folder))), [])


def pair_truth(root: Path, masks: Sequence[Path], photos: Sequence[Path]) -> dict[int, Path]:
    """The mask of each photo without the object, by the photo's index.

    Raises SceneError if one belongs to none of the photos and of the files beside them: the photo it means could be
    taken for one with the object.
    """
    if not masks:
        return {}
    views, source = set(photos), f"{scene_path(root, masks[0].parent)}/"
    others = [f for folder in dict.fromkeys(p.parent for p in photos) for f in list_images(folder) if f not in views]
    every = [*photos, *others]
    pairing = pair_by_name([mask.name for mask in masks], [scene_path(root, path) for path in every], source)
    pairs = {view: masks[of_view[0]] for view, of_view in enumerate(pairing.masks) if of_view} if pairing else {}
    found = set(pairs.values())
    lost = [mask.name for mask in masks if mask not in found]
    if lost:
        raise SceneError(
            f"{source}: expected files named like the photos without the object, but {len(lost)} of {len(masks)} fit "
            f"none: {listing(lost)}; rename them like those photos, which must be kept out of training, or take them "
            "out if those photos are not there."
        )
    return {view: mask for view, mask in pairs.items() if view < len(photos)}


def hold_out_truth(root: Path, frames: Sequence[Frame]) -> tuple[tuple[Frame, ...], dict[int, Path], tuple[str, ...]]:
    """The frames with those without the object as test views, the masks of these by index, and a note."""
    masks = truth_masks(root)
    for mask in masks:
        inside(root, mask, scene_path(root, mask))
    pairs = pair_truth(root, masks, [frame.path for frame in frames])
    if not pairs:
        return tuple(frames), {}, ()
    split = any(frame.split for frame in frames)
    held_out = tuple(
        dataclasses.replace(frame, split="test" if view in pairs else frame.split if split else "train")
        for view, frame in enumerate(frames)
    )
    folder = scene_path(root, masks[0].parent)
    note = (
        f"{len(pairs)} of {len(frames)} photos, listed in {folder}/, are without the object: they are held out as "
        "the truth, never trained on; unscene evaluate RUN --truth SCENE compares with them"
    )
    return held_out, pairs, (note,)
