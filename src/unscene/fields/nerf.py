"""A hash-grid NeRF with proposal sampling and scene contraction, small enough for two CPU cores.

Instant-NGP's encoding (Müller et al. 2022), mip-NeRF 360's proposals and contraction (Barron et al. 2022), and the
deferred view dependence of SNeRG (Hedman et al. 2021): one small network per ray instead of one per sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unscene.fields import native_field, native_proposal
from unscene.fields.field import Histogram, Render
from unscene.fields.hash_grid import HashGrid, HashGridConfig
from unscene.fields.occupancy import occupied
from unscene.fields.perceptron import Perceptron
from unscene.fields.processor import level_table
from unscene.geometry.cameras import Cameras, Rays, focus_point, look_at_one_point
from unscene.geometry.stepfun import sample_edges, weights_from_density

DIRECTION_FEATURES = 9  # real spherical harmonics up to degree 2
APPEARANCE_FEATURES = 8  # what the view-dependent network knows of the surface
SPREADS_SEEN = 6.0  # radius of the unit ball around cameras that look apart, in mean distances from their centre


@dataclass(frozen=True)
class NerfConfig:
    """The field's size. Defaults are tuned for 252x189 to 1008x756 photos on two cores."""

    grid: HashGridConfig = field(default_factory=HashGridConfig)
    """Encoding of the field itself."""
    proposal_grid: HashGridConfig = field(
        default_factory=lambda: HashGridConfig(levels=4, features=1, coarsest=16, finest=128, log2_table_size=15)
    )
    """Encoding of the proposal density, which is the exponential of its summed features. Finer cells than a proposal
    interval is long would hide thin surfaces between two samples."""
    hidden: int = 32
    """Width of the network behind the encoding."""
    proposal_samples: int = 32
    """Intervals per ray at which the proposal is evaluated."""
    field_samples: int = 16
    """Intervals per ray at which the field is evaluated."""
    near: float = 0.1
    """Start of the rays, in units of the scene's radius (the farthest camera's distance to the focus)."""
    far: float = 1000.0
    """End of the rays, in the same units."""
    view_dependence: bool = True
    """Let colour depend on the viewing direction (In-N-Out switches it off for stability)."""


class Nerf(nn.Module):
    """RadianceField over world-space rays. ``center`` (3) and ``radius`` (scalar) map the world into the unit ball."""

    center: Tensor
    radius: Tensor
    occupancy: Tensor | None

    def __init__(self, config: NerfConfig, *, center: Tensor, radius: Tensor, generator: torch.Generator):
        super().__init__()
        self.config = config
        self._far = config.far
        self.register_buffer("center", center.float())
        self.register_buffer("radius", radius.float())
        self.register_buffer("occupancy", None)
        self.grid = HashGrid(config.grid, generator)
        self.proposal_grid = HashGrid(config.proposal_grid, generator, summed=True)
        encoded = config.grid.levels * config.grid.features
        self.network = Perceptron(encoded, config.hidden, 4 + APPEARANCE_FEATURES, generator)
        if config.view_dependence:
            self.view_network = Perceptron(APPEARANCE_FEATURES + DIRECTION_FEATURES, 32, 3, generator)
            nn.init.zeros_(self.view_network.weight_output)

    @staticmethod
    def around(cameras: Cameras, config: NerfConfig, generator: torch.Generator) -> Nerf:
        """A field whose unit ball is centred where the cameras look and reaches the farthest of them. If they look
        apart, it is centred among them and reaches what they see, if that is a few times as far as they are spread."""
        center, middle = focus_point(cameras), cameras.positions.mean(0)
        if look_at_one_point(cameras, center):
            radius = (cameras.positions - center).norm(dim=-1).max()
        else:
            center, radius = middle, SPREADS_SEEN * (cameras.positions - middle).norm(dim=-1).mean()
        return Nerf(config, center=center, radius=radius, generator=generator).to(center.device)

    @contextmanager
    def looking_no_farther(self, far: float) -> Iterator[None]:
        """Rays end after ``far`` radii meanwhile."""
        self._far = min(far, self.config.far)
        try:
            yield
        finally:
            self._far = self.config.far

    def confine(self, occupancy: Tensor | None) -> None:
        """Density is nowhere but in these cells from now on (words of `pack_cells`; None: everywhere)."""
        self.occupancy = None if occupancy is None else occupancy.to(self.center.device, copy=True)

    def start_anew(self, generator: torch.Generator) -> None:
        """Draw all weights again."""
        fresh = Nerf(self.config, center=self.center, radius=self.radius, generator=generator)
        fresh.confine(self.occupancy)
        self.load_state_dict(fresh.state_dict())

    def render(self, rays: Rays, *, jitter: Tensor | None = None, learns_geometry: bool = True) -> Render:
        """Render R rays. jitter: R in [0, 1) shifts the samples while fitting; None: deterministic.

        learns_geometry: off, gradients reach the samples' colours but not their weights.
        """
        origins = (rays.origins - self.center) / self.radius
        native = self._runs_natively(origins, rays.directions)
        proposal, fine = (self._propose_natively if native else self._propose)(origins, rays.directions, jitter)
        look = self._look_natively if native else self._look
        weights, ray_color, appearance = look(origins, rays.directions, fine, learns_geometry)
        distance = self._distance(fine)
        middles = (distance[:, 1:] + distance[:, :-1]) / 2
        if self.config.view_dependence:
            ray_color = self._add_view_dependence(ray_color, appearance, rays.directions)
        return Render(
            color=ray_color,
            distance=(weights * middles).sum(-1) * self.radius,
            distances=middles * self.radius,
            weights=weights,
            histogram=Histogram(fine, weights),
            proposals=(proposal,),
        )

    def places(self, rays: Rays, distances: Tensor) -> Tensor:
        """Points of the contracted unit cube at normalised distances (P) along rays, R P 3."""
        origins, along = (rays.origins - self.center) / self.radius, self._distance(distances)[:, None]
        return contract(origins[:, None] + rays.directions[:, None] * along)

    def hash_decay(self) -> Tensor:
        """Mean squared hash features per level, summed (Zip-NeRF, section 4)."""
        return self.grid.mean_square_per_level() + self.proposal_grid.mean_square_per_level()

    def _propose(self, origins: Tensor, directions: Tensor, jitter: Tensor | None) -> tuple[Histogram, Tensor]:
        """The coarse histogram, and edges of the field's samples, R field_samples + 1."""
        coarse = self._uniform_edges(len(origins), jitter)
        points = self._points(origins, directions, coarse)
        density = self._confined(self._proposal_density(points), points)
        weights = weights_from_density(density, self._distance(coarse))
        floor = 0.01 / self.config.proposal_samples  # no interval is given up for good
        fine = sample_edges(coarse, weights.detach() + floor, self.config.field_samples, jitter)
        return Histogram(coarse, weights), fine

    def _look(
        self, origins: Tensor, directions: Tensor, edges: Tensor, learns_geometry: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Weights R S of the field's samples, and composited colour R 3 and appearance R 8."""
        points = self._points(origins, directions, edges)
        sigma, color, appearance = self._evaluate(points)
        sigma = self._confined(sigma, points)
        weights = weights_from_density(sigma if learns_geometry else sigma.detach(), self._distance(edges))
        return weights, (weights[..., None] * color).sum(1), (weights[..., None] * appearance).sum(1)

    @property
    def is_native(self) -> bool:
        """Whether the fused functions for processors render this field: they are compiled for some sizes."""
        return (
            self.center.device.type == "cpu"
            and native_proposal.fits(self.proposal_grid, self.config.proposal_samples)
            and native_field.fits(self.grid, self.network, self.config.field_samples)
        )

    def _runs_natively(self, origins: Tensor, directions: Tensor) -> bool:
        """Whether they do for these rays: they know no gradient of rays, which pose refinement wants."""
        rays_are_fixed = not (torch.is_grad_enabled() and (origins.requires_grad or directions.requires_grad))
        return rays_are_fixed and origins.dtype == torch.float32 and self.is_native

    def _propose_natively(self, origins: Tensor, directions: Tensor, jitter: Tensor | None) -> tuple[Histogram, Tensor]:
        near, far = _spacing(self.config.near), _spacing(self._far)
        weights, fine, _ = native_proposal.proposal(
            origins.contiguous(), directions.contiguous(), None if jitter is None else jitter.contiguous(),
            self.proposal_grid.table, level_table(self.config.proposal_grid), self.occupancy,
            self.config.proposal_samples, self.config.field_samples, near, far - near,
        )  # fmt: skip
        return Histogram(self._uniform_edges(len(origins), jitter), weights), fine

    def _look_natively(
        self, origins: Tensor, directions: Tensor, edges: Tensor, learns_geometry: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        near, far = _spacing(self.config.near), _spacing(self._far)
        network = self.network
        weights, color, appearance, _ = native_field.field(
            origins.contiguous(), directions.contiguous(), edges, self.grid.learnt_table, level_table(self.config.grid),
            network.weight_hidden, network.bias_hidden, network.weight_output, network.bias_output,
            self.occupancy, near, far - near, torch.is_grad_enabled(), learns_geometry,
        )  # fmt: skip
        return weights, color, appearance

    def _uniform_edges(self, rays: int, jitter: Tensor | None) -> Tensor:
        count = self.config.proposal_samples
        edges = torch.linspace(0, 1, count + 1, device=self.center.device).expand(rays, -1)
        if jitter is None:
            return edges
        inner = edges[:, 1:-1] + (jitter[:, None] - 0.5) / count
        return torch.cat([edges[:, :1], inner, edges[:, -1:]], -1)

    def _distance(self, edges: Tensor) -> Tensor:
        """Normalised to metric distance: linear up to one radius, linear in disparity beyond (as nerfacto)."""
        near, far = _spacing(self.config.near), _spacing(self._far)
        return _inverse_spacing(near + edges * (far - near))

    def _points(self, origins: Tensor, directions: Tensor, edges: Tensor) -> Tensor:
        distance = self._distance((edges[:, 1:] + edges[:, :-1]) / 2)
        points = torch.addcmul(origins[:, None], directions[:, None], distance[..., None])
        return contract(points.reshape(-1, 3))

    def _proposal_density(self, points: Tensor) -> Tensor:
        return _density(self.proposal_grid(points).sum(-1)).view(-1, self.config.proposal_samples)

    def _evaluate(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = self.network(self.grid(points)).view(-1, self.config.field_samples, 12)
        return _density(output[..., 0]), torch.sigmoid(output[..., 1:4]), output[..., 4:]

    def _confined(self, density: Tensor, points: Tensor) -> Tensor:
        """Density (R S) of points (R S 3, flat) where there may be any."""
        return density if self.occupancy is None else density * occupied(self.occupancy, points).view_as(density)

    def _add_view_dependence(self, color: Tensor, appearance: Tensor, directions: Tensor) -> Tensor:
        features = torch.cat([appearance, spherical_harmonics(directions)], -1)
        shift = self.view_network(features)
        return torch.sigmoid(torch.logit(color.clamp(1e-3, 1 - 1e-3)) + shift)


def contract(points: Tensor) -> Tensor:
    """All of space (P 3) into the unit cube: [-1, 1]^3 to its middle half, the rest squashed around it.

    The infinity-norm form of mip-NeRF 360's contraction (eq. 10).
    """
    reach = points.abs().amax(-1, keepdim=True).clamp_min(1)
    return points * ((2 - 1 / reach) / reach) * 0.25 + 0.5


def spherical_harmonics(directions: Tensor) -> Tensor:
    """Real spherical harmonics up to degree 2 of unit vectors (R 3), up to constant factors, R 9."""
    x, y, z = directions.unbind(-1)
    return torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1], -1)


class _TruncatedExponential(torch.autograd.Function):
    """exp whose gradient stays finite: inputs are clamped at 15 (instant-ngp's density activation)."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        value = torch.exp(x.clamp(-15, 15))
        ctx.save_for_backward(value)
        return value

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradient * ctx.saved_tensors[0]


def _density(raw: Tensor) -> Tensor:
    return _TruncatedExponential.apply(raw - 1)  # starts thin, so that light reaches the background


def _spacing(distance: float) -> float:
    return distance / 2 if distance < 1 else 1 - 1 / (2 * distance)


def _inverse_spacing(spacing: Tensor) -> Tensor:
    return torch.where(spacing < 0.5, 2 * spacing, 1 / (2 - 2 * spacing).clamp_min(1e-6))
