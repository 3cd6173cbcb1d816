"""Views denoised together: tiles, shuffles, guidance and the shortened schedule, each against something slower."""

# diffusers annotates many arguments and results more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler
from torch import Tensor

from tests.priors.tiny_checkpoints import tiny_checkpoint
from unscene.pretraining.prior_export import as_pipeline
from unscene.priors.diffusion import grid_prior
from unscene.priors.diffusion.architecture import build_parts, build_scheduler
from unscene.priors.diffusion.checkpoints import Checkpoint
from unscene.priors.diffusion.config import DiffusionConfig, GridPriorConfig
from unscene.priors.diffusion.grid_prior import (
    GridPrior,
    arrangement,
    canvas_size,
    image_guidance,
    joint_steps,
    tile,
    tile_size,
    untile,
)
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.priors.diffusion.sampling import denoise, last_steps, shortened, starting_latents
from unscene.priors.inpainter import JointInpainter

pytestmark = pytest.mark.usefixtures("one_thread")
HEIGHT, WIDTH = 21, 30


@pytest.fixture(scope="module")
def model() -> LatentDiffusionInpainter:
    parts = build_parts(width=0.25, seed=3)
    for part in (parts.unet, parts.autoencoder, parts.text_encoder):
        part.requires_grad_(False).eval()
    config = DiffusionConfig(prompt="a wall", negative_prompt="a statue", steps=3)
    return LatentDiffusionInpainter(Checkpoint(as_pipeline(parts), "tiny"), config)


def views(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images, masks = torch.rand(count, HEIGHT, WIDTH, 3, generator=generator), torch.zeros(count, HEIGHT, WIDTH) > 0
    for view in range(count):
        masks[view, 5 : 12 + view % 3, 8 + view % 4 : 20] = True
    return images, masks


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_untile_is_the_exact_inverse_of_tile(side: int) -> None:
    maps = torch.randn(2 * side**2, 5, 3, 4)
    canvases = tile(maps, side)
    assert canvases.shape == (2, 5, 3 * side, 4 * side)
    assert torch.equal(untile(canvases, side), maps)
    for index in range(len(maps)):
        canvas, (row, column) = index // side**2, divmod(index % side**2, side)
        assert torch.equal(canvases[canvas, :, 3 * row : 3 * row + 3, 4 * column : 4 * column + 4], maps[index])


@pytest.mark.parametrize("count", range(1, 10))
def test_every_view_is_laid_out_once_and_repeats_fill_the_last_canvas(count: int) -> None:
    order = arrangement(count, 4, seeded(count)).tolist()
    assert sorted(order[:count]) == list(range(count))
    assert len(order) % 4 == 0 and len(order) - count < 4
    assert set(order[count:]) <= set(range(count))
    if count > 3:
        assert len(set(order[count:])) == len(order) - count
        assert len({tuple(arrangement(count, 4, generator).tolist()) for generator in [seeded()] * 4}) > 1


def slow_prediction(
    model: LatentDiffusionInpainter, latents: Tensor, time: Tensor, images: Tensor, masks: Tensor,
    grid: GridPriorConfig, orders: list[list[int]],
) -> Tensor:  # fmt: skip
    """One step, canvas by canvas and tile by tile."""
    pipeline, side = model.pipeline, grid.side
    pixels, holes = model.padded(images), model.padded(masks[..., None].float())
    count, _, height, width = latents.shape

    def text(prompt: str) -> Tensor:
        return pipeline.encode_prompt(prompt, "cpu", 1, False)[0]

    sums = torch.zeros_like(latents)
    for order in orders:
        done: set[int] = set()
        for first in range(0, len(order), side**2):
            members = order[first : first + side**2]
            noisy, hole = (torch.zeros(1, c, side * height, side * width) for c in (4, 1))
            known = torch.zeros_like(noisy)
            windows = []
            for place, view in enumerate(members):
                row, column = divmod(place, side)
                window = (slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width))
                windows.append(window)
                noisy[0, :, *window] = latents[view]
                grey = torch.where(holes[view] > 0.5, 0.5, pixels[view])
                known[0, :, *window] = model.encode(grey[None])[0]
                for r in range(height):
                    for c in range(width):
                        hole[0, 0, window[0].start + r, window[1].start + c] = holes[
                            view, 0, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4
                        ].max()
            nothing = model.encode(torch.full((1, 3, 4 * side * height, 4 * side * width), 0.5))

            def asked(hole: Tensor, known: Tensor, prompt: str, noisy: Tensor = noisy) -> Tensor:
                return pipeline.unet(torch.cat([noisy, hole, known], 1), time, text(prompt)).sample

            e_img = asked(hole, known, "a statue")
            e_text = asked(hole, known, "a wall")
            e_unc = asked(torch.ones_like(hole), nothing, "a statue")
            weight = grid.image_guidance
            assert weight is not None
            eps = e_img + grid.text_guidance * (e_text - e_img) + weight * (e_img - e_unc)
            for window, view in zip(windows, members, strict=True):
                if view not in done:
                    sums[view] += eps[0, :, *window]
                    done.add(view)
        assert len(done) == count
    return sums / len(orders)


@pytest.mark.parametrize(
    ("count", "side", "shuffles", "text", "image"),
    [(5, 2, 2, 0.7, 1.5), (4, 2, 1, 0.0, 1.5), (2, 2, 1, 0.0, 0.0), (3, 1, 1, 0.4, 2.0)],
)
def test_a_step_is_what_a_slow_reading_of_the_paper_gives(
    model: LatentDiffusionInpainter, count: int, side: int, shuffles: int, text: float, image: float
) -> None:
    images, masks = views(count)
    grid = GridPriorConfig(side=side, shuffles=shuffles, text_guidance=text, image_guidance=image)
    pixels, holes = model.padded(images), model.padded(masks[..., None].float())
    latents, time = torch.randn(count, 4, pixels.shape[2] // 4, pixels.shape[3] // 4, generator=seeded(1)), 400
    ours = GridPrior(model, pixels, holes, grid, seeded(7))(latents, torch.tensor(time))
    generator = seeded(7)
    orders = [arrangement(count, side**2, generator).tolist() for _ in range(shuffles)]
    expected = slow_prediction(model, latents, torch.tensor(time), images, masks, grid, orders)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_guidance_of_one_and_a_half_is_the_usual_kind_of_two_and_a_half(model: LatentDiffusionInpainter) -> None:
    images, masks = views(4)
    pixels, holes = model.padded(images), model.padded(masks[..., None].float())
    latents, time = torch.randn(4, 4, pixels.shape[2] // 4, pixels.shape[3] // 4), torch.tensor(300)

    def predicted(prompt: str, **guidance: float) -> Tensor:
        grid = GridPriorConfig(**guidance)
        return GridPrior(model.with_settings(prompt=prompt), pixels, holes, grid, seeded())(latents, time)

    plain, more = predicted("a wall", image_guidance=0.0), predicted("a wall", image_guidance=1.0)
    unconditional = plain - (more - plain)
    usual = unconditional + 2.5 * (plain - unconditional)
    torch.testing.assert_close(predicted("a wall", image_guidance=1.5), usual, rtol=1e-4, atol=1e-5)
    assert torch.equal(predicted("a wall", image_guidance=1.5), predicted("a fence", image_guidance=1.5))
    assert not torch.equal(predicted("a wall", text_guidance=1.0), predicted("a fence", text_guidance=1.0))


def test_shuffles_are_averaged(model: LatentDiffusionInpainter) -> None:
    images, masks = views(6)
    pixels, holes = model.padded(images), model.padded(masks[..., None].float())
    latents, time = torch.randn(6, 4, pixels.shape[2] // 4, pixels.shape[3] // 4), torch.tensor(300)
    one = GridPrior(model, pixels, holes, GridPriorConfig(), seeded(3))
    each = torch.stack([one(latents, time) for _ in range(3)])
    assert not torch.equal(each[0], each[1])  # shuffled anew at every step
    together = GridPrior(model, pixels, holes, GridPriorConfig(shuffles=3), seeded(3))(latents, time)
    torch.testing.assert_close(together, each.mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("level", [1.0, 0.7, 0.4, 0.013])
@pytest.mark.parametrize("kind", [DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler])
def test_all_steps_lie_below_the_level_on_the_same_schedule(kind: type, level: float) -> None:
    whole = kind.from_config(build_scheduler().config)
    part = shortened(whole, level)
    count = round(1000 * level)
    assert type(part) is kind and part.config.num_train_timesteps == count
    assert torch.equal(part.alphas_cumprod, whole.alphas_cumprod[:count])
    steps = min(10, count)
    times = last_steps(part, steps, 1.0)
    assert len(times) >= steps and 0.9 * count - 2 <= times[0] <= count and times[-1] >= 0
    assert whole.config.num_train_timesteps == 1000


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("level", [1.0, 0.64, 0.4])
def test_the_release_spreads_its_steps_so(spacing: str, level: float) -> None:
    """Every (1000 s / 20)th of the first 1000 s timesteps; a network that knows the clean latents gets them back."""
    whole = DDIMScheduler.from_config(build_scheduler().config, timestep_spacing=spacing, prediction_type="epsilon")
    part = shortened(whole, level)
    times = last_steps(part, 20, 1.0)
    stride = round(1000 * level) // 20
    first = 1 if spacing == "leading" else stride - 1
    assert times.tolist() == [first + stride * k for k in reversed(range(20))]

    clean, noise = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5)

    def knowing(latents: Tensor, time: Tensor) -> Tensor:
        alpha = whole.alphas_cumprod[time]
        return (latents - alpha.sqrt() * clean) / (1 - alpha).sqrt()

    start = starting_latents(part, noise, clean, times[:1])
    alpha = whole.alphas_cumprod[times[0]]
    torch.testing.assert_close(start, alpha.sqrt() * clean + (1 - alpha).sqrt() * noise)
    end = denoise(part, times, start, knowing)
    last = whole.alphas_cumprod[0]  # the bundled schedule ends there, not at 1
    torch.testing.assert_close(end, last.sqrt() * clean + (1 - last).sqrt() * noise, rtol=1e-3, atol=1e-3)


def test_it_satisfies_the_contract_and_keeps_unmasked_pixels(model: LatentDiffusionInpainter) -> None:
    assert isinstance(model, JointInpainter)
    images, masks = views(3)
    model, repainted = model.with_settings(steps=2), torch.where(masks[..., None], 1 - images, images)
    for level, start, tile_side in [(1.0, None, None), (0.5, 0.3 * images, None), (0.5, 0.3 * images, 16)]:
        grid = GridPriorConfig(tile=tile_side)
        first, second, other = (
            model.inpaint_jointly(shown, masks, start=start, level=level, grid=grid, generator=seeded(seed))
            for shown, seed in ((images, 1), (repainted, 1), (images, 2))
        )
        assert first.shape == images.shape and torch.equal(first[~masks], images[~masks])
        assert torch.equal(first, second) and not torch.equal(first, other)
        assert first.min() >= 0 and first.max() <= 1


def test_detail_that_shrinking_loses_comes_back_where_latents_stay(
    model: LatentDiffusionInpainter, monkeypatch
) -> None:
    """Of a sampler that leaves everything where it was, and of one that moves it far."""
    images, masks = views(2)
    start = torch.rand(images.shape, generator=seeded(5))
    start = torch.where(masks[..., None], start, images)
    made = []
    for moved in (0.0, 10.0):
        begun: list[Tensor] = []

        def beginning(scheduler: object, noise: Tensor, origin: Tensor, time: Tensor, begun: list = begun) -> Tensor:
            begun.append(origin)
            return origin

        monkeypatch.setattr(grid_prior, "starting_latents", beginning)
        monkeypatch.setattr(grid_prior, "denoise", lambda _s, _t, latents, _p, m=moved: latents + m)
        grid = GridPriorConfig(tile=16)
        made.append(model.inpaint_jointly(images, masks, start=start, level=0.5, grid=grid, generator=seeded()))
        assert begun[0].shape[-2:] == (4, 4)  # 16 x 12 pixels, padded
    inner = torch.zeros_like(masks)
    inner[:, 8:9, 11:17] = True  # farther in than the rim that is drawn towards the image
    torch.testing.assert_close(made[0][inner], start[inner], atol=1e-4, rtol=0)
    assert (made[1][inner] - start[inner]).abs().mean() > 0.05


@pytest.mark.parametrize(("changes", "told"), [({"level": 0.5}, "pass start"), ({"level": 1.5}, "noise level")])
def test_errors_say_what_was_expected(model: LatentDiffusionInpainter, changes: dict, told: str) -> None:
    images, masks = views(2)
    with pytest.raises(ValueError, match=told):
        model.inpaint_jointly(images, masks, start=None, grid=GridPriorConfig(), generator=seeded(), **changes)


def test_views_are_shrunk_to_half_of_what_a_hub_model_was_trained_at(tmp_path) -> None:
    hub = LatentDiffusionInpainter.load(tiny_checkpoint("sd-2", tmp_path / "sd-2"))
    hub.pipeline.unet.register_to_config(sample_size=64)  # 512 pixels, as Stable Diffusion 2 inpainting
    grid = GridPriorConfig()
    assert hub.downscale == 8 and tile_size(hub, 567, 1008, grid) == (144, 256)
    assert canvas_size(hub, 1008, 1008, grid) == (512, 512)
    assert tile_size(hub, 100, 200, grid) == (100, 200)  # never enlarged
    assert tile_size(hub, 567, 1008, replace(grid, tile=128)) == (72, 128)
    assert joint_steps(hub, 0.4, grid) == 20 and image_guidance(hub, grid) == 1.5
    small = LatentDiffusionInpainter.load()
    assert tile_size(small, 567, 1008, grid) == (90, 160) and tile_size(small, 90, 120, grid) == (90, 120)
    assert joint_steps(small, 0.3, grid) == 6 and image_guidance(small, grid) == 0
    assert joint_steps(small, 0.3, replace(grid, steps=20)) == 20
    assert image_guidance(small, replace(grid, image_guidance=2.0)) == 2.0


def test_it_runs_with_two_text_encoders(tmp_path) -> None:
    model = LatentDiffusionInpainter.load(tiny_checkpoint("sdxl", tmp_path / "sdxl")).with_settings(steps=2)
    images, masks = views(3)
    grid = GridPriorConfig(text_guidance=1.0)
    filled = model.inpaint_jointly(images, masks, start=None, level=1.0, grid=grid, generator=seeded())
    assert filled.isfinite().all() and torch.equal(filled[~masks], images[~masks])


def test_without_the_grid_prior_views_are_on_their_own_and_agree_less() -> None:
    """Four looks at one picture, from different noise, by the bundled model."""
    model = LatentDiffusionInpainter.load().with_settings(steps=4)
    x, y = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    image = torch.stack([(x / 48), ((x + y) % 12) / 12, y / 64], -1).float()
    images, masks = image.repeat(4, 1, 1, 1), torch.zeros(4, 48, 64, dtype=torch.bool)
    masks[:, 14:34, 20:44] = True

    def filled(side: int, shown: Tensor = images) -> Tensor:
        grid = GridPriorConfig(side=side)
        return model.inpaint_jointly(shown, masks, start=None, level=1.0, grid=grid, generator=seeded())

    changed = images.clone()
    changed[3] = 1 - changed[3]
    together, alone = filled(2), filled(1)
    assert torch.equal(alone[:3], filled(1, changed)[:3])
    assert not torch.equal(together[:3], filled(2, changed)[:3])
    disagreement = [fills[:, 14:34, 20:44].std(0).mean() for fills in (together, alone)]
    assert disagreement[0] < 0.95 * disagreement[1]
