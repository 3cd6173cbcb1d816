"""Masks of an object in all photos from a few clicks, without a downloaded model."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from unscene.device import choose_device, field_device
from unscene.evaluation.mask_report import contact_sheet, overlay, report_masks
from unscene.fields.nerf import NerfConfig
from unscene.file_names import view_files
from unscene.files import atomic_write, read_pixels, write_bytes, write_json, write_png
from unscene.jobs.mask_options import MaskOptions, Pointers, check_name, read_pointers
from unscene.jobs.running import drain, start
from unscene.scenes.scene import Scene
from unscene.segmentation.fitted_surfaces import fit_surfaces
from unscene.segmentation.full_size import at_full_size, enlarged, shrunk
from unscene.segmentation.photo_segmenter import GrabCutSegmenter, PhotoSegmenter
from unscene.segmentation.prompts import PromptError, check_prompts
from unscene.segmentation.scales import is_close_call
from unscene.segmentation.session import Selection, Session
from unscene.segmentation.surfaces import Surfaces
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Picture, StageDone, StageStarted, Watch, ignore
from unscene.training.run import RunFolder

OBJECTS = "objects"
CONTACT_SHEET = "previews/contact_sheet.jpg"  # beside the masks it would pass for one


@dataclass(frozen=True)
class Masked:
    """masks: N H W bool, of the named object, in the scene's order; folder: that holds the masks of all objects."""

    folder: Path
    name: str
    masks: Tensor


def mask(
    scene: Scene, out: Path | str, options: MaskOptions = MaskOptions(), *,  # noqa: B008
    by_hand: tuple[int, ...] = (), scale: float = 1, watch: Watch = ignore, source: dict[str, Any] | None = None,
) -> Masked:  # fmt: skip
    """Mask an object in all training views of a scene; ``out`` may hold masks of other objects of the scene.

    by_hand: the views whose masks in the scene were made by hand: they stay as they are, and the rest learns from them.
    scale: how many times smaller than the photos that were clicked in the scene's are. A run that was killed goes on
    with the same call. Raises PromptError for prompts that cannot be used, RunError for an ``out`` of another scene.
    """
    check_name(options.name)
    scene, by_hand = training_views(scene, by_hand)
    pointers = read_pointers(options, scene.names, scale)
    prompts = [*([pointers.first] if pointers.first else []), *pointers.edits]
    check_prompts(prompts, len(scene), scene.cameras.width, scene.cameras.height)
    if pointers.first is None and not by_hand:
        raise PromptError("expected something that shows the object: --click, --box, or --masks made by hand for some.")
    segmenter, device = choose_segmenter(options), choose_device(options.device)
    folder, watch = open_masks(scene, Path(out), options, source or {}, watch)
    opening = open_surfaces(scene.to(field_device(device)), options, folder.checkpoints(options.seed))
    session = Session(drain(opening, watch), segmenter)
    masks = drain(_mask(session, scene, pointers, by_hand, options), watch)
    content = dataclasses.asdict(options) | {"by_hand": [scene.names[view] for view in by_hand]}
    keep_object(folder, scene, options.name, masks, content, segmenter.name)
    watch(Note(f"report: {folder.path / 'report.html'}"))
    return Masked(folder.path, options.name, torch.from_numpy(masks))


def open_masks(
    scene: Scene, out: Path, options: MaskOptions, source: dict[str, Any], watch: Watch
) -> tuple[RunFolder, Watch]:
    """The folder of a scene's masks, new or as it is. Raises RunError for one of another scene."""
    fitting = {"fit": options.fit, "rays": options.rays, "seed": options.seed}
    record = {"job": "mask", "scene": scene.name, "source": source, "options": fitting}
    goes_on = (out / "config.json").is_file()
    return start(out, record, scene, choose_device(options.device), resume=goes_on, watch=watch)


def hand_made(scene: Scene, by_hand: Sequence[int]) -> dict[int, np.ndarray]:
    """The scene's masks of the views whose masks were made by hand, H W bool each."""
    return {} if scene.masks is None else {view: scene.masks[view].cpu().numpy() for view in by_hand}


def training_views(scene: Scene, by_hand: tuple[int, ...]) -> tuple[Scene, tuple[int, ...]]:
    """The training views alone: photos for testing may lack the object."""
    if len(scene.train) == len(scene):
        return scene, by_hand
    place = {view: index for index, view in enumerate(scene.train.tolist())}
    note = f"{len(scene) - len(place)} photos that the files hold out for testing get no masks"
    trained = dataclasses.replace(scene.subset(scene.train), notes=(*scene.notes, note))
    return trained, tuple(place[view] for view in by_hand if view in place)


def choose_segmenter(options: MaskOptions) -> PhotoSegmenter:
    """Raises PriorError for weights that cannot be had."""
    if options.segmenter == "surface":
        return GrabCutSegmenter()
    from unscene.segmentation.sam2 import Sam2Segmenter  # loads transformers: seconds

    return Sam2Segmenter.load(options.segmenter, device=str(choose_device(options.device)))


def open_surfaces(scene: Scene, options: MaskOptions, checkpoints: Checkpoints) -> Generator[Event, None, Surfaces]:
    """What the photos show, as the folder of masks keeps it."""
    return fit_surfaces(scene, NerfConfig(), options.fit, options.rays, checkpoints)


def _mask(
    session: Session, scene: Scene, pointers: Pointers, by_hand: tuple[int, ...], options: MaskOptions
) -> Generator[Event, None, np.ndarray]:
    """Masks of the object in all views at the photos' size, N H W bool."""
    yield StageStarted("select")
    began = time.monotonic()
    factor = session.surfaces.cameras.width / scene.cameras.width
    made = hand_made(scene, by_hand)
    taught = {view: shrunk(mask, session.surfaces.depth.shape[1:]) for view, mask in made.items()}
    selection = session.select(pointers.first and pointers.first.scaled(factor), taught)
    yield from _tell_scales(session, scene, selection)
    if options.choice != 1:
        selection = session.choose(selection, options.choice - 1)
    for click in pointers.edits:
        selection = session.edit(selection, click.scaled(factor))
    yield StageDone("select", time.monotonic() - began)
    return (yield from draw_masks(session, scene, selection, made, with_shadow=options.with_shadow))


def draw_masks(
    session: Session, scene: Scene, selection: Selection, made: Mapping[int, np.ndarray], *, with_shadow: bool = False
) -> Generator[Event, None, np.ndarray]:
    """Masks of a selected object in all views at the photos' size, N H W bool. made: masks by hand, which stay."""
    yield StageStarted("masks")
    began = time.monotonic()
    small = session.masks(selection)
    shadow = session.shadows(selection) if with_shadow else np.zeros_like(small)
    masks = []
    for view in range(len(scene)):
        photo = scene.images[view].cpu().numpy()
        masks.append(made[view] if view in made else at_full_size(photo, small[view], session.segmenter))
        if with_shadow and view not in made:
            masks[view] = masks[view] | enlarged(shadow[view], photo.shape[:2])
        yield ItemDone("masks", view + 1, len(scene))
    yield StageDone("masks", time.monotonic() - began)
    return np.stack(masks)


def _tell_scales(session: Session, scene: Scene, selection: Selection) -> Iterator[Event]:
    """What else the first prompt may have meant, in a note and as pictures of the photo with the prompt."""
    if len(selection.scales) < 2:
        return
    view = selection.prompts[0].view
    image = torch.from_numpy(session.surfaces.images[view])
    for number, scale in enumerate(selection.scales, 1):
        shown = session.rough_masks(dataclasses.replace(selection, labels=scale.labels), [view])[0]
        yield Picture(f"choice {number}", overlay(image, {"": torch.from_numpy(shown)}) / 255, scene.names[view])
    close = ", and the first two are about as likely" if is_close_call(selection.scales) else ""
    yield Note(
        f"what was pointed at may be one of {len(selection.scales)} objects{close}: see previews/, and take another "
        "than the first with --choice"
    )


def keep_object(
    folder: RunFolder, scene: Scene, name: str, masks: np.ndarray, prompts: dict[str, Any], segmenter: str
) -> None:
    """Write an object's masks (N H W bool) and what it was told by, and show all objects on the sheet and the page."""
    keep_masks(folder, scene, name, masks)
    write_json(folder.path / OBJECTS / name / "prompts.json", prompts)
    objects = read_objects(folder, scene)
    write_bytes(folder.path / CONTACT_SHEET, contact_sheet(scene, objects))
    report_masks(folder, scene, objects, {"object": name, "segmenter": segmenter})


def keep_masks(folder: RunFolder, scene: Scene, name: str, masks: np.ndarray) -> None:
    """Write the masks (N H W bool) of an object in place of what it had, and what all objects cover together."""
    files = view_files(scene.names)
    with atomic_write(folder.path / OBJECTS / name) as temporary:
        for view, mask in enumerate(masks):
            write_png(temporary / f"{files[scene.names[view]]}.png", mask.astype(np.uint8) * 255)
    _write_together(folder, scene)


def forget_objects(folder: RunFolder, scene: Scene, names: Iterable[str]) -> None:
    """Take objects out of what all objects cover together; others are left."""
    gone = [folder.path / OBJECTS / name for name in names]
    for place in gone:
        shutil.rmtree(place, ignore_errors=True)
    if gone:
        _write_together(folder, scene)


def _write_together(folder: RunFolder, scene: Scene) -> None:
    files, objects = view_files(scene.names), read_objects(folder, scene)
    together = torch.stack(list(objects.values())).any(0)
    for view, mask in enumerate(together):
        folder.write_image(f"{files[scene.names[view]]}.png", mask)


def read_objects(folder: RunFolder, scene: Scene) -> dict[str, Tensor]:
    """The masks of all objects in a folder, by name, N H W bool each. An object that lacks a mask is left out."""
    files = [f"{file}.png" for file in view_files(scene.names).values()]
    objects = {}
    for place in sorted(path for path in (folder.path / OBJECTS).glob("*") if path.is_dir()):
        if all((place / file).is_file() for file in files):
            pixels = [read_pixels(place / file, cv2.IMREAD_GRAYSCALE) for file in files]
            objects[place.name] = torch.from_numpy(np.stack([image > 127 for image in pixels if image is not None]))
    return objects
