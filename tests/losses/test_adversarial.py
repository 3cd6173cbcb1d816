"""The adversarial game: analytic losses, the gradient penalty, and a discriminator that learns."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from unscene.losses.adversarial import PatchDiscriminator, discriminator_loss, generator_loss, gradient_penalty


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads only stand in each other's way on convolutions as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Quadratic(nn.Module):
    """logit = a/2 |x|^2 + b sum x, whose gradient a x + b is known."""

    def __init__(self, a: float, b: float):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def forward(self, x: Tensor) -> Tensor:
        return (self.a / 2 * x.square() + self.b * x).sum((1, 2, 3))


def small_discriminator() -> PatchDiscriminator:
    return PatchDiscriminator(16, torch.Generator().manual_seed(0), width=4, widest=8)


def patches(count: int, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_losses_are_the_logistic_ones() -> None:
    real, fake = torch.tensor([-1.5, 0.3, 4.0]), torch.tensor([2.0, -0.7])
    log_sigmoid = lambda x: -math.log1p(math.exp(-x))  # noqa: E731
    assert generator_loss(fake).item() == pytest.approx(-(log_sigmoid(2.0) + log_sigmoid(-0.7)) / 2)
    wanted = -sum(map(log_sigmoid, real.tolist())) / 3 - sum(log_sigmoid(-x) for x in fake.tolist()) / 2
    assert discriminator_loss(real, fake).item() == pytest.approx(wanted)


@pytest.mark.parametrize("size", [0.0, *(10.0**exponent for exponent in range(-10, 11, 2))])
def test_losses_have_finite_bounded_gradients(size: float) -> None:
    for sign in (-1, 1):
        real, fake = (torch.full((4,), sign * size, requires_grad=True) for _ in range(2))
        (discriminator_loss(real, fake) + generator_loss(fake)).backward()
        assert real.grad is not None and real.grad.abs().max() <= 0.25
        assert fake.grad is not None and fake.grad.abs().max() <= 0.25


def test_penalty_of_a_linear_discriminator_is_half_its_squared_weights() -> None:
    x = patches(5)
    assert gradient_penalty(Quadratic(0.0, 0.3), x).item() == pytest.approx(0.09 * 3 * 16 * 16 / 2, rel=1e-5)


def test_penalty_of_a_quadratic_discriminator_and_its_gradient_are_analytic() -> None:
    model, x = Quadratic(0.5, -0.2), patches(5)
    penalty = gradient_penalty(model, x)
    slope = 0.5 * x - 0.2
    torch.testing.assert_close(penalty, slope.square().sum((1, 2, 3)).mean() / 2)
    penalty.backward()
    torch.testing.assert_close(model.a.grad, (slope * x).sum((1, 2, 3)).mean())
    torch.testing.assert_close(model.b.grad, slope.sum((1, 2, 3)).mean())


def test_penalty_of_the_real_network_matches_finite_differences() -> None:
    model, x = small_discriminator().double(), patches(1).double()
    generator = torch.Generator().manual_seed(2)
    direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    step = 1e-6
    with torch.no_grad():
        slope = (model(x + step * direction) - model(x - step * direction)) / (2 * step)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    torch.testing.assert_close((gradient * direction).sum(), slope[0], rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient_penalty(model, x), gradient.square().sum() / 2)


def test_a_discriminator_that_sees_one_patch_at_a_time_has_no_channel_that_is_always_the_same() -> None:
    """The deviation over the batch (Karras et al. 2018) of one patch is nought, whatever the patch."""
    seen: list[Tensor] = []
    model = small_discriminator()
    model.final.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(patches(1, seed=1))
    model(patches(1, seed=2))
    assert ((seen[0] - seen[1]).abs().amax((0, 2, 3)) > 0).all()


def test_the_deviation_over_a_batch_tells_patches_that_are_all_alike() -> None:
    seen: list[Tensor] = []
    model = PatchDiscriminator(16, torch.Generator().manual_seed(0), batch=4, width=4, widest=8)
    model.final.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, -1]))
    model(patches(4))
    model(patches(1).expand(4, -1, -1, -1))
    varied, alike = seen
    assert (varied == varied[0, 0, 0]).all() and varied[0, 0, 0] > 10 * alike[0, 0, 0]


def test_the_penalty_reaches_the_weights_and_leaves_the_patches_alone() -> None:
    model, x = small_discriminator(), patches(2)
    gradient_penalty(model, x).backward()
    assert not x.requires_grad and x.grad is None
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients) and sum(g.abs().sum() for g in gradients) > 0


@pytest.mark.parametrize("size", [8, 16, 32])
def test_patches_of_every_size_get_one_logit_each(size: int) -> None:
    model = PatchDiscriminator(size, torch.Generator().manual_seed(0), width=4, widest=8)
    assert model(torch.rand(3, 3, size, size)).shape == (3,)


def test_equal_seeds_make_equal_discriminators() -> None:
    assert torch.equal(small_discriminator()(patches(2)), small_discriminator()(patches(2)))


def test_signals_keep_their_size_through_the_network() -> None:
    logits = PatchDiscriminator(32, torch.Generator().manual_seed(0))(torch.rand(16, 3, 32, 32))
    assert 1e-3 < logits.detach().abs().mean() < 10


def test_the_discriminator_learns_to_tell_sharp_from_smooth() -> None:
    model, generator = small_discriminator(), torch.Generator().manual_seed(3)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-2)

    def draw() -> tuple[Tensor, Tensor]:
        sharp = torch.rand(8, 3, 16, 16, generator=generator)
        smooth = torch.rand(8, 3, 1, 1, generator=generator).expand(8, 3, 16, 16)
        return sharp * 2 - 1, smooth * 2 - 1

    for _ in range(60):
        sharp, smooth = draw()
        loss = discriminator_loss(model(sharp), model(smooth)) + 0.01 * gradient_penalty(model, sharp)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    sharp, smooth = draw()
    with torch.no_grad():
        assert ((model(sharp) > 0).float().mean() + (model(smooth) < 0).float().mean()) / 2 > 0.9
