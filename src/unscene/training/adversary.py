"""A discriminator that learns beside the field: its optimiser, what it says of patches, and how well its game goes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unscene.losses.adversarial import (
    PatchDiscriminator,
    discriminator_loss,
    feature_matching,
    generator_loss,
    gradient_penalty,
)
from unscene.threads import torch_on_all_threads


@dataclass(frozen=True)
class AdversaryConfig:
    """How the discriminator learns."""

    gradient_penalty: float = 0.2
    """Weight of R1 (In-N-Out's release)."""
    penalty_every: int = 8
    """Steps of the discriminator between two that have R1, with that many times its weight (StyleGAN2's lazy
    regularisation, every 16th there; the interval is ours): R1 is half the work of a step that has it."""
    learning_rate: float = 1e-3
    """RMSprop's step size (In-N-Out's release)."""
    tiles: int = 1
    """Tiles along each side of a patch, judged on their own and by how much they differ (In-N-Out's release: 4, of 64
    pixels)."""


@dataclass(frozen=True)
class Health:
    """One step of the game, as scalars on the discriminator's device. accuracy: share of patches told apart rightly,
    real and rendered; gradient_norm: of the discriminator's weights; gradient_penalty: R1, unweighted, as of the last
    step that had it."""

    accuracy: Tensor
    gradient_norm: Tensor
    gradient_penalty: Tensor


class Adversary(nn.Module):
    """Tells patches of images (real) from rendered ones (fake), N 3 p p each in [0, 1]."""

    penalty: Tensor

    def __init__(self, patch: int, config: AdversaryConfig, generator: torch.Generator):
        super().__init__()
        self.config, self.rate, self.turn = config, 1.0, 0
        self.discriminator = PatchDiscriminator(patch // config.tiles, generator, batch=config.tiles**2)
        self.discriminator.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        for index, parameter in enumerate(self.discriminator.parameters()):
            # As a buffer, the optimiser's memory is part of this module's state: a resumed game goes on exactly.
            self.register_buffer(f"square_average_{index}", torch.zeros_like(parameter))
        self.register_buffer("penalty", torch.zeros(()))
        self._optimize_what_is_here()

    def _optimize_what_is_here(self) -> None:
        self.optimizer = torch.optim.RMSprop(self.discriminator.parameters(), lr=self.config.learning_rate)
        for index, parameter in enumerate(self.discriminator.parameters()):
            memory = self.get_buffer(f"square_average_{index}")
            self.optimizer.state[parameter] = {"step": torch.zeros(()), "square_avg": memory}

    def _apply(self, *arguments, **options) -> Adversary:
        """Any move to another device replaces buffers, and perhaps weights: the optimiser has to hear of it."""
        super()._apply(*arguments, **options)
        self._optimize_what_is_here()
        return self

    def get_extra_state(self) -> Tensor:
        """The number of steps taken, on the host: which step comes next must not be asked of a device."""
        return torch.tensor(self.turn)

    def set_extra_state(self, state: Tensor) -> None:
        self.turn = int(state)

    def train_on(self, real: Tensor, fake: Tensor) -> Health:
        """One step of the discriminator: L_adv + lambda_GP L_GP, the latter now and then."""
        with torch_on_all_threads():
            return self._train_on(real, fake)

    def _train_on(self, real: Tensor, fake: Tensor) -> Health:
        real, fake = self._seen(real), self._seen(fake.detach())
        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake)
        loss, every = discriminator_loss(real_logits, fake_logits), self.config.penalty_every
        if self.config.gradient_penalty and self.turn % every == 0:
            penalty = gradient_penalty(self.discriminator, real)
            loss = loss + every * self.config.gradient_penalty * penalty
            self.penalty.copy_(penalty.detach())
        self.turn += 1
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradients = [p.grad for p in self.discriminator.parameters() if p.grad is not None]
        norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self.config.learning_rate
        self.optimizer.step()
        right = torch.cat([real_logits > 0, fake_logits < 0]).float().mean()
        return Health(right, norm, self.penalty.clone())

    def judge(self, fake: Tensor) -> Tensor:
        """How badly rendered patches pass for real, scalar; its gradient reaches the patches only."""
        self.discriminator.requires_grad_(False)
        with torch_on_all_threads():
            loss = generator_loss(self.discriminator(self._seen(fake)))
        self.discriminator.requires_grad_(True)
        return loss

    def judge_with_features(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and how far the discriminator's features of the two are apart (feature matching), scalars."""
        self.discriminator.requires_grad_(False)
        logits, features = self.discriminator.logits_and_features(self._seen(fake))
        with torch.no_grad():
            _, reference = self.discriminator.logits_and_features(self._seen(real))
        self.discriminator.requires_grad_(True)
        return generator_loss(logits), feature_matching(features, reference)

    def _seen(self, patches: Tensor) -> Tensor:
        """Patches as the discriminator sees them: tiles in [-1, 1]."""
        return tiles_of(patches * 2 - 1, self.config.tiles)


def tiles_of(patches: Tensor, count: int) -> Tensor:
    """Patches (N 3 p p) cut into count x count tiles each, row by row; what cannot be shared out is left out."""
    side = patches.shape[-1] // count
    tiles = patches.unfold(2, side, side).unfold(3, side, side)[:, :, :count, :count]
    return tiles.permute(0, 2, 3, 1, 4, 5).reshape(-1, patches.shape[1], side, side)
