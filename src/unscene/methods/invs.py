"""iNVS (Kant et al., SIGGRAPH Asia 2023): novel views of one photo, by completing what its pixels show of them.

The photo's pixels are splatted into the target view (`geometry/splatting.py`); a latent inpainter fills in what they
leave open, told which pixels may be new (behind the visible surface) and how far each other is turned.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import dilate
from unscene.geometry.partial_view import BACKGROUND, PartialView, partial_view
from unscene.geometry.splatting import SurfacePoints, joined_points
from unscene.geometry.turntable import RelativePose, pose_between, pose_numbers
from unscene.stages.invented_surface import invented_points
from unscene.stages.novel_view import NovelView
from unscene.stages.object_source import SourceView

if TYPE_CHECKING:  # loads diffusers: seconds
    from unscene.priors.novel_views.view_inpainter import ViewInpainter


@dataclass(frozen=True)
class InvsConfig:
    """Settings of iNVS."""

    widest: float = 90.0
    """Ray angle, degrees, from which on the photo's pixels are not reused."""
    steps: int = 20
    """Sampler steps."""
    strength: float = 0.2
    """How far the sampler's beginning is noise (ours): it begins at what the photo shows and what a symmetric object
    would show in the holes, noised as far as this share of its steps takes away again (SDEdit). At 1 it begins at
    noise, and what a symmetric object would show is not put over the view either, as in the paper."""
    reuse_angle: float = 90.0
    """Ray angle, degrees, from which on nothing of the photo's own pixels, and of those that a symmetric object would
    show, is put over the completed view any more; less the farther they are turned, as the autoencoder loses fine
    detail such as letters (ours). 0 puts none, as in the paper."""
    rounds: int = 2
    """How often the views of a turn that agrees with itself are made (ours): in a second round the first ones know of
    what the later ones have invented."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = (
        "the bundled model is of 128 pixels and has seen thousands of rendered pairs (paper: Stable Diffusion's "
        "inpainter at 512 pixels, 20 million renders)",
        "models of `unscene train invs` are told the photo as a whole, unless trained with --no-told-photo (paper: no)",
        "they are told what would be seen if the object were symmetric, unless trained with --no-told-symmetry (paper: "
        "no; nor is the bundled model)",
        "the epipolar mask ends where a ray leaves the object's ball (paper: at the image's border)",
        "back faces are dropped by their normals too (paper: the angle of the rays alone)",
    )
    """What a run does otherwise than the paper, whatever its settings."""

    @classmethod
    def paper(cls) -> InvsConfig:
        """What the paper states; it does not tell the sampler's steps."""
        return cls(reuse_angle=0.0, strength=1.0)


def invs_view(
    source: SourceView, target: Cameras, model: ViewInpainter, config: InvsConfig, *, noise: Tensor,
    also: SurfacePoints | None = None,
) -> NovelView:  # fmt: skip
    """The object from a target camera of the photo's size.

    noise: C h w, the initial latent; also: what other views have shown of the object.
    """
    seen = partial_view(source.color, source.depth, source.camera, target, widest=config.widest, also=also)
    image, soft_mask, epipolar_mask = seen.told(symmetry=model.told_symmetry)
    guess = seen.symmetric_image(hole=BACKGROUND) if config.strength < 1 else None
    completed = model.complete(
        image[None], soft_mask[None], epipolar_mask[None], source.on_background[None],
        pose_numbers(*pose_between(source.camera, target)), noise=noise[None], steps=config.steps,
        start=None if guess is None else guess[None], strength=config.strength,
    )[0]  # fmt: skip
    # where nothing was seen and nothing can hide, the background stays
    empty = ~(seen.covered | seen.epipolar_mask)
    completed = torch.where(empty[..., None], BACKGROUND, completed)
    return NovelView(with_known_pixels(completed, seen, config), seen)


def invs_turn(
    source: SourceView, poses: list[RelativePose], model: ViewInpainter, config: InvsConfig, *, noise: Tensor
) -> Iterator[tuple[int, NovelView]]:
    """Views that agree with each other (ours), each with its place among the poses, as they are made.

    From the photo outwards, to both sides in turn, until the ends meet at the back: each is told what the photo and all
    views before it show of it, and what it invents is lifted into space for those after it (render, refine, repeat;
    Liu et al. 2021, "Infinite Nature"). In the last of `config.rounds` all views know of all others.
    """
    invented: list[list[SurfacePoints]] = [[] for _ in poses]
    for left in reversed(range(config.rounds)):
        for index in outwards(poses):
            target = source.target(poses[index])
            others = list(itertools.chain(*invented))
            also = joined_points(others) if others else None
            view = invs_view(source, target, model, config, noise=noise, also=also)
            assert view.partial is not None
            invented[index].append(invented_points(view.image, view.partial, target, source))
            if left == 0:
                yield index, dataclasses.replace(view, invented=joined_points(invented[index]))


def outwards(poses: list[RelativePose]) -> list[int]:
    """The order in which views of a turn are made: the nearest to the photo first, right and left by turns."""

    def turned(index: int) -> tuple[float, float]:
        azimuth = (poses[index].azimuth + 180) % 360 - 180
        return round(math.hypot(azimuth, poses[index].elevation), 6), -azimuth

    return sorted(range(len(poses)), key=turned)


def with_known_pixels(completed: Tensor, seen: PartialView, config: InvsConfig) -> Tensor:
    """The photo's own pixels over a completed view, H W 3, and where it shows none those of a symmetric object, as far
    as they are trusted: more than what other views have invented."""
    if config.reuse_angle <= 0:
        return completed
    known = completed + trust(seen, config.reuse_angle)[..., None] * (seen.color - completed)
    if config.strength == 1:
        return known
    return known + trust_in_symmetry(seen, config.reuse_angle)[..., None] * (seen.symmetric.color - known)


def trust(seen: PartialView, widest: float) -> Tensor:
    """How far reused pixels speak for themselves, H W in [0, 1]: fully if seen squarely, not at all next to a hole or
    from the ray angle `widest` on."""
    return _squarely(seen.ray_angle, widest) * seen.covered * _apart_from(seen.epipolar_mask)


def trust_in_symmetry(seen: PartialView, widest: float) -> Tensor:
    """The same of what a symmetric object would show where the photo shows nothing, H W in [0, 1], as if the photo's
    symmetric image were another photo."""
    told = seen.told_by_symmetry
    return _squarely(seen.symmetric.angle, widest) * told * _apart_from(~(told | seen.covered))


def _squarely(angle: Tensor, widest: float) -> Tensor:
    return (1 - angle / widest).clamp(0, 1)


def _apart_from(other: Tensor) -> Tensor:
    """Where no pixel of the other kind (H W bool) is next, H W bool: one that is beside it is a mixture already."""
    return ~dilate(other[None], 1)[0]
