"""`load_scene`: a scene folder of any known format becomes a `Scene`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from unscene.scenes.baseline import check_baseline
from unscene.scenes.capture import Capture, Frame, build_cameras, link_notes, listing, same_aspect, size_text
from unscene.scenes.colmap import read_colmap
from unscene.scenes.colmap_folders import MODEL_FILES, find_models, has_photo_folder, scene_above
from unscene.scenes.image_files import Photos, choose_photos, read_photos
from unscene.scenes.llff import POSES_FILE, read_llff
from unscene.scenes.mask_files import read_masks
from unscene.scenes.mask_search import MaskFiles, find_masks, nerfstudio_masks, unread_notes
from unscene.scenes.metashape import find_metashape, read_metashape
from unscene.scenes.orientation import orientation_note
from unscene.scenes.origin import choose_origin
from unscene.scenes.pinhole import Resampling, to_pinhole
from unscene.scenes.polycam import has_polycam, read_polycam
from unscene.scenes.realitycapture import find_realitycapture, read_realitycapture
from unscene.scenes.record3d import find_record3d, read_record3d
from unscene.scenes.scene import Scene, SceneError
from unscene.scenes.spin_nerf import hold_out_truth
from unscene.scenes.transforms import read_blender, read_transforms

BLENDER_FILES = ("transforms_train.json", "transforms_test.json", "transforms_val.json")
FEWEST_VIEWS = 3


def load_scene(
    path: Path | str,
    *,
    scale: float = 1,
    holdout: int = 8,
    masks: Path | str | None = None,
    mask_label: int | None = None,
) -> Scene:
    """Load a capture, with masks if there are any: nerfstudio or Blender transforms, a COLMAP model, LLFF poses, or
    an export of Polycam, Record3D, RealityCapture or Metashape.

    path: the scene folder, or its json, csv or xml file. scale: how many times smaller than the original photos to work
    (4: a quarter of the width); taken from ``images_4/`` where that fits, else area-averaged. holdout: every holdout-th
    view is kept for testing, 0 none, unless the files bring their own split or list photos without the object in
    ``test_label/``, as SPIn-NeRF's do. masks: folder of masks, one per photo, white = remove; by default ``masks/``,
    ``seg/``, ``label/`` or ``images_4/label/`` of the scene folder, or masks beside the photos. mask_label: of masks
    that number their objects, which one to remove; by default all but 0.
    Raises SceneError, in words for the user, for input that cannot be used.
    """

    def read(found: _Photographs) -> tuple[Tensor | None, tuple[str, ...]]:
        files = _find_masks(found.root, found.frames, scale, masks)
        if not files:
            return None, unread_notes(found.root, scale)
        return read_masks(
            files.with_truth(found.truth),
            found.names,
            found.train,
            found.resamplings,
            size=found.photos.size,
            original=found.photos.original,
            label=mask_label,
        )

    return _load(Path(path), scale, holdout, read)


def load_partly_masked(
    path: Path | str, *, scale: float = 1, masks: Path | str | None = None
) -> tuple[Scene, tuple[int, ...]]:
    """A capture whose masks are still to be made, and the views that have one in the folder ``masks`` if it is given.

    As `load_scene` with nothing held out, but no masks are looked for elsewhere, and views may lack one: theirs are
    black.
    """
    masked: tuple[int, ...] = ()

    def read(found: _Photographs) -> tuple[Tensor | None, tuple[str, ...]]:
        nonlocal masked
        files = None if masks is None else _find_masks(found.root, found.frames, scale, masks)
        if not files:
            return None, ()
        masked = tuple(view for view, paths in enumerate(files.paths) if paths)
        return read_masks(
            files,
            found.names,
            torch.tensor(masked, dtype=torch.long),
            found.resamplings,
            size=found.photos.size,
            original=found.photos.original,
        )

    return _load(Path(path), scale, 0, read), masked


class NoCamerasError(SceneError):
    """What was given exists, but has no cameras in any layout that is known: photos alone, say."""


@dataclass(frozen=True)
class _Photographs:
    """What a reader of masks needs to know of a capture. truth: where masks of views without the object lie."""

    root: Path
    frames: tuple[Frame, ...]
    photos: Photos
    names: tuple[str, ...]
    train: Tensor
    resamplings: Sequence[Resampling | None]
    truth: Mapping[int, Path]


def _load(
    path: Path, scale: float, holdout: int,
    read: Callable[[_Photographs], tuple[Tensor | None, tuple[str, ...]]],
) -> Scene:  # fmt: skip
    if not math.isfinite(scale) or scale < 1:
        raise SceneError(f"scale: expected a number of at least 1 (4: a quarter of the width), got {scale:g}.")
    if holdout < 0:
        raise SceneError(f"holdout: expected 0 (none) or every how many views to hold one out, got {holdout}.")
    root, capture = _read_capture(path, scale)
    frames, truth, truth_notes = hold_out_truth(root, capture.frames)
    frames, resamplings, lens_notes = to_pinhole(frames)
    photos = choose_photos(root, [frame.path for frame in frames], scale)
    aspect_notes = _check_aspect(frames, photos)
    train, test = _split(frames, holdout)
    names = names_of(frames)
    check_baseline(frames, capture.points)
    origin, origin_notes = choose_origin(frames)
    cameras = build_cameras(frames, *photos.size, origin)
    turned_notes = orientation_note(photos.paths)
    removed, mask_notes = read(_Photographs(root, frames, photos, names, train, resamplings, truth))
    return Scene(
        name=root.resolve().name,
        cameras=cameras,
        images=read_photos(root, photos, resamplings),
        names=names,
        train=train,
        test=test,
        masks=removed,
        points=None if capture.points is None else (torch.from_numpy(capture.points) - origin).float(),
        point_colors=None if capture.point_colors is None else torch.from_numpy(capture.point_colors),
        notes=(
            *capture.notes,
            *link_notes(root, photos.paths),
            *truth_notes,
            *photos.notes,
            *aspect_notes,
            *turned_notes,
            *lens_notes,
            *origin_notes,
            *mask_notes,
        ),
        origin=origin,
    )


def _read_capture(path: Path, scale: float) -> tuple[Path, Capture]:
    """The scene folder and its frames, read by the reader of the first format found."""
    if not path.exists():
        raise SceneError(f"{path}: expected a scene folder or its transforms.json, found nothing; check the path.")
    path = path.parent if path.name in MODEL_FILES else path
    root = (path if path.is_dir() else path.parent).resolve()
    if path.is_file() and path.suffix == ".json" and path.name not in BLENDER_FILES:
        return root, read_transforms(root, path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return root, read_realitycapture(root, root / path.name)
    if path.is_file() and path.suffix.lower() == ".xml":
        return root, read_metashape(root, root / path.name)
    if path.is_dir() and (root / "transforms.json").is_file():
        return root, read_transforms(root, root / "transforms.json")
    if (path.is_dir() or path.name in BLENDER_FILES) and (root / "transforms_train.json").is_file():
        return root, read_blender(root)
    models = find_models(root) if path.is_dir() else []
    if models:
        return _read_models(path, root, models, scale)
    if path.is_dir() and (root / POSES_FILE).is_file():
        return root, read_llff(root, scale=scale)
    if path.is_dir() and has_polycam(root):
        return root, read_polycam(root)
    if path.is_dir() and (recording := find_record3d(root)):
        return root, read_record3d(root, recording)
    if path.is_dir() and (table := _only_one(find_realitycapture(root), path)):
        return root, read_realitycapture(root, table)
    if path.is_dir() and (document := _only_one(find_metashape(root), path)):
        return root, read_metashape(root, document)
    found = listing(sorted(file.name for file in root.iterdir()), 8) if path.is_dir() else path.name
    raise NoCamerasError(
        f"{path}: expected a scene in one of these layouts, found {found or 'an empty folder'}:\n"
        "  nerfstudio, Blender   transforms.json (or transforms_train.json) and the photos it names\n"
        "  COLMAP                sparse/0/ (cameras, images, points3D as .bin or .txt) and images/\n"
        "  LLFF                  poses_bounds.npy and images/\n"
        "  Polycam               keyframes/ of its raw data (cameras and images, corrected or not)\n"
        "  Record3D              metadata.json and rgb/ (also in EXR_RGBD/), or an unpacked .r3d\n"
        "  RealityCapture        a .csv of internal/external camera parameters and the photos\n"
        "  Metashape             an .xml of cameras and the photos\n"
        "Point to the folder that holds these, or make a scene of photos or a video with unscene capture."
    )


def _read_models(path: Path, root: Path, models: list[Path], scale: float) -> tuple[Path, Capture]:
    """The scene folder and frames of its COLMAP models, also if ``path`` is that of models inside a scene folder."""
    above = None if has_photo_folder(root) else scene_above(path)
    if above is None:
        return root, read_colmap(root, models, scale=scale)
    within = Path(os.path.abspath(path)).relative_to(above)
    scene = above.resolve()
    return scene, read_colmap(scene, [scene / within / model.relative_to(root) for model in models], scale=scale)


def _only_one(files: list[Path], folder: Path) -> Path | None:
    """The only one of the files with cameras in a folder, if there is one; a SceneError if there are several."""
    if len(files) > 1:
        names = listing([file.name for file in files], 8)
        raise SceneError(f"{folder}: expected one file with cameras, found {names}; point to the one to use.")
    return files[0] if files else None


def _split(frames: tuple[Frame, ...], holdout: int) -> tuple[Tensor, Tensor]:
    """Indices of training and test views: the files' own split, else every ``holdout``-th view for testing."""
    views = range(len(frames))
    listed = any(frame.split for frame in frames)
    if listed:
        train = [view for view in views if frames[view].split == "train"]
        test = [view for view in views if frames[view].split == "test"]
    else:
        test = [view for view in views if holdout and view % holdout == 0]
        train = [view for view in views if view not in set(test)]
    if len(train) < FEWEST_VIEWS:
        remedy = "hold out fewer" if len(frames) >= FEWEST_VIEWS and not listed else "add photos"
        raise SceneError(
            f"expected at least {FEWEST_VIEWS} photos to train on, got {len(train)} of {len(frames)} usable photos "
            f"({len(test)} are held out for testing); {remedy}."
        )
    return torch.tensor(train, dtype=torch.long), torch.tensor(test, dtype=torch.long)


def _find_masks(root: Path, frames: tuple[Frame, ...], scale: float, folder: Path | str | None) -> MaskFiles | None:
    """The masks the caller names, else those the frames name, else those of the usual places."""
    photos = [frame.path for frame in frames]
    if folder is not None:
        return find_masks(root, photos, scale=scale, folder=Path(folder))
    return nerfstudio_masks([frame.mask_path for frame in frames]) or find_masks(root, photos, scale=scale, folder=None)


def names_of(frames: tuple[Frame, ...]) -> tuple[str, ...]:
    """File names of the photos, with as much of their folders as differs between them."""
    common = os.path.commonpath([frame.path.parent for frame in frames])
    return tuple(frame.path.relative_to(common).as_posix() for frame in frames)


def _check_aspect(frames: tuple[Frame, ...], photos: Photos) -> list[str]:
    """Notes on intrinsics for another resolution than the photos'; a SceneError where the aspect ratio differs."""
    for frame in frames:
        size = (frame.width, frame.height)
        if min(size) >= 1 and not same_aspect(size, photos.original):
            turned = same_aspect(size, (photos.original[1], photos.original[0]))
            hint = (
                "rotate the photos (their EXIF orientation is ignored, as in COLMAP)" if turned else "correct w and h"
            )
            raise SceneError(
                f"{frame.label}: expected a photo with the aspect ratio of its intrinsics, {size_text(size)}, "
                f"got {size_text(photos.original)}; {hint}."
            )
    given = (frames[0].width, frames[0].height)
    if abs(given[0] - photos.original[0]) <= max(2.0, photos.original[0] / photos.size[0]):
        return []
    return [f"intrinsics are given for {size_text(given)}, the photos are {size_text(photos.original)}: rescaled"]
