"""Random pixels of the training views, and the loss of a field on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.fields.field import Render
from unscene.fields.nerf import Nerf
from unscene.fields.pose_refinement import PoseRefinement
from unscene.geometry.cameras import Cameras
from unscene.geometry.randomness import integers, sent, uniform
from unscene.losses.rays import PixelError, distortion, interlevel, pixel_error
from unscene.scenes.scene import Scene
from unscene.training.captured_steps import CapturableObjective, Kind

HASH_DECAY_INTERVAL = 8
PROPOSAL_WARMUP, PROPOSAL_INTERVAL = 200, 3


@dataclass(frozen=True)
class PixelBatch:
    """R pixels: view R, xy R 2 (pixel centres), color R 3 in [0, 1]."""

    view: Tensor
    xy: Tensor
    color: Tensor


class PixelSampler:
    """Draws pixels uniformly from those of ``scene`` where ``usable`` (N H W bool) is true.

    Keeps one integer per usable pixel, not a ray: 4 bytes where origins, directions and colours would take 36. It lies
    beside the photos; batches are on the cameras' device, sent there if the photos are in the host's memory.
    """

    def __init__(self, scene: Scene, usable: Tensor):
        _, self.height, self.width, _ = scene.images.shape
        self.colors = scene.images.flatten(0, 2)
        self.device = scene.cameras.focal.device
        index = usable.flatten().nonzero()[:, 0]
        self.index = (index.int() if usable.numel() < 2**31 else index).to(self.colors.device)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def pixels(self) -> int:
        """Of a view, usable or not."""
        return self.height * self.width

    @property
    def is_on_device(self) -> bool:
        """Whether batches are drawn without the host."""
        return self.colors.device.type == self.device.type

    def sample(self, count: int, generator: torch.Generator) -> PixelBatch:
        if len(self) == 0 and count > 0:
            raise ValueError("expected pixels to draw from, but no pixel is usable; check masks and training views")
        return self.at(integers(len(self.index), count, generator, self.index.device))

    def of_a_view(self, generator: torch.Generator) -> Tensor:
        """The places of all usable pixels of a random view that has any."""
        views = self.index.long() // self.pixels
        having = views.unique_consecutive()  # pixels are counted view by view
        chosen = having[torch.randint(len(having), (), generator=generator)]
        return (views == chosen).nonzero()[:, 0]

    def at(self, places: Tensor) -> PixelBatch:
        """The pixels at ``places`` (R) among the usable ones, which are counted view by view and row by row."""
        chosen = self.index[places].long()
        color = sent(self.colors[chosen], self.device).float() / 255
        flat = sent(chosen, self.device)
        row = flat // self.width
        xy = torch.stack([flat % self.width, row % self.height], -1) + 0.5
        return PixelBatch(row // self.height, xy, color)


def training_pixels(scene: Scene) -> Tensor:
    """N H W bool: all pixels of the training views."""
    usable = torch.zeros(scene.images.shape[:3], dtype=torch.bool, device=scene.images.device)
    usable[scene.train] = True
    return usable


def unmasked_training_pixels(scene: Scene) -> Tensor:
    """N H W bool: pixels of training views that do not show the object."""
    usable = training_pixels(scene)
    return usable if scene.masks is None else usable & ~scene.masks.to(usable.device)


@dataclass(frozen=True)
class RegularizerConfig:
    """Weights of the terms that shape the histograms along rays."""

    interlevel: float = 1.0
    """Proposal supervision (mip-NeRF 360, eq. 13)."""
    distortion: float = 0.0
    """Concentration of weights (mip-NeRF 360, eq. 15). Off (In-N-Out's release too): a twentieth of a step, and colours
    gain nothing. Depth does: on the still life 0.002 lowers its median error by half or a fifth (two seeds, 400
    steps); 0.02 costs a decibel."""
    hash_decay: float = 1e-3
    """Mean squared hash features (Zip-NeRF, section 4); Zip-NeRF's 0.1 is for tables a hundred times as large."""


def histogram_terms(render: Render, step: int, config: RegularizerConfig) -> dict[str, Tensor]:
    """Regularisers of the histograms along rays, whether their colours are known or not.

    The proposal learns on every step at first, later on every third, as in nerfacto: its backward pass costs a tenth.
    """
    t, w = render.histogram.edges, render.histogram.weights
    terms = {"distortion": config.distortion * distortion(t, w)} if config.distortion else {}
    if _teaches_proposal(step):
        cover = torch.stack([interlevel(t, w, p.edges, p.weights) for p in render.proposals]).sum()
        terms["interlevel"] = config.interlevel * cover
    return terms


def hash_decay_term(nerf: Nerf, step: int, config: RegularizerConfig) -> dict[str, Tensor]:
    """Hash decay on every eighth step with eight times the weight: it reads the whole table, which costs a tenth."""
    if not _decays(step, config):
        return {}
    return {"hash decay": HASH_DECAY_INTERVAL * config.hash_decay * nerf.hash_decay()}


def reconstruction_kind(step: int, config: RegularizerConfig) -> Kind:
    """Which of the terms above a step has."""
    return _teaches_proposal(step), _decays(step, config)


def _teaches_proposal(step: int) -> bool:
    return step < PROPOSAL_WARMUP or step % PROPOSAL_INTERVAL == 0


def _decays(step: int, config: RegularizerConfig) -> bool:
    return config.hash_decay != 0 and step % HASH_DECAY_INTERVAL == 0


class PixelReconstruction(CapturableObjective):
    """The objective of a plain fit: colours of random pixels, with optional pose refinement.

    nerf: the field; cameras: of all views; pixels: what to learn from; poses: corrections of the views' poses;
    depth_term: what is told of a batch's mean z-depths (R).
    """

    def __init__(
        self,
        nerf: Nerf,
        cameras: Cameras,
        pixels: PixelSampler,
        regularizer: RegularizerConfig,
        *,
        rays: int,
        poses: PoseRefinement | None = None,
        error: PixelError = "charbonnier",
        depth_term: Callable[[PixelBatch, Tensor], Tensor] | None = None,
    ):
        self.nerf, self.cameras, self.pixels, self.regularizer = nerf, cameras, pixels, regularizer
        self.rays, self.poses, self.depth_term = rays, poses, depth_term
        self.error: PixelError = error

    def kind(self, step: int) -> Kind | None:
        return reconstruction_kind(step, self.regularizer) if self.pixels.is_on_device else None

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        batch = self.pixels.sample(self.rays, generator)
        if self.poses is None:
            rays = self.cameras.rays(batch.view, batch.xy)
        else:
            poses = self.poses(self.cameras.T_world_camera[batch.view], batch.view)
            rays = self.cameras.posed_rays(batch.view, batch.xy, poses)
        render = self.nerf.render(rays, jitter=uniform(len(rays), generator, batch.xy.device))
        terms = {"reconstruction": pixel_error(self.error, render.color, batch.color)}
        if self.depth_term is not None:
            terms["depth"] = self.depth_term(batch, render.distance * rays.depth_per_distance)
        terms |= histogram_terms(render, step, self.regularizer)
        return terms | hash_decay_term(self.nerf, step, self.regularizer)
