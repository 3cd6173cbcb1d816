"""A splat that somebody has: opened, compared with a scene's photos, and written again without its object."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unscene.fields.splats import Splats
from unscene.geometry.gaussians import Gaussians
from unscene.scenes.scene import Scene
from unscene.splat_files.formats import read_splats
from unscene.splat_files.splat_error import SplatError
from unscene.splat_files.splat_file import Announce, SplatFile, check_copies
from unscene.stages.view_choice import spread

LOOKED_AT = 8  # views that are compared with photos
BETTER = 3.0  # dB by which renders must be nearer to the photos than the photos' own mean colours are
ORIGIN = "scene_origin"  # comment of a splat whose coordinates begin there
COPIES = 5  # of all numbers, in memory while a splat is drawn and learns


@dataclass(frozen=True)
class GivenSplat:
    """A file of splats. has_photos: whether the scene's images are photos, not black."""

    path: Path
    content: SplatFile
    has_photos: bool

    @property
    def origin(self) -> Tensor:
        """Where in the world its coordinates begin, 3 float64."""
        for comment in self.content.comments:
            name, _, place = comment.partition(" ")
            if name == ORIGIN and len(numbers := place.split()) == 3:
                return torch.tensor([float(number) for number in numbers], dtype=torch.float64)
        return torch.zeros(3, dtype=torch.float64)


def open_splat(path: Path, *, has_photos: bool, announce: Announce) -> GivenSplat:
    """Read a splat to take an object out of. announce: is told what a large one will take of memory, before it does.

    Raises SplatError for a file that is none, and for one that takes more memory than there is.
    """
    content = read_splats(path, announce=announce)
    count = len(content.gaussians)
    numbers = COPIES * sum(tensor.numel() for tensor in content.gaussians.tensors)
    task = f"editing {count:,} Gaussians takes"
    check_copies(path, count, numbers, announce, expected="a splat that can be edited in memory", task=task)
    return GivenSplat(path, content, has_photos)


def in_its_coordinates(scene: Scene, splat: GivenSplat) -> Scene:
    """The scene in the coordinates of a splat, whose Gaussians stay as they are to the last bit."""
    shift = (scene.origin - splat.origin).to(scene.cameras.T_world_camera)
    if not shift.any():
        return dataclasses.replace(scene, origin=splat.origin)
    poses = scene.cameras.T_world_camera.clone()
    poses[:, :, 3] += shift
    cameras = dataclasses.replace(scene.cameras, T_world_camera=poses)
    return dataclasses.replace(scene, cameras=cameras, origin=splat.origin)


def check_frame(scene: Scene, splat: GivenSplat) -> str:
    """How well a splat's renders agree with the scene's photos, in words; both still show the object.

    Raises SplatError where they agree no better than plain colours would: its coordinates are not those of the poses.
    """
    field = Splats.around(scene.cameras[scene.train], splat.content.gaussians.to(scene.device))
    views = spread(scene.train, LOOKED_AT).tolist()
    photos = [scene.image(view) for view in views]
    renders = [field.draw(scene.cameras, view).color for view in views]
    plain = [photo.mean((0, 1)).expand_as(photo) for photo in photos]
    found, least = _psnr(renders, photos), _psnr(plain, photos) + BETTER
    if not found >= least:
        raise SplatError(
            f"{splat.path}: expected a splat in the coordinates of the poses, but its renders agree with {len(views)} "
            f"photos by {found:.1f} dB only (their mean colours, with {BETTER:g} dB added: {least:.1f} dB); give the "
            "poses that it was trained with: many trainers turn and scale the scene, and write their own "
            "cameras.json, for --cameras."
        )
    return f"the splat's renders agree with {len(views)} photos by {found:.1f} dB"


def without_object(splat: GivenSplat, gaussians: Gaussians, rows: Tensor) -> SplatFile:
    """The splat's file with other Gaussians. rows: N, which of the file's each is, -1 for new ones.

    Those of the file come first and in its order, with all that it says of them; new ones have zeros there.
    """
    gaussians, rows = gaussians.to("cpu"), rows.cpu()
    order = torch.cat([(rows >= 0).nonzero()[:, 0][rows[rows >= 0].argsort()], (rows < 0).nonzero()[:, 0]])
    came_from = rows[order].numpy()
    extras = {
        name: np.where(came_from >= 0, values[came_from.clip(0)], np.zeros((), values.dtype)).astype(values.dtype)
        for name, values in splat.content.extras.items()
    }
    return dataclasses.replace(splat.content, gaussians=gaussians[order], extras=extras, notes=())


def _psnr(images: list[Tensor], truth: list[Tensor]) -> float:
    error = torch.stack([(a - b).square().mean() for a, b in zip(images, truth, strict=True)]).mean()
    return float(-10 * error.clamp_min(1e-12).log10())
