"""Patches of inpainted views and the rays that render them; In-N-Out's patch losses (In-N-Out, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unscene.fields.field import ViewField, Window
from unscene.fields.nerf import Nerf
from unscene.geometry.cameras import pixel_centers
from unscene.geometry.masks import bounding_box
from unscene.geometry.randomness import sent, uniform
from unscene.losses.perceptual import Features, perceptual_distance
from unscene.scenes.scene import Scene
from unscene.training.adversary import Adversary, AdversaryConfig
from unscene.training.fit import Companion


@dataclass(frozen=True)
class Patch:
    """A square of a view: the view's index, the square's first row and column, its pixels along a side."""

    view: int
    top: int
    left: int
    size: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the view's image."""
        return slice(self.top, self.top + self.size), slice(self.left, self.left + self.size)

    @property
    def part(self) -> Window:
        """The same as a part of the view."""
        return Window(self.left, self.top, self.size, self.size)

    def pixels(self, device: torch.device | str = "cpu") -> Tensor:
        """Positions of its pixels' centres, size size 2."""
        corner = pixel_centers(self.size, self.size, device)
        return torch.stack([corner[..., 0] + self.left, corner[..., 1] + self.top], -1)


def positions_of(patches: Sequence[Patch], device: torch.device) -> tuple[Tensor, Tensor]:
    """The views (P) and positions (P 2) of the pixels of patches, one patch after the other and row by row."""
    pixels = torch.cat([patch.pixels(device).view(-1, 2) for patch in patches])
    views = torch.cat([torch.full((patch.size**2,), patch.view, device=device) for patch in patches])
    return views, pixels


class PatchSampler:
    """Draws, on the host, patches whose centres lie in the box around what was inpainted.

    views: which to draw from; region: N H W bool, what was inpainted; size: pixels along a side, at most the image's.
    """

    def __init__(self, views: Tensor, region: Tensor, size: int):
        self.height, self.width = region.shape[1:]
        self.size = min(size, self.height, self.width)
        self.views, self.boxes = views, {view: bounding_box(region[view]) for view in views.tolist()}

    def draw(self, generator: torch.Generator) -> Patch:
        """A random patch of a random view."""
        return self.draw_from(int(self.views[torch.randint(len(self.views), (), generator=generator)]), generator)

    def draw_from(self, view: int, generator: torch.Generator) -> Patch:
        """A random patch of a view."""
        top, left, bottom, right = self.boxes[view]
        row = self._corner(top, bottom, self.height, generator)
        column = self._corner(left, right, self.width, generator)
        return Patch(view, row, column, self.size)

    def _corner(self, start: int, end: int, extent: int, generator: torch.Generator) -> int:
        """First row or column of a patch that overlaps the box [start, end) with its centre."""
        center = start + int(torch.randint(end - start, (), generator=generator))
        return min(max(center - self.size // 2, 0), extent - self.size)


@dataclass(frozen=True)
class PatchConfig:
    """The patch loss and its adversary."""

    size: int = 64
    """Pixels along a patch's sides (paper: 256, on photos of 1008 pixels)."""
    weight: float = 0.01
    """lambda_patch, the weight of the whole (paper, beside squared errors)."""
    perceptual: bool = True
    """Compare features, not only colours."""
    adversarial: bool = True
    """Play against a discriminator."""
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    """How the discriminator learns."""


class PatchGame(Companion):
    """Renders patches of inpainted views, scores them by L1, perceptual distance and a discriminator, and trains that.

    scene: inpainted images; views: which to draw from; region: N H W bool, what was inpainted.
    """

    def __init__(self, field: Nerf | ViewField, scene: Scene, views: Tensor, region: Tensor, features: Features,
                 config: PatchConfig, generator: torch.Generator):  # fmt: skip
        super().__init__()
        self.sampler = PatchSampler(views, region, config.size)
        self.adversary = Adversary(self.sampler.size, config.adversary, generator)
        self.config, self.features, self.scene = config, features, scene
        self._field = (field,)  # a tuple keeps the field out of this module's state
        self.to(scene.device)  # weights are drawn on the host

    def calm(self, rollbacks: int) -> None:
        """Halve the discriminator's step size."""
        self.adversary.rate = 0.5**rollbacks

    def losses(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted patch terms of one random patch; also takes one step of the discriminator."""
        real, fake = self._draw(generator)
        weight = self.config.weight
        terms = {"patch L1": weight * (fake - real).abs().mean()}
        if self.config.perceptual:
            terms["patch perceptual"] = weight * perceptual_distance(self.features, fake, real)
        if self.config.adversarial:
            self.adversary.train_on(real, fake)
            terms["patch adversarial"] = weight * self.adversary.judge(fake)
        return terms

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """An inpainted patch and its render, 1 3 p p each."""
        patches = [self.sampler.draw(generator)]
        return render_patches(self._field[0], self.scene, patches, generator)


def render_patches(
    field: Nerf | ViewField, scene: Scene, patches: list[Patch], generator: torch.Generator, *,
    learns_geometry: bool = True,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """B patches of one size as the scene's images have them and as the field renders them, B 3 p p each.

    A radiance field renders all of their rays at once, what is drawn view by view a window for each.
    """
    cameras, size = scene.cameras, patches[0].size
    device = cameras.focal.device
    if isinstance(field, ViewField):
        fake = torch.stack(
            [field.show(cameras, patch.view, patch.part, learns_geometry=learns_geometry).color for patch in patches]
        )
    else:
        rays = cameras.rays(*positions_of(patches, device))
        render = field.render(rays, jitter=uniform(len(rays), generator, device), learns_geometry=learns_geometry)
        fake = render.color.view(-1, size, size, 3)
    real = torch.stack([sent(scene.images[patch.view][patch.window], device) for patch in patches]).float() / 255
    return real.permute(0, 3, 1, 2), fake.permute(0, 3, 1, 2)
