"""Scene: the one neutral value between every file format and the rest of the package."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras


class SceneError(ValueError):
    """Input that cannot be used; the text says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Scene:
    """Posed photos of one place, in the world coordinates of the input files.

    images: N H W 3 uint8. masks: N H W bool, True = remove, or None. names: the image file names, in view order.
    train, test: view indices. points: P 3 and point_colors: P 3 uint8, sparse structure if the input has any.
    notes: what the reader had to skip or assume, in words for the user.
    """

    name: str
    cameras: Cameras
    images: Tensor
    names: tuple[str, ...]
    train: Tensor
    test: Tensor
    masks: Tensor | None = None
    points: Tensor | None = None
    point_colors: Tensor | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.cameras)

    def to(self, device: torch.device | str) -> Scene:
        """The scene for work on ``device``: cameras, photos and masks there; view lists and points stay on the host.

        Photos that would fill more than half of a CUDA device's free memory stay on the host, pinned, with their masks.
        """
        device, size = torch.device(device), self.images.numel()
        if device.type == "cuda" and not self.images.is_cuda and size > torch.cuda.mem_get_info(device)[0] // 2:
            images, beside = self.images.pin_memory(), torch.device("cpu")
        else:
            images, beside = self.images.to(device), device
        masks = None if self.masks is None else self.masks.to(beside)
        return dataclasses.replace(self, cameras=self.cameras.to(device), images=images, masks=masks)

    def with_images(self, views: Tensor, images: Tensor) -> Scene:
        """The scene with ``images`` (V H W 3, float in [0, 1] or uint8) in place of those of ``views`` (V)."""
        if images.is_floating_point():
            images = (images.clamp(0, 1) * 255).round().to(torch.uint8)
        changed = self.images.clone()
        changed[views] = images.to(changed.device)
        return dataclasses.replace(self, images=changed)

    def with_masks(self, masks: Tensor | None) -> Scene:
        """The scene with other masks (N H W bool)."""
        return dataclasses.replace(self, masks=masks)

    def with_holdout(self, every: int) -> Scene:
        """The scene with each ``every``-th view held out for testing; 0 keeps all for training."""
        index = torch.arange(len(self))
        held = (index % every == 0) if every else torch.zeros_like(index, dtype=torch.bool)
        return dataclasses.replace(self, train=index[~held], test=index[held])

    def subset(self, views: Tensor) -> Scene:
        """Only ``views``, all of them for training."""
        return dataclasses.replace(
            self,
            cameras=self.cameras[views],
            images=self.images[views],
            masks=None if self.masks is None else self.masks[views],
            names=tuple(self.names[i] for i in views.tolist()),
            train=torch.arange(len(views)),
            test=torch.arange(0),
        )

    def image(self, view: int) -> Tensor:
        """One photo as H W 3 float in [0, 1]."""
        return self.images[view].float() / 255
