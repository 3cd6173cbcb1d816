"""The patch game on a small scene: what it draws, what it teaches whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from unscene.fields.field import Render
from unscene.fields.hash_grid import HashGridConfig
from unscene.fields.nerf import Nerf, NerfConfig
from unscene.geometry.cameras import Cameras, Rays
from unscene.scenes.scene import Scene
from unscene.stages.patches import PatchConfig, PatchGame

CONFIG = PatchConfig(size=16, weight=0.5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads only stand in each other's way on convolutions as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_scene() -> Scene:
    """Four views of 20 x 28 pixels; pixel colours tell where they are from: red is the row, green the column."""
    T = torch.eye(4)[:3].expand(4, 3, 4).clone()
    T[:, 0, 3] = torch.arange(4) * 0.1
    cameras = Cameras(T, torch.full((4, 2), 20.0), torch.tensor([[14.0, 10.0]] * 4), torch.zeros(4, 5), 28, 20)
    row, column = torch.meshgrid(torch.arange(20), torch.arange(28), indexing="ij")
    images = torch.stack([torch.stack([row, column, torch.full_like(row, view)], -1) for view in range(4)])
    return Scene("small", cameras, images.to(torch.uint8), tuple("abcd"), torch.arange(4), torch.arange(0))


def region() -> Tensor:
    region = torch.zeros(4, 20, 28, dtype=torch.bool)
    region[:, 6:12, 3:9] = True
    return region


def game(config: PatchConfig = CONFIG, views: Tensor | None = None) -> tuple[PatchGame, Nerf]:
    grid = HashGridConfig(levels=2, features=2, coarsest=4, finest=8, log2_table_size=10)
    nerf = Nerf(
        NerfConfig(grid=grid, proposal_grid=replace(grid, features=1), hidden=8),
        center=torch.tensor([0.0, 0.0, 2.0]), radius=torch.tensor(2.0), generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    views = torch.tensor([1, 3]) if views is None else views
    return PatchGame(
        nerf, small_scene(), views, region(), lambda images: [images], config, torch.Generator().manual_seed(1)
    ), nerf


def test_patches_are_cut_from_the_chosen_views_around_the_region() -> None:
    patch_game, _ = game()
    generator, seen = torch.Generator().manual_seed(2), set()
    for _ in range(12):
        real, fake = patch_game._draw(generator)
        assert real.shape == fake.shape == (1, 3, 16, 16)
        row, column, view = (real[0] * 255).round().long()
        seen.add(view[0, 0].item())
        assert (view == view[0, 0]).all()
        assert (row.diff(dim=0) == 1).all() and (column.diff(dim=1) == 1).all()  # upright and whole
        assert region()[view, row, column].any()
    assert seen == {1, 3}


def test_the_render_is_of_the_same_pixels_as_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    patch_game, nerf = game()
    cameras, render, asked = small_scene().cameras, nerf.render, []

    def recorded(rays: Rays, *, jitter: Tensor | None = None, learns_geometry: bool = True) -> Render:
        asked.append(rays)
        return render(rays, jitter=jitter, learns_geometry=learns_geometry)

    monkeypatch.setattr(nerf, "render", recorded)
    real, fake = patch_game._draw(torch.Generator().manual_seed(3))
    row, column, view = (real[0] * 255).round().long()
    xy, _ = cameras.project(view.flatten(), asked[0].origins + asked[0].directions)
    torch.testing.assert_close(xy.view(16, 16, 2), torch.stack([column, row], -1) + 0.5, atol=1e-3, rtol=0)
    in_order = render(asked[0], jitter=None).color.view(16, 16, 3).permute(2, 0, 1)
    torch.testing.assert_close(fake[0], in_order, atol=0.02, rtol=0)  # all but the jitter


@pytest.mark.parametrize("perceptual", [True, False])
@pytest.mark.parametrize("adversarial", [True, False])
def test_flags_switch_terms(perceptual: bool, adversarial: bool) -> None:
    patch_game, _ = game(replace(CONFIG, perceptual=perceptual, adversarial=adversarial))
    terms = patch_game.losses(torch.Generator().manual_seed(4))
    wanted = {"patch L1"}
    wanted |= {"patch perceptual"} if perceptual else set()
    wanted |= {"patch adversarial"} if adversarial else set()
    assert set(terms) == wanted


def test_terms_scale_with_the_weight() -> None:
    once, twice = (
        game(replace(CONFIG, weight=weight))[0].losses(torch.Generator().manual_seed(5)) for weight in (0.5, 1.0)
    )
    for name in once:
        torch.testing.assert_close(2 * once[name], twice[name])


def test_the_losses_teach_the_field_and_the_game_teaches_the_discriminator() -> None:
    patch_game, nerf = game()
    before = {name: value.clone() for name, value in patch_game.adversary.discriminator.state_dict().items()}
    torch.stack(list(patch_game.losses(torch.Generator().manual_seed(6)).values())).sum().backward()
    assert nerf.grid.table.grad is not None and nerf.grid.table.grad.abs().sum() > 0
    after = patch_game.adversary.discriminator.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.requires_grad for parameter in patch_game.adversary.discriminator.parameters())


def test_the_games_state_holds_the_discriminator_but_not_the_field() -> None:
    patch_game, nerf = game()
    fields_own = {tensor.data_ptr() for tensor in nerf.state_dict().values()}
    state = patch_game.state_dict()
    assert any(name.startswith("adversary.discriminator.") for name in state)
    assert not any(tensor.data_ptr() in fields_own for tensor in state.values())


def test_a_restored_game_goes_on_as_if_nothing_had_happened() -> None:
    played, _ = game()
    generator = torch.Generator().manual_seed(7)
    for _ in range(3):
        played.losses(generator)
    restored, _ = game()
    restored.load_state_dict({name: value.clone() for name, value in played.state_dict().items()})
    for one in (played, restored):
        one.losses(torch.Generator().manual_seed(8))
    for name, value in played.state_dict().items():
        assert torch.equal(value, restored.state_dict()[name]), name


def test_photos_smaller_than_a_patch_are_used_whole() -> None:
    patch_game, _ = game(replace(CONFIG, size=64))
    real, _ = patch_game._draw(torch.Generator().manual_seed(9))
    assert real.shape == (1, 3, 20, 20)
    terms = patch_game.losses(torch.Generator().manual_seed(10))
    assert all(value.isfinite() for value in terms.values())
