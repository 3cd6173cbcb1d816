"""Score distillation: its gradient against the formula written out, where it acts, and what its windows show."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from tests.priors.tiny_checkpoints import tiny_pipeline
from unscene.fields.nerf import Nerf
from unscene.priors.diffusion.architecture import build_scheduler
from unscene.priors.diffusion.checkpoints import Checkpoint
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.priors.inpainter import ScoreModel
from unscene.stages.reconstruction import UnmaskedReconstruction
from unscene.stages.score_distillation import HoleWindows, ScoreDistillation, distillation_gradient
from unscene.training.pixels import RegularizerConfig

pytestmark = pytest.mark.usefixtures("one_thread")
GUIDANCE, LEVEL = 3.0, 0.6


def model(prediction: str) -> LatentDiffusionInpainter:
    """Random weights of Stable Diffusion 2's layout."""
    pipeline = tiny_pipeline("sd-2")
    if prediction == "v_prediction":
        pipeline.scheduler = build_scheduler()
    for network in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        network.requires_grad_(False).eval()
    return LatentDiffusionInpainter(Checkpoint(pipeline, "tiny"), DiffusionConfig(prompt="a room", guidance=GUIDANCE))


def pictures() -> tuple[Tensor, Tensor, Tensor]:
    """A render, the photo and the mask, of sides that are no multiple of the model's 64."""
    generator = torch.Generator().manual_seed(0)
    render, photo = torch.rand(2, 1, 56, 72, 3, generator=generator)
    mask = torch.zeros(1, 56, 72, dtype=torch.bool)
    mask[:, 20:37, 30:55] = True
    return torch.where(mask[..., None], render, photo), photo, mask


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_gradient_is_the_formula(prediction: str) -> None:
    """Written out with the pipeline's parts: every line of Prabhu et al.'s and MVIP-NeRF's step."""
    prior = model(prediction)
    assert isinstance(prior, ScoreModel)
    render, photo, mask = pictures()
    found = distillation_gradient(prior, render, photo, mask, LEVEL, torch.Generator().manual_seed(5))

    pipeline: Any = prior.pipeline
    time = 600
    abar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)[time]
    pad = lambda picture: F.pad(picture, (0, 56, 0, 8), mode="reflect")  # noqa: E731
    grey = torch.where(mask[..., None], 0.5, photo)

    def latent(image: Tensor) -> Tensor:
        pixels = pad(image.permute(0, 3, 1, 2)) * 2 - 1
        return pipeline.vae.encode(pixels).latent_dist.mean * pipeline.vae.config.scaling_factor

    x = render.clone().requires_grad_()
    z = latent(x)
    e = torch.randn(z.shape, generator=torch.Generator().manual_seed(5))
    z_t = abar.sqrt() * z.detach() + (1 - abar).sqrt() * e
    m = F.max_pool2d(pad(mask[:, None].float()), 8)
    answers = []
    for prompt in ("", "a room"):
        ids = pipeline.tokenizer(prompt, padding="max_length", return_tensors="pt").input_ids
        states = pipeline.text_encoder(ids)[0]
        answers.append(pipeline.unet(torch.cat([z_t, m, latent(grey)], 1), time, states).sample)
    answer = answers[0] + GUIDANCE * (answers[1] - answers[0])
    e_cfg = answer if prediction == "epsilon" else abar.sqrt() * answer + (1 - abar).sqrt() * z_t
    (wanted,) = torch.autograd.grad(((1 - abar) * (e_cfg - e).detach() * m * z).sum(), x)
    assert wanted[mask].abs().max() > 1e-3
    torch.testing.assert_close(found[mask], wanted[mask], rtol=2e-3, atol=1e-6)
    assert (found[~mask] == 0).all()


def test_the_encoders_gradient_is_its_derivative() -> None:
    """Along a random direction, by differences; finite for black and white."""
    prior, generator = model("epsilon"), torch.Generator().manual_seed(1)
    image, direction = torch.rand(2, 1, 64, 64, 3, generator=generator)
    image = image.requires_grad_()
    latent = prior.encode_images(image)
    weight = torch.randn(latent.shape, generator=generator)
    (gradient,) = torch.autograd.grad((latent * weight).sum(), image)
    step = 1e-2
    with torch.no_grad():
        ahead, behind = (prior.encode_images(image + s * direction) for s in (step, -step))
    slope = ((ahead - behind) * weight).sum() / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=2e-2)
    for picture in (torch.zeros(1, 64, 64, 3), torch.ones(1, 64, 64, 3)):
        pixels = picture.requires_grad_()
        (gradient,) = torch.autograd.grad((prior.encode_images(pixels) * weight).sum(), pixels)
        assert gradient.isfinite().all() and gradient.any()


def test_what_the_photo_has_under_the_mask_is_not_told() -> None:
    prior = model("v_prediction")
    render, photo, mask = pictures()
    repainted = torch.where(mask[..., None], 1 - photo, photo)
    first, second = (
        distillation_gradient(prior, render, told, mask, LEVEL, torch.Generator().manual_seed(5))
        for told in (photo, repainted)
    )
    assert torch.equal(first, second)


@dataclass
class Expecting:
    """A score model whose latents are pixels and which expects one colour wherever something is missing: its noise is
    what is left of the noisy image."""

    color: float = 0.75
    signal: float = 0.36
    levels: list[float] = field(default_factory=list)
    told: list[Tensor] = field(default_factory=list)
    name: str = "expecting"

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        return torch.where(masks[..., None], self.color, images)

    def encode_images(self, images: Tensor) -> Tensor:
        return images.permute(0, 3, 1, 2)

    def latent_masks(self, masks: Tensor) -> Tensor:
        return masks[:, None].float()

    def signal_share(self, level: float) -> float:
        return self.signal

    def predict_noise(self, noisy: Tensor, level: float, images: Tensor, masks: Tensor) -> Tensor:
        self.levels.append(level)
        self.told.append(images[0])
        return (noisy - self.signal**0.5 * self.color) / (1 - self.signal) ** 0.5


def test_the_gradient_points_away_from_what_the_model_expects() -> None:
    """(1 - a) (e' - e) with e' - e = sqrt(a / (1 - a)) (x - expected): sqrt(a (1 - a)) (x - expected)."""
    render, photo, mask = pictures()
    gradient = distillation_gradient(Expecting(), render, photo, mask, 0.5, torch.Generator())
    assert torch.allclose(gradient[mask], 0.48 * (render[mask] - 0.75), atol=1e-5)


def distillation(room: BoxScene, prior: ScoreModel, **changes: Any) -> tuple[ScoreDistillation, Nerf]:
    assert room.scene.masks is not None
    nerf = Nerf.around(room.scene.cameras, TINY_NERF, torch.Generator().manual_seed(3))
    known = UnmaskedReconstruction(nerf, room.scene, RegularizerConfig(), rays=64)
    views = torch.tensor([1, 2, 5])
    region = room.scene.masks
    settings = dict(window=24, known_rays=32, strongest=0.9, weakest=0.1, weight=0.5, depth_weight=0.3) | changes
    depths = torch.cat([room.depth[view][region[view]] for view in views.tolist()])
    return ScoreDistillation(known, room.scene, views, region, depths, prior, **settings), nerf


def test_a_step_is_the_formula_on_the_masked_rays_of_a_window(room: BoxScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The term's gradient with respect to the field, ray by ray, and the depths that belong to the rays."""
    monkeypatch.setattr("unscene.stages.reconstruction.uniform", lambda n, *_: torch.full((n,), 0.5))
    prior = Expecting()
    objective, nerf = distillation(room, prior)
    drawn = []
    draw = objective.windows.draw
    monkeypatch.setattr(objective.windows, "draw", lambda g: (drawn.append(draw(g)), drawn[-1])[1])
    terms = objective(7, 0.25, torch.Generator().manual_seed(4))
    (window, hole), masks = drawn[0], room.scene.masks
    assert masks is not None
    rays, depths = [], []
    for row in range(window.top, window.top + window.size):
        for column in range(window.left, window.left + window.size):
            assert hole[row - window.top, column - window.left] == masks[window.view, row, column]
            if masks[window.view, row, column]:
                rays.append([column + 0.5, row + 0.5])
                depths.append(room.depth[window.view, row, column])
    here = room.scene.cameras.rays(torch.full((len(rays),), window.view), torch.tensor(rays))
    render = nerf.render(here)
    wanted = 0.5 * (0.48 * (render.color - 0.75).detach() * render.color).sum()
    parameters = [nerf.grid.table, nerf.network.weight_output]
    for ours, theirs in zip(
        torch.autograd.grad(terms["score distillation"], parameters, retain_graph=True),
        torch.autograd.grad(wanted, parameters, retain_graph=True),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    value = 0.5 * (0.48 * (render.color - 0.75)).square().sum() / 2
    assert terms["score distillation"].item() == pytest.approx(value.item(), rel=1e-3)
    away = (render.distance * here.depth_per_distance / torch.stack(depths) - 1).square().add(1e-6).sqrt().clamp_max(1)
    assert terms["depth"].item() == pytest.approx(0.3 * away.mean().item(), rel=1e-3)
    assert prior.levels == [pytest.approx(0.9 - 0.8 * 0.25**0.5)]  # the law of MALD-NeRF and MVIP-NeRF
    assert torch.equal(prior.told[0], room.scene.image(window.view)[window.window])


def test_the_field_takes_the_colour_that_the_model_expects(room: BoxScene) -> None:
    objective, nerf = distillation(room, Expecting(), weight=0.01)
    optimizer, generator = torch.optim.Adam(nerf.parameters(), 1e-2), torch.Generator().manual_seed(0)
    for step in range(120):
        loss = torch.stack(list(objective(step, step / 120, generator).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert room.scene.masks is not None
    hole = room.scene.masks[2]
    rows, columns = hole.nonzero(as_tuple=True)
    xy = torch.stack([columns, rows], -1) + 0.5
    color = nerf.render(room.scene.cameras.rays(torch.full((len(xy),), 2), xy)).color
    assert (color - 0.75).abs().mean() < 0.05


@pytest.mark.parametrize(("size", "fits"), [(8, False), (14, True), (30, True), (500, True)])
def test_windows_hold_the_hole_if_it_fits_else_lie_in_its_box(size: int, fits: bool) -> None:
    region = torch.zeros(3, 40, 60, dtype=torch.bool)
    region[0, 5:17, 40:52] = True
    region[2, 30:40, 0:11] = True  # at the border
    windows, generator = HoleWindows(torch.tensor([0, 2]), region, size), torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(200):
        window, hole = windows.draw(generator)
        seen.add((window.view, window.top, window.left))
        assert window.size == min(size, 40) and hole.shape == (window.size, window.size)
        assert 0 <= window.top <= 40 - window.size and 0 <= window.left <= 60 - window.size
        assert torch.equal(hole, region[window.view][window.window]) and hole.any()
        assert not fits or hole.sum() == region[window.view].sum()
    assert {view for view, _, _ in seen} == {0, 2} and len(seen) > 2 * (size < 40)
