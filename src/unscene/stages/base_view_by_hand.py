"""A base view that the user chose, inpainted like any other or filled with a picture of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from torch import Tensor

from unscene.fields.field import Field
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.scenes.capture import same_aspect, size_text
from unscene.scenes.image_files import image_size, read_image
from unscene.scenes.scene import Scene
from unscene.stages.independent_inpainting import (
    InpaintedView,
    continued_surface,
    initial_noise,
    inpaint_alone,
    inpaintable_views,
    who_filled,
)
from unscene.stages.method_error import MethodError
from unscene.stages.named_view import named_view, view_to_inpaint
from unscene.stages.surface_fill import Surface
from unscene.stages.view_choice import views_with_holes

VIEW, PICTURE = "in-n-out.base-view", "in-n-out.base-picture"  # options


@dataclass(frozen=True)
class OwnPicture:
    """A user's picture of a view: H W 3 in [0, 1], of the view's size; and what its file is called."""

    image: Tensor
    name: str


@dataclass(frozen=True)
class ByHand:
    """The base view that a user named, and the picture to fill it with, or None to have it inpainted."""

    name: str
    picture: OwnPicture | None


def read_by_hand(scene: Scene, name: str | None, file: Path | None) -> ByHand | None:
    """What a user chose, None if nothing. Raises MethodError or SceneError for what can be no base view or picture."""
    if name is None:
        if file is not None:
            raise MethodError(f"--{PICTURE}: expected the view that {file} is a picture of; name it with --{VIEW}.")
        return None
    if scene.masks is not None:  # less may be left to inpaint, but where nothing is hidden nothing is
        view_to_inpaint(scene, name, views_with_holes(scene.masks, scene.train), VIEW)
    return ByHand(name, None if file is None else _read_picture(scene, named_view(scene, name, VIEW), file))


def inpaint_by_hand(
    field: Field, scene: Scene, region: Tensor, depths: Tensor, by_hand: ByHand, prior: Inpainter,
    generator: torch.Generator, strength: float | None,
) -> tuple[InpaintedView, Surface, str]:  # fmt: skip
    """The base view, what is behind it, and who made its picture; arguments as of `inpaint_alone`. Raises MethodError
    for a view with nothing to inpaint."""
    possible = views_with_holes(region, scene.train)
    if by_hand.picture is not None:
        view = view_to_inpaint(scene, by_hand.name, possible, VIEW)
        made, surface = _put(field, scene, view, region[view], by_hand.picture, prior, generator)
        return made, surface, f"the user's own, {by_hand.picture.name}"
    view = view_to_inpaint(scene, by_hand.name, inpaintable_views(prior, scene, possible), VIEW)
    made, surface = inpaint_alone(field, scene, view, region, depths, prior, generator, strength=strength)
    return made, surface, who_filled(prior, surface, region[view], strength)


def _put(
    field: Field, scene: Scene, view: int, hole: Tensor, picture: OwnPicture, prior: Inpainter,
    generator: torch.Generator,
) -> tuple[InpaintedView, Surface]:  # fmt: skip
    """The picture in the view's hole (H W bool); beside other views a latent prior starts from it."""
    image = scene.image(view)
    surface = continued_surface(field, scene, view, hole, generator)
    filled = torch.where(hole[..., None], picture.image.to(image), image)
    latent = isinstance(prior, LatentInpainter)
    noise = initial_noise(prior, scene.cameras, generator) if latent else image.new_zeros(0)
    return InpaintedView(view, filled, filled, noise, surface.depth, hole), surface


def _read_picture(scene: Scene, view: int, file: Path) -> OwnPicture:
    """A picture of a view, at the scene's size. Raises MethodError or SceneError."""
    file, wanted = file.expanduser(), (scene.cameras.width, scene.cameras.height)
    if not file.is_file():
        raise MethodError(f"--{PICTURE}: expected an image file, found none at {file}; correct the path.")
    label = f"--{PICTURE} {file}"
    size = image_size(file, label)
    if not same_aspect(wanted, size):
        raise MethodError(
            f"--{PICTURE}: expected a picture of the shape of {scene.names[view]}, {size_text(wanted)} or a multiple, "
            f"got {size_text(size)} in {file}; crop it to what the photo shows."
        )
    pixels = read_image(file, label, size)
    shrinks = size[1] > wanted[1]
    pixels = cv2.resize(pixels, wanted, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return OwnPicture(torch.from_numpy(pixels).float() / 255, file.name)
