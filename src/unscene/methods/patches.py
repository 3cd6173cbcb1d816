"""Fitting a field to inpainted views by patches: L1, perceptual and adversarial (In-N-Out, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unscene.fields.nerf import Nerf
from unscene.geometry.masks import bounding_box
from unscene.losses.adversarial import PatchDiscriminator, discriminator_loss, generator_loss, gradient_penalty
from unscene.losses.perceptual import Features, perceptual_distance
from unscene.scenes.scene import Scene


@dataclass(frozen=True)
class PatchConfig:
    """The patch loss and its adversary."""

    size: int = 64
    """Pixels along a patch's sides (paper: 256, on photos of 1008 pixels)."""
    weight: float = 0.01
    """lambda_patch, the weight of the whole (paper)."""
    perceptual: bool = True
    """Compare features, not only colours."""
    adversarial: bool = True
    """Play against a discriminator."""
    gradient_penalty: float = 0.2
    """Weight of R1 (release)."""
    discriminator_learning_rate: float = 1e-3
    """RMSprop's step size (release)."""


class PatchGame(nn.Module):
    """Draws patches of inpainted views, renders them, scores them, and trains the discriminator that does.

    scene: inpainted images; views: which to draw from; region: N H W bool, what was inpainted.
    """

    def __init__(self, nerf: Nerf, scene: Scene, views: Tensor, region: Tensor, features: Features,
                 config: PatchConfig, generator: torch.Generator):  # fmt: skip
        super().__init__()
        self.size = min(config.size, scene.cameras.height, scene.cameras.width)
        self.discriminator = PatchDiscriminator(self.size, generator)
        self.optimizer = torch.optim.RMSprop(self.discriminator.parameters(), lr=config.discriminator_learning_rate)
        for index, parameter in enumerate(self.discriminator.parameters()):
            # As a buffer, the optimiser's memory is part of this module's state: a resumed game goes on exactly.
            self.register_buffer(f"square_average_{index}", torch.zeros_like(parameter))
            memory = self.get_buffer(f"square_average_{index}")
            self.optimizer.state[parameter] = {"step": torch.zeros(()), "square_avg": memory}
        self.config, self.features = config, features
        self._nerf, self.scene, self.views = (nerf,), scene, views  # a tuple keeps the field out of this module's state
        self.boxes = {view: bounding_box(region[view]) for view in views.tolist()}

    def losses(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted patch terms of one random patch; also takes one step of the discriminator."""
        real, fake = self._draw(generator)
        weight = self.config.weight
        terms = {"patch L1": weight * (fake - real).abs().mean()}
        if self.config.perceptual:
            terms["patch perceptual"] = weight * perceptual_distance(self.features, fake, real)
        if self.config.adversarial:
            self._train_discriminator(real, fake.detach())
            self.discriminator.requires_grad_(False)
            terms["patch adversarial"] = weight * generator_loss(self.discriminator(fake))
            self.discriminator.requires_grad_(True)
        return terms

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """An inpainted patch and its render, 1 3 p p each."""
        view = int(self.views[torch.randint(len(self.views), (), generator=generator)])
        top, left, bottom, right = self.boxes[view]
        row = self._corner(top, bottom, self.scene.cameras.height, generator)
        column = self._corner(left, right, self.scene.cameras.width, generator)
        y, x = torch.meshgrid(torch.arange(self.size) + row, torch.arange(self.size) + column, indexing="ij")
        xy = torch.stack([x, y], -1).reshape(-1, 2) + 0.5
        rays = self.scene.cameras.rays(torch.full((len(xy),), view), xy)
        render = self._nerf[0].render(rays, jitter=torch.rand(len(rays), generator=generator))
        fake = render.color.view(1, self.size, self.size, 3).permute(0, 3, 1, 2)
        real = self.scene.images[view, row : row + self.size, column : column + self.size].float() / 255
        return real.permute(2, 0, 1)[None], fake

    def _corner(self, start: int, end: int, extent: int, generator: torch.Generator) -> int:
        """First row or column of a patch that overlaps the box [start, end) with its centre."""
        center = start + int(torch.randint(end - start, (), generator=generator))
        return min(max(center - self.size // 2, 0), extent - self.size)

    def _train_discriminator(self, real: Tensor, fake: Tensor) -> None:
        loss = discriminator_loss(self.discriminator(real), self.discriminator(fake))
        if self.config.gradient_penalty:
            loss = loss + self.config.gradient_penalty * gradient_penalty(self.discriminator, real)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
