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


@dataclass(frozen=True)
class AdversaryConfig:
    """How the discriminator learns."""

    gradient_penalty: float = 0.2
    """Weight of R1 (In-N-Out's release)."""
    learning_rate: float = 1e-3
    """RMSprop's step size (In-N-Out's release)."""


@dataclass(frozen=True)
class Health:
    """One step of the game. accuracy: share of patches told apart rightly, real and rendered; gradient_norm: of the
    discriminator's weights; gradient_penalty: R1, unweighted."""

    accuracy: float
    gradient_norm: float
    gradient_penalty: float


class Adversary(nn.Module):
    """Tells patches of images (real) from rendered ones (fake), N 3 p p each in [0, 1]."""

    def __init__(self, patch: int, config: AdversaryConfig, generator: torch.Generator):
        super().__init__()
        self.config, self.rate = config, 1.0
        self.discriminator = PatchDiscriminator(patch, generator)
        self.optimizer = torch.optim.RMSprop(self.discriminator.parameters(), lr=config.learning_rate)
        for index, parameter in enumerate(self.discriminator.parameters()):
            # As a buffer, the optimiser's memory is part of this module's state: a resumed game goes on exactly.
            self.register_buffer(f"square_average_{index}", torch.zeros_like(parameter))
            memory = self.get_buffer(f"square_average_{index}")
            self.optimizer.state[parameter] = {"step": torch.zeros(()), "square_avg": memory}

    def train_on(self, real: Tensor, fake: Tensor) -> Health:
        """One step of the discriminator: L_adv + lambda_GP L_GP."""
        fake = fake.detach()
        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake)
        loss, penalty = discriminator_loss(real_logits, fake_logits), torch.zeros(())
        if self.config.gradient_penalty:
            penalty = gradient_penalty(self.discriminator, real)
            loss = loss + self.config.gradient_penalty * penalty
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradients = [p.grad for p in self.discriminator.parameters() if p.grad is not None]
        norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self.config.learning_rate
        self.optimizer.step()
        right = torch.cat([real_logits > 0, fake_logits < 0]).float().mean()
        return Health(right.item(), norm.item(), penalty.item())

    def judge(self, fake: Tensor) -> Tensor:
        """How badly rendered patches pass for real, scalar; its gradient reaches the patches only."""
        self.discriminator.requires_grad_(False)
        loss = generator_loss(self.discriminator(fake))
        self.discriminator.requires_grad_(True)
        return loss

    def judge_with_features(self, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and how far the discriminator's features of the two are apart (feature matching), scalars."""
        self.discriminator.requires_grad_(False)
        logits, features = self.discriminator.logits_and_features(fake)
        with torch.no_grad():
            _, reference = self.discriminator.logits_and_features(real)
        self.discriminator.requires_grad_(True)
        return generator_loss(logits), feature_matching(features, reference)
