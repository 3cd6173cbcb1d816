"""Random pixels of the training views, and the loss of a field on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.fields.field import Render
from unscene.fields.nerf import Nerf
from unscene.fields.pose_refinement import PoseRefinement
from unscene.geometry.cameras import Cameras
from unscene.losses.rays import charbonnier, distortion, interlevel
from unscene.scenes.scene import Scene

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

    Keeps one integer per usable pixel, not a ray: 4 bytes where origins, directions and colours would take 36.
    """

    def __init__(self, scene: Scene, usable: Tensor):
        self.images = scene.images
        index = usable.flatten().nonzero()[:, 0]
        self.index = index.int() if usable.numel() < 2**31 else index

    def __len__(self) -> int:
        return len(self.index)

    def sample(self, count: int, generator: torch.Generator) -> PixelBatch:
        if len(self) == 0 and count > 0:
            raise ValueError("expected pixels to draw from, but no pixel is usable; check masks and training views")
        _, height, width, _ = self.images.shape
        flat = self.index[torch.randint(len(self.index), (count,), generator=generator)].long()
        row = flat // width
        view, y, x = row // height, row % height, flat % width
        color = self.images[view, y, x].float() / 255
        return PixelBatch(view, torch.stack([x, y], -1) + 0.5, color)


def training_pixels(scene: Scene) -> Tensor:
    """N H W bool: all pixels of the training views."""
    usable = torch.zeros(scene.images.shape[:3], dtype=torch.bool)
    usable[scene.train] = True
    return usable


def unmasked_training_pixels(scene: Scene) -> Tensor:
    """N H W bool: pixels of training views that do not show the object."""
    usable = training_pixels(scene)
    return usable if scene.masks is None else usable & ~scene.masks


@dataclass(frozen=True)
class RegularizerConfig:
    """Weights of the terms that shape the histograms along rays."""

    interlevel: float = 1.0
    """Proposal supervision (mip-NeRF 360, eq. 13)."""
    distortion: float = 0.0
    """Concentration of weights (mip-NeRF 360, eq. 15). Off: proposals do the same, and it is a twentieth of a step."""
    hash_decay: float = 1e-3
    """Mean squared hash features (Zip-NeRF, section 4); Zip-NeRF's 0.1 is for tables a hundred times as large."""


def reconstruction_terms(render: Render, color: Tensor, step: int, config: RegularizerConfig) -> dict[str, Tensor]:
    """Colour loss and histogram regularisers of rendered rays with known colours (R 3).

    The proposal learns on every step at first, later on every third, as in nerfacto: its backward pass costs a tenth.
    """
    t, w = render.histogram.edges, render.histogram.weights
    terms = {"reconstruction": charbonnier(render.color, color)}
    if config.distortion:
        terms["distortion"] = config.distortion * distortion(t, w)
    if step < PROPOSAL_WARMUP or step % PROPOSAL_INTERVAL == 0:
        cover = torch.stack([interlevel(t, w, p.edges, p.weights) for p in render.proposals]).sum()
        terms["interlevel"] = config.interlevel * cover
    return terms


def hash_decay_term(nerf: Nerf, step: int, config: RegularizerConfig) -> dict[str, Tensor]:
    """Hash decay on every eighth step with eight times the weight: it reads the whole table, which costs a tenth."""
    if config.hash_decay == 0 or step % HASH_DECAY_INTERVAL:
        return {}
    return {"hash decay": HASH_DECAY_INTERVAL * config.hash_decay * nerf.hash_decay()}


class PixelReconstruction:
    """The objective of a plain fit: colours of random pixels, with optional pose refinement.

    nerf: the field; cameras: of all views; pixels: what to learn from; poses: corrections of the views' poses.
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
    ):
        self.nerf, self.cameras, self.pixels, self.regularizer = nerf, cameras, pixels, regularizer
        self.rays, self.poses = rays, poses

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        batch = self.pixels.sample(self.rays, generator)
        if self.poses is None:
            rays = self.cameras.rays(batch.view, batch.xy)
        else:
            poses = self.poses(self.cameras.T_world_camera[batch.view], batch.view)
            rays = self.cameras.posed_rays(batch.view, batch.xy, poses)
        render = self.nerf.render(rays, jitter=torch.rand(len(rays), generator=generator))
        terms = reconstruction_terms(render, batch.color, step, self.regularizer)
        return terms | hash_decay_term(self.nerf, step, self.regularizer)
