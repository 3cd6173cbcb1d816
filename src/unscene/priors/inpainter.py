"""What every 2D inpainting prior offers: images and masks in, filled images out. Priors know nothing of cameras."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Inpainter(Protocol):
    """Fills the masked region of images."""

    @property
    def name(self) -> str:
        """What the run record and the report call it."""
        ...

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """Fill each image independently.

        Args:
            images: N H W 3 float in [0, 1]; what lies under the mask is ignored.
            masks: N H W bool, True = fill.
            generator: the only source of randomness.

        Returns:
            N H W 3 float in [0, 1]; unmasked pixels are exactly those of `images`.
        """
        ...


class StructureGuide(Protocol):
    """What can say roughly what belongs into a hole: colours and edges, no texture."""

    @property
    def name(self) -> str:
        """What the run record and the report call it."""
        ...

    def expected_fill(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """The mean of what may be there; arguments and result as in `Inpainter.inpaint`."""
        ...


@runtime_checkable
class LatentInpainter(Inpainter, Protocol):
    """An inpainter whose initial latent and whose attention views can share (In-N-Out, sections 3.2-3.3)."""

    @property
    def guide(self) -> StructureGuide | None:
        """What says where copied patches belong, if this prior knows it."""
        ...

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        ...

    @property
    def downscale(self) -> int:
        """Pixels per latent cell along one axis; padding goes to the right and the bottom."""
        ...

    @property
    def strength(self) -> float:
        """Share of the noise schedule this prior should run on top of a start image."""
        ...

    @property
    def steps(self) -> int:
        """Sampler steps of the whole schedule."""
        ...

    def latent_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the latent of an H W image, after padding to the model's multiple."""
        ...

    def inpaint_latent(
        self,
        images: Tensor,
        masks: Tensor,
        *,
        noise: Tensor,
        start: Tensor | None = None,
        strength: float = 1.0,
        steps: int = 20,
        base: int | None = None,
        own_weight: float = 1.0,
    ) -> Tensor:
        """Fill a batch of views from given initial latents with a deterministic sampler.

        Args:
            images: N H W 3 float in [0, 1].
            masks: N H W bool, True = fill.
            noise: N C h w, the initial latents z_T, of unit variance.
            start: N H W 3 images to start from at partial noise, or None to start from noise alone.
            strength: share of the noise schedule to run, in (0, 1]; below 1 it needs `start`.
            steps: sampler steps of the whole schedule; about strength * steps of them are run.
            base: index in the batch of the base view, whose keys and values all views attend to.
            own_weight: weight lambda_a of a view's own self-attention; the base view's gets 1 - own_weight.

        Returns:
            N H W 3 float in [0, 1]; unmasked pixels are exactly those of `images`.
        """
        ...


@runtime_checkable
class ScoreModel(Inpainter, Protocol):
    """An inpainter that says which noise it sees in a noisy latent, from which images can be taught (score
    distillation). Levels are shares of its noise schedule, in (0, 1]; images N H W 3, masks N H W bool."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as latents, N C h w; gradients pass."""
        ...

    def latent_masks(self, masks: Tensor) -> Tensor:
        """Which latent cells touch the masks, N 1 h w of 0 and 1."""
        ...

    def signal_share(self, level: float) -> float:
        """abar_t, the share of the variance that is signal at a noise level."""
        ...

    def predict_noise(self, noisy: Tensor, level: float, images: Tensor, masks: Tensor) -> Tensor:
        """The noise in latents (N C h w) that are noisy to a level, with guidance, N C h w without gradient.

        Told of the images what is not masked.
        """
        ...


@runtime_checkable
class JointInpainter(LatentInpainter, Protocol):
    """An inpainter that denoises many views together, so that they agree (NeRFiller, section 4)."""

    def inpaint_jointly(
        self, images: Tensor, masks: Tensor, *, start: Tensor | None, level: float, grid: Any,
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        """Fill views of one scene in as many sampler steps as the whole schedule has.

        Args:
            images: N H W 3 float in [0, 1]; what lies under the mask is ignored.
            masks: N H W bool, True = fill.
            start: N H W 3 images to start from; None at level 1, which starts from noise alone.
            level: share of the noise schedule, in (0, 1], over which the steps are spread.
            grid: a `GridPriorConfig`.
            generator: the only source of randomness.

        Returns:
            N H W 3 float in [0, 1]; unmasked pixels are exactly those of `images`.
        """
        ...


def check_images(images: Tensor, masks: Tensor) -> None:
    """Raise ValueError unless images are N H W 3 float and masks N H W bool of the same size."""
    if images.ndim != 4 or images.shape[-1] != 3 or not images.is_floating_point():
        raise ValueError(f"expected images as N H W 3 float in [0, 1], got {tuple(images.shape)} {images.dtype}")
    if masks.shape != images.shape[:3] or masks.dtype != torch.bool:
        raise ValueError(
            f"expected masks as N H W bool of shape {tuple(images.shape[:3])}, got {tuple(masks.shape)} {masks.dtype}; "
            "threshold soft masks first"
        )
