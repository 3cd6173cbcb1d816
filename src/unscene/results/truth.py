"""What is really there behind the object, and how near a run comes to it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.evaluation.figures import Views
from unscene.evaluation.score import Score, score
from unscene.fields.field import render_view
from unscene.file_names import view_files, view_stem
from unscene.losses.perceptual import Features
from unscene.results.run import Run
from unscene.scenes.image_files import image_size, list_images, read_image
from unscene.scenes.mask_files import read_mask
from unscene.scenes.mask_values import white_pixels
from unscene.scenes.scene import Scene, SceneError
from unscene.scenes.spin_nerf import pair_truth, truth_masks


@dataclass(frozen=True)
class Truth:
    """Images of views without the object, by file stem (H W 3 in [0, 1]), and where the object was (H W bool).

    masks_from: whose masks they are.
    """

    images: dict[str, Tensor]
    masks: dict[str, Tensor]
    masks_from: str = "the truth"


def scene_truth(scene: Scene) -> Truth:
    """The test images of a scene whose test views were taken without the object (the SPIn-NeRF protocol)."""
    files = view_files(scene.names)
    stems = {view: files[scene.names[view]] for view in scene.test.tolist()}
    masks = {} if scene.masks is None else {stem: scene.masks[view].cpu() for view, stem in stems.items()}
    return Truth({stem: scene.image(view).cpu() for view, stem in stems.items()}, masks)


def read_truth(folder: Path, run: Path) -> Truth:
    """The images of a folder or its images/, with its masks/ or else the run folder's. Raises SceneError.

    Of a SPIn-NeRF folder, or its images_4/, only the photos without the object, with the masks of test_label/.
    """
    if listed := truth_masks(folder.resolve()):
        return _photos_without_object(folder.resolve(), listed)
    root = folder / "images" if (folder / "images").is_dir() else folder
    files = list_images(root) if root.is_dir() else []
    if not files:
        raise SceneError(f"{folder}: expected a folder of true images, found none; check --truth.")
    masks = _mask_files(folder, run)
    truth = _read_all({file.stem: file for file in files}, {file.stem: file for file in masks})
    return replace(truth, masks_from="the run") if masks and masks[0].parent.parent == run else truth


def _photos_without_object(folder: Path, masks: list[Path]) -> Truth:
    places = (masks[0].parent.parent, folder / "images", *sorted(folder.glob("images_*")))
    photos = next((files for place in places if (files := list_images(place))), [])
    pairs = pair_truth(folder, masks, photos)
    stems = {view: photos[view].stem for view in pairs}
    return _read_all({stem: photos[view] for view, stem in stems.items()}, {stems[v]: m for v, m in pairs.items()})


def _read_all(images: dict[str, Path], masks: dict[str, Path]) -> Truth:
    white, _ = white_pixels([read_mask(file, stem) for stem, file in masks.items()], "truth")
    return Truth(
        {stem: torch.from_numpy(_read(file)).float() / 255 for stem, file in images.items()},
        {stem: torch.from_numpy(pixels) for stem, pixels in zip(masks, white, strict=True)},
    )


def _mask_files(folder: Path, run: Path) -> list[Path]:
    for masks in (folder / "masks", run / "masks"):
        if masks.is_dir():
            return list_images(masks)
    return []


def _read(file: Path) -> np.ndarray:
    return read_image(file, file.name, image_size(file, file.name))


def evaluate(
    run: Run, truth: Truth, features: Features | None = None, rendered: Mapping[int, Tensor] | None = None
) -> Score:
    """Render the views whose truth is known and score them. Raises SceneError if no name of the run's views fits.

    rendered: views that have been rendered before, by their index, H W 3 uint8 of the truth's size.
    """
    views = compared_views(run, truth, rendered)
    assert views.truths is not None
    return score(views.images, views.truths, views.masks, features)


def compared_views(run: Run, truth: Truth, rendered: Mapping[int, Tensor] | None = None) -> Views:
    """The views whose truth is known, rendered at its size, beside it; depths too if none is ``rendered`` already.

    Raises SceneError if no name of the run's views fits.
    """
    files = run.view_files
    stems = {v: stem for v, name in enumerate(run.names) if (stem := _known(name, files, truth.images))}
    if not stems:
        raise SceneError(
            f"truth: expected images named like the run's views ({files[run.names[0]]}, ...), "
            f"got {', '.join(sorted(truth.images)[:3]) or 'none'}; rename them."
        )
    true = [truth.images[stem] for stem in stems.values()]
    cameras = run.cameras.resized(true[0].shape[1], true[0].shape[0])
    images, depths = list[Tensor](), list[Tensor]()
    for view, true_image in zip(stems, true, strict=True):
        if rendered and view in rendered and rendered[view].shape == true_image.shape:
            images.append(rendered[view].float() / 255)
        else:
            render = render_view(run.field, cameras, view)
            images.append(render.color.cpu())
            depths.append(render.depth.cpu())
    masked = [stem for v in stems if (stem := _known(run.names[v], files, truth.masks))]
    masks = None
    if len(masked) == len(true):
        masks = [_resized(truth.masks[stem], image) for stem, image in zip(masked, true, strict=True)]
    known_depths = depths if len(depths) == len(images) else None
    return Views(images, true, masks, truth.masks_from, cameras[list(stems)].to("cpu"), known_depths)


def _known(name: str, files: dict[str, str], stems: Container[str]) -> str | None:
    """Which of the stems is a view's: that of the run's files about it, or else its photo's own, if no other view's."""
    own = view_stem(name)
    candidates = [files[name], *([] if own in files.values() else [own])]
    return next((stem for stem in candidates if stem in stems), None)


def _resized(mask: Tensor, image: Tensor) -> Tensor:
    """A mask (H W bool) at the size of an image, set wherever any of it is."""
    return F.adaptive_max_pool2d(mask[None].float(), (image.shape[0], image.shape[1]))[0] > 0
