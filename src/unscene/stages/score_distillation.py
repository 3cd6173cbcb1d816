"""Score distillation: a field is pulled towards what a 2D inpainter would make of its noised renders (Poole et al.
2023, eq. 3; with an inpainter Prabhu et al. 2023 and MVIP-NeRF, Chen et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from unscene.geometry.masks import bounding_box
from unscene.geometry.randomness import sent
from unscene.losses.rays import relative_depth
from unscene.priors.inpainter import ScoreModel
from unscene.scenes.scene import Scene
from unscene.stages.dataset_update import noise_level
from unscene.stages.patches import Patch
from unscene.stages.splat_learner import Learner


def distillation_gradient(
    prior: ScoreModel, images: Tensor, photos: Tensor, masks: Tensor, level: float, generator: torch.Generator
) -> Tensor:
    """The gradient of score distillation with respect to images, inside the masks only, N H W 3.

    (1 - abar_t) (e(z_t; t, photos, masks) - e) dz / dx, where z encodes the images x (N H W 3), e is noise and z_t =
    sqrt(abar_t) z + sqrt(1 - abar_t) e. photos: N H W 3, what the inpainter is told outside the masks (N H W bool);
    level: t as a share of the schedule.
    """
    pixels = images.detach().requires_grad_()
    with torch.enable_grad():
        latents = prior.encode_images(pixels)
    noise = sent(torch.randn(latents.shape, generator=generator), latents.device)
    signal = prior.signal_share(level)
    noisy = signal**0.5 * latents.detach() + (1 - signal) ** 0.5 * noise
    error = prior.predict_noise(noisy, level, photos, masks) - noise
    (gradient,) = torch.autograd.grad(latents, pixels, (1 - signal) * error * prior.latent_masks(masks))
    return gradient * masks[..., None]


class HoleWindows:
    """Draws, on the host, square windows of views: around the whole hole if that fits, else somewhere inside its box.

    views: which to draw from; region: N H W bool, the holes; size: pixels along a side, at most the image's.
    """

    def __init__(self, views: Tensor, region: Tensor, size: int):
        self.height, self.width = region.shape[1:]
        self.size, self.region, self.views = min(size, self.height, self.width), region.cpu(), views
        self.boxes = {view: bounding_box(self.region[view]) for view in views.tolist()}

    def draw(self, generator: torch.Generator) -> tuple[Patch, Tensor]:
        """A window that shows some of its view's hole, and where (size size bool)."""
        while True:
            view = int(self.views[torch.randint(len(self.views), (), generator=generator)])
            top, left, bottom, right = self.boxes[view]
            row = self._corner(top, bottom, self.height, generator)
            column = self._corner(left, right, self.width, generator)
            window = Patch(view, row, column, self.size)
            hole = self.region[view][window.window]
            if hole.any():
                return window, hole

    def _corner(self, start: int, end: int, extent: int, generator: torch.Generator) -> int:
        """First row or column of a window that holds the box [start, end), or lies in it if it is the longer one."""
        low, high = sorted((start, end - self.size))
        corner = low + int(torch.randint(high - low + 1, (), generator=generator))
        return min(max(corner, 0), extent - self.size)


class ScoreDistillation:
    """L_rec + score distillation and depth of the hidden part, one window of one view a step.

    scene: photos with nothing of the object in them; views: V, to draw from; region: N H W bool, what is hidden;
    depths: P, z-depths behind the region's pixels, view by view and row by row; levels: noise from the first step to
    the last, t_max - (t_max - t_min) sqrt(k / K).
    """

    def __init__(
        self, known: Learner, scene: Scene, views: Tensor, region: Tensor, depths: Tensor,
        prior: ScoreModel, *, window: int, known_rays: int, strongest: float, weakest: float, weight: float,
        depth_weight: float,
    ):  # fmt: skip
        self.known, self.scene, self.prior, self.known_rays = known, scene, prior, known_rays
        self.windows = HoleWindows(views, region, window)
        self.strongest, self.weakest, self.weight, self.depth_weight = strongest, weakest, weight, depth_weight
        self.index = {view: index for index, view in enumerate(views.tolist())}
        hidden = region[views]
        self.depths = depths.new_zeros(hidden.shape).masked_scatter(hidden, depths)
        self.hidden_pixels = round(float(hidden.sum()) / len(views))  # that a step looks at, about

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        device = self.scene.device
        window, hole = self.windows.draw(generator)
        where = sent(hole.flatten().nonzero()[:, 0], device)
        terms, render = self.known.terms_and_patches(step, generator, self.known_rays, [window], where)

        photo = sent(self.scene.images[window.view][window.window], device).float() / 255
        shown = photo.view(-1, 3).index_copy(0, where, render.color.detach()).view(photo.shape)
        level = noise_level(progress, self.strongest, self.weakest)
        gradient = distillation_gradient(
            self.prior, shown[None], photo[None], sent(hole, device)[None], level, generator
        ).view(-1, 3)[where]  # fmt: skip
        # half the squared distance to where the gradient points has that gradient, and a value worth looking at
        pulled = (render.color - render.color.detach() + gradient).square().sum() / 2
        terms["score distillation"] = self.weight * pulled
        depth = self.depths[self.index[window.view]][window.window].flatten()[where]
        terms["depth"] = self.depth_weight * relative_depth(render.depth, depth).mean()
        return terms
