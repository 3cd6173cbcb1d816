"""A field made of Gaussians: drawn view by view, where a radiance field is asked ray by ray."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unscene.fields.field import PixelRender
from unscene.fields.splat_raster import SplatCamera, SplatRender, Window, rasterise
from unscene.geometry.cameras import Cameras, focus_point, pixel_centers
from unscene.geometry.gaussians import Gaussians

UNUSED = -12.0  # opacity logit of a Gaussian that is not there: nothing of it is drawn


class Splats(nn.Module):
    """N Gaussians as parameters, named like those of `Gaussians`, their harmonics in two parts: what all directions see
    (``base``, N 1 3) and what depends on them (``further``, N K-1 3).

    center (3) and radius (scalar): where the cameras look, and how far the farthest is from there. A field that is
    fitted has room for more than it begins with; what is not used yet is there with no opacity.
    """

    center: Tensor
    radius: Tensor

    def __init__(self, gaussians: Gaussians, *, center: Tensor, radius: Tensor):
        super().__init__()
        self.register_buffer("center", center.float())
        self.register_buffer("radius", radius.float())
        self.means = nn.Parameter(gaussians.means.clone())
        self.log_scales = nn.Parameter(gaussians.log_scales.clone())
        self.quaternions = nn.Parameter(gaussians.quaternions.clone())
        self.opacity_logits = nn.Parameter(gaussians.opacity_logits.clone())
        self.base = nn.Parameter(gaussians.harmonics[:, :1].clone())
        self.further = nn.Parameter(gaussians.harmonics[:, 1:].clone())

    @staticmethod
    def around(cameras: Cameras, gaussians: Gaussians) -> Splats:
        """Gaussians that these cameras look at."""
        center = focus_point(cameras)
        return Splats(gaussians, center=center, radius=(cameras.positions - center).norm(dim=-1).max())

    @property
    def gaussians(self) -> Gaussians:
        """All, as differentiable as the parameters."""
        harmonics = torch.cat([self.base, self.further], 1)
        return Gaussians(self.means, self.log_scales, self.quaternions, self.opacity_logits, harmonics)

    @property
    def used(self) -> Gaussians:
        """Those that can be seen from somewhere, without gradients."""
        gaussians = Gaussians(*(tensor.detach() for tensor in self.gaussians.tensors))
        return gaussians[gaussians.opacities > 1 / 255]

    def render(self, cameras: Cameras, view: int, window: Window | None = None) -> SplatRender:
        """What a window of a view shows, differentiable; a lens that distorts is taken for a pinhole."""
        return rasterise(self.gaussians, SplatCamera.of(cameras, view, window))

    @property
    def is_native(self) -> bool:
        """Whether native functions draw it, which share the processor's threads out among themselves."""
        return self.means.device.type == "cpu"

    @torch.no_grad()
    def draw(self, cameras: Cameras, view: int, window: Window | None = None) -> PixelRender:
        """Colour in [0, 1] and median depth of a window of a view, by default all of it, through any lens."""
        window = window or Window(0, 0, cameras.width, cameras.height)
        if not cameras.bends_rays:
            render = self.render(cameras, view, window)
            return PixelRender(render.image.clamp(0, 1), render.median_depth())
        positions, seen = straight_positions(cameras, view, window)
        render = self.render(cameras, view, seen)
        color = sampled(render.image, positions).clamp(0, 1)
        column, row = (positions - 0.5).round().long().unbind(-1)
        depth = render.median_depth()[row.clamp(0, seen.height - 1), column.clamp(0, seen.width - 1)]
        return PixelRender(color, depth)


def straight_positions(cameras: Cameras, view: int, window: Window) -> tuple[Tensor, Window]:
    """Where a pinhole of the same focal lengths sees what a lens shows at a window's pixels, H W 2, and the window that
    it takes to see all of it, from whose corner the positions count."""
    pixels = pixel_centers(window.width, window.height, cameras.focal.device)
    pixels = (pixels + torch.tensor([window.left, window.top], device=pixels.device)).view(-1, 2)
    plane = cameras.image_plane(torch.full((len(pixels),), view, device=pixels.device), pixels)
    positions = plane * cameras.focal[view] + cameras.principal[view]
    low, high = (positions.min(0).values - 1).floor().int(), (positions.max(0).values + 1).ceil().int()
    seen = Window(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))
    return (positions - low).view(window.height, window.width, 2), seen


def sampled(image: Tensor, positions: Tensor) -> Tensor:
    """An image H W C at positions ... 2 in pixels, bilinearly."""
    size = torch.tensor([image.shape[1], image.shape[0]], device=image.device)
    grid = (positions * 2 / size - 1)[None]
    return torch.nn.functional.grid_sample(image.movedim(-1, 0)[None], grid, align_corners=False)[0].movedim(0, -1)
