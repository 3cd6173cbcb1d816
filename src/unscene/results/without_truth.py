"""What a run can be judged by where nobody knows what is behind the object."""

from __future__ import annotations

import torch
from torch import Tensor

from unscene.evaluation.figures import Views
from unscene.fields.field import render_view
from unscene.results.run import Run
from unscene.scenes.image_files import read_image
from unscene.scenes.mask_files import read_mask
from unscene.scenes.mask_values import white_pixels


def rendered_views(run: Run) -> Views:
    """The run's test views, or all if none was held out, with depths, and with masks if the run has any."""
    views = run.test if len(run.test) else run.train
    cameras, masks = run.cameras[views], _masks(run, views.tolist())
    renders = [render_view(run.field, cameras, index) for index in range(len(cameras))]
    return Views(
        images=[render.color.cpu() for render in renders],
        masks=list(masks.values()) if len(masks) == len(views) else None,
        masks_from="the run",
        cameras=cameras.to("cpu"),
        depths=[render.depth.cpu() for render in renders],
    )


def photos_beside_the_object(run: Run) -> list[tuple[Tensor, Tensor]]:
    """The training photos, H W 3 in [0, 1], each with where the object was, H W bool: there it is the run's fill.

    None for a run that took nothing out.
    """
    size = (run.cameras.width, run.cameras.height)
    files = {view: run.folder / "dataset" / "images" / _png(run, view) for view in run.train.tolist()}
    masks = _masks(run, [view for view, file in files.items() if file.is_file()])
    photos = {view: read_image(files[view], files[view].name, size) for view in masks}
    return [(torch.from_numpy(photo).float() / 255, masks[view]) for view, photo in photos.items()]


def _masks(run: Run, views: list[int]) -> dict[int, Tensor]:
    """Where the object was, for those of the views that have a mask in the run."""
    files = {view: run.folder / "masks" / _png(run, view) for view in views}
    there = {view: read_mask(file, file.name) for view, file in files.items() if file.is_file()}
    white, _ = white_pixels(list(there.values()), "run")
    return {view: torch.from_numpy(pixels) for view, pixels in zip(there, white, strict=True)}


def _png(run: Run, view: int) -> str:
    return f"{run.view_files[run.names[view]]}.png"
