"""A patch discriminator and the losses of its game."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _EqualizedConv(nn.Module):
    """Convolution whose weights are unit normals scaled at run time (StyleGAN2's equalised learning rate)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, generator: torch.Generator, *, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel, generator=generator))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain = (inputs * kernel * kernel) ** -0.5
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.gain, self.bias, padding=self.padding)


class _ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, generator: torch.Generator):
        super().__init__()
        self.first = _EqualizedConv(inputs, inputs, 3, generator)
        self.second = _EqualizedConv(inputs, outputs, 3, generator)
        self.skip = _EqualizedConv(inputs, outputs, 1, generator, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        main = F.avg_pool2d(_activate(self.second(_activate(self.first(x)))), 2)
        return (main + self.skip(F.avg_pool2d(x, 2))) * 0.5**0.5


class PatchDiscriminator(nn.Module):
    """The residual discriminator of StyleGAN2 (Karras et al. 2020) for N 3 p p patches in [-1, 1]; p a power of two
    times 4.

    batch: patches that come together. More than one tell their deviation from each other too; that of one is nought.
    """

    def __init__(self, patch: int, generator: torch.Generator, *, batch: int = 1, width: int = 24, widest: int = 96):
        super().__init__()
        self.compares = batch > 1
        self.from_rgb = _EqualizedConv(3, width, 1, generator)
        blocks, size, channels = [], patch, width
        while size > 4:
            wider = min(channels * 2, widest)
            blocks.append(_ResidualBlock(channels, wider, generator))
            size, channels = size // 2, wider
        self.blocks = nn.ModuleList(blocks)
        self.final = _EqualizedConv(channels + self.compares, channels, 3, generator)
        self.logit = _EqualizedConv(channels, 1, 1, generator)

    def forward(self, patches: Tensor) -> Tensor:
        """Realness logits, N."""
        return self.logits_and_features(patches)[0]

    def logits_and_features(self, patches: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Realness logits, N, and what each block made of the patches, N C h w each, finest first."""
        x, features = _activate(self.from_rgb(patches)), []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        if self.compares:
            deviation = (x.var(0, unbiased=False) + 1e-8).sqrt().mean()
            x = torch.cat([x, deviation.expand(len(x), 1, *x.shape[2:])], 1)
        x = _activate(self.final(x))
        return self.logit(x.mean((2, 3), keepdim=True))[:, 0, 0, 0], features


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2) * 2**0.5


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating logistic loss of the generator, scalar."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic loss of the discriminator, scalar."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def feature_matching(features: list[Tensor], reference: list[Tensor]) -> Tensor:
    """Mean absolute difference of a discriminator's features, over positions, channels and blocks (Wang et al. 2018,
    pix2pixHD, eq. 4), scalar."""
    return torch.stack([(ours - theirs).abs().mean() for ours, theirs in zip(features, reference, strict=True)]).mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """R1: half the squared gradient norm of the logits at real patches, mean over patches (Mescheder et al. 2018).

    real: N 3 p p as the discriminator sees them: on another scale of colours the penalty would weigh otherwise.
    """
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2
