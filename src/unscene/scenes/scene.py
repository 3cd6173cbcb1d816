"""Scene: the one neutral value between every file format and the rest of the package."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.device import has_room
from unscene.files import to_uint8
from unscene.geometry.cameras import Cameras

BYTES_PER_PIXEL = 4 * 3 + 1 + 12  # four versions of the photos, masks, a sampler's index while it is made
NO_ORIGIN = torch.zeros(3, dtype=torch.float64)


class SceneError(ValueError):
    """Input that cannot be used; the text says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Scene:
    """Posed photos of one place, in the world coordinates of the input files, less an origin.

    images: N H W 3 uint8. masks: N H W bool, True = remove, or None. names: the image file names, in view order.
    train, test: view indices. points: P 3 and point_colors: P 3 uint8, sparse structure if the input has any.
    notes: what the reader had to skip or assume, in words for the user.
    origin: 3 float64 in main memory, where in the world of the files the coordinates of cameras and points begin: zero
    but for scenes so far out that float32 would round their cameras. Whatever is written has it added back.

    A scene is on the device of its cameras and masks. Its photos are there too if they fit, else in pinned main memory,
    from where `image` and samplers send what is asked for. train and test stay in main memory: they are loop counters.
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
    origin: Tensor = NO_ORIGIN

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def device(self) -> torch.device:
        """Where photos are wanted and rays are made."""
        return self.cameras.focal.device

    def to(self, device: torch.device) -> Scene:
        """The scene on another device; photos that do not fit there stay in main memory, pinned."""
        if has_room(device, BYTES_PER_PIXEL * self.images.shape[:3].numel()):
            images = self.images.to(device)
        else:
            images = self.images.cpu()
            images = images.pin_memory() if device.type == "cuda" else images
        masks = None if self.masks is None else self.masks.to(device)
        return dataclasses.replace(self, cameras=self.cameras.to(device), images=images, masks=masks)

    def with_images(self, views: Tensor, images: Iterable[Tensor]) -> Scene:
        """The scene with ``images`` (V of H W 3, float in [0, 1] or uint8) in place of those of ``views`` (V)."""
        changed = self.images.clone()
        changed = changed.pin_memory() if self.images.is_pinned() else changed
        for view, image in zip(views.tolist(), images, strict=True):
            changed[view] = to_uint8(image)
        return dataclasses.replace(self, images=changed)

    def with_further_training(self, cameras: Cameras, images: list[Tensor]) -> Scene:
        """The scene with ``images`` (V of H W 3, float in [0, 1] or uint8) of V further cameras to learn, no masks."""
        whole = torch.cat([self.images, *(to_uint8(image).to(self.images.device)[None] for image in images)])
        return dataclasses.replace(
            self, cameras=self.cameras.followed_by(cameras), masks=None,
            images=whole.pin_memory() if self.images.is_pinned() else whole,
            names=(*self.names, *(f"further {index}" for index in range(len(cameras)))),
            train=torch.cat([self.train, torch.arange(len(self), len(self) + len(cameras))]),
        )  # fmt: skip

    def with_masks(self, masks: Tensor | None) -> Scene:
        """The scene with other masks (N H W bool)."""
        return dataclasses.replace(self, masks=masks)

    def with_holdout(self, every: int) -> Scene:
        """The scene with each ``every``-th view held out for testing; 0 keeps all for training."""
        index = torch.arange(len(self))
        held = (index % every == 0) if every else torch.zeros_like(index, dtype=torch.bool)
        return dataclasses.replace(self, train=index[~held], test=index[held])

    def thinned(self, every: int) -> Scene:
        """The scene with each ``every``-th training view, the first one on, and all test views."""
        views = torch.cat([self.train[::every], self.test]).sort().values
        tested = torch.isin(views, self.test)
        return dataclasses.replace(self.subset(views), train=(~tested).nonzero()[:, 0], test=tested.nonzero()[:, 0])

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
        """One photo as H W 3 float in [0, 1], on the scene's device."""
        return self.images[view].to(self.device, non_blocking=True).float() / 255
