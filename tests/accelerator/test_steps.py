"""Whole steps on an accelerator: nothing lies on another device, and nothing waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from tests.accelerator.fake_accelerator import DEVICE, HostInvolvedError, fake_accelerator
from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from unscene.fields.field import render_pixels, render_view
from unscene.fields.nerf import Nerf
from unscene.fields.pose_refinement import PoseRefinement
from unscene.geometry.cameras import pixel_centers
from unscene.methods.mald_nerf import MaldNerfConfig, MaskedAdversarialTraining
from unscene.methods.nerfiller import JointlyInpaintedPatches, NerfillerConfig
from unscene.methods.spin_nerf import AnchorColors, SpinNerfConfig
from unscene.stages.aligned_inpainting import aligned_noise
from unscene.stages.dataset_update import UpdatedDataset
from unscene.stages.independent_inpainting import InpaintedView
from unscene.stages.inpainted_views import InpaintedViewsConfig, InpaintedViewsLoss, with_fills
from unscene.stages.joint_inpainting import JointlyUpdatedDataset
from unscene.stages.patches import PatchConfig, PatchGame
from unscene.stages.reconstruction import UnmaskedReconstruction
from unscene.stages.score_distillation import ScoreDistillation
from unscene.stages.single_view_prior import DepthError, SingleViewPrior
from unscene.training.adversary import Adversary, AdversaryConfig
from unscene.training.optimizer import Optimizer
from unscene.training.pixels import (
    PixelReconstruction,
    PixelSampler,
    RegularizerConfig,
    training_pixels,
    unmasked_training_pixels,
)


def field(room: BoxScene, *, view_dependence: bool = False) -> Nerf:
    config = replace(TINY_NERF, view_dependence=view_dependence)
    return Nerf.around(room.scene.cameras, config, torch.Generator().manual_seed(0)).to(DEVICE)


def take_steps(model: nn.Module, objective: Callable[[int], dict[str, Tensor]], steps: int = 3) -> None:
    """Forward, backward and optimiser; every term and gradient is where the model is."""
    optimizer = Optimizer(model.parameters(), 1e-2)
    with fake_accelerator():
        for step in range(steps):
            terms = objective(step)
            assert {value.device for value in terms.values()} == {DEVICE}
            optimizer.step_down(torch.stack(list(terms.values())).sum())
        assert all(p.grad is None or p.grad.device == DEVICE for p in model.parameters())


@pytest.mark.parametrize("posed", [False, True])
@pytest.mark.parametrize("bent", [False, True])
def test_reconstruction(room: BoxScene, posed: bool, bent: bool) -> None:
    nerf, scene, generator = field(room, view_dependence=True), room.scene, torch.Generator()
    if bent:
        cameras = replace(scene.cameras, distortion=torch.full_like(scene.cameras.distortion, 0.01))
        scene = replace(scene, cameras=cameras)
    poses = PoseRefinement(len(scene), 1.0).to(DEVICE) if posed else None
    there = scene.to(DEVICE)
    objective = PixelReconstruction(
        nerf, there.cameras, PixelSampler(there, training_pixels(scene)), RegularizerConfig(), rays=64, poses=poses
    )
    take_steps(nn.ModuleList([nerf, *([poses] if poses else [])]), lambda step: objective(step, 0.0, generator))


def test_unmasked_reconstruction(room: BoxScene) -> None:
    nerf, generator = field(room), torch.Generator()
    objective = unmasked(room, nerf)
    take_steps(nerf, lambda step: objective(step, 0.0, generator))


def unmasked(room: BoxScene, nerf: Nerf) -> UnmaskedReconstruction:
    """Which pixels are usable has to be known before a step, so they are looked up on the host."""
    known = UnmaskedReconstruction(nerf, room.scene, RegularizerConfig(), rays=64)
    known.scene = room.scene.to(DEVICE)
    for sampler in (known.known,):
        sampler.colors, sampler.index, sampler.device = sampler.colors.to(DEVICE), sampler.index.to(DEVICE), DEVICE
    return known


def single_view_prior(room: BoxScene, nerf: Nerf, depth_error: DepthError = "relative") -> SingleViewPrior:
    """Which pixels are inpainted has to be known before a step too."""
    masks, image = room.scene.masks, room.scene.image(2)
    assert masks is not None
    on_host = UnmaskedReconstruction(nerf, room.scene, RegularizerConfig(), rays=64)
    base = InpaintedView(2, image, image, torch.zeros(0), room.depth[2], masks[2])
    prior = SingleViewPrior(
        on_host, [base], masks, room.depth, rays=32, known_rays=64, weight=1.0, depth_error=depth_error,
        depth_weight=0.5, share_elsewhere=0.5,
    )  # fmt: skip
    prior.reconstruction = unmasked(room, nerf)
    for name in ("region", "surfaces", "views", "own", "colors", "points"):
        setattr(prior, name, getattr(prior, name).to(DEVICE))
    return prior


def patch_game(room: BoxScene, nerf: Nerf) -> PatchGame:
    """The discriminator is made on the host, the scene is elsewhere."""
    masks = room.scene.masks
    assert masks is not None
    scene, generator = room.scene.to(DEVICE), torch.Generator().manual_seed(1)
    return PatchGame(nerf, scene, torch.arange(4), masks, features, PatchConfig(size=16), generator)


def features(images: Tensor) -> list[Tensor]:
    return [images, nn.functional.avg_pool2d(images, 2)]


def test_a_step_on_patches(room: BoxScene) -> None:
    nerf, generator = field(room), torch.Generator().manual_seed(2)
    game = patch_game(room, nerf)
    take_steps(nerf, lambda step: game.losses(generator))


def test_a_step_on_patches_with_photos_on_the_host(room: BoxScene) -> None:
    nerf, generator = field(room), torch.Generator().manual_seed(2)
    game = patch_game(room, nerf)
    game.scene = replace(game.scene, images=room.scene.images)
    take_steps(nerf, lambda step: game.losses(generator))


@pytest.mark.parametrize("depth_error", ["relative", "likelihood"])
def test_a_step_with_a_single_inpainted_view(room: BoxScene, depth_error: DepthError) -> None:
    nerf, generator = field(room), torch.Generator().manual_seed(2)
    prior = single_view_prior(room, nerf, depth_error)
    take_steps(nerf, lambda step: prior(step, 0.0, generator))


def test_a_step_of_joint_optimisation(room: BoxScene) -> None:
    nerf, generator = field(room), torch.Generator().manual_seed(2)
    prior, game = single_view_prior(room, nerf), patch_game(room, nerf)
    take_steps(nerf, lambda step: prior(step, 0.0, generator) | game.losses(generator))
    assert {p.device for p in (*game.parameters(), *game.buffers())} == {DEVICE}


def test_rendering(room: BoxScene) -> None:
    """In slices, the last of them shorter."""
    nerf, cameras = field(room, view_dependence=True), room.scene.cameras.to(DEVICE)
    with fake_accelerator():
        xy = pixel_centers(48, 36, DEVICE).view(-1, 2)
        render = render_pixels(nerf, cameras, 3, xy, rays_at_once=1000)
        assert render.color.device == render.depth.device == DEVICE
        assert render.color.shape == (48 * 36, 3)
        assert render_view(nerf, cameras, 3).depth.shape == (36, 48)


@pytest.mark.parametrize("downscale", [4, 8])
def test_noise_seen_from_another_view(room: BoxScene, downscale: int) -> None:
    """48 x 36 pixels are no whole number of cells of 8."""
    nerf, cameras, generator = field(room), room.scene.cameras.to(DEVICE), torch.Generator().manual_seed(2)
    noise = torch.randn(4, -(-36 // downscale), -(-48 // downscale)).to(DEVICE)
    with fake_accelerator():
        seen = aligned_noise(nerf, cameras, 1, 2, noise, downscale, generator)
        assert seen.device == DEVICE and seen.shape == noise.shape


@pytest.mark.parametrize("error", ["charbonnier", "squared"])
@pytest.mark.parametrize("perceptual", [True, False])
def test_a_step_on_views_inpainted_one_by_one(
    room: BoxScene, perceptual: bool, error: Literal["charbonnier", "squared"]
) -> None:
    """Of InpaintNeRF360, and with an anchor of SPIn-NeRF; which pixels are which is looked up on the host."""
    nerf, generator, masks = field(room), torch.Generator().manual_seed(2), room.scene.masks
    assert masks is not None
    loss = InpaintedViewsConfig(
        rays=64, masked_rays=32, pixel_error=error, perceptual=perceptual, perceptual_from=0.0, patch=16
    )
    config = SpinNerfConfig(loss=loss, anchor_rays=16)
    filled = with_fills(room.scene, masks, torch.zeros(int(masks.sum()), 3, dtype=torch.uint8))
    disparities, views = 1 / room.depth[masks], torch.arange(8)
    on_host = UnmaskedReconstruction(
        Nerf.around(room.scene.cameras, TINY_NERF, torch.Generator()), room.scene, RegularizerConfig(), rays=64
    )
    terms = InpaintedViewsLoss(on_host, filled, views, masks, disparities, features, loss)
    anchor = AnchorColors(on_host, filled, views, masks, config)
    terms.known = anchor.known = unmasked(room, nerf)
    terms.filled, terms.disparities = room.scene.to(DEVICE), disparities.to(DEVICE)
    for sampler in (terms.masked, anchor.pixels):
        sampler.colors, sampler.index, sampler.device = sampler.colors.to(DEVICE), sampler.index.to(DEVICE), DEVICE
    take_steps(nerf, lambda step: terms(step, 0.5, generator) | anchor(generator))


@pytest.mark.parametrize("pixel_loss", ["none", "l1", "perceptual"])
@pytest.mark.parametrize("masked", [False, True])
def test_a_step_of_masked_adversarial_training(
    room: BoxScene, masked: bool, pixel_loss: Literal["none", "l1", "perceptual"]
) -> None:
    """Its three steps: reconstruction, inpainting, discriminator."""
    nerf, generator, masks = field(room), torch.Generator().manual_seed(2), room.scene.masks
    assert masks is not None
    known = unmasked(room, nerf)
    config = MaldNerfConfig(patch=16, masked=masked, pixel_loss=pixel_loss)
    prior = SimpleNamespace(name="none", strength=0.5, steps=2)
    hidden = masks[:4]
    colors, depths = room.scene.images[:4][hidden].to(DEVICE), room.depth[:4][hidden].to(DEVICE)
    dataset = UpdatedDataset(
        nerf, known.scene, torch.arange(4), masks, colors, depths, prior, None, config.update, stage="stage"
    )
    training = MaskedAdversarialTraining(known, dataset, features, config, generator)
    assert {tensor.device for tensor in (*training.parameters(), *training.buffers())} == {DEVICE}
    take_steps(nerf, lambda step: training(step + 1, 0.0, generator))


@pytest.mark.parametrize("photos_there", [False, True])
def test_a_step_of_score_distillation(room: BoxScene, photos_there: bool) -> None:
    """Of Inpaint3D; windows and noise are drawn on the host. The model's part is in test_diffusion_steps."""
    nerf, generator, masks = field(room), torch.Generator().manual_seed(2), room.scene.masks
    assert masks is not None
    known, views = unmasked(room, nerf), torch.arange(3)
    depths = room.depth[:3][masks[:3]]
    scene = replace(room.scene.to(DEVICE), **({} if photos_there else {"images": room.scene.images}))
    prior: Any = SimpleNamespace(
        encode_images=lambda images: images.permute(0, 3, 1, 2), signal_share=lambda level: 0.5,
        predict_noise=lambda noisy, *_: noisy, latent_masks=lambda masks: masks[:, None].float(),
    )  # fmt: skip
    distillation = ScoreDistillation(
        known, scene, views, masks, depths, prior, window=24, known_rays=32, strongest=0.9, weakest=0.1, weight=0.1,
        depth_weight=0.1,
    )  # fmt: skip
    distillation.depths = distillation.depths.to(DEVICE)
    take_steps(nerf, lambda step: distillation(step, 0.5, generator))


def test_a_step_with_jointly_inpainted_views(room: BoxScene) -> None:
    """Which views are drawn is known on the host."""
    nerf, generator, masks = field(room), torch.Generator().manual_seed(2), room.scene.masks
    assert masks is not None
    known, config = unmasked(room, nerf), NerfillerConfig(patches=3, patch=8, known_rays=32, ranking_from=0)
    prior = SimpleNamespace(name="none", strength=0.5, steps=2)
    dataset = JointlyUpdatedDataset(
        nerf, room.scene, torch.arange(4), masks, room.depth, prior, None, config.update, reach=8, stage="stage"
    )
    dataset.scene = known.scene
    for values in (dataset.colors, dataset.depths):
        values.values, values.pixels = values.values.to(DEVICE), values.pixels.to(DEVICE)
    dataset.drawn[1:3] = True
    training = JointlyInpaintedPatches(known, dataset, features, config)
    take_steps(nerf, lambda step: training(step + 1, 0.5, generator))


def test_pixels_of_photos_on_the_host_are_sent(room: BoxScene) -> None:
    nerf, generator = field(room), torch.Generator().manual_seed(2)
    scene = replace(room.scene.to(DEVICE), images=room.scene.images)
    pixels = PixelSampler(scene, unmasked_training_pixels(room.scene))
    assert not pixels.is_on_device
    objective = PixelReconstruction(nerf, scene.cameras, pixels, RegularizerConfig(), rays=64)
    assert objective.kind(0) is None
    take_steps(nerf, lambda step: objective(step, 0.0, generator))


def test_the_discriminator_with_and_without_its_penalty() -> None:
    adversary = Adversary(16, AdversaryConfig(penalty_every=2), torch.Generator().manual_seed(0)).to(DEVICE)
    with fake_accelerator():
        patches = torch.rand(2, 3, 16, 16, device=DEVICE)
        for _ in range(3):
            health = adversary.train_on(patches, patches * 0.5)
            assert health.accuracy.device == health.gradient_norm.device == health.gradient_penalty.device == DEVICE
        adversary.judge_with_features(patches, patches)


WAITS: dict[str, Callable[[Tensor, Tensor], object]] = {
    "asking for a number": lambda there, here: there.sum().item(),
    "deciding by a number": lambda there, here: bool(there.any()),
    "finding what is not zero": lambda there, here: there.nonzero(),
    "a copy to the host": lambda there, here: there.cpu(),
    "a copy to the device": lambda there, here: here.to(DEVICE),
    "two devices": lambda there, here: there + here,
    "an index of the host": lambda there, here: there[here.long()],
    "a tensor made from numbers": lambda there, here: torch.tensor([1.0, 2.0], device=DEVICE),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_what_would_wait_is_found(wait: Callable[[Tensor, Tensor], object]) -> None:
    there, here = torch.ones(3, device=DEVICE), torch.zeros(3)
    with fake_accelerator(), pytest.raises((HostInvolvedError, RuntimeError, DynamicOutputShapeException)):
        wait(there, here)
