"""Fitting Gaussians to photos: the loss of whole views, and where Gaussians are put that are no use where they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.fields.splat_raster import rasterise
from unscene.fields.splats import Shot, Splats
from unscene.geometry.gaussians import Y00
from unscene.losses.structural_similarity import structural_dissimilarity
from unscene.scenes.scene import Scene
from unscene.training.events import Event
from unscene.training.fit import Companion


@dataclass(frozen=True)
class SplatLossConfig:
    """Weights of the terms of a view's loss."""

    structure: float = 0.2
    """Of structural dissimilarity; the mean absolute difference has the rest (Kerbl et al. 2023, eq. 7)."""
    opacity: float = 0.0
    """Of the mean opacity: what nothing needs goes away (3DGS-MCMC, Kheradmand et al. 2024, who take 0.01). Off: it
    costs 0.1 dB on SPIn-NeRF's statue in as many steps."""
    scale: float = 0.0
    """Of the mean standard deviation, as a share of the scene's radius (the same)."""


@dataclass(frozen=True)
class SplatGrowthConfig:
    """When and how fast Gaussians are added (3DGS-MCMC: those without opacity are put beside others)."""

    interval: int = 100
    """Steps between two looks."""
    until: float = 0.7
    """Share of the fit after which all stay where they are."""
    rate: float = 0.05
    """Most that are added at a look, as a share of those in use."""
    dead: float = 0.005
    """Opacity below which a Gaussian is put somewhere else."""


RATES = {"means": 0.02, "log_scales": 1.0, "quaternions": 0.2, "opacity_logits": 5.0, "base": 1.0, "further": 0.05}
"""How fast parameters learn, in the fit's step size; that of the means counts in radii of the scene."""


def splat_rates(splats: Splats) -> list[float]:
    """The rates of a field's parameters, in their order."""
    radius = float(splats.radius)
    return [RATES[name] * (radius if name == "means" else 1) for name, _ in splats.named_parameters()]


class SplatReconstruction:
    """The objective of a fit: one training view a step, each once before any comes again.

    known: N H W bool, the pixels that there is something to learn of; by default all.
    """

    def __init__(self, splats: Splats, scene: Scene, config: SplatLossConfig, known: Tensor | None = None):
        self.splats, self.scene, self.config, self.known = splats, scene, config, known
        self.shots = {view: Shot.of(scene.cameras, view) for view in scene.train.tolist()}

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        turn, place = divmod(step, len(self.scene.train))
        order = torch.randperm(len(self.scene.train), generator=torch.Generator().manual_seed(turn))
        view = int(self.scene.train[order[place]])
        gaussians, shot, truth = self.splats.gaussians, self.shots[view], self.scene.image(view)
        image = shot.bent(rasterise(gaussians, shot.camera).image)
        if self.known is not None:
            image, truth = where_known(image, truth, self.known[view])
        config, structure = self.config, structural_dissimilarity(image, truth)
        terms = {
            "colour": (1 - config.structure) * (image - truth).abs().mean(),
            "structure": config.structure * structure,
        }
        if config.opacity:
            terms["opacity"] = config.opacity * gaussians.opacities.mean()
        if config.scale:
            terms["scale"] = config.scale * gaussians.scales.mean() / self.splats.radius
        return terms


def where_known(image: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """A render and what it should be (H W 3), both the render, without gradients, where that is not known (H W bool):
    no loss that compares them, of pixels or of their surroundings, learns anything there."""
    known, still = known[..., None], image.detach()
    return torch.where(known, image, still), torch.where(known, truth, still)


class SplatGrowth(Companion):
    """Puts Gaussians without opacity beside others, drawn by their opacity; and holds base colours in range."""

    def __init__(self, splats: Splats, config: SplatGrowthConfig):
        super().__init__()
        self._of = (splats,)  # the fit's own module, saved as that
        self.config = config

    def before_step(self, step: int, progress: float, generator: torch.Generator) -> Iterator[Event]:
        (splats,) = self._of
        keep_in_range(splats)
        with torch.no_grad():
            if step and step % self.config.interval == 0 and progress < self.config.until:
                grow(splats, self.config, generator)
        return iter(())


@torch.no_grad()
def keep_in_range(splats: Splats) -> None:
    """Hold what all directions see of each Gaussian's colour between black and white."""
    splats.base.clamp_(-0.5 / Y00, 0.5 / Y00)


def grow(splats: Splats, config: SplatGrowthConfig, generator: torch.Generator) -> int:
    """Put dead Gaussians beside living ones; how many. Drawn by opacity, each at most once."""
    opacities = splats.opacity_logits.sigmoid()
    alive = opacities >= config.dead
    dead = (~alive).nonzero()[:, 0]
    amount = min(len(dead), int(config.rate * int(alive.sum())))
    if amount == 0:
        return 0
    parents = torch.multinomial(torch.where(alive, opacities, 0), amount, generator=generator)
    split(splats, parents, dead[:amount], generator)
    return amount


def split(splats: Splats, parents: Tensor, children: Tensor, generator: torch.Generator) -> None:
    """Make two Gaussians of each parent that together look like it, a little apart.

    Opacity and size: 3DGS-MCMC, eq. 9 for two.
    """
    for parameter in splats.parameters():
        parameter[children] = parameter[parents]
    opacity = splats.opacity_logits[parents].sigmoid()
    half = 1 - (1 - opacity).sqrt()
    shrink = opacity / (2 * half - half.square() / 2**0.5)
    pair = torch.cat([parents, children])
    splats.opacity_logits[pair] = torch.logit(half.clamp(1e-4, 0.9999)).repeat(2)
    splats.log_scales[pair] += shrink.log().repeat(2)[:, None]
    gaussians = splats.learnt[parents]
    offset = torch.randn(len(parents), 3, 1, generator=generator).to(opacity.device) * 0.5
    offset = (gaussians.rotations @ (gaussians.scales[..., None] * offset))[..., 0]
    splats.means[parents] -= offset
    splats.means[children] += offset
