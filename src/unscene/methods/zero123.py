"""Zero-1-to-3 (Liu et al., ICCV 2023): novel views of one photo, from its embedding, its latent and the pose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from unscene.geometry.turntable import RelativePose, pose_numbers
from unscene.stages.novel_view import NovelView

if TYPE_CHECKING:  # loads diffusers: seconds
    from unscene.priors.novel_views.zero123 import Zero123


@dataclass(frozen=True)
class Zero123Config:
    """Settings of Zero-1-to-3."""

    steps: int = 20
    """Sampler steps."""
    guidance: float = 3.0
    """Classifier-free guidance; the paper's is 3, and 1 halves the work."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = ("models of `unscene train zero123` are of 128 pixels (paper: 256)",)
    """What a run does otherwise than the paper, whatever its settings."""

    @classmethod
    def paper(cls) -> Zero123Config:
        """The release's sampler: 75 steps, guidance 3."""
        return cls(steps=75, guidance=3.0)


def zero123_view(
    photo: Tensor, pose: RelativePose, model: Zero123, config: Zero123Config, *, noise: Tensor
) -> NovelView:
    """The object of a photo (S S 3 on white) from a pose. noise: C h w, the initial latent."""
    distance = model.camera_distance * (pose.distance - 1)
    numbers = pose_numbers(*(torch.tensor([number]) for number in (pose.azimuth, pose.elevation, distance)))
    images = model.generate(photo[None], numbers, noise=noise[None], steps=config.steps, guidance=config.guidance)
    return NovelView(images[0])
