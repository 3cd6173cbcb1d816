"""The discriminator's optimiser: it follows the module, and pays for R1 now and then."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import unscene.training.adversary as module
from unscene.losses.adversarial import PatchDiscriminator
from unscene.threads import torch_on_one_thread
from unscene.training.adversary import Adversary, AdversaryConfig


def adversary(**settings) -> Adversary:
    return Adversary(16, AdversaryConfig(**settings), torch.Generator().manual_seed(0))


def patches(seed: int = 1) -> tuple[Tensor, Tensor]:
    real = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return real, real.flip(0) * 0.5


@pytest.mark.parametrize("move", [torch.nn.Module.double, lambda module: module.to("meta")], ids=["type", "device"])
def test_the_optimiser_follows_the_module(move) -> None:
    """Another number type makes new buffers, the device "meta" new weights as well."""
    moved = move(adversary())
    (group,) = moved.optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in moved.discriminator.parameters()]
    for index, parameter in enumerate(moved.discriminator.parameters()):
        assert moved.optimizer.state[parameter]["square_avg"] is moved.get_buffer(f"square_average_{index}")


def test_what_a_moved_game_learns_is_in_its_state() -> None:
    moved = adversary().double()
    real, fake = patches()
    moved.train_on(real.double(), fake.double())
    assert moved.get_buffer("square_average_0").abs().sum() > 0


def test_the_penalty_comes_on_every_kth_step_with_k_times_the_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    weight = torch.tensor(1.0, requires_grad=True)

    def penalty(discriminator, real):
        asked.append(game.turn)
        return weight * 2.0

    monkeypatch.setattr(module, "gradient_penalty", penalty)
    game = adversary(penalty_every=3, gradient_penalty=0.5)
    told = [game.train_on(*patches(seed)).gradient_penalty.item() for seed in range(7)]
    assert asked == [0, 3, 6] and told == [2.0] * 7
    assert weight.grad == 3 * 3 * 0.5 * 2.0


@pytest.mark.parametrize("tiles", [1, 2])
def test_the_penalty_is_that_of_the_networks_own_input(tiles: int) -> None:
    """R1 with respect to what the network sees, [-1, 1] as in StyleGAN2, by finite differences of its logits."""
    game = adversary(gradient_penalty=1e-12, penalty_every=1, tiles=tiles).double()
    seen: list[Tensor] = []
    game.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    weights = {name: value.clone() for name, value in game.discriminator.state_dict().items()}
    real, fake = (patch.double() for patch in patches())
    told = game.train_on(real, fake).gradient_penalty
    inputs = seen[0]
    assert inputs.shape == (2 * tiles**2, 3, 16 // tiles, 16 // tiles)
    assert -1 <= inputs.min() < -0.9 and 0.9 < inputs.max() <= 1
    game.discriminator.load_state_dict(weights)  # as they were before the step
    inputs = inputs.clone().requires_grad_()
    (slope,) = torch.autograd.grad(game.discriminator(inputs).sum(), inputs)
    with torch.no_grad():
        along = (game.discriminator(inputs + 1e-6 * slope) - game.discriminator(inputs - 1e-6 * slope)).sum() / 2e-6
    torch.testing.assert_close(along, slope.square().sum(), rtol=1e-5, atol=0)
    torch.testing.assert_close(told, along / 2 / len(inputs), rtol=1e-5, atol=0, check_dtype=False)


def test_patches_are_cut_into_tiles_that_hold_all_of_them() -> None:
    image = torch.arange(3 * 8 * 8.0).view(1, 3, 8, 8)
    cut = module.tiles_of(image, 2)
    assert cut.shape == (4, 3, 4, 4)
    assert torch.equal(torch.cat([torch.cat([cut[0], cut[1]], -1), torch.cat([cut[2], cut[3]], -1)], -2), image[0])


def test_which_step_has_the_penalty_is_in_the_state() -> None:
    played, restored = adversary(penalty_every=3), adversary(penalty_every=3)
    for seed in range(4):
        played.train_on(*patches(seed))
    restored.load_state_dict({name: value.clone() for name, value in played.state_dict().items()})
    assert restored.turn == 4
    for seed in range(4, 8):
        assert played.train_on(*patches(seed)) == restored.train_on(*patches(seed))


def test_it_learns_on_all_threads_while_a_step_keeps_torch_to_one(monkeypatch):
    seen, threads = [], torch.get_num_threads()
    judged = PatchDiscriminator.forward
    monkeypatch.setattr(
        PatchDiscriminator, "forward", lambda *given: seen.append(torch.get_num_threads()) or judged(*given)
    )
    torch.set_num_threads(2)
    game, patches = adversary(), torch.rand(1, 3, 16, 16)
    try:
        with torch_on_one_thread():
            game.train_on(patches, patches)
            game.judge(patches)
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert set(seen) == {2} and len(seen) >= 3
